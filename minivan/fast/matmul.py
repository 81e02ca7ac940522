"""Matrix products: every 1x1 convolution, and the patch embeddings once their windows are laid out as rows.

out[n, p] = bias[n] + sum over k of x[k, p] * weight[n, k],    then one of four endings before the only store

x is a map of operands: float32, or bfloat16 (bfloat16.py). The gated sum is one too; a residual is stored both ways.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import overload
from numpy.typing import NDArray

from ..jit import carray, inline, intrinsic
from .addresses import Address
from .bfloat16 import dot_product, halves_at, lower, operand, store_operand, upper
from .bfmmla import exchanged, multiplied_by_block
from .lanes import FLOATS, HALVES, MATRICES, PAIR, PAIRS, PLAIN_LANES, TILES, Lanes, Shape
from .maps import Map, Parameters, Part
from .pointers import floats_at
from .simd import Emit, Loop, gelu, halved, int_, is_plain, shape_of, unpack
from .views import copy, moved, pair_of

LINE = 16  # floats in a cache line
STORE, GELU, GATE, RESIDUAL = range(4)  # sum; gelu(sum); sum * other; sum + other * scale


class Ending(NamedTuple):
    """What happens to a sum while it is still in its register, and what that needs."""

    kind: int  # STORE, GELU, GATE or RESIDUAL
    other: Map
    scale: Address  # one factor per output channel
    operands: Map  # where a residual is stored as an operand as well, unless operands are float32


NO_MAP = Map(0, 0, 0)
STORED, ACTIVATED = Ending(STORE, NO_MAP, 0, NO_MAP), Ending(GELU, NO_MAP, 0, NO_MAP)


@inline
def gated(other: Map) -> Ending:
    """Sum * other, which goes to `out` as an operand: LKA's gate."""
    return Ending(GATE, other, 0, NO_MAP)


@inline
def added_to(other: Map, scale: Address, operands: Map) -> Ending:
    """Sum + other * scale: a residual, to `out` and, as an operand, to `operands`."""
    return Ending(RESIDUAL, other, scale, operands)


class Panel(NamedTuple):
    """What a tile reads of the weights: those of one output pair, its biases, and what to ask memory for meanwhile."""

    weight: Address  # [blocks * steps][2][V]; of halves, as floats, [blocks * steps][2][2][V]
    bias: Address  # [2][V]
    ahead: Address  # one cache line per step


@intrinsic(prefer_literal=True)
def simd_tile(typing_context: Any, lanes: Any, rows: Any, x: Any, panel: Any, out: Any, ending: Any) -> Any:
    """`rows` positions x 2 V output channels, all `blocks` * V input channels, in one pass over registers.

    Per input channel: two vectors of weights, `rows` values each spread over a register, 2 `rows` fused multiply-adds.
    With 14 rows that is 16 loads beside 28 multiply-adds, where the machine can do as many loads as multiply-adds: the
    multiply-adds alone bound it, at 239 of 239 GFLOP/s for maps in the second-level cache. 12 x 2 rows reached 238,
    6 x 4 246 but leaves half a tile idle for 160 or 96 channels, 7 x 4 (no register left to spread a value in) 217.

    An Intel Xeon with two 512-bit units (family 6, model 207) issues 2.0 multiply-adds a cycle: 14 x 2, 12 x 2, 9 x 3 and 6 x 4
    rows all reach 98 % of that, and 7 x 4 between 58 and 72 %. In AVX2's 16 registers, medians on the same machine: 6 x 2 89.1
    GFLOP/s of 90, by 2 channels a turn 89.1, 4 x 3 88.5, 5 x 2 88.0, 12 x 1 87.2, 3 x 3 (too few sums for the latency) 79,
    3 x 4 (no register for a value) 69. LLVM unrolls the loop over channels itself. Vectors of 8 in 32 registers, 14 x 2: 89.0,
    half of what vectors of 16 reach there. Where a 512-bit unit is two halves both come to the same, on paper: 28 cycles of
    multiply-adds beside 16 of loads, or 14 beside 8 for half the work and by twice the instructions.
    """
    shape, rows_count = shape_of(lanes), rows.literal_value
    lanes_count, matrices = shape.lanes, shape.operands == MATRICES

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        _, _, *tuples = arguments
        x, panel, out, ending = tuples
        (x, x_step, blocks), (w, bias, ahead) = unpack(builder, x), unpack(builder, panel)
        e = Emit(builder, lanes_count)
        bias = e.pointer(bias)
        cells = [(r, j) for r in range(rows_count) for j in range(PAIR)]
        start = [e.load(bias, j * lanes_count) for _, j in cells]
        start, turns = (exchanged(e, start), 1) if matrices else (start, shape.steps)
        with Loop(builder, blocks, [e.pointer(x), e.pointer(w), e.pointer(ahead), *start]) as outer:
            x_block, w_block, ahead_block, *sums = outer.values
            with Loop(builder, int_(turns), [x_block, w_block, ahead_block, *sums]) as inner:
                x_k, w_k, ahead_k, *sums = inner.values
                e.prefetch(ahead_k)
                sums = (multiplied_by_block if matrices else multiplied)(e, shape, x_k, w_k, sums)
                floats = shape.operand_width // turns  # of x in a step: one, or two halves in a float each
                weights = floats * PAIR * lanes_count
                inner.next([e.at(x_k, floats), e.at(w_k, weights), e.at(ahead_k, LINE), *sums])
            _, w_block, ahead_block, *sums = inner.values
            outer.next([e.at(x_block, x_step), w_block, ahead_block, *sums])
        sums = outer.values[3:]
        end_tile(e, shape, exchanged(e, sums) if matrices else sums, out, ending)
        return context.get_dummy_value()

    return types.void(lanes, rows, x, panel, out, ending), emit


def end_tile(e: Emit, shape: Shape, sums: Sequence[ir.Value], out: ir.Value, ending: ir.Value) -> None:
    """Store the sums of neighbouring positions, two vectors each, by one of the four endings."""
    builder, v = e.builder, e.lanes
    (out, out_step, _), (kind, other, scale, operands) = unpack(builder, out), unpack(builder, ending)
    (other, other_step, _), (operands, operands_step, _) = unpack(builder, other), unpack(builder, operands)
    scale = e.pointer(scale)
    outs = [e.at(e.pointer(out), builder.mul(out_step, int_(j))) for j in range(PAIR)]
    others = [e.at(e.pointer(other), builder.mul(other_step, int_(j))) for j in range(PAIR)]
    seconds = [e.at(e.pointer(operands), builder.mul(operands_step, int_(j))) for j in range(PAIR)]

    def finish(name: str, end: Callable[[ir.Value, int, int], None]) -> ir.Block:
        block = builder.append_basic_block(name)
        builder.position_at_end(block)
        for i, value in enumerate(sums):
            end(value, i // PAIR, i % PAIR)
        builder.branch(done)
        return block

    def store(value: ir.Value, r: int, j: int) -> None:
        e.store(value, outs[j], r * v)

    def add_residual(value: ir.Value, r: int, j: int) -> None:
        value = e.fma(e.load(others[j], r * v), e.load(scale, j * v), value)
        store(value, r, j)
        if shape.operands != FLOATS:
            store_operand(e, shape, value, seconds[j], r)

    def apply_gate(value: ir.Value, r: int, j: int) -> None:
        store_operand(e, shape, builder.fmul(value, e.load(others[j], r * v)), outs[j], r)

    before, done = builder.block, builder.append_basic_block("done")
    plain = finish("store", store)
    gelu = finish("gelu", lambda value, r, j: store(e.gelu(value), r, j))
    gate = finish("gate", apply_gate)
    residual = finish("residual", add_residual)
    builder.position_at_end(before)
    switch = builder.switch(kind, plain)
    for value, block in ((GELU, gelu), (GATE, gate), (RESIDUAL, residual)):
        switch.add_case(ir.Constant(kind.type, value), block)
    builder.position_at_end(done)


def multiplied(e: Emit, shape: Shape, x: ir.Value, w: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
    """The sums of a tile after one step: one input channel in float32, a pair of them in bfloat16."""
    sums, rows = list(sums), len(sums) // PAIR
    channels = (1, 0) if shape.operands == HALVES else (0,)  # of x, in the order in which weights lie
    for i, channel in enumerate(channels):
        weights = [e.load(w, (PAIR * i + j) * e.lanes) for j in range(PAIR)]
        for r in range(rows):
            value = e.broadcast(x, r * shape.operand_width + channel)
            for j in range(PAIR):
                total = sums[PAIR * r + j]
                pairs = shape.operands == PAIRS
                sums[PAIR * r + j] = dot_product(e, total, weights[j], value) if pairs else e.fma(value, weights[j], total)
    return sums


@intrinsic()
def simd_unpack(typing_context: Any, lanes: Any, steps: Any, weight: Any, panel: Any) -> Any:
    """The weights of one output pair, [steps][2][V] in 32-bit pairs, as floats [steps][upper, lower][2][V]."""
    v = shape_of(lanes).lanes

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        _, steps, weight, panel = arguments
        e = Emit(builder, v)
        with Loop(builder, steps, [e.pointer(weight), e.pointer(panel)]) as loop:
            now, to = loop.values
            pairs = [e.load(now, j * v) for j in range(PAIR)]
            for i, part in enumerate((upper, lower)):
                for j, pair in enumerate(pairs):
                    e.store(part(e, pair), to, (PAIR * i + j) * v)
            loop.next([e.at(now, PAIR * v), e.at(to, 2 * PAIR * v)])
        return context.get_dummy_value()

    return types.void(lanes, steps, weight, panel), emit


def unpacked(lanes: Lanes, steps: int, weight: Address, panel: Address) -> Address:
    """Where a tile reads the weights of an output pair: `weight`, or `panel`, to which they are unpacked; see `overload`."""
    raise NotImplementedError("unpacked is called from compiled code")


@overload(unpacked)
def compile_unpacked(
    lanes: Lanes, steps: int, weight: Address, panel: Address
) -> Callable[[Lanes, int, Address, Address], int]:
    if shape_of(lanes).operands != HALVES:

        def packed(lanes: Lanes, steps: int, weight: Address, panel: Address) -> int:
            return weight

        return packed

    def floats(lanes: Lanes, steps: int, weight: Address, panel: Address) -> int:
        simd_unpack(lanes, steps, weight, panel)
        return panel

    return floats


def matmul(lanes: Lanes, x: Map, parameters: Parameters, out: Map, ending: Ending, part: Part, spare: Address) -> None:
    """A part of `out`, all input channels of `x`. Compiled code calls it; see `overload`.

    parameters: weight [pairs][blocks * steps][2][V], bias [pairs][2][V]; the ending's scale like the bias; a step is an input
    channel, in bfloat16 a pair of them. spare: room for a tile and, with halves, for the weights of a pair as floats. `out` may
    be the ending's `other`. Reads up to a tile beyond the part's last position, writes nothing there.

    The pair is the outer loop: its weights (128 bytes per input channel) stay in the first-level cache while the
    positions stream through. Its first tiles ask for the next pair's weights, which lie behind these: without that the
    network waits for memory a tenth of its time, as its weights are larger than the second-level cache (on the Xeon of
    `simd_tile` b0 takes 1.06, b1 1.12, b2 1.11 times as long). To ask for those of the pair after the next, or for the
    first-level cache, changes medians by 0.5 and by 2 %, in either direction. Each output is summed in one order whatever
    its tile, so its bits depend on nothing else.
    """
    raise NotImplementedError("matmul is called from compiled code")


# Numba compiles an overload anew for callers of other options, and overloads have others than the functions of `inline`. So
# that `matmul` can call itself and be compiled once, it has theirs.
AS_INLINE: Any = {"no_cpython_wrapper": False}


@overload(matmul, jit_options=AS_INLINE)
def compile_matmul(
    lanes: Lanes, x: Map, parameters: Parameters, out: Map, ending: Ending, part: Part, spare: Address
) -> Callable[[Lanes, Map, Parameters, Map, Ending, Part, Address], None] | None:
    if isinstance(parameters, types.Record):  # a table's: compiled for the named tuple alone, which is the same

        def matmul_from_table(
            lanes: Lanes, x: Map, parameters: Parameters, out: Map, ending: Ending, part: Part, spare: Address
        ) -> None:
            matmul(lanes, x, Parameters(parameters.weight, parameters.bias), out, ending, part, spare)

        return matmul_from_table
    if is_plain(lanes):
        return plain_matmul
    shape = shape_of(lanes)
    if shape.operands == TILES:
        return None  # amx.py has another
    v, rows, steps, width = shape.lanes, shape.rows, shape.steps, shape.operand_width
    half = rows // 2

    def simd_matmul(lanes: Lanes, x: Map, parameters: Parameters, out: Map, ending: Ending, part: Part, spare: Address) -> None:
        panel = x.blocks * steps * PAIR * v
        lines = x.blocks * steps * LINE
        across = width if ending.kind == GATE else v  # what a position takes in `out`
        for pair in range(part.pair, part.end):
            weight, bias = parameters.weight + pair * panel, parameters.bias + pair * PAIR * v
            ahead = weight + panel
            floats = unpacked(lanes, x.blocks * steps, weight, spare + rows * PAIR * v)
            y, z, also = pair_of(out, pair), pair_of(ending.other, pair), pair_of(ending.operands, pair)
            scale = ending.scale + pair * PAIR * v
            p, stop = part.first, part.last
            while p + rows <= stop:
                end = Ending(ending.kind, moved(z, p * v), scale, moved(also, p * width))
                simd_tile(lanes, rows, moved(x, p * width), Panel(floats, bias, ahead), moved(y, p * across), end)
                p += rows
                ahead = ahead + lines if ahead + lines < weight + 2 * panel else weight
            while p + half <= stop:
                end = Ending(ending.kind, moved(z, p * v), scale, moved(also, p * width))
                simd_tile(lanes, half, moved(x, p * width), Panel(floats, bias, ahead), moved(y, p * across), end)
                p += half
            if p < stop:
                to, second = Map(spare, half * v, PAIR), Map(spare + half * v * PAIR, half * v, PAIR)
                end = Ending(ending.kind, moved(z, p * v), scale, second)
                simd_tile(lanes, half, moved(x, p * width), Panel(floats, bias, ahead), to, end)
                copy_pair(to, moved(y, p * across), (stop - p) * across)
                if halved(lanes) and ending.kind == RESIDUAL:
                    copy_pair(second, moved(also, p * width), (stop - p) * width)

    return simd_matmul


@inline
def copy_pair(source: Map, to: Map, count: int) -> None:
    """Copy the first `count` floats of two blocks."""
    copy(to.address, source.address, count)
    copy(to.address + to.step, source.address + source.step, count)


def plain_matmul(lanes: Lanes, x: Map, parameters: Parameters, out: Map, ending: Ending, part: Part, spare: Address) -> None:
    v = PLAIN_LANES
    sums = carray(floats_at(spare), (v,))
    for n in range(PAIR * part.pair, PAIR * part.end):
        b, s = carray(floats_at(parameters.bias + n * v), (v,)), carray(floats_at(ending.scale + n * v), (v,))
        for p in range(part.first, part.last):
            for i in range(v):
                sums[i] = b[i]
            plain_sums(lanes, x, parameters.weight, n, p, sums)
            y = carray(floats_at(out.address + n * out.step + p * v), (v,))
            z = carray(floats_at(ending.other.address + n * ending.other.step + p * v), (v,))
            also = carray(floats_at(ending.operands.address + n * ending.operands.step + p * v), (v,))
            for i in range(v):
                if ending.kind == GELU:
                    y[i] = gelu(sums[i])
                elif ending.kind == GATE:
                    y[i] = operand(lanes, sums[i] * z[i])
                elif ending.kind == RESIDUAL:
                    total = np.float32(z[i] * s[i] + sums[i])
                    y[i] = total
                    if halved(lanes):
                        also[i] = operand(lanes, total)
                else:
                    y[i] = sums[i]


def plain_sums(lanes: Lanes, x: Map, weight: Address, n: int, p: int, sums: NDArray[np.float32]) -> None:
    """Add to the V sums of one position and the n-th block of outputs. Compiled code calls it; see `overload`."""
    raise NotImplementedError("plain_sums is called from compiled code")


@overload(plain_sums)
def compile_plain_sums(
    lanes: Lanes, x: Map, weight: Address, n: int, p: int, sums: NDArray[np.float32]
) -> Callable[[Lanes, Map, Address, int, int, NDArray[np.float32]], None]:
    return sums_of_floats if shape_of(lanes).operands == FLOATS else sums_of_halves


def sums_of_floats(lanes: Lanes, x: Map, weight: Address, n: int, p: int, sums: NDArray[np.float32]) -> None:
    v = PLAIN_LANES
    panel = weight + n // PAIR * x.blocks * v * PAIR * v + n % PAIR * v
    weights = carray(floats_at(panel), (x.blocks * v, PAIR, v))
    for block in range(x.blocks):
        values = carray(floats_at(x.address + block * x.step + p * v), (v,))
        for k in range(v):
            for i in range(v):
                sums[i] += values[k] * weights[block * v + k, 0, i]


def sums_of_halves(lanes: Lanes, x: Map, weight: Address, n: int, p: int, sums: NDArray[np.float32]) -> None:
    """In float64, where a fused multiply-add of halves and a float32 is rounded as in one step.

    The product, of 16 bits, is exact there; so is the sum, unless one of the two is below 2^-29 of the other: then that is what
    float32 rounds to.
    """
    v = PLAIN_LANES
    panel = weight + n // PAIR * x.blocks * v // 2 * PAIR * v + n % PAIR * v
    for block in range(x.blocks):
        values = carray(floats_at(x.address + block * x.step + p * v), (v,))
        for k in range(0, v, 2):
            even, odd = np.float64(values[k]), np.float64(values[k + 1])
            for i in range(v):
                low, high = halves_at(panel + (block * v + k) // 2 * PAIR * v + i)
                total = np.float32(odd * high + sums[i])
                sums[i] = even * low + total
