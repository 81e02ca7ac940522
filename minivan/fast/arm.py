"""Whether an ARM processor has BFMMLA, as the system says: LLVM, up to 22, does not list it among a Linux machine's features.

Linux hands every process what its processor has in the auxiliary vector, and macOS knows it by a name:
https://docs.kernel.org/arch/arm64/elf_hwcaps.html (the numbers are in arch/arm64/include/uapi/asm/hwcap.h) and
https://developer.apple.com/documentation/kernel/1387446-sysctlbyname/determining_instruction_set_characteristics.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from functools import cache

AT_HWCAP2, HWCAP2_BF16 = 26, 1 << 14
FEAT_BF16 = b"hw.optional.arm.FEAT_BF16"


@cache
def has_matrix_product() -> bool:
    """Ask Linux or macOS on 64-bit ARM for BFMMLA, which came with FEAT_BF16. Other systems are not asked: False."""
    machine = platform.machine()
    if sys.platform.startswith("linux") and machine == "aarch64" and sys.maxsize >= 1 << 32:
        auxiliary = ctypes.CDLL(None).getauxval
        auxiliary.restype, auxiliary.argtypes = ctypes.c_ulong, [ctypes.c_ulong]
        return bool(auxiliary(AT_HWCAP2) & HWCAP2_BF16)
    if sys.platform == "darwin" and machine == "arm64":
        answer, size = ctypes.c_int32(0), ctypes.c_size_t(4)
        refused = ctypes.CDLL(None).sysctlbyname(FEAT_BF16, ctypes.byref(answer), ctypes.byref(size), None, ctypes.c_size_t(0))
        return not refused and bool(answer.value)
    return False
