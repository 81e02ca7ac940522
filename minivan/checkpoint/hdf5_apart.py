"""HDF5 files are read by a process of their own, which the system ends where it takes too much.

HDF5's library is large and was not written for files that mean harm: a few bytes in the wrong place make it search for ever, or
take the whole process with it. So `hdf5.py` runs in a child that has a limit of processor time and one of memory. It says what
arrays there are, and hands over the bytes of those that are asked for: a line of JSON each way, and then the bytes. It is given
the file itself on its standard input and opens nothing.
"""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from io import BufferedIOBase
from pathlib import Path
from typing import IO, Any

import numpy as np

from .budget import Budget
from .error import CheckpointError
from .extra import library
from .hdf5 import DAMAGED, LARGEST_GROWTH, contents
from .tensor import Bytes, StoredTensor

SECONDS = 2  # of the processor's time that a file may take, and those for its size
SPEED = 10_000_000  # bytes that are read and unpacked in one
COPIED = 1 << 20  # bytes of the file that are handed over at once
SPARE = 256 << 20  # bytes of address space, besides what Python takes and what the arrays do
CHILD = "import sys; sys.path[:] = sys.argv[3:]; from minivan.checkpoint import hdf5_apart; hdf5_apart.serve(*sys.argv[1:3])"
OPENER = "an HDF5 file"


class Child:
    """The process that reads an HDF5 file of `size` bytes. It ends when `close` is called, or when this process ends."""

    def __init__(self, size: int, without: str) -> None:
        if not sys.executable or getattr(sys, "frozen", False):
            raise CheckpointError(OPENER, "a process of its own reads it, and this program is no Python that could start one")
        path = [str(Path(entry).absolute()) for entry in sys.path]
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-c", CHILD, str(size), without, *path],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        except OSError as error:
            raise CheckpointError(OPENER, f"no process can be started that reads it: {error.strerror}") from None
        assert self.process.stdin and self.process.stdout
        self.questions, self.answers = self.process.stdin, self.process.stdout

    def give(self, file: BufferedIOBase, size: int) -> None:
        """Hand over `size` bytes of the file."""
        file.seek(0)
        with suppress(BrokenPipeError):  # it has ended, and `ask` finds out why
            while size and (part := file.read(min(size, COPIED))):
                self.questions.write(part)
                size -= len(part)
            self.questions.flush()
            if size:  # cut short meanwhile: it shall not wait for the rest
                self.questions.close()

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.questions, self.answers):
            with suppress(OSError):  # what was not sent yet
                pipe.close()

    def ask(self, *question: int) -> Any:
        """Send a question, if there is one, and return the answer. Raises CheckpointError for one that is an error."""
        with suppress(BrokenPipeError, ValueError):  # ValueError: closed by `give`
            if question:
                self.questions.write(json.dumps(question).encode() + b"\n")
                self.questions.flush()
        line = self.answers.readline()
        if not line.endswith(b"\n"):
            raise self.ended()
        answer = json.loads(line)
        if "error" in answer:
            raise CheckpointError(*answer["error"])
        return answer["found"]

    def fetch(self, number: int, start: int, size: int) -> Bytes:
        """Return `size` bytes from `start` on of the array with this number."""
        self.ask(number, start, size)
        data = self.answers.read(size)
        if len(data) < size:
            raise self.ended()
        return np.frombuffer(bytearray(data), np.uint8)

    def ended(self) -> CheckpointError:
        """Return what to say of a process that ended without an answer."""
        status = self.process.wait()
        if -status == getattr(signal, "SIGXCPU", None):
            return CheckpointError(DAMAGED, "reading it takes too long")
        return CheckpointError(DAMAGED, f"what reads it ended without a word, with status {status}")


def contents_apart(file: BufferedIOBase, budget: Budget, stack: ExitStack, without: str = "") -> dict[str, StoredTensor]:
    """Do what `hdf5.contents` does in a process of its own, which ends when `stack` closes.

    Errors are the same, and CheckpointError too for a file that takes more of the processor's time than `SECONDS` and those for
    its size.
    """
    size = file.seek(0, 2)
    child = Child(size, without)
    stack.callback(child.close)
    child.give(file, size)
    found = child.ask()
    budget.step(8 * len(found))
    return {
        name: StoredTensor(tuple(shape), dtype, partial(child.fetch, number), byteorder=byteorder)
        for number, (name, shape, dtype, byteorder) in enumerate(found)
    }


def serve(size: str, without: str) -> None:
    """Be the child: take the file, say what arrays there are, and answer for their bytes until standard input ends."""
    asked, out = sys.stdin.buffer, sys.stdout.buffer
    arrays: list[StoredTensor] = []
    with ExitStack() as stack:
        with _said(out):
            file = io.BytesIO(asked.read(int(size)))
            library("h5py", "keras", OPENER)  # what it takes to be imported is not the file's
            _limit(int(size))
            found = contents(file, Budget(int(size)), stack, without)
            arrays.extend(found.values())
            _say(out, [(name, array.shape, array.dtype, array.byteorder) for name, array in found.items()])
        for line in asked:
            number, start, count = json.loads(line)
            with _said(out):
                data = arrays[number].fetch(start, count)
                _say(out, count, data)


def _say(out: IO[bytes], found: object, data: Bytes | None = None) -> None:
    out.write(json.dumps({"found": found}).encode() + b"\n")
    if data is not None:
        out.write(np.ascontiguousarray(data).data)
    out.flush()


@contextmanager
def _said(out: IO[bytes]) -> Iterator[None]:
    """Tell the parent what goes wrong."""
    try:
        yield
        return
    except CheckpointError as error:
        said = error.what, error.why, error.where
    except MemoryError:
        said = DAMAGED, "reading it takes too much memory", ""
    out.write(json.dumps({"error": said}).encode() + b"\n")
    out.flush()


def _limit(size: int) -> None:
    """Let the system end this process, or give it no more memory, where a file of `size` bytes takes too much."""
    try:
        import resource
    except ImportError:  # Windows
        return
    limits = {
        resource.RLIMIT_CPU: int(time.process_time()) + 1 + SECONDS + size // SPEED,
        resource.RLIMIT_CORE: 0,
    }
    with suppress(OSError):  # elsewhere than on Linux nobody says what is taken now
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limits[resource.RLIMIT_AS] = pages * resource.getpagesize() + SPARE + 2 * LARGEST_GROWTH * size
    for what, most in limits.items():
        with suppress(ValueError, OSError):
            hard = resource.getrlimit(what)[1]
            resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
