"""The tensors of one network, gathered from a dictionary: by the authors' names, with its head, and what is none of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .. import paths
from ..errors import quote
from ..variants import Config, is_learned
from . import diagnoses, reparametrized
from .budget import Budget
from .error import CheckpointError
from .inert import Unread
from .layouts import Layout, complete, shape_of
from .standin import StandIn
from .tensor import StoredTensor

# Modules that wrappers put around others, anywhere in a key: DataParallel and many more, torch.compile, FSDP, activation
# checkpointing, DeepSpeed and Fabric.
_WRAPPER = re.compile(
    r"(?:(?<=\.)|\A)(?:module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module|_fpw_module)\."
)
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
MOST_SHOWN = 5  # prefixes that a note names


def named_as(key: object, cut: str) -> tuple[str, str] | None:
    """Return a key without `cut` and the names of wrappers, and which part of a tensor it is; None without `cut` before it."""
    raw = key if isinstance(key, str) else str(key)
    if not raw.startswith(cut):
        return None
    return reparametrized.split(_WRAPPER.sub("", raw[len(cut) :]))


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
    headless: bool = True

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
        config = shape_of(self.named, self.layout, self.headless)
        return config, complete(config, self.named, self.strangers)

    def notes(self) -> Iterator[str]:
        """Say what a person should know of how the tensors were read, a sentence each."""
        if self.headless:
            yield "there is no head: it gives features, not classes"
        if self.head:
            yield f"the head is called {quote(self.head)}"
        for title, count in self.computed.items():
            yield f"{count} tensors were computed with {title}, as PyTorch does"
        if self.aside:
            shown = ", ".join(f"{quote(name)} ({_tensors(count)})" for name, count in self.aside.most_common(MOST_SHOWN))
            more = f" and {len(self.aside) - MOST_SHOWN} more" if len(self.aside) > MOST_SHOWN else ""
            yield f"passed over, as no part of the network: {shown}{more}"

    def passed_over(self) -> Iterator[str]:
        """Say what of the dictionary was not read, by names: 'total_ops: 61 tensors'."""
        for name, count in (*self.aside.most_common(MOST_SHOWN), *self.counters.items()):
            yield f"{quote(name)}: {_tensors(count)}"


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
        name, part = split
        hit = layout.find(name)
        if hit and name[: hit[0]] == prefix:
            spelled = spelled or (bool(layout.backbone) and name.startswith(layout.backbone, hit[0]))
            _put(known.setdefault(hit[1], {}), part, value, hit[1], key)
            continue
        module, _, leaf = name[len(prefix) :].rpartition(".")
        if name.startswith(prefix) and module.partition(".")[0] in HEADS and leaf in LEAVES:
            _put(heads.setdefault(module, {}).setdefault(leaf, {}), part, value, name, key)
        else:
            rest.append((str(key), name, value))
    _take_head(network, known, heads)
    for name, parts in known.items():
        network.named[name], computed = reparametrized.whole(name, parts)
        network.computed[computed] += bool(computed)
    del network.computed[""]
    network.headless = not any(paths.lies_under(name, paths.HEAD) for name in network.named)
    own = prefix + (layout.backbone if spelled and network.headless else "")
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
    names = [f"{paths.HEAD}.{leaf}" for leaf in LEAVES]
    modules = [*heads, *([network.layout.modules[paths.HEAD]] if any(name in known for name in names) else [])]
    if len(modules) > 1:
        why = "minivan computes one linear layer: remove the head's tensors and save the rest, which gives features"
        raise CheckpointError(f"a head of several layers, {', '.join(map(quote, sorted(modules)[:MOST_SHOWN]))}", why)
    for module, leaves in heads.items():
        network.head = module
        for leaf, parts in leaves.items():
            known[f"{paths.HEAD}.{leaf}"] = parts


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


def _tensors(count: int) -> str:
    return "1 tensor" if count == 1 else f"{count} tensors"
