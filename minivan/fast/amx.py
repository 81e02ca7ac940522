"""Matrix products on AMX's tiles: registers of 16 rows of 64 bytes, eight to a thread, of which one instruction multiplies two.

    TDPBF16PS    sums += values x weights:    values  16 positions x 32 channels     as a map of operands has them
                                              weights 16 pairs of channels x 16 outputs x 2
                                              sums    16 positions x 16 outputs, float32

A row of values is 32 channels of a position: so two blocks of a map's operands lie side by side (TILES), in 64 bytes. Weights
lie as for VDPBF16PS. Four tiles of sums (32 positions, the 32 outputs of a pair) need two tiles of each: for each step of 32
channels four loads and four products, of which one takes as long as two loads. Sums begin as the bias, the same row sixteen
times, which a load with stride 0 reads. They end in memory, from where vectors take them through the endings of matmul.py.

The instruction adds up the even channels of a step and the odd ones apart, and these two to the sum: another order than that of
bfloat16.py, with other last bits, but one for all tiles, so that the bits still depend on no thread and no batch. Numbers below
2^-126 are zero and sums are rounded to nearest even, whatever the thread's own settings (Intel SDM, TDPBF16PS).

Nobody has run these instructions here: tests run the same kernel with each of them done in software (soft_tiles.py), and
read the assembly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import signature as signature_of
from numba.extending import overload

from ..jit import intrinsic
from . import soft_tiles
from .addresses import Address
from .bfloat16 import operand_pair
from .lanes import PAIR, TILE_FLOATS, TILE_POSITIONS, TILE_ROWS, TILES, Lanes
from .maps import Map, Parameters, Part
from .matmul import GATE, Ending, end_tile, matmul
from .simd import INT, Emit, Loop, int_, shape_of, unpack
from .views import moved, pair_of

BYTE = ir.IntType(8)
TILE_BYTES = 4 * TILE_FLOATS  # in a row
SUMS, VALUES, WEIGHTS = 0, 4, 6  # numbers of the first tile of each
STEP = TILE_ROWS * PAIR * TILE_FLOATS  # floats' room of the weights of 32 channels and a pair of outputs
# LDTILECFG's 64 bytes (Intel SDM): palette 1 at 0; from 16 the bytes in a row of each tile, in 16 bits; from 48 its rows.
CONFIGURATION = bytes([1, *[0] * 15, *[TILE_BYTES, 0] * 8, *[0] * 16, *[TILE_ROWS] * 8, *[0] * 8])


class Instructions(Protocol):
    """What there is to do with tiles, which go by their numbers. Strides are in bytes, from one row to the next in memory."""

    def configure(self, configuration: ir.Value) -> None: ...
    def load(self, tile: int, pointer: ir.Value, stride: int) -> None: ...
    def multiply(self, sums: int, values: int, weights: int) -> None: ...
    def store(self, tile: int, pointer: ir.Value, stride: int) -> None: ...
    def release(self) -> None: ...


class Processor:
    """Each by the processor's instruction."""

    def __init__(self, builder: ir.IRBuilder) -> None:
        self.builder = builder

    def configure(self, configuration: ir.Value) -> None:
        self._call("ldtilecfg", configuration)

    def load(self, tile: int, pointer: ir.Value, stride: int) -> None:
        self._call("tileloadd64", BYTE(tile), self._bytes(pointer), INT(stride))

    def multiply(self, sums: int, values: int, weights: int) -> None:
        self._call("tdpbf16ps", BYTE(sums), BYTE(values), BYTE(weights))

    def store(self, tile: int, pointer: ir.Value, stride: int) -> None:
        self._call("tilestored64", BYTE(tile), self._bytes(pointer), INT(stride))

    def release(self) -> None:
        self._call("tilerelease")

    def _bytes(self, pointer: ir.Value) -> ir.Value:
        return self.builder.bitcast(pointer, BYTE.as_pointer())

    def _call(self, name: str, *operands: ir.Value) -> None:
        signature = ir.FunctionType(ir.VoidType(), [operand.type for operand in operands])
        function = cgutils.get_or_insert_function(self.builder.module, signature, f"llvm.x86.{name}")
        self.builder.call(function, operands)


class Software:
    """Each by a function of soft_tiles.py on the tiles of this thread, which lie at an address."""

    def __init__(self, context: Any, builder: ir.IRBuilder, tiles: ir.Value) -> None:
        self.context, self.builder, self.tiles = context, builder, tiles

    def configure(self, configuration: ir.Value) -> None:
        self._call(soft_tiles.configure, self._address(configuration))

    def load(self, tile: int, pointer: ir.Value, stride: int) -> None:
        self._call(soft_tiles.load, INT(tile), self._address(pointer), INT(stride))

    def multiply(self, sums: int, values: int, weights: int) -> None:
        self._call(soft_tiles.multiply, INT(sums), INT(values), INT(weights))

    def store(self, tile: int, pointer: ir.Value, stride: int) -> None:
        self._call(soft_tiles.store, INT(tile), self._address(pointer), INT(stride))

    def release(self) -> None:
        self._call(soft_tiles.release)

    def _address(self, pointer: ir.Value) -> ir.Value:
        return self.builder.ptrtoint(pointer, INT)

    def _call(self, function: Callable[..., None], *operands: ir.Value) -> None:
        arguments = [self.tiles, *operands]
        signature = signature_of(types.void, *[types.int64] * len(arguments))
        self.context.compile_internal(self.builder, function, signature, arguments)


def instructions(lanes: Any, context: Any, builder: ir.IRBuilder, spare: ir.Value) -> Instructions:
    """The processor's, or those in software, whose tiles lie behind the sums in a thread's spare room."""
    if shape_of(lanes).software:
        return Software(context, builder, builder.add(spare, int_(PAIR * TILE_FLOATS * TILE_POSITIONS)))
    return Processor(builder)


@intrinsic()
def simd_begin(typing_context: Any, lanes: Any, spare: Any) -> Any:
    """Configure this thread's tiles: all eight are whole."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        constant = ir.Constant(ir.ArrayType(BYTE, len(CONFIGURATION)), bytearray(CONFIGURATION))
        place = cgutils.alloca_once_value(builder, constant)
        tiles = instructions(lanes, context, builder, arguments[1])
        tiles.configure(builder.bitcast(place, BYTE.as_pointer()))
        return context.get_dummy_value()

    return types.void(lanes, spare), emit


@intrinsic()
def simd_end(typing_context: Any, lanes: Any, spare: Any) -> Any:
    """Give the tiles back: while they are in use, the system saves them whenever it changes threads."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        instructions(lanes, context, builder, arguments[1]).release()
        return context.get_dummy_value()

    return types.void(lanes, spare), emit


def begin_tiles(lanes: Lanes, spare: Address) -> None:
    """simd_begin, where there are tiles. Compiled code calls it; see `overload`."""
    raise NotImplementedError("begin_tiles is called from compiled code")


def end_tiles(lanes: Lanes, spare: Address) -> None:
    """simd_end, likewise."""
    raise NotImplementedError("end_tiles is called from compiled code")


def without_tiles(lanes: Lanes, spare: Address) -> None:
    pass


@overload(begin_tiles)
def compile_begin_tiles(lanes: Lanes, spare: Address) -> Callable[[Lanes, Address], None]:
    def begin(lanes: Lanes, spare: Address) -> None:
        simd_begin(lanes, spare)

    return begin if shape_of(lanes).operands == TILES else without_tiles


@overload(end_tiles)
def compile_end_tiles(lanes: Lanes, spare: Address) -> Callable[[Lanes, Address], None]:
    def end(lanes: Lanes, spare: Address) -> None:
        simd_end(lanes, spare)

    return end if shape_of(lanes).operands == TILES else without_tiles


def product(tiles: Instructions, e: Emit, count: int, x: Any, weight: ir.Value, bias: ir.Value, sums: ir.Value) -> None:
    """`count` tiles of positions x a pair of outputs, all input channels: bias + x * weight, to `sums`.

    x: pointer, step and number of blocks of a map of operands. sums: [2][32 positions][V]. weight: [blocks * 16][2][V] pairs.
    """
    x, x_step, blocks = x
    cells = [(i, j) for i in range(count) for j in range(PAIR)]
    for i, j in cells:
        tiles.load(SUMS + PAIR * i + j, e.at(bias, j * TILE_FLOATS), 0)
    with Loop(e.builder, blocks, [x, weight]) as loop:
        x_now, w_now = loop.values
        for i in range(count):
            tiles.load(VALUES + i, e.at(x_now, i * TILE_ROWS * TILE_FLOATS), TILE_BYTES)
        for j in range(PAIR):
            tiles.load(WEIGHTS + j, e.at(w_now, j * TILE_FLOATS), PAIR * TILE_BYTES)
        for i, j in cells:
            tiles.multiply(SUMS + PAIR * i + j, VALUES + i, WEIGHTS + j)
        loop.next([e.at(x_now, x_step), e.at(w_now, STEP)])
    for i, j in cells:
        row = j * TILE_POSITIONS + i * TILE_ROWS
        tiles.store(SUMS + PAIR * i + j, e.at(sums, row * TILE_FLOATS), TILE_BYTES)


@intrinsic(prefer_literal=True)
def simd_product(typing_context: Any, lanes: Any, count: Any, x: Any, parameters: Any, spare: Any) -> Any:
    """`product` of one output pair, its sums to a thread's spare room."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        _, _, x, parameters, spare = arguments
        (x, x_step, blocks), (weight, bias) = unpack(builder, x), unpack(builder, parameters)
        e = Emit(builder, TILE_FLOATS)
        tiles = instructions(lanes, context, builder, spare)
        values = e.pointer(x), x_step, blocks
        product(tiles, e, count.literal_value, values, e.pointer(weight), e.pointer(bias), e.pointer(spare))
        return context.get_dummy_value()

    return types.void(lanes, count, x, parameters, spare), emit


@intrinsic()
def simd_ending(typing_context: Any, lanes: Any, sums: Any, out: Any, ending: Any) -> Any:
    """The sums of one position through an ending: from two blocks of a map to two others."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        _, sums, out, ending = arguments
        (sums, step, _), e = unpack(builder, sums), Emit(builder, TILE_FLOATS)
        pair = [e.load(e.at(e.pointer(sums), builder.mul(step, int_(j)))) for j in range(PAIR)]
        end_tile(e, shape_of(lanes), pair, out, ending)
        return context.get_dummy_value()

    return types.void(lanes, sums, out, ending), emit


@overload(matmul)
def compile_tile_matmul(
    lanes: Lanes, x: Map, parameters: Parameters, out: Map, ending: Ending, part: Part, spare: Address
) -> Callable[[Lanes, Map, Parameters, Map, Ending, Part, Address], None] | None:
    return tile_matmul if shape_of(lanes).operands == TILES else None


def tile_matmul(lanes: Lanes, x: Map, parameters: Parameters, out: Map, ending: Ending, part: Part, spare: Address) -> None:
    """matmul on tiles. A position takes 64 bytes in every map: of floats in one of two blocks, of operands in both together."""
    v, panel = TILE_FLOATS, x.blocks * STEP
    for pair in range(part.pair, part.end):
        some = Parameters(parameters.weight + pair * panel, parameters.bias + pair * PAIR * v)
        y = operand_pair(lanes, out, pair) if ending.kind == GATE else pair_of(out, pair)
        z, also = pair_of(ending.other, pair), operand_pair(lanes, ending.operands, pair)
        scale = ending.scale + pair * PAIR * v
        for first in range(part.first, part.last, TILE_POSITIONS):
            count = min(TILE_POSITIONS, part.last - first)
            if count > TILE_ROWS:
                simd_product(lanes, 2, moved(x, first * v), some, spare)
            else:
                simd_product(lanes, 1, moved(x, first * v), some, spare)
            for i in range(count):
                sums, at = Map(spare + i * v, TILE_POSITIONS * v, PAIR), (first + i) * v
                end = Ending(ending.kind, moved(z, at), scale, moved(also, at))
                simd_ending(lanes, sums, moved(y, at), end)
