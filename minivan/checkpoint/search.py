"""Where the network lies in what a file holds: in which dictionary, behind which prefix, and which one where there are several.

A training script keeps the network wherever it likes: under a key of the file, in a dictionary of dictionaries, behind
`student.` or `base_model.model.`, compiled or wrapped block by block. So every dictionary of tensors is looked through. Of each
key, names that wrappers put in are dropped, and the longest tail is sought that a library knows as a VAN's; what stands before
it, the prefix, tells the networks of a dictionary from one another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .. import paths
from ..errors import quote
from ..variants import Config, is_learned, title_with_shape
from . import diagnoses, semantic_fpn
from .averages import is_optimizers, is_unfinished, says_averaged, swapped, take_nameless
from .budget import Budget
from .error import CheckpointError
from .holdings import Contents, Holding, contents_of
from .inert import Name
from .layouts import LAYOUTS, Layout, shape_of
from .network import MMCV_RAW, Network, gathered, named_as, tensors
from .standin import StandIn
from .tensor import StoredTensor

KEY, KEY_MEMORY = 12, 200  # steps and bytes that it takes to look for one key in every layout
MOST_SHOWN = 4  # networks that a message names
TOP = "."  # how `key` spells the network that lies behind nothing


@dataclass(frozen=True, eq=False)
class Place:
    """Where a network's tensors lie: in which dictionary, and what stands before the names that `layout` has for them."""

    holding: Holding
    cut: str  # what `key` takes away from the beginning of every key
    prefix: str  # what is left before the names, without what wrappers put in
    layout: Layout

    @property
    def label(self) -> str:
        """The place as `key` takes it: 'ema.module', 'student', '.' for the top."""
        return ".".join((*self.holding.path, self.cut + self.prefix)).rstrip(".") or TOP

    @property
    def is_averaged(self) -> bool:
        """True where one of the keys says so."""
        return says_averaged(self.label)


@dataclass(frozen=True)
class Found:
    """The network of a file: its shape, and its tensors by the authors' names, each read when asked."""

    layout: Layout
    config: Config
    stored: dict[str, StoredTensor]
    label: str  # where it was found, as `key` takes it
    notes: tuple[str, ...]  # what a person should know of how it was chosen and read, a sentence each
    passed_over: tuple[str, ...]  # what else the file holds, 'decode_head: 12 tensors'
    beside: tuple[str, ...]  # how the names of tensors begin that lie in one dictionary with the network's: 'decode_head'
    around: semantic_fpn.Around  # the network that has this one as its backbone, if it is one


def understand(whole: object, budget: Budget, key: str | None = None) -> Found:
    """Find the network in nested dictionaries of tensors, its layout, its shape, and its tensors.

    `key` says where it lies, where there are several: the keys of dictionaries and what stands before its own names, parted by
    dots. Raises CheckpointError for what is no VAN, for several of which none is by custom the one for inference, and for one
    that has tensors missing, left over or misshapen: each is named, with the shape it should have and the shape found.
    """
    contents = contents_of(whole, budget)
    every = list(_places(contents.holdings, budget, key))
    places = [place for place in every if place.label == key] or (every if key != TOP else [])
    if not places:
        raise _nothing(contents, budget, key)
    place, note = _chosen(places, contents, budget, key)
    siblings = [other.prefix for other in every if other.holding is place.holding and other.prefix != place.prefix]
    network = _gathered(place, budget, siblings)
    network.check(budget)
    if network.rival:
        why = f"minivan computes one head: to read the network without that layer, --key {place.label}"
        raise CheckpointError(network.rival, why)
    if place.is_averaged and all(map(is_learned, network.named)):
        whole_file = every if key is None else _places(contents.holdings, budget, None)
        rest = [other for other in whole_file if other.label != place.label and other.layout is place.layout]
        if len(rest) == 1 and network.take_statistics(_gathered(rest[0], budget)):
            note += f": it has parameters alone, BatchNorm's statistics are those of {quote(rest[0].label)}"
    nameless, said = take_nameless(network, contents.lists) if key is None and not place.is_averaged else ("", "")
    if nameless:
        note = f"{said}; {quote(place.label)} has others, and BatchNorm's statistics"
    try:
        config, stored = network.complete()
    except CheckpointError as error:
        if len(places) == 1:
            raise
        others = _listed([other for other in places if other is not place])
        raise CheckpointError(f"{error.what} (under {quote(place.label)}; other networks: {others})", error.why) from None
    beside = tuple(network.aside)
    around = semantic_fpn.around(network, config.dims, place.holding.entries, budget)
    notes = (*((note,) if note else ()), *network.notes(), *((said,) if said and not nameless else ()))
    unread = _unread_average(network, contents.holdings)
    if unread and key is None and not any(other.is_averaged for other in every):
        notes += (f"averaged weights lie under {quote(unread)}, with names that are not known: they were not read",)
    passed_over = (*network.passed_over(), *_elsewhere(contents, place, nameless))
    return Found(place.layout, config, stored, place.label, notes, passed_over, beside, around)


def _places(holdings: Sequence[Holding], budget: Budget, key: str | None) -> Iterator[Place]:
    """Yield every place where blocks of a VAN lie."""
    for holding in holdings:
        cut = _cut(".".join(holding.path), key)
        if cut is None:
            continue
        budget.step(KEY * len(holding.entries))
        budget.hold(KEY_MEMORY * len(holding.entries))
        blocks: dict[str, Counter[str]] = {}  # prefix -> layout -> tensors of blocks
        for raw in holding.entries:
            name = named_as(raw, cut)
            hits = [(hit, layout.name) for layout in LAYOUTS.values() if name and (hit := layout.find(name[0]))]
            first = min((hit[0] for hit, _ in hits), default=0)
            for (start, authors), layout in hits:
                if start == first and name and paths.block_of(authors):
                    blocks.setdefault(name[0][:start], Counter())[layout] += 1
        for prefix, votes in blocks.items():
            yield Place(holding, cut, prefix, LAYOUTS[votes.most_common(1)[0][0]])


def _cut(path: str, key: str | None) -> str | None:
    """Return what `key` takes away from the keys of the dictionary at `path`; None where it means another one."""
    if key is None or key == TOP or path == key or path.startswith(f"{key}."):
        return ""
    if path and not key.startswith(f"{path}."):
        return None
    return key[len(path) + 1 :] + "." if path else f"{key}."


def _chosen(places: list[Place], contents: Contents, budget: Budget, key: str | None) -> tuple[Place, str]:
    """Return the place of the network that is meant, and a sentence on the choice where there was one."""
    usable = [place for place in places if key is not None or not place.holding.inside]
    if not usable:
        place = places[0]
        what = f"the network lies in an object of the class {quote(place.holding.inside)}"
        raise CheckpointError(what, f"minivan makes nothing of what it means: to read its tensors, --key {place.label}")
    if len(usable) > 1:
        usable = [place for place in usable if not is_optimizers(place.label)] or usable
    if len(usable) > 1 and key is None:
        usable = [place for place in usable if not is_unfinished(place.holding.path)] or usable
    averages, why = _averages(usable, contents.whole)
    if len(usable) == 1:
        place = usable[0]
        inside = f", in an object of the class {quote(place.holding.inside)}" if place.holding.inside else ""
        others = f"; the file has {len(places) - 1} more" if len(places) > 1 else ""
        others = "; ".join(("", *_set_aside(places, usable))) or others
        if key is not None:
            return place, f"{quote(place.label)} was read, as asked{inside}"
        if averages or inside or others:
            return place, f"{quote(place.label)} was read{', the averaged weights' if averages else ''}{inside}{others}"
        return place, ""
    if len(averages) == 1 and len(usable) == 2:
        other = next(place for place in usable if place is not averages[0])
        return averages[0], f"{quote(averages[0].label)} was read, the averaged weights{why}; {quote(other.label)} has others"
    shown = [f"{quote(place.label)} ({_shape_text(place, budget)})" for place in usable[:MOST_SHOWN]]
    more = f" and {len(usable) - MOST_SHOWN} more" if len(usable) > MOST_SHOWN else ""
    raise CheckpointError(f"{len(usable)} networks: {', '.join(shown)}{more}", "say which one is meant with --key NAME")


def _averages(places: list[Place], whole: object) -> tuple[list[Place], str]:
    """Return the places of averaged weights, and why it is they where their names would not say so."""
    library, raw = swapped(whole)
    if library and any(place.holding.path[:1] == (raw,) for place in places):
        return [place for place in places if place.holding.path[:1] == ("state_dict",)], f" ({library} keeps them there)"
    return [place for place in places if place.is_averaged], ""


def _set_aside(places: list[Place], usable: list[Place]) -> Iterator[str]:
    """Say which averages are not read and why, of the places that are not usable."""
    for place in places:
        if place in usable:
            continue
        if is_unfinished(place.holding.path):
            why = "Lightning does not read it: its BatchNorm's statistics are from before the training"
            yield f"{quote(place.label)} is an average, but {why}"
        elif place.holding.inside and place.is_averaged:
            inside = quote(place.holding.inside)
            yield f"{quote(place.label)} is an average, in an object of the class {inside}: --key {place.label} reads it"


def _unread_average(network: Network, holdings: Sequence[Holding]) -> str:
    """Return where averages of names that are not known lie, beside the network or in a dictionary as large; '' for none."""
    half = len(network.named) / 2  # a metric may have such a name too
    beside = (name for name, count in network.aside.items() if count > half and name != MMCV_RAW)
    labels = (".".join(holding.path) for holding in holdings if holding.count > half)
    return next((name for name in (*beside, *labels) if says_averaged(name)), "")


def _shape_text(place: Place, budget: Budget) -> str:
    """Say in a few words what network lies at a place."""
    try:
        network = _gathered(place, budget)
        config = shape_of(network.named, place.layout, network.headless)
    except CheckpointError:
        return "not complete"
    classes = f"{config.classes} classes" if config.classes else "no head"
    return f"{title_with_shape(config)}, {classes}"


def _gathered(place: Place, budget: Budget, siblings: Sequence[str] = ()) -> Network:
    entries = len(place.holding.entries)
    budget.step(KEY * entries + entries * len(siblings) // 64)
    budget.hold(KEY_MEMORY * entries)
    return gathered(place.holding.entries, place.cut, place.prefix, place.layout, siblings)


def _listed(places: list[Place]) -> str:
    shown = ", ".join(quote(place.label) for place in places[:MOST_SHOWN])
    return shown + (f" and {len(places) - MOST_SHOWN} more" if len(places) > MOST_SHOWN else "")


def _elsewhere(contents: Contents, place: Place, nameless: str) -> Iterator[str]:
    """Say how many tensors lie in other dictionaries and lists, by the keys that those lie under."""
    counts: Counter[str] = Counter()
    for holding in contents.holdings:
        if holding.entries is not place.holding.entries:
            counts[".".join(holding.path[:1]) or TOP] += holding.count
    for one in contents.lists:
        if ".".join(one.path) != nameless:
            counts[".".join(one.path[:1]) or TOP] += len(one.tensors)
    for label, count in counts.most_common(MOST_SHOWN):
        yield f"{quote(label)}: {tensors(count)}"
    if len(counts) > MOST_SHOWN:
        yield f"{len(counts) - MOST_SHOWN} keys more"


def _nothing(contents: Contents, budget: Budget, key: str | None) -> CheckpointError:
    """Return the error that says why there is no network: what the file is instead, or what it holds."""
    if key is not None:
        every = list(_places(contents.holdings, budget, None))
        if every:
            return CheckpointError(f"no network under {quote(key)}", f"there {_count(every)}: {_listed(every)}")
    if contents.modules:
        return CheckpointError(f"a whole pickled model of the class {quote(contents.modules[0])}", diagnoses.WHOLE_MODEL)
    for holding in contents.holdings:
        tale = diagnoses.of_names(map(str, holding.entries), diagnoses.NETWORKS, budget)
        if tale:
            return CheckpointError(f"{tale.what}, by the names of its tensors", tale.why)
    whole = contents.whole
    if diagnoses.is_optimizer_of_deepspeed(whole):
        return CheckpointError(diagnoses.STATES, diagnoses.TOGETHER)
    if contents.holdings:
        first = max(contents.holdings, key=lambda holding: len(holding.entries))
        where = f" under {quote('.'.join(first.path))}" if first.path else ""
        titles = ", ".join(layout.title for layout in LAYOUTS.values())
        count = "1 entry" if len(first.entries) == 1 else f"{len(first.entries)} entries"
        entries = f"{count}{where}, {quote(str(next(iter(first.entries))))} first"
        budget.step(KEY * len(first.entries))
        known = sum(_is_known(name) for name in first.entries)
        if known:
            return CheckpointError(
                f"no block of a VAN: {entries}",
                f"though {known} of the names are known to {titles}" if known > 1 else f"though one name is known to {titles}",
            )
        return CheckpointError(f"not a VAN: {entries}", f"none has a name known to {titles}")
    if isinstance(whole, (StandIn, Name)):
        return CheckpointError(
            f"the file holds an object of the class {quote(whole.path)}", "a dictionary of tensors is wanted"
        )
    if not isinstance(whole, dict):
        return CheckpointError(f"the file holds {quote(whole)}", "a dictionary of tensors is wanted")
    keys = ", ".join(quote(name) for name in list(whole)[:8])
    return CheckpointError("the file has no dictionary of a VAN's tensors", f"its keys are {keys}" if keys else "it is empty")


def _is_known(key: object) -> bool:
    name = named_as(key, "")
    return name is not None and any(layout.find(name[0]) for layout in LAYOUTS.values())


def _count(places: list[Place]) -> str:
    return "is one" if len(places) == 1 else f"are {len(places)}"
