"""The stack of pickle's machine and its memo, with what each value takes counted."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from .budget import Budget
from .error import CheckpointError
from .nesting import MEMORY, Nesting

MOST_MEMO = 1 << 22
MARK = object()
UNSET = object()  # a memo's entry that was never written


class Stack:
    """Values in the order in which they were made, marks among them, and those that are remembered by a number."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.stack: list[Any] = []
        self.memo: list[object] = []  # no dictionary: the file chooses the indices, and could make them collide
        self.nesting = Nesting()

    def push(self, value: object) -> None:
        """Put a value on the stack: its place there is eight bytes for a step at least, and not counted."""
        self.stack.append(value)

    def push_new(self, value: object) -> None:
        """Put a value on the stack that was made for it, and count its memory."""
        self.budget.step()
        self.budget.hold(sys.getsizeof(value))
        self.stack.append(value)

    def push_container(self, value: object, children: Iterable[object] = ()) -> None:
        """Put a new container on the stack, made with these children."""
        self.budget.step()
        self.budget.hold(MEMORY)
        self.nesting.add(value, children)
        self.push_new(value)

    def pop(self) -> Any:
        """Take the value on top of the stack."""
        if not self.stack or self.stack[-1] is MARK:
            raise CheckpointError("the pickle takes a value from an empty stack")
        return self.stack.pop()

    def top(self) -> Any:
        """Return the value on top of the stack, and leave it there."""
        if not self.stack or self.stack[-1] is MARK:
            raise CheckpointError("the pickle needs a value on an empty stack")
        return self.stack[-1]

    def pop_to_mark(self) -> list[Any]:
        """Take what lies above the last mark, and the mark."""
        for index in range(len(self.stack) - 1, -1, -1):
            if self.stack[index] is MARK:
                items = self.stack[index + 1 :]
                del self.stack[index:]
                return items
        raise CheckpointError("the pickle closes a mark it never set")

    def drop(self) -> None:
        if self.stack and self.stack[-1] is MARK:
            self.stack.pop()
        else:
            self.pop()

    def duplicate(self) -> None:
        self.push(self.top())

    def memoize(self) -> None:
        self.remember(len(self.memo))

    def remember(self, index: int) -> None:
        if index >= MOST_MEMO:
            raise CheckpointError(f"memo entry {index}", f"the limit is {MOST_MEMO}")
        value, missing = self.top(), index + 1 - len(self.memo)
        if missing > 0:
            self.budget.hold(9 * missing)  # a list that grows has an eighth to spare
            self.memo.extend([UNSET] * missing)
        elif self.memo[index] is not UNSET:
            raise CheckpointError(f"memo entry {index} is written twice")
        self.memo[index] = value

    def recalled(self, index: int) -> object:
        """Return what was remembered under a number."""
        if index >= len(self.memo) or self.memo[index] is UNSET:
            raise CheckpointError(f"memo entry {index} is read before it is written")
        return self.memo[index]
