"""Faults in layers that a port does not show: each is committed there, and the next layer that the port shows tells.

What lies between two layers that a port shows is computed from the first of them, with one layer altered, or all of a kind: a
port that has the wrong activation has it everywhere. One image is enough. The fault is named when what remains at the layer
that is shown is no more than rounding may add, and when no other comes as near; where two or three do, all are named.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from itertools import chain
from typing import NamedTuple, TypeAlias

import numpy as np

from ..checks import Floating
from ..paths import FACTOR, GATED, LAYER_SCALES, UNIT, block_of, within_block
from .compare import some
from .faults import faults_inside, order_faults
from .measure import apart
from .replay import Call, Made, Replay, neighbourhood
from .work import COMPARED, PLAIN, Work, for_each_number

KEPT = 1 << 25  # numbers of hidden layers between two that are shown, at most: no faults are tried among more
SEARCHED = 3  # layers, the first, before which hidden ones are searched; before the others, for what was found there
AS_NEAR = 2.0  # times as far as the nearest: what lies no further may be what is wrong, too
TOLD = 3  # faults that come as near as one another, at most: of more, so many are named as some of them
NOT_ALL = "{} layers before it are not shown, and not every known fault was tried in them: have the port show some"
NONE = "no fault was tried in the layers before it that are not shown"
TOO_WIDE = f"{NONE}: they hold too many numbers; have the port show some"
NO_NUMBERS = f"{NONE}: what is wrong here cannot be measured; have the port show some"
NOT_SEARCHED = (
    f"the {{}} layers before it that are not shown were not searched: only those before the first {SEARCHED} wrong layers are"
)
OTHER_IMAGE = f"{NONE}: it is image {{}} that is wrong here, and it was image {{}} before"
Altered: TypeAlias = Callable[[str, Mapping[str, Floating]], Floating]  # a layer's numbers, given those of altered layers


@dataclass
class Search:
    """What has been done in hidden layers, and what was found there."""

    layers: int = 0  # shown layers before which hidden ones were searched
    found: set[str] = field(default_factory=set)  # what is wrong in them, without their names
    untried: str = ""  # why some fault was not tried in the layers hidden before the one that is looked at; '' where all were


class _Step(NamedTuple):
    """How a layer is made of others: which, by what, and with how much work for each number."""

    sources: tuple[str, ...]
    make: Callable[..., Floating]
    work: int
    call: Call | None


class _Trial(NamedTuple):
    """A fault in some layers, and a function that gives an altered layer's numbers."""

    text: str
    paths: tuple[str, ...]
    altered: Altered


class Stretch:
    """The layers since the last one that is shown and that all after it are computed from, of one image."""

    def __init__(self, image: int = 0) -> None:
        self.image = image
        self.given = Made()  # the port's numbers of layers that are shown, and right ones of the others
        self.shown: set[str] = set()
        self.steps: dict[str, _Step] = {}
        self.scales: dict[str, Floating] = {}
        self.size = 0  # numbers of hidden layers, which are held; those of the others are read when they are needed
        self.full = False  # whether they were too many: then none is kept before the next layer that all after it come from

    def overflows(self, given: Floating, read: Callable[[], Floating] | None) -> bool:
        """Whether the layers are let go when this one is added."""
        return read is None and not self.full and self.size + given[:1].size > KEPT

    def add(
        self, path: str, given: Floating, call: Call | None, read: Callable[[], Floating] | None, scale: Floating | None
    ) -> None:
        """Add the next layer: what the layers after it are given, and the layer scale that it shows, if it is such a sum.

        `read` reads a layer that is shown once more; one that is hidden has none, and is held.
        """
        if read is not None:
            self.shown.add(path)
            self.full = self.full and not _is_trunk(path)
        elif self.overflows(given, read):
            self.full, self.size, self.given = True, 0, Made()
        if not self.full:
            self._put(path, given, read)
        if scale is not None:
            self.scales[path] = scale
        step = self._step(path, call)
        if step is not None:
            self.steps[path] = step

    def _put(self, path: str, given: Floating, read: Callable[[], Floating] | None) -> None:
        shape, chosen = (1, *given.shape[1:]), slice(self.image, self.image + 1)
        if read is not None:
            self.given.put(path, shape, lambda: np.array(read()[chosen], np.float32, order="C"))
            return
        held = np.array(given[chosen], np.float32, order="C")
        self.size += held.size
        self.given.put(path, shape, lambda: held)

    def forget(self) -> None:
        """Leave out the layers that no layer after these is computed from."""
        cuts = [path for path in self.given if path in self.shown and _is_trunk(path)]
        if cuts:
            kept = list(self.given)
            kept = kept[kept.index(cuts[-1]) :]
            before, self.given = self.given, Made()
            for path in kept:
                self.given.put(path, *before.ways[path])
            self.steps = {path: step for path, step in self.steps.items() if path in self.given}
            self.size = sum(self._size(path) for path in self.given if path not in self.shown)

    def _size(self, path: str) -> int:
        return math.prod(self.given.shape(path))

    def _step(self, path: str, call: Call | None) -> _Step | None:
        if call is not None:
            bare = call.without_x()
            return _Step((call.source,), lambda x: np.asarray(bare.again(x=x)), for_each_number(call), bare)
        block = block_of(path)
        begin = self.steps.get(f"{block}.norm1")
        if block is None or begin is None:
            return None
        inside = within_block(path)
        if inside == UNIT:
            return _Step((f"{block}.{GATED}", f"{block}.{FACTOR}"), np.multiply, PLAIN, None)
        if inside == "attn":
            return _Step((f"{block}.norm1", f"{block}.attn.proj_2"), np.add, PLAIN, None)
        if path not in self.scales:
            return None
        scaled = partial(_scaled, self.scales[path].astype(np.float32))
        if inside == LAYER_SCALES[0]:
            return _Step((begin.sources[0], f"{block}.attn"), scaled, PLAIN, None)
        return _Step((f"{block}.{LAYER_SCALES[0]}", f"{block}.mlp.fc2"), scaled, PLAIN, None)

    def is_open(self, path: str) -> bool:
        """Whether a layer is computed from some that is not shown, or from who knows what."""
        step = self.steps.get(path)
        return step is None or not self.shown.issuperset(step.sources)

    def hidden_before(self, end: str) -> list[str]:
        """Return the layers, in order, that reach a layer without passing through one that is shown."""
        found: set[str] = set()
        ahead = [end]
        while ahead:
            new = [path for path in self._sources(ahead.pop()) if path not in self.shown and path not in found]
            found.update(new)
            ahead += new
        return [path for path in self.given if path in found and self._sources(path)]

    def _sources(self, path: str) -> tuple[str, ...]:
        """Return the layers that a layer is computed from; none where that is not known, or where one is not kept."""
        step = self.steps.get(path)
        return step.sources if step is not None and all(source in self.given for source in step.sources) else ()

    def reason(self, end: str, theirs: Floating, bound: float, unit: float, search: Search, work: Work) -> str:
        """Return what is wrong in the layers that are hidden before `end`, '' where no known fault leaves less than `bound`.

        `theirs` has the port's numbers at `end`, of the image; `unit` is what a rounding adds there.
        """
        inside = self.hidden_before(end)
        if not inside:
            step = self.steps.get(end)
            search.untried = "" if step is None or all(source in self.given for source in step.sources) else TOO_WIDE
            return ""
        search.layers += 1
        self._hold(inside, end)
        best: list[tuple[float, _Trial]] = []
        for only in (search.found, None):
            if best or only == set():
                continue
            if only is None and search.layers > SEARCHED:
                search.untried = NOT_SEARCHED.format(len(inside))
                continue
            kept = work.free // 2  # for faults in one layer
            for trial in self._trials(inside, only):
                needed = self._work(trial.paths, inside, end)
                if needed > work.free - (kept if len(trial.paths) > 1 else 0):
                    search.untried = NOT_ALL.format(len(inside))
                    continue
                work.spend(needed)
                error = self._error(theirs, trial, inside, end)
                if error <= bound:
                    best.append((error, trial))
        if not best:
            return ""
        near = min(error for error, _ in best)
        alike = [trial for error, trial in sorted(best, key=lambda each: each[0]) if error <= AS_NEAR * max(near, unit)]
        names = "; or ".join(_told(trial) for trial in alike[:TOLD])
        if len(alike) > TOLD:
            return f"{len(alike)} known faults give these numbers, among them: {names}"
        search.found.update(trial.text for trial in alike)
        return names

    def _hold(self, inside: list[str], end: str) -> None:
        """Read the shown layers that hidden ones are computed from, once for all trials."""
        for source in {source for path in (*inside, end) for source in self.steps[path].sources} & self.shown:
            array = self.given[source]
            self.given.put(source, array.shape, partial(np.asarray, array))

    def _trials(self, inside: list[str], only: set[str] | None) -> Iterator[_Trial]:
        """Yield the faults of all layers of a kind, and then of each layer, the last first, which is least work.

        Of the former, the many faults of convolutions come last.
        """
        kinds: dict[tuple[str, str], list[str]] = {}
        for path in inside:
            for text, _ in faults_inside(path, self._around(path, {})):
                if only is None or text in only:
                    for kind in {_name(path), _operator(self.steps[path], path)}:
                        kinds.setdefault((kind, text), []).append(path)
        told: set[tuple[str, ...]] = set()
        for (_, text), paths in sorted(kinds.items(), key=lambda kind: self._is_convolution(kind[1][0])):
            paths = list(dict.fromkeys(paths))
            if len(paths) > 1 and (text, *paths) not in told:
                told.add((text, *paths))
                yield _Trial(text, tuple(paths), partial(self._altered, text))
        for path in reversed(inside):
            seen = self._around(path, {})
            for text, commit in chain(faults_inside(path, seen), order_faults(path, seen.values[path])):
                if only is None or text in only:
                    yield _Trial(text, (path,), partial(_committed, commit))

    def _is_convolution(self, path: str) -> bool:
        call = self.steps[path].call
        return call is not None and call.operator == "conv2d"

    def _altered(self, text: str, path: str, now: Mapping[str, Floating]) -> Floating:
        for other, commit in faults_inside(path, self._around(path, now)):
            if other == text:
                return commit()
        raise ValueError(f"no fault of {path} is called so")

    def _around(self, path: str, now: Mapping[str, Floating]) -> Replay:
        """Return what is known of a layer's neighbourhood, where some layers have other numbers than they should."""
        place = neighbourhood(path)
        near = {other: step for other, step in self.steps.items() if neighbourhood(other) == place}
        given = Made()
        for other in {*near, *(source for step in near.values() for source in step.sources)}:
            if other in now or other in self.given:
                given.put(other, self.given.shape(other), partial(_either, now, self.given, other))
        step = self.steps[path]
        right = cache(lambda: np.asarray(step.make(*(given[source] for source in step.sources))))
        given.put(path, self.given.shape(path), right)
        calls = {
            other: replace(step.call, feed=partial(given.__getitem__, step.call.source))
            for other, step in near.items()
            if step.call is not None
        }
        block = block_of(path)
        scales = {other: scale for other, scale in self.scales.items() if block_of(other) == block}
        return Replay(values=given, given=given, calls=calls, scales=scales)

    def _work(self, paths: Iterable[str], inside: list[str], end: str) -> int:
        changed = set(paths)
        total = COMPARED * self._size(end)
        for path in (*inside, end):
            step = self.steps[path]
            if path in changed or changed.intersection(step.sources):
                changed.add(path)
                total += step.work * self._size(path)
        return total

    def _error(self, theirs: Floating, trial: _Trial, inside: list[str], end: str) -> float:
        """Return how far the port's numbers are from those of a layer that altered layers make; infinite where none can be."""
        now: dict[str, Floating] = {}
        try:
            for path in (*inside, end):
                step = self.steps[path]
                if path in trial.paths:
                    made = trial.altered(path, now)
                elif any(source in now for source in step.sources):
                    made = step.make(*(now.get(source, self.given[source]) for source in step.sources))
                else:
                    continue
                if made.shape != self.given.shape(path):
                    return math.inf
                now[path] = np.asarray(made, np.float32, order="C")
        except ValueError:  # numbers whose shapes do not go together
            return math.inf
        return apart(theirs, now[end])


def _either(now: Mapping[str, Floating], given: Made, path: str) -> Floating:
    return now[path] if path in now else given[path]


def _committed(commit: Callable[[], Floating], path: str, now: Mapping[str, Floating]) -> Floating:
    return commit()


def _scaled(scale: Floating, x: Floating, branch: Floating) -> Floating:
    return np.asarray(x + scale * branch)


def _is_trunk(path: str) -> bool:
    """Whether all layers after a layer are computed from it alone."""
    block = block_of(path)
    return block in (None, path) or within_block(path) == LAYER_SCALES[0]


def _name(path: str) -> str:
    """What a layer is called in every block, or every stage."""
    return within_block(path) if block_of(path) else path.partition(".")[2]


def _operator(step: _Step, path: str) -> str:
    return _name(path) if step.call is None else step.call.operator


def _told(trial: _Trial) -> str:
    if len(trial.paths) == 1:
        return f"in {trial.paths[0]}, which the port does not show: {trial.text}"
    more = ", ..." if len(trial.paths) > 3 else ""
    return f"in {len(trial.paths)} layers that the port does not show ({some(trial.paths)}{more}): {trial.text}"
