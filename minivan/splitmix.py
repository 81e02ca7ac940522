"""Numbers that any language can make again: whole numbers from SplitMix64, scaled by powers of two.

A library's random stream may change with its next version; these twenty lines cannot. Every value is a whole number of
at most twelve bits times a power of two, so it is exact in float32 and in every wider format. The text in GENERATOR goes
into the test vectors' manifest and is all that a port needs to make the same tensors.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

GENERATOR = {
    "name": "SplitMix64 (Steele, Lea and Flood, 2014), 64-bit unsigned arithmetic that wraps around",
    "word": "z = seed + (i + 1) * 0x9E3779B97F4A7C15;  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;  "
    "z = (z ^ (z >> 27)) * 0x94D049BB133111EB;  word[i] = z ^ (z >> 31),  for i = 0, 1, 2, ...",
    "integer": "low + (((word[i] >> 32) * (high - low + 1)) >> 32), in low..high, both included",
    "value": "integer * 2^-shift, in float32; element i of the array in C order (last axis fastest)",
    "seed": "h = 0xCBF29CE484222325;  for each byte of the array's name in UTF-8: h = (h ^ byte) * 0x100000001B3 (FNV-1a)",
    "check": "seed('') == 0xCBF29CE484222325;  with seed 0, word[0] == 0xE220A8397B1DCDAF, word[1] == 0x6E789E6AA1B965F4",
}

CHUNK = 1 << 15  # numbers made at once: what lies between words and values stays in the processor's cache


def words(seed: int, count: int, first: int = 0) -> npt.NDArray[np.uint64]:
    """Return `count` words of SplitMix64 from `seed`, uint64, beginning with word `first`.

    >>> [hex(word) for word in words(0, 2)]
    ['0xe220a8397b1dcdaf', '0x6e789e6aa1b965f4']
    """
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(first + 1, first + count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def seed_of(name: str) -> int:
    """Return the seed that belongs to an array's name: FNV-1a, 64 bits."""
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = (seed ^ byte) * 0x100000001B3 % 2**64
    return seed


def integers(name: str, shape: tuple[int, ...], low: int, high: int) -> npt.NDArray[np.int64]:
    """Return whole numbers in low..high, both included, int64, from the words whose seed is that of `name`."""
    numbers = np.empty(math.prod(shape), np.int64)
    for place, chunk in _chunks(name, numbers.size, low, high):
        numbers[place] = chunk
    return numbers.reshape(shape)


def values(name: str, shape: tuple[int, ...], low: int, high: int, shift: int = 0) -> npt.NDArray[np.float32]:
    """Return `integers` times 2^-shift as float32, exactly."""
    numbers = np.empty(math.prod(shape), np.float32)
    for place, chunk in _chunks(name, numbers.size, low, high):
        numbers[place] = chunk * math.ldexp(1.0, -shift)  # exact, which a power need not be however numbers are rounded
    return numbers.reshape(shape)


def _chunks(name: str, count: int, low: int, high: int) -> Iterator[tuple[slice, npt.NDArray[np.int64]]]:
    seed, span = seed_of(name), np.uint64(high - low + 1)
    for first in range(0, count, CHUNK):
        upper = words(seed, min(CHUNK, count - first), first) >> np.uint64(32)
        yield slice(first, first + CHUNK), ((upper * span) >> np.uint64(32)).astype(np.int64) + low
