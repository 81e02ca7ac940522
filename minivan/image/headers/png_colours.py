"""What the chunks of a PNG file say of its colours, by their precedence. W3C, PNG (third edition), 4.3 and 11.3.2."""

from __future__ import annotations

import zlib

from .. import spaces
from ..bounds import Stated
from ..profiles import LARGEST_PROFILE

NAMES = (b"cICP", b"iCCP", b"sRGB", b"cHRM", b"gAMA")
LARGEST = LARGEST_PROFILE + 1000  # bytes of a chunk that are looked at
UNIT = 100_000  # of gAMA and cHRM
SRGB_GAMMA, NEAR = 45_455, 500  # what stands for sRGB's curve, and how far from it other roundings are


def stated(said: dict[bytes, bytes]) -> tuple[Stated, ...]:
    """Return what chunks say, name -> body."""
    found: list[Stated] = []
    codes = said.get(b"cICP", b"")
    if len(codes) == 4 and (space := spaces.coded(codes[0], codes[1], codes[3] == 0)) is not None:
        found.append(space)
    if b"iCCP" in said:
        found.append(_unpacked(said[b"iCCP"]))
    if b"sRGB" in said:
        found.append(spaces.SRGB)
    points, gamma = _numbers(said.get(b"cHRM", b""), 8), _numbers(said.get(b"gAMA", b""), 1)
    if points or gamma:
        space = _described(points, gamma[0] if gamma else SRGB_GAMMA)
        found.append("the chunks gAMA and cHRM say nothing that a screen could show" if space is None else space)
    return tuple(found)


def _unpacked(body: bytes) -> bytes | str:
    """Return the profile in an iCCP chunk: a name, how it is packed, the packed profile."""
    packed = body.partition(b"\0")[2]
    try:
        return zlib.decompressobj().decompress(packed[1:], LARGEST_PROFILE + 1)
    except zlib.error:
        return "it is damaged, in its packing"


def _numbers(body: bytes, count: int) -> list[int]:
    return [int.from_bytes(body[i : i + 4]) for i in range(0, 4 * count, 4)] if len(body) == 4 * count else []


def _described(points: list[int], gamma: int) -> spaces.Space | None:
    """Return the space of white, red, green and blue, by default sRGB's, and of the exponent that made values of light."""
    srgb = spaces.SRGB
    exponent = 0.0 if abs(gamma - SRGB_GAMMA) <= NEAR else UNIT / max(1, gamma)
    if not points:
        return spaces.described(srgb.white, srgb.red, srgb.green, srgb.blue, exponent)
    values = [point / UNIT for point in points]
    white, red, green, blue = zip(values[::2], values[1::2], strict=True)
    return spaces.described(white, red, green, blue, exponent)
