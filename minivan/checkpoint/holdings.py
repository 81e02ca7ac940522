"""The dictionaries of tensors in what a file holds, and where each lies."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .budget import Budget
from .standin import StandIn
from .tensor import StoredTensor

DEEPEST = 8  # dictionaries, lists and objects in one another that are looked into
VISIT, VISIT_MEMORY = 2, 300  # steps and bytes that it takes to look into one of them


@dataclass(frozen=True)
class Holding:
    """One dictionary that holds tensors, and the keys of those around it; `inside` names the class of an object around it."""

    path: tuple[str, ...]
    entries: Mapping[Any, object]
    inside: str = ""


@dataclass
class Contents:
    """All that a file holds, as far as the search for a network needs it."""

    whole: object
    holdings: list[Holding] = field(default_factory=list)  # those nearest to the top first
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
            children = enumerate(value)
        else:
            continue
        if len(path) < DEEPEST:
            for key, child in children:
                if isinstance(child, (dict, list, tuple, StandIn)) and id(child) not in seen:
                    budget.step(VISIT)
                    budget.hold(VISIT_MEMORY)
                    waiting.append(((*path, str(key)), child, inside))
    return found
