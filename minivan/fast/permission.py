"""What a process must be granted before its threads may use AMX's tiles.

A thread's tiles are 8 KiB of registers, which Linux keeps for no process unasked: an instruction on tiles would end it. It is
asked by the system call arch_prctl (Documentation/arch/x86/xstate.rst), once for all threads and for whatever is forked, and
refuses where a container filters that call or a thread's alternate signal stack is too small for a frame with tiles in it.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from functools import cache

ARCH_PRCTL = 158  # the number of the system call on x86-64
ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA = 0x1023, 18


@cache
def tiles_granted() -> bool:
    """Ask Linux on x86-64 for tiles; tell whether it grants them. On other systems nothing is asked, and nothing granted."""
    if not sys.platform.startswith("linux") or platform.machine() != "x86_64" or sys.maxsize < 1 << 32:
        return False
    return bool(ctypes.CDLL(None).syscall(ARCH_PRCTL, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0)
