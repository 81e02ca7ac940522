"""Matrix products: every 1x1 convolution, and the patch embeddings once their windows are laid out as rows.

out[n, p] = bias[n] + sum over k of x[k, p] * weight[n, k],    then one of four endings before the only store
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.extending import overload

from ..jit import carray, inline, intrinsic
from .addresses import Address, floats_at
from .maps import Map, Parameters, Part, copy, moved, pair_of
from .simd import PAIR, PLAIN_LANES, Emit, Lanes, Loop, gelu, int_, is_plain, shape_of, unpack

LINE = 16  # floats in a cache line
STORE, GELU, GATE, RESIDUAL = range(4)  # sum; gelu(sum); sum * other; sum + other * scale


class Ending(NamedTuple):
    """What happens to a sum while it is still in its register, and what that needs."""

    kind: int  # STORE, GELU, GATE or RESIDUAL
    other: Map
    scale: Address  # one factor per output channel


NO_MAP = Map(0, 0, 0)
STORED, ACTIVATED = Ending(STORE, NO_MAP, 0), Ending(GELU, NO_MAP, 0)


@inline
def gated(other: Map) -> Ending:
    """Sum * other: LKA's gate."""
    return Ending(GATE, other, 0)


@inline
def added_to(other: Map, scale: Address) -> Ending:
    """Sum + other * scale: a residual."""
    return Ending(RESIDUAL, other, scale)


class Panel(NamedTuple):
    """What a tile reads of the weights: those of one output pair, its biases, and what to ask memory for meanwhile."""

    weight: Address  # [blocks * V][2][V]
    bias: Address  # [2][V]
    ahead: Address  # one cache line per input channel


@intrinsic(prefer_literal=True)
def simd_tile(typing_context: Any, lanes: Any, rows: Any, x: Any, panel: Any, out: Any, ending: Any) -> Any:
    """`rows` positions x 2 V output channels, all `blocks` * V input channels, in one pass over registers.

    Per input channel: two vectors of weights, `rows` values each spread over a register, 2 `rows` fused multiply-adds.
    With 14 rows that is 16 loads beside 28 multiply-adds, where the machine can do as many loads as multiply-adds: the
    multiply-adds alone bound it, at 239 of 239 GFLOP/s for maps in the second-level cache. 12 x 2 rows reached 238,
    6 x 4 246 but leaves half a tile idle for 160 or 96 channels, 7 x 4 (no register left to spread a value in) 217.
    """
    lanes_count, rows_count = shape_of(lanes).lanes, rows.literal_value

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        _, _, *tuples = arguments
        (x, x_step, blocks), (w, bias, ahead), (out, out_step, _), (kind, other, scale) = (unpack(builder, t) for t in tuples)
        other, other_step, _ = unpack(builder, other)
        e = Emit(builder, lanes_count)
        bias, scale = e.pointer(bias), e.pointer(scale)
        cells = [(r, j) for r in range(rows_count) for j in range(PAIR)]
        start = [e.load(bias, j * lanes_count) for _, j in cells]
        with Loop(builder, blocks, [e.pointer(x), e.pointer(w), e.pointer(ahead), *start]) as outer:
            x_block, w_block, ahead_block, *sums = outer.values
            with Loop(builder, int_(lanes_count), [x_block, w_block, ahead_block, *sums]) as inner:
                x_k, w_k, ahead_k, *sums = inner.values
                e.prefetch(ahead_k)
                weights = [e.load(w_k, j * lanes_count) for j in range(PAIR)]
                for r in range(rows_count):
                    value = e.broadcast(x_k, r * lanes_count)
                    for j in range(PAIR):
                        sums[PAIR * r + j] = e.fma(value, weights[j], sums[PAIR * r + j])
                inner.next([e.at(x_k, 1), e.at(w_k, PAIR * lanes_count), e.at(ahead_k, LINE), *sums])
            _, w_block, ahead_block, *sums = inner.values
            outer.next([e.at(x_block, x_step), w_block, ahead_block, *sums])
        sums = outer.values[3:]
        outs = [e.at(e.pointer(out), builder.mul(out_step, int_(j))) for j in range(PAIR)]
        others = [e.at(e.pointer(other), builder.mul(other_step, int_(j))) for j in range(PAIR)]

        def finish(name: str, end: Callable[[ir.Value, int, int], ir.Value]) -> ir.Block:
            block = builder.append_basic_block(name)
            builder.position_at_end(block)
            for (r, j), value in zip(cells, sums, strict=True):
                e.store(end(value, r, j), outs[j], r * lanes_count)
            builder.branch(done)
            return block

        before, done = builder.block, builder.append_basic_block("done")
        plain = finish("store", lambda value, r, j: value)
        gelu = finish("gelu", lambda value, r, j: e.gelu(value))
        gate = finish("gate", lambda value, r, j: builder.fmul(value, e.load(others[j], r * lanes_count)))
        residual = finish(
            "residual",
            lambda value, r, j: e.fma(e.load(others[j], r * lanes_count), e.load(scale, j * lanes_count), value),
        )
        builder.position_at_end(before)
        switch = builder.switch(kind, plain)
        for value, block in ((GELU, gelu), (GATE, gate), (RESIDUAL, residual)):
            switch.add_case(ir.Constant(kind.type, value), block)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return types.void(lanes, rows, x, panel, out, ending), emit


def matmul(lanes: Lanes, x: Map, parameters: Parameters, out: Map, ending: Ending, part: Part, spare: Address) -> None:
    """A part of `out`, all input channels of `x`. Compiled code calls it; see `overload`.

    parameters: weight [pairs][blocks * V][2][V], bias [pairs][2][V]; the ending's scale like the bias; spare: room for one
    tile. `out` may be the ending's `other`. Reads up to a tile beyond the part's last position, writes nothing there.

    The pair is the outer loop: its weights (128 bytes per input channel) stay in the first-level cache while the
    positions stream through. Its first tiles ask for the next pair's weights, which lie behind these: without that the
    network waits for memory a tenth of its time, as its weights are larger than the second-level cache. Each output is
    summed in one order whatever its tile, so its bits depend on nothing else.
    """
    raise NotImplementedError("matmul is called from compiled code")


@overload(matmul)
def compile_matmul(
    lanes: Lanes, x: Map, parameters: Parameters, out: Map, ending: Ending, part: Part, spare: Address
) -> Callable[[Lanes, Map, Parameters, Map, Ending, Part, Address], None]:
    if is_plain(lanes):
        return plain_matmul
    v, rows = shape_of(lanes)
    half = rows // 2

    def simd_matmul(lanes: Lanes, x: Map, parameters: Parameters, out: Map, ending: Ending, part: Part, spare: Address) -> None:
        panel = x.blocks * v * PAIR * v
        for pair in range(part.pair, part.end):
            weight, bias = parameters.weight + pair * panel, parameters.bias + pair * PAIR * v
            ahead = weight + panel
            y, z, scale = pair_of(out, pair), pair_of(ending.other, pair), ending.scale + pair * PAIR * v
            p = part.first * v
            stop = part.last * v
            while p + rows * v <= stop:
                end = Ending(ending.kind, moved(z, p), scale)
                simd_tile(lanes, rows, moved(x, p), Panel(weight, bias, ahead), moved(y, p), end)
                p += rows * v
                ahead = ahead + x.blocks * v * LINE if ahead + x.blocks * v * LINE < weight + 2 * panel else weight
            while p + half * v <= stop:
                end = Ending(ending.kind, moved(z, p), scale)
                simd_tile(lanes, half, moved(x, p), Panel(weight, bias, ahead), moved(y, p), end)
                p += half * v
            if p < stop:
                end = Ending(ending.kind, moved(z, p), scale)
                simd_tile(lanes, half, moved(x, p), Panel(weight, bias, ahead), Map(spare, half * v, PAIR), end)
                copy(y.address + p, spare, stop - p)
                copy(y.address + y.step + p, spare + half * v, stop - p)

    return simd_matmul


def plain_matmul(lanes: Lanes, x: Map, parameters: Parameters, out: Map, ending: Ending, part: Part, spare: Address) -> None:
    v = PLAIN_LANES
    sums = carray(floats_at(spare), (v,))
    for n in range(PAIR * part.pair, PAIR * part.end):
        b, s = carray(floats_at(parameters.bias + n * v), (v,)), carray(floats_at(ending.scale + n * v), (v,))
        weight = parameters.weight + n // PAIR * x.blocks * v * PAIR * v + n % PAIR * v
        weights = carray(floats_at(weight), (x.blocks * v, PAIR, v))
        for p in range(part.first, part.last):
            for i in range(v):
                sums[i] = b[i]
            for block in range(x.blocks):
                values = carray(floats_at(x.address + block * x.step + p * v), (v,))
                for k in range(v):
                    for i in range(v):
                        sums[i] += values[k] * weights[block * v + k, 0, i]
            y = carray(floats_at(out.address + n * out.step + p * v), (v,))
            z = carray(floats_at(ending.other.address + n * ending.other.step + p * v), (v,))
            for i in range(v):
                if ending.kind == GELU:
                    y[i] = gelu(sums[i])
                elif ending.kind == GATE:
                    y[i] = sums[i] * z[i]
                elif ending.kind == RESIDUAL:
                    y[i] = z[i] * s[i] + sums[i]
                else:
                    y[i] = sums[i]
