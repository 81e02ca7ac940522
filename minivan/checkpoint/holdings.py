"""The dictionaries of tensors in what a file holds, and where each lies."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .budget import Budget
from .standin import StandIn
from .tensor import StoredTensor

DEEPEST = 8  # dictionaries, lists and objects in one another that are looked into
VISIT, VISIT_MEMORY = 2, 300  # steps and bytes that it takes to look into one of them
CHARACTERS = 3  # of the keys above it that take one step more: they are looked through for words


@dataclass(frozen=True, eq=False)
class Holding:
    """One dictionary that holds tensors, and the keys of those around it; `inside` names the class of an object around it.

    Two are never compared by what they hold: a file can make that endless.
    """

    path: tuple[str, ...]
    entries: Mapping[Any, object]
    inside: str = ""

    @property
    def count(self) -> int:
        """How many tensors it holds."""
        return sum(isinstance(value, StoredTensor) for value in self.entries.values())


@dataclass(frozen=True, eq=False)
class Nameless:
    """One list that holds tensors and nothing else; the rest as for `Holding`."""

    path: tuple[str, ...]
    tensors: Sequence[StoredTensor]
    inside: str = ""


@dataclass
class Contents:
    """All that a file holds, as far as the search for a network needs it."""

    whole: object
    holdings: list[Holding] = field(default_factory=list)  # those nearest to the top first
    lists: list[Nameless] = field(default_factory=list)
    modules: list[str] = field(default_factory=list)  # the classes of networks that were pickled whole


def contents_of(whole: object, budget: Budget) -> Contents:
    """Look into dictionaries, lists, tuples and stand-ins, to a depth, each of them once."""
    found = Contents(whole)
    seen: set[int] = set()
    waiting: deque[tuple[tuple[str, ...], object, str]] = deque([((), whole, "")])
    while waiting:
        path, value, inside = waiting.popleft()
        if id(value) in seen:
            continue
        seen.add(id(value))
        budget.step(VISIT)
        budget.hold(VISIT_MEMORY)
        if isinstance(value, StandIn):
            if value.is_module:
                found.modules.append(value.path)
            inner = inside or value.path
            waiting.extend((path, part, inner) for part in value.parts() if isinstance(part, (dict, list, tuple)))
            continue
        if isinstance(value, Mapping):
            children: Iterable[tuple[object, object]] = value.items()
            budget.step(1 + len(value) // 8)
            if any(isinstance(child, StoredTensor) for child in value.values()):
                found.holdings.append(Holding(path, value, inside))
        elif isinstance(value, (list, tuple)):
            budget.step(1 + len(value) // 8)
            if value and all(isinstance(child, StoredTensor) for child in value):
                found.lists.append(Nameless(path, value, inside))
            children = enumerate(value)
        else:
            continue
        if len(path) < DEEPEST:
            above = sum(map(len, path))
            for key, child in children:
                if isinstance(child, (dict, list, tuple, StandIn)) and id(child) not in seen:
                    name = str(key)
                    budget.step(VISIT + (above + len(name)) // CHARACTERS)
                    budget.hold(VISIT_MEMORY + len(name))
                    waiting.append(((*path, name), child, inside))
    return found
