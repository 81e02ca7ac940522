"""How deep a pickle's containers lie in one another, whatever order they are put together in."""

from __future__ import annotations

from collections.abc import Iterable

from .error import CheckpointError

DEEPEST = 100  # containers inside one another; a checkpoint with its optimizer needs about six
CONTAINERS = (tuple, list, dict)
MEMORY = 250  # bytes that are kept for one container


class Depth:
    """How deep a container goes, itself included, and whether another holds it."""

    __slots__ = ("container", "depth", "held")

    def __init__(self, container: object) -> None:
        self.container, self.depth, self.held = container, 1, False  # kept alive, so that its id stays its own


class Nesting:
    """The depths of all containers of one pickle."""

    def __init__(self) -> None:
        self._depths: dict[int, Depth] = {}  # by the id of a container

    def add(self, container: object, children: Iterable[object] = ()) -> None:
        """Note a container, and what it is made with."""
        self._depths.setdefault(id(container), Depth(container))
        self.put(container, children)

    def put(self, container: object, children: Iterable[object]) -> None:
        """Note what is put into a container; CheckpointError beyond the limit.

        What lies in another container goes no deeper than when it was put there, so that the other's depth stays true. A
        pickler fills a container before it puts it into another, unless it lies in itself.
        """
        own = self._depths[id(container)]
        for child in children:
            if isinstance(child, CONTAINERS):
                below = self._depths[id(child)]
                below.held = True
                if below.depth >= own.depth:
                    own.depth = below.depth + 1
                    if own.held:
                        raise CheckpointError("a container that lies in another one goes deeper", "it may lie in itself")
        if own.depth > DEEPEST:
            raise CheckpointError(f"containers nested more than {DEEPEST} deep")
