"""What a person who waits is told: that kernels are being compiled, and that this is done once; or that none ever are."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator

from ..compiling import SILENT, part_of, sentence, told
from .printing import note

SLOW_IN_PYTHON = {  # what fast says of it is an error
    "exact": "NUMBA_DISABLE_JIT is set: nothing is compiled, and a photo takes the engine exact minutes; numpy is faster then"
}


@contextlib.contextmanager
def compiling_noted(engine: str | None = None, shown: Collection[type[Warning]] = ()) -> Iterator[None]:
    """Print one note for each engine, or part of one, that is about to be compiled in the block; none where it is loaded.

    Where they cannot be kept, the note says so, and why, unless the warning that does is among those that were `shown` by then:
    PYTHONWARNINGS may leave it out. `engine` is the one that the command was asked for.
    """
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0") and (slow := SLOW_IN_PYTHON.get(engine or "")):
        note(slow)
    noted: dict[str, str | None] = {}  # what is compiled -> why it is not kept, as far as it was known before

    def why_not() -> str | None:
        """Return why nothing is kept, where nobody has said so."""
        from ..kernel_cache import KernelCacheWarning, state

        return None if KernelCacheWarning in shown else state().problem

    def listener(kernel: str, kept: bool) -> None:
        part = part_of(kernel)
        if part and part not in noted and (kept or why_not()):
            noted[part] = None if kept else why_not()
            note(sentence(part, noted[part]))

    with contextlib.nullcontext() if os.environ.get(SILENT) == "0" else told(listener):
        try:
            yield
        finally:
            if noted and not any(noted.values()) and (problem := why_not()):
                note(f"what was compiled is not kept: {problem}")
