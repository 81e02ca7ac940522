"""Matrix products: every 1x1 convolution, and the patch embeddings once their windows are laid out as rows.

A map is stored in blocks of V channels (V the lanes of a vector): [C / V][positions][V]. So the V channels of one position
are one vector, and the next position is V floats further in every map of every width: inside the micro-kernel all offsets
are constants, which x86 addressing gets for nothing. With plain NHWC (position stride C, known only at run time) 14 row
pointers do not fit into the 16 integer registers.

    out[n, p] = bias[n] + sum over k of a[k, p] * w[n, k],    then one of four endings before the only store
"""

from __future__ import annotations

from llvmlite import ir
from numba import carray, types
from numba.extending import intrinsic, overload

from ..jit import inline
from .simd import PAIR, PLAIN_LANES, Emit, Loop, Plain, floats_at, gelu, int_, shape_of

# What happens to a sum while it is still in its register.
LINE = 16  # floats in a cache line
STORE, GELU, GATE, RESIDUAL = range(4)  # sum; gelu(sum); sum * other; sum + other * scale


@intrinsic(prefer_literal=True)
def simd_tile(typing_context, lanes, rows, ending, a, a_step, blocks, w, ahead, bias, out, out_step, other, other_step, scale):
    """`rows` positions x 2 V output channels, all `blocks` * V input channels, in one pass over registers.

    Per input channel: two vectors of weights, `rows` values each spread over a register, 2 `rows` fused multiply-adds.
    With 14 rows that is 16 loads beside 28 multiply-adds, where the machine can do as many loads as multiply-adds: the
    multiply-adds alone bound it, at 239 of 239 GFLOP/s for maps in the second-level cache. 12 x 2 rows reached 238,
    6 x 4 246 but leaves half a tile idle for 160 or 96 channels, 7 x 4 (no register left to spread a value in) 217.
    """
    lanes_count, rows_count = shape_of(lanes).lanes, rows.literal_value

    def emit(context, builder, signature, arguments):
        _, _, ending, a, a_step, blocks, w, ahead, bias, out, out_step, other, other_step, scale = arguments
        e = Emit(builder, lanes_count)
        bias, scale = e.pointer(bias), e.pointer(scale)
        cells = [(r, j) for r in range(rows_count) for j in range(PAIR)]
        start = [e.load(bias, j * lanes_count) for _, j in cells]
        with Loop(builder, blocks, [e.pointer(a), e.pointer(w), e.pointer(ahead), *start]) as outer:
            a_block, w_block, ahead_block, *sums = outer.values
            with Loop(builder, int_(lanes_count), [a_block, w_block, ahead_block, *sums]) as inner:
                a_k, w_k, ahead_k, *sums = inner.values
                e.prefetch(ahead_k)
                weights = [e.load(w_k, j * lanes_count) for j in range(PAIR)]
                for r in range(rows_count):
                    value = e.broadcast(a_k, r * lanes_count)
                    for j in range(PAIR):
                        sums[PAIR * r + j] = e.fma(value, weights[j], sums[PAIR * r + j])
                inner.next([e.at(a_k, 1), e.at(w_k, PAIR * lanes_count), e.at(ahead_k, LINE), *sums])
            _, w_block, ahead_block, *sums = inner.values
            outer.next([e.at(a_block, a_step), w_block, ahead_block, *sums])
        sums = outer.values[3:]
        outs = [e.at(e.pointer(out), builder.mul(out_step, int_(j))) for j in range(PAIR)]
        others = [e.at(e.pointer(other), builder.mul(other_step, int_(j))) for j in range(PAIR)]

        def finish(name, end):
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
        switch = builder.switch(ending, plain)
        for value, block in ((GELU, gelu), (GATE, gate), (RESIDUAL, residual)):
            switch.add_case(ir.Constant(ending.type, value), block)
        builder.position_at_end(done)
        return context.get_dummy_value()

    numbers = (a, a_step, blocks, w, ahead, bias, out, out_step, other, other_step, scale)
    return types.void(lanes, rows, ending, *numbers), emit


def matmul(lanes, ending, a, a_step, blocks, w, bias, out, out_step, other, other_step, scale, first, last, pair, end, spare):
    """Positions first..last of the output pairs pair..end; a `pair` is 2 V channels. Compiled code calls it; see `overload`.

    a, out, other: maps as addresses, with the distance of their blocks; w: [pairs][blocks * V][2][V]; bias, scale:
    [pairs][2][V]; spare: room for one tile. `out` may be `other`. Reads up to a tile beyond `last`, writes nothing there.

    The pair is the outer loop: its weights (128 bytes per input channel) stay in the first-level cache while the
    positions stream through. Its first tiles ask for the next pair's weights, which lie behind these: without that the
    network waits for memory a tenth of its time, as its weights are larger than the second-level cache. Each output is
    summed in one order whatever its tile, so its bits depend on nothing else.
    """
    raise NotImplementedError("matmul is called from compiled code")


@overload(matmul)
def compile_matmul(
    lanes, ending, a, a_step, blocks, w, bias, out, out_step, other, other_step, scale, first, last, pair, end, spare
):
    if lanes.instance_class is Plain:
        return plain_matmul
    v, rows = shape_of(lanes)
    half = rows // 2

    def simd_matmul(
        lanes, ending, a, a_step, blocks, w, bias, out, out_step, other, other_step, scale, first, last, pair, end, spare
    ):
        for n in range(pair, end):
            panel = blocks * v * 2 * v
            weights, b, s = w + n * panel, bias + n * 2 * v, scale + n * 2 * v
            ahead = weights + panel
            y, z = out + n * 2 * out_step, other + n * 2 * other_step
            p = first * v
            stop = last * v
            while p + rows * v <= stop:
                simd_tile(lanes, rows, ending, a + p, a_step, blocks, weights, ahead, b, y + p, out_step, z + p, other_step, s)
                p += rows * v
                ahead = ahead + blocks * v * LINE if ahead + blocks * v * LINE < weights + 2 * panel else weights
            while p + half * v <= stop:
                simd_tile(lanes, half, ending, a + p, a_step, blocks, weights, ahead, b, y + p, out_step, z + p, other_step, s)
                p += half * v
            if p < stop:
                simd_tile(lanes, half, ending, a + p, a_step, blocks, weights, ahead, b, spare, half * v, z + p, other_step, s)
                copy(y + p, spare, stop - p)
                copy(y + p + out_step, spare + half * v, stop - p)

    return simd_matmul


@inline
def copy(to, source, count):
    """Copy `count` floats."""
    y, x = carray(floats_at(to), (count,)), carray(floats_at(source), (count,))
    for i in range(count):
        y[i] = x[i]


def plain_matmul(
    lanes, ending, a, a_step, blocks, w, bias, out, out_step, other, other_step, scale, first, last, pair, end, spare
):
    v = PLAIN_LANES
    sums = carray(floats_at(spare), (v,))
    for n in range(2 * pair, 2 * end):
        b, s = carray(floats_at(bias + n * v), (v,)), carray(floats_at(scale + n * v), (v,))
        weights = carray(floats_at(w + n // 2 * blocks * v * 2 * v + n % 2 * v), (blocks * v, 2, v))
        for p in range(first, last):
            for i in range(v):
                sums[i] = b[i]
            for block in range(blocks):
                x = carray(floats_at(a + block * a_step + p * v), (v,))
                for k in range(v):
                    for i in range(v):
                        sums[i] += x[k] * weights[block * v + k, 0, i]
            y = carray(floats_at(out + n * out_step + p * v), (v,))
            z = carray(floats_at(other + n * other_step + p * v), (v,))
            for i in range(v):
                if ending == GELU:
                    y[i] = gelu(sums[i])
                elif ending == GATE:
                    y[i] = sums[i] * z[i]
                elif ending == RESIDUAL:
                    y[i] = z[i] * s[i] + sums[i]
                else:
                    y[i] = sums[i]
