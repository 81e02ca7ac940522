"""Depthwise convolutions: each channel by itself, so the V channels of a block are V lanes that never mix.

A tap reads the vector of a neighbouring position: dilation is only another constant distance, and a row of positions
reads a row of vectors. A strip of positions is summed in registers. Inside the map, where all taps of a kernel row exist,
each input vector is loaded once and serves every output of the strip that it belongs to (`simd_strip`): 16 loads and 3
weights for the 42 multiply-adds of a 3-tap row over 14 positions. Loading the input anew for every tap needs 45 loads
and is bound by them: 105 against 70 microseconds for 256 channels of a 56 x 56 map.

Taps outside the map are not visited: near an edge the rows and columns of taps that exist are worked out first, once per
row of the map and once per stretch of columns that sees the same taps. On the 7x7 map of stage 4 the 7x7 kernel with
dilation 3 has 5.9 of 49 taps inside, on stage 3's 14x14 map 19.6.
"""

from __future__ import annotations

from llvmlite import ir
from numba import carray, njit, types
from numba.extending import intrinsic, overload

from .simd import PLAIN_LANES, Emit, Loop, Plain, floats_at, gelu, shape_of


def finish(e, sums, activate, out):
    """Store a strip, through gelu where `activate` is not 0."""
    builder = e.builder
    active, plain, done = (builder.append_basic_block(name) for name in ("gelu", "store", "done"))
    builder.cbranch(builder.icmp_signed("!=", activate, ir.Constant(activate.type, 0)), active, plain)
    for block, end in ((active, e.gelu), (plain, lambda value: value)):
        builder.position_at_end(block)
        for r, value in enumerate(sums):
            e.store(end(value), out, r * e.lanes)
        builder.branch(done)
    builder.position_at_end(done)


@intrinsic(prefer_literal=True)
def simd_strip(typing_context, lanes, size, taps, distance, activate, x, x_row, w, w_row, rows, bias, out):
    """`size` neighbouring positions; `rows` rows, at least 1, of `taps` taps, `distance` positions apart."""
    v, positions, columns, step = shape_of(lanes).lanes, size.literal_value, taps.literal_value, distance.literal_value

    def emit(context, builder, signature, arguments):
        _, _, _, _, activate, x, x_row, w, w_row, rows, bias, out = arguments
        e = Emit(builder, v)
        with Loop(builder, rows, [e.pointer(x), e.pointer(w), *[e.load(e.pointer(bias))] * positions]) as loop:
            x_now, w_now, *sums = loop.values
            weights = [e.load(w_now, column * v) for column in range(columns)]
            for i in range(positions + (columns - 1) * step):
                value = e.load(x_now, i * v)
                for column in range(columns):  # position r sees input r + column * step: its taps come in order
                    r = i - column * step
                    if 0 <= r < positions:
                        sums[r] = e.fma(value, weights[column], sums[r])
            loop.next([e.at(x_now, x_row), e.at(w_now, w_row), *sums])
        finish(e, loop.values[2:], activate, e.pointer(out))
        return context.get_dummy_value()

    return types.void(lanes, size, taps, distance, activate, x, x_row, w, w_row, rows, bias, out), emit


@intrinsic(prefer_literal=True)
def simd_edge(typing_context, lanes, size, activate, x, x_row, x_tap, w, w_row, rows, columns, bias, out):
    """`size` neighbouring positions; `rows` x `columns` taps, both at least 1 and known only at run time."""
    v, positions = shape_of(lanes).lanes, size.literal_value

    def emit(context, builder, signature, arguments):
        _, _, activate, x, x_row, x_tap, w, w_row, rows, columns, bias, out = arguments
        e = Emit(builder, v)
        with Loop(builder, rows, [e.pointer(x), e.pointer(w), *[e.load(e.pointer(bias))] * positions]) as outer:
            x_start, w_start, *sums = outer.values
            with Loop(builder, columns, [x_start, w_start, *sums]) as inner:
                x_now, w_now, *sums = inner.values
                weight = e.load(w_now)
                sums = [e.fma(e.load(x_now, r * v), weight, value) for r, value in enumerate(sums)]
                inner.next([e.at(x_now, x_tap), e.at(w_now, v), *sums])
            outer.next([e.at(x_start, x_row), e.at(w_start, w_row), *inner.values[2:]])
        finish(e, outer.values[2:], activate, e.pointer(out))
        return context.get_dummy_value()

    return types.void(lanes, size, activate, x, x_row, x_tap, w, w_row, rows, columns, bias, out), emit


def strips(lanes, count, kernel, activate, x, x_row, x_tap, w, w_row, rows, columns, bias, out):
    """`count` neighbouring positions that all see the same rows x columns taps. Compiled code calls it; see `overload`.

    A stretch that is no multiple of a strip ends in a strip that overlaps the one before: the same sums, stored twice.
    """
    raise NotImplementedError("strips is called from compiled code")


@overload(strips)
def compile_strips(lanes, count, kernel, activate, x, x_row, x_tap, w, w_row, rows, columns, bias, out):
    if lanes.instance_class is Plain:
        return plain_strips
    v, wide = shape_of(lanes)
    half = wide // 2

    def simd_strips(lanes, count, kernel, activate, x, x_row, x_tap, w, w_row, rows, columns, bias, out):
        p = 0
        if columns == kernel and count >= half:
            size = wide if count >= wide else half
            while p < count:
                p = min(p, count - size)
                a, y = x + p * v, out + p * v
                if kernel == 3 and size == wide:
                    simd_strip(lanes, wide, 3, 1, activate, a, x_row, w, w_row, rows, bias, y)
                elif kernel == 3:
                    simd_strip(lanes, half, 3, 1, activate, a, x_row, w, w_row, rows, bias, y)
                elif kernel == 5 and size == wide:
                    simd_strip(lanes, wide, 5, 1, activate, a, x_row, w, w_row, rows, bias, y)
                elif kernel == 5:
                    simd_strip(lanes, half, 5, 1, activate, a, x_row, w, w_row, rows, bias, y)
                elif size == wide:
                    simd_strip(lanes, wide, 7, 3, activate, a, x_row, w, w_row, rows, bias, y)
                else:
                    simd_strip(lanes, half, 7, 3, activate, a, x_row, w, w_row, rows, bias, y)
                p += size
        elif count >= 3:
            while p < count:
                p = min(p, count - 3)
                simd_edge(lanes, 3, activate, x + p * v, x_row, x_tap, w, w_row, rows, columns, bias, out + p * v)
                p += 3
        else:
            while p < count:
                simd_edge(lanes, 1, activate, x + p * v, x_row, x_tap, w, w_row, rows, columns, bias, out + p * v)
                p += 1

    return simd_strips


def plain_strips(lanes, count, kernel, activate, x, x_row, x_tap, w, w_row, rows, columns, bias, out):
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
def taps_within(distance, dilation):
    """How many taps lie within that many positions. VAN's dilations are 1 and 3: dividing by a variable takes 15 cycles."""
    return distance if dilation == 1 else distance // 3


@njit(nogil=True)
def depthwise(lanes, v, kernel, dilation, activate, x, top, height, width, w, bias, out, first, last):
    """Rows first..last of one block's map, kernel x kernel taps, padding so that the map keeps its size.

    x is where row `top` of the map lies, for a band of rows with its neighbours; w: [kernel * kernel][V]; out: where row
    `first` goes. Rows are taken `dilation` apart, so that the rows of x which one output row reads serve the next.
    """
    reach = kernel // 2 * dilation
    for phase in range(min(dilation, last - first)):
        for row in range(first + phase, last, dilation):
            above = taps_within(min(row, reach), dilation)  # tap rows that exist above and below
            below = taps_within(min(height - 1 - row, reach), dilation)
            x_row = x + (row - top - above * dilation) * width * v
            w_row = w + (kernel // 2 - above) * kernel * v
            left = 0
            while left < width:
                before = taps_within(min(left, reach), dilation)
                after = taps_within(min(width - 1 - left, reach), dilation)
                # the columns that see the same taps: until one more exists on the left, or one less on the right
                right = width if before * dilation == reach else (before + 1) * dilation
                right = min(right, width - after * dilation)
                strips(
                    lanes, right - left, kernel, activate,
                    x_row + (left - before * dilation) * v, dilation * width * v, dilation * v,
                    w_row + (kernel // 2 - before) * v, kernel * v,
                    above + 1 + below, before + 1 + after, bias, out + ((row - first) * width + left) * v,
                )  # fmt: skip
                left = right
