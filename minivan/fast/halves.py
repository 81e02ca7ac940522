"""bfloat16 as NumPy holds it, which has no such type: what is packed for matrix products is rounded here."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def rounded(values: NDArray[np.floating[Any]]) -> NDArray[np.uint16]:
    """Return the bits of numbers rounded to bfloat16, by way of float32, as VCVTNEPS2BF16 rounds them."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    size = bits & 0x7FFFFFFF
    up = (bits >> 16 & 1) + 0x7FFF
    halves = np.where(size > 0x7F800000, bits | 0x400000, bits + up)  # a NaN stays one
    return (np.where(size < 0x800000, bits & 0x80000000, halves) >> 16).astype(np.uint16)


def paired(halves: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Return pairs along an even last axis, the first in the lower half, as floats: what 32-bit words travel as."""
    words = halves[..., ::2].astype(np.uint32) | halves[..., 1::2].astype(np.uint32) << 16
    return words.view(np.float32)


def in_fours(pairs: NDArray[Any]) -> NDArray[Any]:
    """Return weights (N, K / 2) in pairs as BFMMLA reads them: [N / 8][K / 4][4][2][2], of two outputs four channels each."""
    return pairs.reshape(-1, 4, 2, pairs.shape[1] // 2, 2).transpose(0, 3, 1, 2, 4)
