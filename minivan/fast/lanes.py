"""How wide this machine's vectors are, and how an engine made of them uses each: nothing here is compiled.

How many lanes a vector has travels through the kernels as the type of their first argument: an empty named tuple,
which costs nothing at run time and makes the cache of kernels keep the widths apart. `Plain` stands for 'no intrinsics':
the kernels then fall back to loops over scalars.
"""

from __future__ import annotations

import os
import platform
from typing import NamedTuple

from ..compiler import processor
from .arm import has_matrix_product
from .permission import tiles_granted


class Lanes16(NamedTuple):
    """AVX-512: 16 floats in a register, 32 registers."""


class Lanes8(NamedTuple):
    """AVX2: 8 floats in a register, 16 registers."""


class Lanes4(NamedTuple):
    """NEON and SSE: 4 floats in a register."""


class Plain(NamedTuple):
    """No intrinsics: loops over 8 scalars, which LLVM vectorises as it likes."""


class Dots16(NamedTuple):
    """AVX-512 with bfloat16's dot product, VDPBF16PS."""


class Tiles16(NamedTuple):
    """AVX-512 with AMX: tiles of bfloat16, TDPBF16PS. For a processor without, LLVM compiles none and ends the process."""


class SoftTiles16(NamedTuple):
    """The same, each instruction on tiles done in software: soft_tiles.py."""


class Matrices4(NamedTuple):
    """NEON with bfloat16's matrix product, BFMMLA."""


class SoftMatrices4(NamedTuple):
    """The same, the instruction made of others, which every processor has: bfmmla.py."""


class Rounded16(NamedTuple):
    """AVX-512, the operands of matrix products rounded to bfloat16; likewise the others."""


class Rounded8(NamedTuple):
    """AVX2."""


class Rounded4(NamedTuple):
    """NEON and SSE."""


class RoundedPlain(NamedTuple):
    """No intrinsics but for the rounding."""


Lanes = (
    Lanes16 | Lanes8 | Lanes4 | Plain | Dots16 | Tiles16 | SoftTiles16 | Matrices4 | SoftMatrices4
    | Rounded16 | Rounded8 | Rounded4 | RoundedPlain
)  # fmt: skip

# How what a matrix product reads of a map and its weights lie in memory: see bfloat16.py, amx.py and bfmmla.py.
FLOATS, HALVES, PAIRS, TILES, MATRICES = range(5)
TILE_ROWS, TILE_FLOATS = 16, 16  # of a tile of AMX: rows, and the floats or pairs of bfloat16 in one
TILE_POSITIONS = 2 * TILE_ROWS  # that are multiplied at once
SOFT_TILES = 8 * TILE_ROWS * TILE_FLOATS + TILE_FLOATS  # floats that software needs for eight tiles and their configuration


class Shape(NamedTuple):
    """How one vector width is used."""

    lanes: int  # floats in a vector, and channels in a block of the layout
    rows: int  # positions of a matrix tile: rows x 2 accumulators + 2 weights + 1 value fit into the registers
    operands: int = FLOATS  # or, in bfloat16, one of the others
    software: bool = False  # whether the instructions for matrices are done in software, as tests have it

    @property
    def operand_lanes(self) -> int:
        """Channels in a block of operands: V, or those of two blocks, which fill a row of a tile."""
        return PAIR * self.lanes if self.operands == TILES else self.lanes

    @property
    def operand_width(self) -> int:
        """The floats' room that a block of operands takes of each position."""
        return self.lanes if self.operands in (FLOATS, HALVES) else self.operand_lanes // 2

    @property
    def steps(self) -> int:
        """How often a product reads 2 V words of weights for a block of operands: for one float each, or two halves."""
        return self.lanes if self.operands == FLOATS else self.operand_lanes // 2

    @property
    def overread(self) -> int:
        """How many positions beyond the last one a matrix tile may read."""
        return max(self.rows, TILE_ROWS) if self.operands == TILES else self.rows

    def spare(self, channels: int) -> int:
        """Floats that a product of at most so many input channels works in: sums, unpacked weights, tiles in software."""
        if self.operands == TILES:
            return PAIR * self.lanes * TILE_POSITIONS + (SOFT_TILES if self.software else 0)
        return PAIR * self.lanes * (self.rows + (channels if self.operands == HALVES else 0))


# 14 x 2 + 2 + 1 = 31 of 32 registers; every map of a 224 image is a multiple of 7 positions. 6 x 2 + 2 + 1 = 15 of 16.
SHAPES = {
    Lanes16: Shape(16, 14), Lanes8: Shape(8, 6), Lanes4: Shape(4, 6), Plain: Shape(8, 6),
    Dots16: Shape(16, 14, PAIRS), Tiles16: Shape(16, 14, TILES), SoftTiles16: Shape(16, 14, TILES, software=True),
    Matrices4: Shape(4, 8, MATRICES), SoftMatrices4: Shape(4, 8, MATRICES, software=True),
    Rounded16: Shape(16, 14, HALVES), Rounded8: Shape(8, 6, HALVES), Rounded4: Shape(4, 6, HALVES),
    RoundedPlain: Shape(8, 6, HALVES),
}  # fmt: skip
PLAIN_LANES = SHAPES[Plain].lanes
PAIR = 2  # vectors of outputs that a matrix tile computes side by side, and blocks that a map's channels are filled up to


def pairs_for(channels: int, v: int) -> int:
    """Return how many pairs of blocks of V hold so many channels."""
    return -(-channels // (PAIR * v))


def host_lanes() -> Lanes:
    """Return the widest type this machine's vectors allow, or what MINIVAN_VECTOR (16, 8, 4, or 0 for Plain) asks for."""
    asked = os.environ.get("MINIVAN_VECTOR")
    named: dict[str, type[Lanes]] = {"16": Lanes16, "8": Lanes8, "4": Lanes4, "0": Plain}
    if asked:
        if asked not in named:
            raise ValueError(f"MINIVAN_VECTOR is one of {', '.join(named)}, got {asked!r}")
        return named[asked]()
    features = host_features()
    if "+avx512f" in features:
        return Lanes16()
    if "+avx2" in features and "+fma" in features:
        return Lanes8()
    return Lanes4() if platform.machine().lower() in ("arm64", "aarch64") else Plain()


def host_features() -> list[str]:
    """Return what Numba compiles for, in LLVM's words: '+avx512f', '-avx512bf16'."""
    _, _, features = processor()
    return features.split(",")


TILE_FEATURES = {"+amx-tile", "+amx-bf16", "+avx512bf16"}  # the last one rounds what is stored
ROUNDED: dict[type[Lanes], type[Lanes]] = {Lanes16: Rounded16, Lanes8: Rounded8, Lanes4: Rounded4, Plain: RoundedPlain}


def bfloat16_lanes() -> Lanes:
    """Return this machine's vectors, or those of MINIVAN_VECTOR, with bfloat16 operands, by the way that is likely the fastest.

    AMX's tiles or ARM's BFMMLA where processor and system have them, unless MINIVAN_VECTOR asks for vectors. LLVM does not say
    of ARM's processors whether they have it, and then the system does; "-bf16" is said by NUMBA_CPU_FEATURES. `sse4a` marks
    AMD's processors. On those with AVX512_BF16 OpenVINO is faster in bfloat16 than in float32, which VDPBF16PS alone can
    explain: there it is taken. The speed of none of these in this engine has been measured.
    """
    lanes, features = host_lanes(), host_features()
    if not os.environ.get("MINIVAN_VECTOR"):
        if isinstance(lanes, Lanes16) and TILE_FEATURES.issubset(features) and tiles_granted():
            return Tiles16()
        if isinstance(lanes, Lanes4) and "-bf16" not in features and ("+bf16" in features or has_matrix_product()):
            return Matrices4()
    if isinstance(lanes, Lanes16) and "+avx512bf16" in features and "+sse4a" in features:
        return Dots16()
    return ROUNDED[type(lanes)]()


def in_float32(lanes: Lanes) -> Lanes:
    """Return the same vectors with float32 operands; those that have them already as they are."""
    if isinstance(lanes, Dots16 | Tiles16 | SoftTiles16):
        return Lanes16()
    if isinstance(lanes, Matrices4 | SoftMatrices4):
        return Lanes4()
    return next((floats() for floats, halves in ROUNDED.items() if isinstance(lanes, halves)), lanes)
