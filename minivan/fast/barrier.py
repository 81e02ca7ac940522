"""The barrier that a team's threads (team.py) meet at, and how they share work: each thread's own side, compiled."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from ..jit import inline, intrinsic
from .simd import INT, int_
from .tables import Member

SPINS = 4000  # looks at the barrier (some 20 microseconds) before the core is offered to another thread each time


@intrinsic()
def barrier(typing_context: Any, counter: Any, arrivals: Any, give_way: Any) -> Any:
    """Add 1 to the int64 at `counter`, a Pointer, then wait until it is at least `arrivals`.

    The counter only grows: the n-th barrier of a team of s waits for n * s, so no thread has to reset anything.
    """

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        address, arrivals, give_way = arguments
        counter = builder.inttoptr(address, INT.as_pointer())
        function = builder.inttoptr(give_way, ir.FunctionType(ir.IntType(32), []).as_pointer())
        builder.atomic_rmw("add", counter, int_(1), "acq_rel")
        before = builder.block
        look, wait, offer, again, done = (
            builder.append_basic_block(name) for name in ("look", "wait", "offer", "again", "done")
        )
        builder.branch(look)
        builder.position_at_end(look)
        turn = builder.phi(INT)
        turn.add_incoming(int_(0), before)
        arrived = builder.load_atomic(counter, "acquire", 8)
        builder.cbranch(builder.icmp_signed(">=", arrived, arrivals), done, wait)
        builder.position_at_end(wait)
        builder.cbranch(builder.icmp_signed(">", turn, int_(SPINS)), offer, again)
        builder.position_at_end(offer)
        builder.call(function, [])
        builder.branch(again)
        builder.position_at_end(again)
        turn.add_incoming(builder.add(turn, int_(1)), again)
        builder.branch(look)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return types.void(counter, arrivals, give_way), emit


@inline
def meet(me: Member) -> None:
    """Wait until every thread of the team is here."""
    if me.size > 1:
        me.arrived += me.size
        barrier(me.counter, me.arrived, me.give_way)


@inline
def share(count: int, me: Member) -> tuple[int, int]:
    """This thread's part of range(count): from the first to before the second."""
    return count * me.rank // me.size, count * (me.rank + 1) // me.size
