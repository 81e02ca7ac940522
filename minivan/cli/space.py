"""What a command needs of address space, where the system limits it (`ulimit -v`, `ulimit -d`).

What is too little for OpenBLAS and LLVM is refused beforehand: the status with which one of them ends the process would be an
answer here. What is enough for them and too little for the arrays is a MemoryError, as everywhere.
"""

from __future__ import annotations

from ..errors import WrongCall
from ..input import amount
from ..space import LEAST, LEAST_TO_COMPILE, limit


def check(compiles: bool) -> None:
    """Raise WrongCall where there is too little to begin."""
    most, least = limit(), LEAST_TO_COMPILE if compiles else LEAST
    if most is not None and most < least:
        raise WrongCall(
            f"not enough memory: the address space is limited to {amount(most)} (ulimit -v), {amount(least)} are needed"
        )
