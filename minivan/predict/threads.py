"""Work done in threads that nobody has to wait for: not when it takes too long, not when the program ends."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")

GLANCE = 0.5  # seconds after which who waits looks whether the work has begun


class Job(Generic[Result]):
    """One piece of work; what it raises is raised where its result is asked for."""

    def __init__(self, work: Callable[[Job[Result]], Result]) -> None:
        self.work = work
        self.done = threading.Event()
        self.began: float | None = None
        self.left = False  # nobody waits for it any more
        self.result: Result | None = None
        self.error: BaseException | None = None

    def begin(self) -> None:
        """Start the clock: called by the work itself."""
        self.began = time.monotonic()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Stop the clock while the work waits for others."""
        spent = 0.0 if self.began is None else time.monotonic() - self.began
        self.began = None
        try:
            yield
        finally:
            self.began = time.monotonic() - spent

    def run(self) -> Job[Result]:
        try:
            self.result = self.work(self)
        except BaseException as error:  # it belongs to whoever asks for the result
            self.error = error
        self.done.set()
        return self


class Threads:
    """A number of threads that do jobs in order. They are daemons: the end of the program does not wait for them."""

    def __init__(self, number: int, name: str) -> None:
        self.number, self.name = number, name
        self.running = 0
        self.closed = False
        self.jobs: deque[Job[Any]] = deque()
        self.changed = threading.Condition()

    def submit(self, work: Callable[[Job[Result]], Result]) -> Job[Result]:
        """Have a piece of work done, after those that were submitted before."""
        job = Job(work)
        with self.changed:
            self.jobs.append(job)
            self.changed.notify()
            if self.running < min(self.number, self.running + len(self.jobs)):
                self._start()
        return job

    def result(self, job: Job[Result], seconds: float) -> Result:
        """Wait for a job, and return its result or raise its error.

        Raises TimeoutError when its clock has run for so long: its thread is left to it, and another one is started. Ctrl-C
        ends the wait at once. Where the system gives no thread at all, the job is done here, without a clock.
        """
        while True:
            if self._threadless(job):
                job.run()
            began = job.began
            left = GLANCE if began is None else began + seconds - time.monotonic()
            if job.done.wait(max(0.0, min(left, GLANCE))):
                break
            if began is not None and left <= 0:
                with self.changed:
                    job.left = True
                    self.running -= 1
                    if self.jobs:
                        self._start()
                raise TimeoutError(f"it took longer than {seconds:g} seconds to decode")
        if job.error is not None:
            raise job.error
        return job.result  # type: ignore[return-value]

    def close(self) -> None:
        """Drop what has not begun; threads end when they are done with what has."""
        with self.changed:
            self.closed = True
            self.jobs.clear()
            self.changed.notify_all()

    def _start(self) -> bool:
        """Start one more thread; False where the system gives none, by a limit on processes say."""
        try:
            threading.Thread(target=self._work, name=self.name, daemon=True).start()
        except RuntimeError:
            return False
        self.running += 1
        return True

    def _threadless(self, job: Job[Any]) -> bool:
        """Take a job back that waits although there is no thread, and none to be had."""
        with self.changed:
            if self.running or job not in self.jobs or self._start():
                return False
            self.jobs.remove(job)
            return True

    def _work(self) -> None:
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.closed or self.jobs)
                if self.closed:
                    return
                job = self.jobs.popleft()
            job.run()
            if job.left:
                return


class Budget:
    """An amount of memory that several threads share. Nobody who holds some of it may wait for more."""

    def __init__(self, most: int, patience: float) -> None:
        self.most, self.used, self.patience = most, 0, patience
        self.returns = 0
        self.changed = threading.Condition()

    @contextlib.contextmanager
    def of(self, amount: int) -> Iterator[Callable[[int], bool]]:
        """Hold an amount, or all that there is where it is more; waits until so much is left.

        Raises TimeoutError when nobody has given anything back for `patience` seconds: who holds it may never do so. Gives a
        function that changes the amount without a wait, and returns False where so much more is not left.
        """
        held = min(amount, self.most)

        def change(to: int) -> bool:
            nonlocal held
            more = min(to, self.most) - held
            with self.changed:
                if more > 0 and self.used + more > self.most:
                    return False
                self._add(more)
            held += more
            return True

        with self.changed:
            while self.used + held > self.most:
                if not self.changed.wait_for(self._returned(), self.patience):
                    raise TimeoutError("an image before it is still being decoded and holds the memory; try this one alone")
            self._add(held)
        try:
            yield change
        finally:
            with self.changed:
                self._add(-held)

    def _returned(self) -> Callable[[], bool]:
        """Return what says whether anything has been given back since."""
        before = self.returns
        return lambda: self.returns != before

    def _add(self, amount: int) -> None:
        self.used += amount
        if amount < 0:
            self.returns += 1
            self.changed.notify_all()


def alone(work: Callable[[], Result], seconds: float) -> Result:
    """Do a piece of work in a thread of its own, for at most so many seconds: TimeoutError, or Ctrl-C, leaves it behind."""

    def begun(job: Job[Result]) -> Result:
        job.begin()
        return work()

    threads = Threads(1, "alone")
    try:
        return threads.result(threads.submit(begun), seconds)
    finally:
        threads.close()
