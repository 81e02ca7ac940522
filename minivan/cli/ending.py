"""How a command ends: its exit status, and what is done first when a signal, Ctrl-C or a fault of its own ends it early."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from types import FrameType

from ..errors import WrongCall, reason, sentence
from .arguments import INTERRUPTED, RIGHT, SIGNALLED, WRONG
from .printing import complain, complain_of_all


class Ended(BaseException):
    """A signal that ends the process has come; files that are half written go as it passes."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def status_of(error: BaseException) -> int:
    """Say what there is to say of what ended a command, and return its exit status. SystemExit is raised again."""
    if isinstance(error, BrokenPipeError):  # `| head` closed the pipe: not an error
        return RIGHT
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, Ended):
        return SIGNALLED + error.number
    if isinstance(error, MemoryError):
        complain(f"not enough memory ({reason(error)}): smaller images, or fewer at once, need less")
        return WRONG
    if isinstance(error, (WrongCall, OSError)):
        complain(sentence(error))
        return WRONG
    if isinstance(error, Exception):
        import traceback

        complain_of_all(traceback.format_exception(error))
        complain("this is a fault of minivan itself, not of your call: please report it with the lines above")
        return WRONG
    raise error


@contextlib.contextmanager
def signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP, which would end the process at once, raise Ended in the main thread: once what is open is closed.

    A signal that somebody ignores (nohup) or handles stays as it is. A command that runs in another thread changes nothing.
    """
    import signal
    import threading

    def handle(number: int, frame: FrameType | None) -> None:
        raise Ended(number)

    changed = []
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, handle)
                changed.append(number)
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def none_lost() -> Iterator[None]:
    """Send Ctrl-C or a signal once more where it came while C code had called Python: what is raised there, nobody hears of.

    LLVM calls llvmlite in that way after every function that it has compiled.
    """
    before = sys.unraisablehook

    def hook(lost: sys.UnraisableHookArgs) -> None:
        if isinstance(lost.exc_value, Ended):
            number = lost.exc_value.number
        elif lost.exc_type is KeyboardInterrupt:
            import signal

            number = signal.SIGINT
        else:
            before(lost)
            return
        import threading

        again = threading.Timer(0.02, os.kill, (os.getpid(), number))  # not at once: it would be lost in the same place
        again.daemon = True
        again.start()

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before
