"""Threads that run one compiled function together; the barrier that they meet at is in barrier.py.

One call of the network is one compiled function that every thread of a team runs from beginning to end, each on its share
of every operator, with a barrier where one operator needs what others computed. VAN-B0 has some 110 operators, and its
forward pass takes 5 milliseconds on two cores. Measured there, in microseconds for one parallel region:

    prange, layer workqueue            54 to 66    and two Python threads that start regions at once abort the process
    prange, OpenMP, waiting asleep     33 to 38
    prange, OpenMP, spinning           2           but its threads keep a core busy after the network has answered
    barrier.py                         0.2         and 50 once, to wake the others up

Nor does it need Numba's parallel compiler, which takes 0.3 s for the emptiest region.

A thread that waits at the barrier cannot be woken by an exception. Where a member fails, its team's counter is set beyond
every number of arrivals (`release`): the others then run to the end, on memory that is still theirs, and what they compute is
thrown away.
"""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from sys import is_finalizing
from typing import Any, TypeAlias

from .addresses import Pointer


def _give_way() -> Pointer:
    """Return where the C function lies that gives the rest of a time slice away."""
    library = ctypes.CDLL("kernel32" if os.name == "nt" else None)
    function = library.SwitchToThread if os.name == "nt" else library.sched_yield
    return ctypes.cast(function, ctypes.c_void_p).value or 0


GIVE_WAY = _give_way()
RELEASED = 1 << 62  # arrivals that no barrier waits for


class Work:
    """One helper's part of a run: carried out once, however often it is handed out."""

    def __init__(self, function: Callable[..., None], job: tuple[Any, ...], release: Callable[[], None]) -> None:
        self._function, self._job, self._release = function, job, release
        self._claim, self._end = threading.Lock(), threading.Lock()
        self._end.acquire()
        self._ended = False
        self.error: BaseException | None = None

    def carry_out(self) -> None:
        """Call the function, unless somebody has begun to; keep what it raises, and let the others pass then."""
        if not self._claim.acquire(blocking=False):
            return
        try:
            self._function(*self._job)
        except BaseException as error:
            self.error = error
            self._release()
        finally:
            self._ended = True
            self._end.release()

    def wait(self) -> None:
        """Wait until it has been carried out. May be interrupted and called again, which threading.Event does not survive."""
        while not self._ended:
            self._end.acquire()


Desk: TypeAlias = "SimpleQueue[Work | None]"  # where a helper finds its work; None sends it home


def _serve(desk: Desk) -> None:
    """A helper's life. It holds on to its desk alone, so that its team, and the memory it worked on, can go."""
    while (work := desk.get()) is not None:
        work.carry_out()
        del work


class Team:
    """Runs a compiled function in several threads at once: the caller's and helpers, which wait for work.

    Whatever happens while they run (Ctrl-C, an error in one of them, no memory), every helper that has begun has also ended
    when `run` returns or raises: nobody works on with memory that the caller is about to free. Helpers end with their team.
    """

    def __init__(self) -> None:
        self.turn = threading.Lock()  # for whoever lets callers take turns
        self._desks: list[Desk] = []
        _teams.add(self)

    def gather(self, size: int) -> int:
        """See that the team has `size` members, the caller among them; return how many it has, where no more threads start.

        While the interpreter ends, when finalizers run, it is the caller alone: no other thread wakes up any more.
        """
        if is_finalizing():
            return 1
        while len(self._desks) < size - 1:
            desk: Desk = SimpleQueue()
            helper = threading.Thread(target=_serve, args=(desk,), name=f"minivan-{len(self._desks) + 1}", daemon=True)
            home = weakref.finalize(self, desk.put, None)
            home.atexit = False  # models answer until the very end of the process
            try:
                helper.start()
                self._desks.append(desk)
            except BaseException as error:  # such as Ctrl-C, once the helper has begun
                if desk not in self._desks:
                    home()
                if isinstance(error, RuntimeError):  # a limit of the system's, or the interpreter is about to end
                    break
                raise
        return min(size, 1 + len(self._desks))

    def run(self, function: Callable[..., None], jobs: Sequence[tuple[Any, ...]], release: Callable[[], None]) -> None:
        """Call function(*job) for every job, each in its own thread, and return when all have.

        There are at most as many jobs as `gather` said. `release` is called where one of them fails: it lets the others
        come to their end, who would wait for it at a barrier for ever. Raises what the caller's own part raised, or what
        came while it waited, such as Ctrl-C, else the first error of a helper.
        """
        first, *others = jobs
        works = [Work(function, job, release) for job in others]
        arrived, came = False, None
        try:
            for desk, work in zip(self._desks, works, strict=False):
                desk.put(work)
            function(*first)
            arrived = True
        finally:
            while True:  # nothing is called outside of `try`: between calls, the next Ctrl-C may come
                try:
                    if not arrived:  # and who knows to whom work was handed out; twice does no harm
                        release()
                        for desk, work in zip(self._desks, works, strict=False):
                            desk.put(work)
                    for work in works:
                        work.wait()
                    break
                except BaseException as error:
                    came = came or error
            if came is not None:
                raise came
        for work in works:
            if work.error is not None:
                raise work.error

    def forget(self) -> None:
        """In a forked child: nobody else is there, neither helpers nor whoever holds the lock."""
        self.turn = threading.Lock()
        self._desks = []


_teams: weakref.WeakSet[Team] = weakref.WeakSet()


def _forget_teams() -> None:
    for team in list(_teams):
        team.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_teams)
