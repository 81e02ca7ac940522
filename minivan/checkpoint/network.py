"""The tensors of one network, gathered from a dictionary: by the authors' names, with its head, and what is none of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .. import paths
from ..errors import quote
from ..variants import Config, is_learned
from . import diagnoses, reparametrized
from .budget import Budget
from .downstream import BACKBONE
from .error import CheckpointError
from .inert import Unread
from .layouts import LAYOUTS, LONGEST_TAIL, Layout, complete, shape_of
from .standin import StandIn
from .tensor import StoredTensor

# Modules that wrappers put around others, anywhere in a key: DataParallel and many more, torch.compile, FSDP, activation
# checkpointing, DeepSpeed and Fabric.
_WRAPPER = re.compile(
    r"(?:(?<=\.)|\A)(?:module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module|_fpw_module)\."
)
# Words that wrappers put in too, and that may mean something: they are dropped only where no name is known with them.
INNER_WRAPPERS = ("model", "net", "student", "backbone", "encoder", "base_model", "_wrapped_module", "wrapped")
_INNER_WORD = re.compile(rf"\.(?:{'|'.join(INNER_WRAPPERS)})(?=\.)")
_INNER_NUMBER = re.compile(r"(?<!block[1-4])(?<!blocks[1-4])(?<!stages)(?<!layers)\.[0-9]+(?=\.)")  # but of a list's member
_KNOWN = re.compile(
    r"(?:(?<=\.)|\A)(?:patch_embed[1-4]|blocks?[1-4]|norm[1-4]|encoder\.stages)(?=\.)"
)  # where a network's names begin
# Buffers that count, and are no part of the network: BatchNorm's, AveragedModel's, thop's, MMEngine's, ema-pytorch's.
_COUNTER = re.compile(r"(?:.*\.)?(?:num_batches_tracked|n_averaged|total_ops|total_params)|initted|steps?")
# A loss or a metric that a training module keeps beside its network, by the first part of the key.
_LOSS = re.compile(
    r"(?:(?:train|training|val|valid|validation|test|best)_?)?"
    r"(?:.*(?:loss|criterion|criteria|metrics?|accuracy|auroc|confusion_matrix)(?:_?(?:fn|func|function|\d+))?|acc(?:_?top_?\d)?|f1)"
)
_AVERAGE = re.compile(r"ema_\w+")  # mmcv's EMAHook: buffers of the module, whose dots are underscores
HEADS = ("head", "fc", "classifier")  # what people call the head, or the Sequential it is the last of
LEAVES = ("weight", "bias")
OUTSIDE = "\0"  # in the place of the name of a tensor that does not lie behind `cut`: no key has it
MMCV_RAW = "ema_..."  # how those of mmcv are listed: it swaps before it saves, so that they are what was averaged
PASSED_OVER = "passed over, as no part of the network"  # how that note begins
MOST_SHOWN = 5  # prefixes that a note names


def named_as(key: object, cut: str) -> tuple[str, str, str] | None:
    """Return a key without `cut` and the names of wrappers, which part of a tensor it is, and which doubtful word was dropped.

    None without `cut` before it. Of a name that nobody knows, words that may be a wrapper's are dropped between the parts that
    somebody knows, where that gives a name: 'block1.0.model.norm1.weight'.
    """
    raw = key if isinstance(key, str) else str(key)
    if not raw.startswith(cut):
        return None
    name, part = reparametrized.split(_WRAPPER.sub("", raw[len(cut) :]))
    known = _KNOWN.search(name)
    if known is None or len(name) - known.start() > LONGEST_TAIL:
        return name, part, ""
    kept, dropped = _straightened(name[known.start() :])
    if dropped and any(
        layout.find(kept) == (0, authors) for layout in LAYOUTS.values() if (authors := layout.authors_name(kept))
    ):
        return name[: known.start()] + kept, part, dropped
    return name, part, ""


def _straightened(name: str) -> tuple[str, str]:
    """Return a name without words that may be a wrapper's, and the first of these; a number after a list's name is its own."""
    words = _INNER_WORD.sub("", name)
    kept = _INNER_NUMBER.sub("", words)
    found = _INNER_WORD.search(name) or _INNER_NUMBER.search(words)
    return kept, found[0].removeprefix(".") if found else ""


@dataclass
class Network:
    """What a dictionary has of one network, and beside it."""

    layout: Layout
    named: dict[str, object] = field(default_factory=dict)  # by the authors' names
    strangers: dict[str, object] = field(default_factory=dict)  # of the network's own, with names that nobody knows
    aside: Counter[str] = field(default_factory=Counter)  # tensors that are none of its own, by what their names begin with
    counters: Counter[str] = field(default_factory=Counter)  # buffers that count, by the last part of their names
    computed: Counter[str] = field(default_factory=Counter)  # tensors that are computed from others, by what does it
    head: str = ""  # what the head is called, where it is another name than the layout's own
    head_outside: bool = False  # whether it lies beside the prefix that the rest lies behind
    rival: str = ""  # a layer beside a network with a head of its own that takes its outputs, or may take its place
    dropped: dict[str, None] = field(default_factory=dict)  # words within names that are taken for a wrapper's
    around: str = ""  # what stands before the names of the network that has this one as its backbone, wrappers left out
    is_backbone: bool = False  # whether it lies where such a network has its backbone
    headless: bool = True

    def put(self, name: str, parts: dict[str, object]) -> None:
        """Put a tensor in its place, made of its parts if it has several."""
        self.named[name], computed = reparametrized.whole(name, parts)
        if computed:
            self.computed[computed] += 1

    def check(self, budget: Budget) -> None:
        """Raise CheckpointError for another network that has names of a VAN's, and for what is no tensor in one's place."""
        tale = diagnoses.of_names(self.strangers, (*diagnoses.RELATIVES, diagnoses.FLATTENED), budget)
        if tale:
            raise CheckpointError(f"{tale.what}, by the names of its tensors", tale.why)
        diagnoses.check_kernels(self.named)
        tensors = [value for value in self.named.values() if isinstance(value, StoredTensor)]
        if sum(not tensor.count for tensor in tensors) > len(tensors) // 2:
            why = "DeepSpeed's ZeRO-3 keeps them in other files: its zero_to_fp32.py makes one of all"
            raise CheckpointError("most tensors of the network are empty", why)
        for name, value in self.named.items():
            if isinstance(value, StandIn):
                what = f"{name} is an object of the class {quote(value.path)}"
                raise CheckpointError(what, "minivan does not know its numbers: save plain tensors")
            if isinstance(value, StoredTensor) and value.unreadable:
                raise CheckpointError(f"{name} cannot be read", value.unreadable)
            if isinstance(value, Unread):
                raise CheckpointError(f"{name} is not a tensor that can be read", f"{value.what}: {value.why}")

    def take_statistics(self, other: Network) -> bool:
        """Take BatchNorm's statistics from another network where this one has none; False where it has some, or nothing fits.

        Averages of parameters (torch_ema, `EMA.shadow`) are put into a network whose statistics stay as training left them.
        """
        theirs = {name: value for name, value in other.named.items() if not is_learned(name)}
        learned = self.named.keys() == other.named.keys() - theirs.keys()
        if learned:
            self.named |= theirs
        return learned and bool(theirs)

    def complete(self) -> tuple[Config, dict[str, StoredTensor]]:
        """Return the network's shape and its tensors in order; CheckpointError names what is missing, unknown, misshapen."""
        try:
            config = shape_of(self.named, self.layout, self.headless)
        except CheckpointError as error:
            if not self.strangers:
                raise
            unknown = f"{len(self.strangers)} of its names are not known, {quote(next(iter(self.strangers)))} first"
            raise CheckpointError(error.what, f"{error.why}; {unknown}") from None
        return config, complete(config, self.named, self.strangers)

    def part_around(self, key: object) -> str:
        """Return how a tensor is called in the network that has this one as its backbone: 'neck.fpn_convs.0.conv.bias'.

        '' for one of another network, and for a counter.
        """
        name = _WRAPPER.sub("", key) if isinstance(key, str) and self.is_backbone else ""
        return name[len(self.around) :] if name.startswith(self.around) and not _COUNTER.fullmatch(name) else ""

    def forget_aside(self, keys: Iterable[str]) -> None:
        """Count tensors no more among those that are none of the network's own: something else takes them."""
        self.aside.subtract(key.partition(".")[0] for key in keys)
        self.aside = +self.aside

    def notes(self) -> Iterator[str]:
        """Say what a person should know of how the tensors were read, a sentence each."""
        if self.headless:
            yield "there is no head: it gives features, not classes"
        if self.head:
            beside = ", the one layer beside the backbone" if self.head_outside else ""
            if self.head[-1:].isdigit():
                beside += ": other layers than Dropout beside it would leave no trace in the file"
            yield f"the head is called {quote(self.head)}{beside}"
        if self.dropped:
            words = ", ".join(map(quote, self.dropped))
            yield f"within names, {words} was taken for a wrapper's: other layers there would leave no trace in the file"
        for title, count in self.computed.items():
            were = "was" if count == 1 else "were"
            yield f"{tensors(count)} {were} computed with {title}, as PyTorch does if nothing else was registered there"
        if self.aside:
            shown = ", ".join(f"{quote(name)} ({tensors(count)})" for name, count in self.aside.most_common(MOST_SHOWN))
            more = f" and {len(self.aside) - MOST_SHOWN} more" if len(self.aside) > MOST_SHOWN else ""
            yield f"{PASSED_OVER}: {shown}{more}"

    def passed_over(self) -> Iterator[str]:
        """Say what of the dictionary was not read, by names: 'total_ops: 61 tensors'."""
        for name, count in (*self.aside.most_common(MOST_SHOWN), *self.counters.items()):
            yield f"{quote(name)}: {tensors(count)}"


def gathered(entries: Mapping[Any, object], cut: str, prefix: str, layout: Layout, siblings: Sequence[str] = ()) -> Network:
    """Gather the network behind `prefix` from a dictionary, by the names of `layout`.

    `cut` is what every key of it begins with; `siblings` are the prefixes of other networks in the dictionary. Raises
    CheckpointError for two tensors of one name, for parts that make no tensor, and for a head that minivan cannot compute.
    """
    network = Network(layout)
    known: dict[str, dict[str, object]] = {}  # the authors' name -> the parts of that tensor
    heads: dict[str, dict[str, dict[str, object]]] = {}  # module -> weight or bias -> its parts
    rest: list[tuple[str, str, object]] = []
    spelled = False  # whether the layout's prefix of a backbone is there
    for key, value in entries.items():
        split = named_as(key, cut)
        if split is None:
            rest.append((str(key), OUTSIDE, value))
            continue
        name, part, dropped = split
        hit = layout.find(name)
        if hit and name[: hit[0]] == prefix:
            spelled = spelled or (bool(layout.backbone) and name.startswith(layout.backbone, hit[0]))
            _put(known.setdefault(hit[1], {}), part, value, hit[1], key)
            if dropped:
                network.dropped[dropped] = None
            continue
        module, _, leaf = name[len(prefix) :].rpartition(".")
        if name.startswith(prefix) and module.partition(".")[0] in HEADS and leaf in LEAVES:
            _put(heads.setdefault(module, {}).setdefault(leaf, {}), part, value, name, key)
        else:
            rest.append((str(key), name, value))
    _take_head(network, known, heads)
    for name, parts in known.items():
        network.put(name, parts)
    rest = _take_outer_head(network, rest, prefix, siblings)
    network.headless = not any(paths.lies_under(name, paths.HEAD) for name in network.named)
    own = prefix + (layout.backbone if spelled and network.headless else "")
    whole = _WRAPPER.sub("", cut) + own
    network.is_backbone = network.headless and f".{whole}".endswith(f".{BACKBONE}.")
    network.around = whole.removesuffix(f"{BACKBONE}.")
    others = tuple(other for other in siblings if len(other) > len(own))
    for raw, name, value in rest:
        mine = name != OUTSIDE and name.startswith(own) and not name.startswith(others)
        _sort(network, raw, name, value, prefix, mine)
    return network


def _put(parts: dict[str, object], part: str, value: object, name: str, key: object) -> None:
    if part in parts:
        raise CheckpointError(f"two tensors stand for {name}", f"{quote(key)} is the second")
    parts[part] = value


def _take_head(network: Network, known: dict[str, dict[str, object]], heads: dict[str, dict[str, dict[str, object]]]) -> None:
    """Put a head of another name where the head belongs; CheckpointError for one of several layers."""
    if re.search(diagnoses.ADAPTER.names, "\n".join(heads), re.MULTILINE):
        raise CheckpointError(f"{diagnoses.ADAPTER.what}, by the names of its head", diagnoses.ADAPTER.why)
    names = [f"{paths.HEAD}.{leaf}" for leaf in LEAVES]
    modules = [*heads, *([network.layout.modules[paths.HEAD]] if any(name in known for name in names) else [])]
    if len(modules) > 1:
        why = "minivan computes one linear layer: remove the head's tensors and save the rest, which gives features"
        raise CheckpointError(f"a head of several layers, {', '.join(map(quote, sorted(modules)[:MOST_SHOWN]))}", why)
    for module, leaves in heads.items():
        network.head = module
        for leaf, parts in leaves.items():
            known[f"{paths.HEAD}.{leaf}"] = parts


def _take_outer_head(
    network: Network, rest: list[tuple[str, str, object]], prefix: str, siblings: Sequence[str]
) -> list[tuple[str, str, object]]:
    """Take the one linear layer that lies beside a backbone for its head; return what is left of `rest`.

    'backbone.norm4.weight' has 'head.fc.weight' beside it, '0.norm4.weight' in a Sequential '1.weight'. It is the head where
    the network behind `prefix` has none, where its width is the last stage's, and where nothing else lies there that may come
    between the two. Where the network has a head already, the layer is its rival: it may take what that one gives.
    """
    parent = ".".join((*prefix.split(".")[:-2], "")).lstrip(".") if prefix else ""
    if not prefix or parent in siblings:  # what lies beside it is another network's own
        return rest
    others = (prefix, *siblings)
    beside: dict[str, list[tuple[str, str, object]]] = {}  # module -> its tensors
    for item in rest:
        raw, name, value = item
        inner = name[len(parent) :]
        counts = _COUNTER.fullmatch(raw) or _LOSS.fullmatch(inner.partition(".")[0]) or _AVERAGE.fullmatch(inner)
        apart = isinstance(value, StoredTensor) and name.startswith(parent) and not name.startswith(others)
        if apart and not counts:
            beside.setdefault(inner.rpartition(".")[0], []).append(item)
    last = max((i for name in network.named if (i := paths.stage_of(name))), default=1)
    norm, head = network.named.get(f"{paths.norm(last)}.weight"), network.named.get(f"{paths.HEAD}.weight")
    given = norm.shape[0] if isinstance(norm, StoredTensor) and norm.shape else 0
    answers = head.shape[0] if isinstance(head, StoredTensor) and head.shape else 0
    fitting = [module for module, found in beside.items() if _linear(module, found) in {given, answers} - {0}]
    if answers and fitting:
        takes = "takes what that gives" if _linear(fitting[0], beside[fitting[0]]) == answers else "may take its place"
        network.rival = f"the network has a head, and {quote(parent + fitting[0])} beside it {takes}"
    if answers or not fitting or len(beside) > 1:
        return rest
    network.head, network.head_outside = parent + fitting[0], True
    for _, name, value in beside[fitting[0]]:
        network.put(f"{paths.HEAD}.{name.rpartition('.')[2]}", {"": value})
    return [item for item in rest if item not in beside[fitting[0]]]


def _linear(module: str, tensors: Sequence[tuple[str, str, object]]) -> int:
    """Return how many numbers a module takes, if it is a linear layer, or a 1x1 convolution, that may be a head; else 0."""
    first = module.partition(".")[0]
    leaves = {raw.rpartition(".")[2]: value for raw, _, value in tensors}  # a part of a tensor has a name of its own there
    weight = leaves.get("weight")
    if not (first in HEADS or first.isdecimal()) or not leaves.keys() <= set(LEAVES) or not isinstance(weight, StoredTensor):
        return 0
    return weight.shape[1] if len(weight.shape) > 1 and weight.shape[2:] in ((), (1, 1)) else 0


def _sort(network: Network, raw: str, name: str, value: object, prefix: str, mine: bool) -> None:
    """Put what is none of the network's known tensors where it belongs: it counts, stands beside, or is a stranger.

    `mine` says that it lies behind the network's own prefix.
    """
    numbers = isinstance(value, (StoredTensor, StandIn, Unread))
    inner = name[len(prefix) :]
    first, dot, _ = inner.partition(".")
    if network.layout.ignores(inner) or not (numbers or dot):
        return
    if _COUNTER.fullmatch(raw):
        network.counters[raw.rpartition(".")[2]] += 1
    elif _AVERAGE.fullmatch(inner if mine else raw):
        network.aside[MMCV_RAW] += 1
    elif mine and not _LOSS.fullmatch(first):
        network.strangers[raw] = value
    elif numbers:
        network.aside[first if mine else raw.partition(".")[0]] += 1


def tensors(count: int) -> str:
    """Say how many: '1 tensor'."""
    return "1 tensor" if count == 1 else f"{count} tensors"
