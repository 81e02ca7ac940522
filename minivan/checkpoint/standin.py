"""What stands for an object whose class minivan does not know: it does nothing, and keeps what the file puts into it."""

from __future__ import annotations

from collections.abc import Iterator

OWN_TENSORS, OWN_MODULES = "_parameters", "_modules"  # attributes that every torch.nn.Module has


class StandIn:
    """An object of another package's class, or what its function would have given. Nothing of it is ever called.

    It keeps what the file made it of, its state and its items, because the network may lie in one of them; it is never any of
    them itself.
    """

    __slots__ = ("entries", "items", "made_of", "path", "state")

    def __init__(self, path: str, made_of: tuple[object, ...] = ()) -> None:
        self.path, self.made_of = path, made_of  # the class as the file names it, and the arguments it was called with
        self.state: object = None
        self.items: list[object] | None = None  # of a class that is a list
        self.entries: dict[object, object] | None = None  # of a class that is a dictionary: those with text as keys

    def set_state(self, state: object) -> None:
        """Keep what BUILD sets."""
        self.state = state

    def extend(self, items: list[object]) -> None:
        """Keep items of a class that is a list."""
        if self.items is None:
            self.items = []
        self.items.extend(items)

    def update(self, items: list[object]) -> None:
        """Keep keys and values of a class that is a dictionary, one after the other in `items`."""
        if self.entries is None:
            self.entries = {}
        for key, value in zip(items[::2], items[1::2], strict=True):
            if isinstance(key, str):
                self.entries[key] = value

    def parts(self) -> Iterator[object]:
        """Yield the containers in it: the arguments, the state (two where the class has slots), items and entries."""
        yield self.made_of
        yield from self.state if isinstance(self.state, tuple) and len(self.state) == 2 else (self.state,)
        yield self.items
        yield self.entries

    @property
    def is_module(self) -> bool:
        """True for a network pickled whole: a torch.nn.Module of somebody's class."""
        return isinstance(self.state, dict) and OWN_TENSORS in self.state and OWN_MODULES in self.state
