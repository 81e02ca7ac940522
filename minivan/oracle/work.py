"""What trying faults may cost: a port that is wrong everywhere would take hours otherwise.

Work is counted in the time that one multiplication of a 1x1 convolution takes. The figures of other operators are what they
take beside it on an x86-64 processor with AVX-512, roughly: they are here for a bound, not for a forecast.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ..operators import Array
from .replay import Call

MOST_WORK = 1 << 39  # over all layers of a port: some minutes at most
DEPTHWISE = 10  # for each multiplication: a depthwise convolution has no use for what it has read but one
NUMBER = {"gelu": 400, "layer_norm": 200, "batch_norm": 100}  # for each number of the output
PLAIN = 10  # for each number that is read, added or put elsewhere
COMPARED = 100  # for each number of a layer that is compared with the port's


class Spent(Exception):
    """No more may be done."""


@dataclass
class Work:
    """What may still be done, and what of it is kept for later."""

    left: int = MOST_WORK
    kept: int = 0

    @property
    def free(self) -> int:
        """What may be done now."""
        return max(self.left - self.kept, 0)

    def spend(self, work: int) -> None:
        """Count some work. Raises Spent where there is no more, the first time before it is done."""
        if work > self.free:
            raise Spent
        self.left -= work

    @contextmanager
    def half(self) -> Iterator[None]:
        """A block in which no more than half of what is free is spent."""
        before = self.kept
        self.kept += self.free - self.free // 2
        try:
            yield
        finally:
            self.kept = before


def for_each_number(call: Call) -> int:
    """Return the work for each number of what an operator returns."""
    weight = call.parameters.get("weight")
    if weight is None or weight.ndim < 2:
        return NUMBER.get(call.operator, PLAIN)
    each = int(weight[0].size)
    return PLAIN + (each * DEPTHWISE if weight.ndim == 4 and weight.shape[1] == 1 and weight[0].size > 1 else each)


def counted(call: Call, work: Work) -> Call:
    """Return a call that counts what it costs to run it again, and raises Spent where that is too much."""
    return replace(call, function=partial(_counted, call, work))


def _counted(call: Call, work: Work, **arguments: Any) -> Array:
    if not work.free:
        raise Spent
    result = call.function(**arguments)
    work.spend(min(for_each_number(call) * result.size, work.free))
    return result
