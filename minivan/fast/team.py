"""Threads that run one compiled function together, and the barrier they meet at.

One call of the network is one compiled function that every thread of a team runs from beginning to end, each on its share
of every operator, with a barrier where one operator needs what others computed. VAN-B0 has some 110 operators, and its
forward pass takes 5 milliseconds on two cores. Measured there, in microseconds for one parallel region:

    prange, layer workqueue            54 to 66    and two Python threads that start regions at once abort the process
    prange, OpenMP, waiting asleep     33 to 38
    prange, OpenMP, spinning           2           but its threads keep a core busy after the network has answered
    this barrier                       0.2         and 50 once, to wake the others up

Nor does it need Numba's parallel compiler, which takes 0.3 s for the emptiest region.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from llvmlite import ir
from numba import types

from ..jit import inline, intrinsic
from .addresses import Pointer
from .simd import INT, int_
from .tables import Member

SPINS = 4000  # looks at the barrier (some 20 microseconds) before the core is offered to another thread each time


def _give_way() -> Pointer:
    """Return where the C function lies that gives the rest of a time slice away."""
    library = ctypes.CDLL("kernel32" if os.name == "nt" else None)
    function = library.SwitchToThread if os.name == "nt" else library.sched_yield
    return ctypes.cast(function, ctypes.c_void_p).value or 0


GIVE_WAY = _give_way()


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


class Team:
    """Runs a compiled function in several threads at once: the caller's and others that wait for work."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._size, self._process = 0, 0

    def run(self, function: Callable[..., None], jobs: Sequence[tuple[Any, ...]]) -> None:
        """Call function(*job) for every job, each in its own thread, and return when all have."""
        first, *others = jobs
        futures = [self._threads(len(others)).submit(function, *job) for job in others]
        function(*first)
        for future in futures:
            future.result()

    def _threads(self, size: int) -> ThreadPoolExecutor:
        """Return a pool of at least `size` threads; a forked child has none of its parent's, and starts its own."""
        with self._lock:
            if self._pool is None or self._size < size or self._process != os.getpid():
                self._pool = ThreadPoolExecutor(size, thread_name_prefix="minivan")
                self._size, self._process = size, os.getpid()
            return self._pool
