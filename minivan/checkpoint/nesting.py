"""How deep a pickle's containers lie in one another, whatever order they are put together in."""

from __future__ import annotations

from collections.abc import Iterable

from .error import CheckpointError

DEEPEST = 100  # containers inside one another; a checkpoint with its optimizer needs about six
CONTAINERS = (tuple, list, dict)
MEMORY = 250  # bytes that are kept for one container


class Nesting:
    """The depths of all containers of one pickle."""

    def __init__(self) -> None:
        self._kept: list[object] = []  # all containers: so that the id of each stays its own
        self._depths: dict[int, int] = {}  # by that id, how deep a container goes, itself included
        self._held: set[int] = set()  # the ids of those that lie in another

    def add(self, container: object, children: Iterable[object] = ()) -> None:
        """Note a container, and what it is made with."""
        if self._depths.setdefault(id(container), 1) == 1:
            self._kept.append(container)
        self.put(container, children)

    def put(self, container: object, children: Iterable[object]) -> None:
        """Note what is put into a container; CheckpointError beyond the limit.

        What lies in another container goes no deeper than when it was put there, so that the other's depth stays true. A
        pickler fills a container before it puts it into another, unless it lies in itself.
        """
        before = depth = self._depths[id(container)]
        for child in children:
            if isinstance(child, CONTAINERS):
                self._held.add(id(child))
                depth = max(depth, 1 + self._depths[id(child)])
        if depth == before:
            return
        if id(container) in self._held:
            raise CheckpointError("a container that lies in another one goes deeper", "it may lie in itself")
        if depth > DEEPEST:
            raise CheckpointError(f"containers nested more than {DEEPEST} deep")
        self._depths[id(container)] = depth
