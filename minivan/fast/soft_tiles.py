"""AMX's instructions in software, as Intel's manual writes each (SDM, LDTILECFG to TILERELEASE): for whoever has no AMX.

A thread's tiles are numbers at an address: the 64 bytes of their configuration, all 0 where there is none, and behind them
eight tiles of 16 rows of 64 bytes. What the processor would end the process for raises ValueError. Tests run a network on
these tiles; nobody else should: a product in software takes a thousand times as long.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numpy.typing import NDArray

from ..jit import carray, inline, intrinsic
from .addresses import Address, Pointer
from .bfloat16 import halves_at
from .lanes import TILE_FLOATS, TILE_ROWS
from .pointers import floats_at

PALETTE, COLUMNS, ROWS, END = 0, 16, 48, 64  # bytes of a configuration
TILE_COUNT, ROW_BYTES = 8, 4 * TILE_FLOATS


@intrinsic()
def bytes_at(typing_context: Any, pointer: Any) -> Any:
    """A Pointer as one to bytes, for numba.carray."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        return builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())

    return types.CPointer(types.uint8)(pointer), emit


@inline
def bytes_of(tiles: Address) -> NDArray[np.uint8]:
    """The configuration and, behind it, the tiles."""
    found: NDArray[np.uint8] = carray(bytes_at(tiles * 4), (END + TILE_COUNT * TILE_ROWS * ROW_BYTES,))
    return found


@inline
def size_of(tiles: Address, tile: int) -> tuple[int, int]:
    """How many rows a tile has, and bytes in each; ValueError where none are configured."""
    state = bytes_of(tiles)
    if state[PALETTE] == 0:
        raise ValueError("an instruction on tiles that are not configured")
    at = COLUMNS + 2 * tile
    return int(state[ROWS + tile]), int(state[at]) + 256 * int(state[at + 1])


@inline
def floats_of(tiles: Address, tile: int) -> Address:
    """Where a tile begins."""
    return tiles + TILE_FLOATS * (1 + TILE_ROWS * tile)


def configure(tiles: Address, configuration: Pointer) -> None:
    """LDTILECFG: all tiles are zero afterwards. ValueError for a palette or a size that there is not."""
    state, asked = bytes_of(tiles), carray(bytes_at(configuration), (END,))
    if asked[PALETTE] > 1:
        raise ValueError("LDTILECFG: no such palette")
    if asked[PALETTE] == 1:
        for i in range(END):
            reserved = 2 <= i < COLUMNS or COLUMNS + 2 * TILE_COUNT <= i < ROWS or i >= ROWS + TILE_COUNT
            if reserved and asked[i]:
                raise ValueError("LDTILECFG: a reserved byte is not 0")
        for tile in range(TILE_COUNT):
            at = COLUMNS + 2 * tile
            rows, columns = int(asked[ROWS + tile]), int(asked[at]) + 256 * int(asked[at + 1])
            if rows > TILE_ROWS or columns > ROW_BYTES or (rows == 0) != (columns == 0):
                raise ValueError("LDTILECFG: no tile has that size")
    for i in range(len(state)):
        state[i] = asked[i] if i < END and asked[PALETTE] == 1 else 0


def release(tiles: Address) -> None:
    """TILERELEASE: no tile is configured."""
    state = bytes_of(tiles)
    for i in range(len(state)):
        state[i] = 0


def load(tiles: Address, tile: int, pointer: Pointer, stride: int) -> None:
    """TILELOADD: row after row from memory, `stride` bytes apart; what is beyond the tile's size becomes zero."""
    rows, columns = size_of(tiles, tile)
    state, begin = bytes_of(tiles), END + tile * TILE_ROWS * ROW_BYTES
    for row in range(TILE_ROWS):
        source = carray(bytes_at(pointer + row * stride), (columns,))
        for i in range(ROW_BYTES):
            state[begin + row * ROW_BYTES + i] = source[i] if row < rows and i < columns else 0


def store(tiles: Address, tile: int, pointer: Pointer, stride: int) -> None:
    """TILESTORED: row after row to memory, `stride` bytes apart."""
    rows, columns = size_of(tiles, tile)
    state, begin = bytes_of(tiles), END + tile * TILE_ROWS * ROW_BYTES
    for row in range(rows):
        to = carray(bytes_at(pointer + row * stride), (columns,))
        for i in range(columns):
            to[i] = state[begin + row * ROW_BYTES + i]


def multiply(tiles: Address, sums: int, values: int, weights: int) -> None:
    """TDPBF16PS: sums += values x weights, of each row and column the even products and the odd ones added up apart.

    Each product is added by a fused multiply-add, in float64 (see sums_of_halves in matmul.py); numbers below 2^-126 are zero
    in a thread that flushes. ValueError where sizes do not go together.
    """
    (rows, columns), (value_rows, value_columns) = size_of(tiles, sums), size_of(tiles, values)
    weight_rows, weight_columns = size_of(tiles, weights)
    whole = columns % 4 == 0 and value_columns % 4 == 0 and weight_columns % 4 == 0
    apart = sums != values and sums != weights and values != weights
    fitting = rows == value_rows and columns == weight_columns and value_columns == 4 * weight_rows
    if not (whole and apart and fitting):
        raise ValueError("TDPBF16PS: the tiles do not go together")
    total = carray(floats_at(floats_of(tiles, sums)), (TILE_ROWS, TILE_FLOATS))
    a, b = floats_of(tiles, values), floats_of(tiles, weights)
    for m in range(rows):
        for n in range(columns // 4):
            even, odd = np.float32(0), np.float32(0)
            for k in range(value_columns // 4):
                x, w = halves_at(a + m * TILE_FLOATS + k), halves_at(b + k * TILE_FLOATS + n)
                even = np.float32(x[0] * w[0] + even)
                odd = np.float32(x[1] * w[1] + odd)
            total[m, n] += even + odd
