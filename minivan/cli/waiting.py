"""What a person who waits is told: that kernels are being compiled, and that this is done once; or that none ever are."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from ..compiling import told
from .printing import note

SILENT = "MINIVAN_COMPILE_NOTE"  # '0' leaves the note out, for whoever takes all that is on standard error for trouble
WHAT = {"fast": "the engine fast", "ops": "the engine exact", "grad": "the gradients of the engines fast and exact"}

SLOW_IN_PYTHON = {  # what fast says of it is an error
    "exact": "NUMBA_DISABLE_JIT is set: nothing is compiled, and a photo takes the engine exact minutes; numpy is faster then"
}


@contextlib.contextmanager
def compiling_noted(engine: str | None = None) -> Iterator[None]:
    """Print one note for each engine whose kernels are about to be compiled in the block; none where they are loaded.

    Where they cannot be kept, a warning has said so, and why: the note, which promises that the next run loads them, is not
    printed then. `engine` is the one that the command was asked for.
    """
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0") and (slow := SLOW_IN_PYTHON.get(engine or "")):
        note(slow)
    noted: set[str] = set()

    def listener(kernel: str, kept: bool) -> None:
        room = kernel.partition(".")[0]
        if kept and room in WHAT and room not in noted:
            noted.add(room)
            note(f"compiling {WHAT[room]} for this machine, which may take half a minute; the next run only loads it")

    with contextlib.nullcontext() if os.environ.get(SILENT) == "0" else told(listener):
        yield
