"""Depthwise convolutions: each channel by itself, so the V channels of a block are V lanes that never mix.

A tap reads the vector of a neighbouring position: dilation is only another constant distance, and a row of positions
reads a row of vectors. A strip of positions is summed in registers; per tap, one vector of weights and one multiply-add
with its input from memory for each position: as many loads as multiply-adds, plus one in `strip` for the weights.

Taps outside the map are not visited: near an edge the rows and columns of taps that exist are worked out first, once per
row of the map and once per stretch of columns that sees the same taps. On the 7x7 map of stage 4 the 7x7 kernel with
dilation 3 has 5.9 of 49 taps inside, on stage 3's 14x14 map 19.6.
"""

from __future__ import annotations

from llvmlite import ir
from numba import carray, types
from numba.extending import intrinsic, overload

from ..ops.jit import njit
from .simd import PLAIN_LANES, Emit, Loop, Plain, floats_at, gelu, shape_of


@intrinsic(prefer_literal=True)
def simd_strip(typing_context, lanes, size, activate, x, x_row, x_tap, w, w_row, rows, columns, bias, out):
    """`size` neighbouring positions; `rows` x `columns` taps, both at least 1. gelu(sum) where `activate` is not 0."""
    v, size_count = shape_of(lanes).lanes, size.literal_value

    def emit(context, builder, signature, arguments):
        _, _, activate, x, x_row, x_tap, w, w_row, rows, columns, bias, out = arguments
        e = Emit(builder, v)
        out = e.pointer(out)
        start = [e.load(e.pointer(bias))] * size_count
        with Loop(builder, rows, [e.pointer(x), e.pointer(w), *start]) as outer:
            x_start, w_start, *sums = outer.values
            with Loop(builder, columns, [x_start, w_start, *sums]) as inner:
                x_now, w_now, *sums = inner.values
                weight = e.load(w_now)
                sums = [e.fma(e.load(x_now, r * v), weight, value) for r, value in enumerate(sums)]
                inner.next([e.at(x_now, x_tap), e.at(w_now, v), *sums])
            outer.next([e.at(x_start, x_row), e.at(w_start, w_row), *inner.values[2:]])
        sums = outer.values[2:]
        active, plain, done = (builder.append_basic_block(name) for name in ("gelu", "store", "done"))
        builder.cbranch(builder.icmp_signed("!=", activate, ir.Constant(activate.type, 0)), active, plain)
        for block, end in ((active, e.gelu), (plain, lambda value: value)):
            builder.position_at_end(block)
            for r, value in enumerate(sums):
                e.store(end(value), out, r * v)
            builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    numbers = (x, x_row, x_tap, w, w_row, rows, columns, bias, out)
    return types.void(lanes, size, activate, *numbers), emit


def strips(lanes, count, activate, x, x_row, x_tap, w, w_row, rows, columns, bias, out):
    """`count` neighbouring positions that all see the same rows x columns taps. Compiled code calls it; see `overload`."""
    raise NotImplementedError("strips is called from compiled code")


@overload(strips)
def compile_strips(lanes, count, activate, x, x_row, x_tap, w, w_row, rows, columns, bias, out):
    if lanes.instance_class is Plain:
        return plain_strips
    v, wide = shape_of(lanes)

    def simd_strips(lanes, count, activate, x, x_row, x_tap, w, w_row, rows, columns, bias, out):
        p = 0
        stop = count * v
        while p + wide * v <= stop:
            simd_strip(lanes, wide, activate, x + p, x_row, x_tap, w, w_row, rows, columns, bias, out + p)
            p += wide * v
        while p + 4 * v <= stop:
            simd_strip(lanes, 4, activate, x + p, x_row, x_tap, w, w_row, rows, columns, bias, out + p)
            p += 4 * v
        while p < stop:
            simd_strip(lanes, 1, activate, x + p, x_row, x_tap, w, w_row, rows, columns, bias, out + p)
            p += v

    return simd_strips


def plain_strips(lanes, count, activate, x, x_row, x_tap, w, w_row, rows, columns, bias, out):
    v = PLAIN_LANES
    b = carray(floats_at(bias), (v,))
    for p in range(count):
        y = carray(floats_at(out + p * v), (v,))
        for i in range(v):
            y[i] = b[i]
        for row in range(rows):
            for column in range(columns):
                values = carray(floats_at(x + p * v + row * x_row + column * x_tap), (v,))
                weights = carray(floats_at(w + row * w_row + column * v), (v,))
                for i in range(v):
                    y[i] += values[i] * weights[i]
        if activate:
            for i in range(v):
                y[i] = gelu(y[i])




@njit(nogil=True)
def depthwise(lanes, v, kernel, dilation, activate, x, top, height, width, w, bias, out, first, last):
    """Rows first..last of one block's map, kernel x kernel taps, padding so that the map keeps its size.

    x is where row `top` of the map lies, for a band of rows with its neighbours; w: [kernel * kernel][V]; out: where row
    `first` goes. Rows are taken `dilation` apart, so that the rows of x which one output row reads serve the next.
    """
    reach = kernel // 2 * dilation
    for phase in range(min(dilation, last - first)):
        for row in range(first + phase, last, dilation):
            above = min(row, reach) // dilation  # tap rows that exist above and below
            below = min(height - 1 - row, reach) // dilation
            x_row = x + (row - top - above * dilation) * width * v
            w_row = w + (kernel // 2 - above) * kernel * v
            left = 0
            while left < width:
                before = min(left, reach) // dilation
                after = min(width - 1 - left, reach) // dilation
                # the columns that see the same taps: until one more exists on the left, or one less on the right
                right = width if before * dilation == reach else (before + 1) * dilation
                right = min(right, width - after * dilation)
                strips(
                    lanes, right - left, activate,
                    x_row + (left - before * dilation) * v, dilation * width * v, dilation * v,
                    w_row + (kernel // 2 - before) * v, kernel * v,
                    above + 1 + below, before + 1 + after, bias, out + ((row - first) * width + left) * v,
                )  # fmt: skip
                left = right
