"""What understanding one file may cost: operations, and bytes of Python objects. Both limits grow with the file's size.

Every reader of this folder takes its steps from one budget a file: the zip directory, the pickles, JSON, the search for the
network, its class names. Tensors are not counted: they are read when all is understood, and their sizes were checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .error import CheckpointError

BASE_STEPS = 400_000
BYTES_PER_STEP = 20
MOST_STEPS = 4_000_000  # a VAN-B6 with optimizer and averaged weights, 3 GB, takes 1.5 million
BASE_MEMORY = 64 << 20  # bytes
MEMORY_PER_BYTE = 4
MOST_MEMORY = 128 << 20  # that B6 takes 57 MiB


class Budget:
    """Steps and bytes that are left for a file of `size` bytes; what goes beyond them is a CheckpointError.

    A step is an opcode, a tensor, four marks of a JSON text, or what else takes about a microsecond.
    """

    __slots__ = ("memory", "most_memory", "most_steps", "steps")

    def __init__(self, size: int) -> None:
        self.most_steps = min(BASE_STEPS + size // BYTES_PER_STEP, MOST_STEPS)
        self.most_memory = min(BASE_MEMORY + MEMORY_PER_BYTE * size, MOST_MEMORY)
        self.steps = self.memory = 0

    def step(self, count: int = 1) -> None:
        """Count steps, before they are taken."""
        self.steps += count
        if self.steps > self.most_steps:
            raise CheckpointError(
                "the file takes too many steps to understand", f"the limit for one of its size is {self.most_steps:,}"
            )

    def hold(self, size: int) -> None:
        """Count bytes of memory, before they are taken; they are given back where `lending` ends, and nowhere else."""
        self.memory += size
        if self.memory > self.most_memory:
            raise CheckpointError(
                "the file's objects need too much memory", f"the limit for one of its size is {self.most_memory >> 20} MiB"
            )

    @contextmanager
    def lending(self) -> Iterator[None]:
        """Give back what a block holds when it ends: nothing that it made may be kept."""
        before = self.memory
        yield
        self.memory = before

    def grown(self, size: int) -> Budget:
        """Return the budget of a file of `size` bytes, from which is taken what was taken from this one."""
        other = type(self)(size)
        other.step(self.steps)
        other.hold(self.memory)
        return other
