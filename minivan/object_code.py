"""Object code: what a compiled function is once no compiler is needed any more."""

from __future__ import annotations

from typing import NamedTuple


class ObjectCode(NamedTuple):
    """A compiled function and all that it calls."""

    symbol: str  # its name in the object file
    code: bytes  # the object file, of this machine's format
