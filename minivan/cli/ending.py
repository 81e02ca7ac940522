"""How a command ends: its exit status, and what is done first when a signal, Ctrl-C or a fault of its own ends it early."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Collection, Iterator
from types import FrameType

from ..errors import WrongCall, printable, reason, sentence
from .arguments import INTERRUPTED, RIGHT, SIGNALLED, WRONG
from .printing import complain, complain_of_all

SIGNALS = ("SIGTERM", "SIGHUP", "SIGQUIT", "SIGXCPU", "SIGALRM", "SIGUSR1", "SIGUSR2")  # that end a process which does not care
GRACE = 10  # seconds from a signal to the end of the process, whatever it is doing


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
    if wants_memory(error):
        complain(f"not enough memory ({reason(error)}): smaller images, or fewer at once, need less")
        return WRONG
    if isinstance(error, (WrongCall, OSError)):
        complain(sentence(error) + where_we_are())
        return WRONG
    if isinstance(error, Exception) and (gone := where_we_are()):  # Python itself stumbles there: 3.13.0 cannot import NumPy
        complain(sentence(error) + gone)
        return WRONG
    if isinstance(error, ModuleNotFoundError) and error.name and error.name.partition(".")[0] != "minivan":
        complain(
            f"the Python package {printable(error.name)} is not here: install minivan anew with pip, which brings what it needs"
        )
        return WRONG
    if isinstance(error, Exception):
        import traceback

        complain_of_all(traceback.format_exception(error))
        complain("this is a fault of minivan itself, not of your call: please report it with the lines above")
        return WRONG
    raise error


def wants_memory(error: BaseException) -> bool:
    """Tell whether an error, or one that it began with, says that there is no memory left, in whatever words."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    if isinstance(error, ImportError) and "failed to map segment" in str(error):  # the dynamic linker's words
        return True
    cause = error.__cause__ or error.__context__
    return cause is not None and wants_memory(cause)


def where_we_are() -> str:
    """Return what to add to an error where its cause is that the current folder has been removed."""
    try:
        os.getcwd()
    except OSError:
        return " (the current folder is not there any more: change to another)"
    return ""


@contextlib.contextmanager
def signals() -> Iterator[None]:
    """Let SIGNALS, which would end the process at once, raise Ended in the main thread: what is open is closed then.

    Python raises it when compiled code has returned. Where it has not for GRACE seconds, after Ctrl-C too, the process ends
    all the same. A signal that somebody ignores (nohup) or handles stays as it is; a command that runs in another thread
    changes nothing.
    """
    import signal
    import threading

    def handle(number: int, frame: FrameType | None) -> None:
        raise Ended(number)

    changed = []
    if threading.current_thread() is threading.main_thread():
        for name in SIGNALS:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, handle)
                changed.append(number)
    try:
        with patience(changed) if changed else contextlib.nullcontext():
            yield
    finally:
        for number in changed:
            signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def patience(numbers: Collection[int]) -> Iterator[None]:
    """End the process GRACE seconds after one of these signals, or Ctrl-C, unless the block ends before."""
    import signal
    import threading

    if os.name == "nt":  # which has no such signals, and whose pipes cannot be told not to wait
        yield
        return
    heard, told = os.pipe()
    os.set_blocking(told, False)
    over = threading.Event()

    def wait() -> None:
        with open(heard, "rb", buffering=0) as numbers_heard:
            while number := numbers_heard.read(1):  # of each signal that Python handles: written when it comes, whatever runs
                if number[0] in (*numbers, signal.SIGINT) and not over.wait(GRACE):
                    os._exit(SIGNALLED + number[0])

    listens = False
    before = signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    try:
        if before == -1:  # else an event loop runs here, which ends as it likes
            with contextlib.suppress(RuntimeError):  # no more threads: then it takes what it takes
                threading.Thread(target=wait, name="minivan-patience", daemon=True).start()
                listens = True
        else:
            signal.set_wakeup_fd(before)
        yield
    finally:
        over.set()
        if before == -1:
            signal.set_wakeup_fd(-1)
        os.close(told)
        if not listens:
            os.close(heard)


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
