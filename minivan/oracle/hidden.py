"""Faults in layers that a port does not show: each is committed there, and the next layer that the port shows tells.

What lies between two layers that a port shows is computed from the first of them, with one layer altered, or all of a kind: a
port that has the wrong activation has it everywhere. One image is enough. The fault is named when what remains at the layer
that is shown is no more than rounding may add, and when no other comes as near; where two or three do, all are named.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from typing import NamedTuple, TypeAlias

import numpy as np

from ..checks import Floating
from ..paths import FACTOR, GATED, LAYER_SCALES, UNIT, block_of, within_block
from .compare import some
from .faults import faults_inside, order_faults
from .measure import apart
from .replay import Call, Replay, neighbourhood
from .stored import Layers

MOST_WORK = 1 << 34  # multiplications that are made to try faults in hidden layers, over all layers of a port
KEPT = 1 << 25  # numbers of layers between two that are shown, at most: no faults are tried among more
SEARCHED = 3  # layers, the first, before which hidden ones are searched; before the others, for what was found there
AS_NEAR = 2.0  # times as far as the nearest: what lies no further may be what is wrong, too
TOLD = 3  # faults that come as near as one another, at most: of more, none is named
Altered: TypeAlias = Callable[[str, Mapping[str, Floating]], Floating]  # a layer's numbers, given those of altered layers


@dataclass
class Search:
    """What has been spent on hidden layers, and what was found there."""

    work: int = MOST_WORK  # that may still be done
    layers: int = 0  # shown layers before which hidden ones were searched
    found: set[str] = field(default_factory=set)  # what is wrong in them, without their names
    short: int = 0  # how many hidden layers there are, where some fault in them was not tried for the work that it would be


class _Step(NamedTuple):
    """How a layer is made of others: which, by what, and with how many multiplications."""

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

    def __init__(self) -> None:
        self.given: dict[str, Floating] = {}  # the port's numbers of layers that are shown, and right ones of the others
        self.shown: set[str] = set()
        self.steps: dict[str, _Step] = {}
        self.scales: dict[str, Floating] = {}
        self.size = 0

    def add(self, path: str, given: Floating, call: Call | None, shown: bool, scale: Floating | None) -> None:
        """Add the next layer: what the layers after it are given, and the layer scale that it shows, if it is such a sum."""
        if self.size > KEPT:  # nothing is tried before the next layer that all after it are computed from
            self.given.clear()
            self.size = 0 if shown and _is_trunk(path) else self.size
        if self.size <= KEPT:
            self.given[path] = np.array(given[:1], np.float32, order="C")
            self.size += self.given[path].size
        if shown:
            self.shown.add(path)
        if scale is not None:
            self.scales[path] = scale
        step = self._step(path, call)
        if step is not None:
            self.steps[path] = step

    def forget(self) -> None:
        """Leave out the layers that no layer after these is computed from."""
        cuts = [path for path in self.given if path in self.shown and _is_trunk(path)]
        if cuts:
            kept = list(self.given)
            kept = kept[kept.index(cuts[-1]) :]
            self.given = {path: self.given[path] for path in kept}
            self.steps = {path: step for path, step in self.steps.items() if path in self.given}
            self.size = sum(array.size for array in self.given.values())

    def _step(self, path: str, call: Call | None) -> _Step | None:
        if call is not None:
            weight = call.parameters.get("weight")
            each = 1 if weight is None or weight.ndim < 2 else weight[0].size
            bare = call.without_x()
            return _Step((call.source,), lambda x: np.asarray(bare.again(x=x)), each, bare)
        block = block_of(path)
        begin = self.steps.get(f"{block}.norm1")
        if block is None or begin is None:
            return None
        inside = within_block(path)
        if inside == UNIT:
            return _Step((f"{block}.{GATED}", f"{block}.{FACTOR}"), np.multiply, 1, None)
        if inside == "attn":
            return _Step((f"{block}.norm1", f"{block}.attn.proj_2"), np.add, 1, None)
        if path not in self.scales:
            return None
        scaled = partial(_scaled, self.scales[path].astype(np.float32))
        if inside == LAYER_SCALES[0]:
            return _Step((begin.sources[0], f"{block}.attn"), scaled, 1, None)
        return _Step((f"{block}.{LAYER_SCALES[0]}", f"{block}.mlp.fc2"), scaled, 1, None)

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

    def reason(self, end: str, theirs: Floating, bound: float, unit: float, search: Search) -> str:
        """Return what is wrong in the layers that are hidden before `end`, '' where no known fault leaves less than `bound`.

        `theirs` has the port's numbers at `end`, of the image; `unit` is what a rounding adds there.
        """
        inside = self.hidden_before(end)
        if not inside:
            return ""
        search.layers += 1
        best: list[tuple[float, _Trial]] = []
        for only in (search.found, None):
            if best or only == set() or (only is None and search.layers > SEARCHED):
                continue
            kept = search.work // 2  # for faults in one layer
            for trial in self._trials(inside, only):
                work = self._work(trial.paths, inside, end)
                if work > search.work - (kept if len(trial.paths) > 1 else 0):
                    search.short = len(inside)
                    continue
                search.work -= work
                error = self._error(theirs, trial, inside, end)
                if error <= bound:
                    best.append((error, trial))
        if not best:
            return ""
        near = min(error for error, _ in best)
        alike = [trial for error, trial in sorted(best, key=lambda each: each[0]) if error <= AS_NEAR * max(near, unit)]
        if len(alike) > TOLD:
            return ""
        search.found.update(trial.text for trial in alike)
        return "; or ".join(_told(trial) for trial in alike)

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
        names = {*near, *(source for step in near.values() for source in step.sources)}
        given = {other: now.get(other, self.given[other]) for other in names if other in self.given}
        step = self.steps[path]
        given[path] = np.asarray(step.make(*(given[source] for source in step.sources)))
        held = Layers(given)
        calls = {
            other: replace(step.call, feed=partial(held.__getitem__, step.call.source))
            for other, step in near.items()
            if step.call is not None
        }
        block = block_of(path)
        scales = {other: scale for other, scale in self.scales.items() if block_of(other) == block}
        return Replay(values=held, given=held, calls=calls, scales=scales)

    def _work(self, paths: Iterable[str], inside: list[str], end: str) -> int:
        changed = set(paths)
        total = 0
        for path in (*inside, end):
            step = self.steps[path]
            if path in changed or changed.intersection(step.sources):
                changed.add(path)
                total += step.work * self.given[path].size
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
                if made.shape != self.given[path].shape:
                    return math.inf
                now[path] = np.asarray(made, np.float32, order="C")
        except ValueError:  # numbers whose shapes do not go together
            return math.inf
        return apart(theirs, now[end])


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
