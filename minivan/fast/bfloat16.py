"""bfloat16: the operands of matrix products in 16 bits, everything else in float32.

A bfloat16 is the upper half of a float32: its sign, its exponent, and 7 bits of its mantissa. What a matrix product reads of a
map is rounded to that where it is stored, its weights where they are packed. Two neighbouring channels then share 32 bits, the
even one in the lower half, and VDPBF16PS (AVX512_BF16) multiplies a vector of such pairs by another:

    sum = x[2k+1] * weight[2k+1] + sum        the upper halves first
    sum = x[2k]   * weight[2k]   + sum

each rounded to nearest even, with numbers below 2^-126 taken for zero and results below it made zero, whatever the thread's own
settings (Intel SDM, VDPBF16PS). Two fused multiply-adds in float32 do the same in a thread that flushes (registers.py), so that
all ways here give the same bits (a NaN is a NaN; on ARM, which flushes before it rounds, a sum just below 2^-126 is zero):

    PAIRS    maps and weights as pairs, multiplied by VDPBF16PS
    MATRICES maps as pairs and weights in fours, multiplied by ARM's BFMMLA: see bfmmla.py, which sums otherwise
    TILES    as pairs, the 32 channels of two blocks side by side, as AMX's tiles have them: see amx.py, which sums otherwise
    HALVES   a map's channels each in the upper half of a float whose lower half is 0, so that a fused multiply-add reads it as
             it is; weights as pairs, whose halves become such floats once for all tiles of a product

Which is faster depends on the processor. An Intel Xeon of the fifth generation does 3.57e9 vectors of fused multiply-adds in a
second and 1.22e9 of VDPBF16PS: two thirds of the multiply-adds, and VAN-B0 takes 1.7 times as long by it. Parting the halves in
every tile instead of once left no register free: sums went to the stack and back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import overload

from ..jit import inline, intrinsic
from .addresses import Address
from .lanes import (
    FLOATS,
    HALVES,
    MATRICES,
    PAIR,
    PAIRS,
    TILES,
    Lanes,
    Shape,
    host_features,
)
from .maps import Grid, Map
from .pointers import pointer_to
from .simd import FLOAT, Emit, halved, operand_width, shape_of, tiled, vector_width
from .views import moved

WORD, HALF = ir.IntType(32), ir.IntType(16)


def words(e: Emit, value: int) -> ir.Constant:
    """A 32-bit number in every lane."""
    return ir.Constant(ir.VectorType(WORD, e.lanes), [value] * e.lanes)


def round_by_instruction(e: Emit, value: ir.Value) -> ir.Value:
    """VCVTNEPS2BF16: floats -> bfloat16, as 16-bit numbers, where the processor has it."""
    signature = ir.FunctionType(ir.VectorType(HALF, e.lanes), [e.vector])  # of LLVM 14; later ones put theirs in its place
    function = cgutils.get_or_insert_function(e.builder.module, signature, f"llvm.x86.avx512bf16.cvtneps2bf16.{32 * e.lanes}")
    return e.builder.call(function, [value])


def round_in_place(e: Emit, value: ir.Value) -> ir.Value:
    """Floats -> the nearest whose lower halves are 0, as halves.rounded does."""
    builder = e.builder
    whole = ir.VectorType(WORD, e.lanes)
    if e.lanes == 16 and "+avx512bf16" in host_features():
        halves = builder.zext(round_by_instruction(e, value), whole)
        return builder.bitcast(builder.shl(halves, words(e, 16)), e.vector)
    bits = builder.bitcast(value, whole)
    odd = builder.and_(builder.lshr(bits, words(e, 16)), words(e, 1))
    near = builder.add(builder.add(bits, words(e, 0x7FFF)), odd)
    nothing = builder.fcmp_unordered("uno", value, value)
    near = builder.select(nothing, builder.or_(bits, words(e, 0x400000)), near)
    tiny = builder.icmp_unsigned("==", builder.and_(bits, words(e, 0x7F800000)), words(e, 0))
    near = builder.and_(near, builder.select(tiny, words(e, 0x80000000), words(e, 0xFFFF0000)))
    return builder.bitcast(near, e.vector)


def rounded_halves(e: Emit, value: ir.Value) -> ir.Value:
    """Floats -> bfloat16, as 16-bit numbers, on every processor."""
    if e.lanes == 16 and "+avx512bf16" in host_features():
        return round_by_instruction(e, value)
    bits = e.builder.bitcast(round_in_place(e, value), ir.VectorType(WORD, e.lanes))
    return e.builder.trunc(e.builder.lshr(bits, words(e, 16)), ir.VectorType(HALF, e.lanes))


def store_operand(e: Emit, shape: Shape, value: ir.Value, pointer: ir.Value, position: int = 0) -> None:
    """Store the V channels of one position as matrix products read them, so many positions behind the pointer."""
    if shape.operands in (PAIRS, TILES, MATRICES):
        halves = rounded_halves(e, value)
        at = e.builder.bitcast(e.at(pointer, position * shape.operand_width), halves.type.as_pointer())
        e.builder.store(halves, at, align=2 * e.lanes)
    else:
        e.store(round_in_place(e, value) if shape.operands == HALVES else value, pointer, position * e.lanes)


def dot_product(e: Emit, sums: ir.Value, weights: ir.Value, values: ir.Value) -> ir.Value:
    """VDPBF16PS on 16 lanes of pairs."""
    pairs = ir.VectorType(WORD, e.lanes)
    signature = ir.FunctionType(e.vector, [e.vector, pairs, pairs])  # of LLVM 14; later ones put theirs in its place
    function = cgutils.get_or_insert_function(e.builder.module, signature, "llvm.x86.avx512bf16.dpbf16ps.512")
    return e.builder.call(function, [sums, e.builder.bitcast(weights, pairs), e.builder.bitcast(values, pairs)])


def upper(e: Emit, pairs: ir.Value) -> ir.Value:
    """The upper halves of pairs, as floats."""
    bits = e.builder.bitcast(pairs, ir.VectorType(WORD, e.lanes))
    return e.builder.bitcast(e.builder.and_(bits, words(e, 0xFFFF0000)), e.vector)


def lower(e: Emit, pairs: ir.Value) -> ir.Value:
    """The lower halves."""
    bits = e.builder.bitcast(pairs, ir.VectorType(WORD, e.lanes))
    return e.builder.bitcast(e.builder.shl(bits, words(e, 16)), e.vector)


@intrinsic()
def simd_round(typing_context: Any, lanes: Any, x: Any, out: Any) -> Any:
    """One vector of floats at an address, as an operand to another."""
    shape = shape_of(lanes)

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        _, x, out = arguments
        e = Emit(builder, shape.lanes)
        store_operand(e, shape, e.load(e.pointer(x)), e.pointer(out))
        return context.get_dummy_value()

    return types.void(lanes, x, out), emit


@inline
def round_map(lanes: Lanes, x: Map, out: Map, first: int, last: int) -> None:
    """Positions first..last of a map as operands; `out` may be x itself. Nothing to do where operands are float32."""
    if halved(lanes):
        v, width = vector_width(lanes), operand_width(lanes)
        for block in range(x.blocks):
            to = operand_block(lanes, out, block)
            for p in range(first, last):
                simd_round(lanes, x.address + block * x.step + p * v, to + p * width)


@inline
def operands_at(lanes: Lanes, address: Address, blocks: int, grid: Grid) -> Map:
    """`blocks` blocks of V channels of a grid's positions, as matrix products read them, one right behind the other."""
    return operands_of(lanes, Map(address, grid.images * grid.height * grid.width * operand_width(lanes), blocks))


@inline
def operands_of(lanes: Lanes, x: Map) -> Map:
    """A map of operands of so many blocks of V channels: as many blocks, or half as many with two of them side by side."""
    return Map(x.address, x.step, x.blocks // PAIR if tiled(lanes) else x.blocks)


@inline
def operands_in(lanes: Lanes, x: Map) -> Map:
    """The place of a map's operands in that map itself, which they replace."""
    return Map(x.address, x.step * PAIR, x.blocks // PAIR) if tiled(lanes) else x


@inline
def operand_block(lanes: Lanes, x: Map, block: int) -> Address:
    """Where the operands of a block of V channels begin."""
    if tiled(lanes):
        return x.address + block // PAIR * x.step + block % PAIR * (vector_width(lanes) // 2)
    return x.address + block * x.step


@inline
def operands_from(lanes: Lanes, x: Map, position: int) -> Map:
    """The same from a later position on."""
    return moved(x, position * operand_width(lanes))


@inline
def operand_pair(lanes: Lanes, x: Map, pair: int) -> Map:
    """Where the operands of two blocks of V channels lie."""
    begin = operand_block(lanes, x, PAIR * pair)
    return Map(begin, operand_block(lanes, x, PAIR * pair + 1) - begin, PAIR)


@intrinsic()
def halves_at(typing_context: Any, address: Any) -> Any:
    """The lower and the upper half of the pair at an address, as float64: where there are no vectors."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        bits = builder.load(pointer_to(builder, arguments[0], WORD), align=4)
        parts = builder.shl(bits, WORD(16)), builder.and_(bits, WORD(0xFFFF0000))
        doubles = [builder.fpext(builder.bitcast(part, FLOAT), ir.DoubleType()) for part in parts]
        return context.make_tuple(builder, signature.return_type, doubles)

    return types.UniTuple(types.float64, 2)(address), emit


@intrinsic()
def round_scalar(typing_context: Any, value: Any) -> Any:
    """round_in_place for one float32."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        e, zero = Emit(builder, 1), WORD(0)
        value = builder.insert_element(ir.Constant(e.vector, ir.Undefined), arguments[0], zero)
        return builder.extract_element(round_in_place(e, value), zero)

    return types.float32(types.float32), emit


def operand(lanes: Lanes, value: Any) -> Any:
    """One float32 as an operand, where there are no vectors. Compiled code calls it; see `overload`."""
    raise NotImplementedError("operand is called from compiled code")


@overload(operand)
def compile_operand(lanes: Lanes, value: Any) -> Callable[[Lanes, Any], Any]:
    if shape_of(lanes).operands == FLOATS:

        def itself(lanes: Lanes, value: Any) -> Any:
            return value

        return itself

    def halved(lanes: Lanes, value: Any) -> Any:
        return round_scalar(value)

    return halved
