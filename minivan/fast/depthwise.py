"""Depthwise convolutions: each channel by itself, so the V channels of a block are V lanes that never mix.

A tap reads the vector of a neighbouring position: dilation is only another constant distance, and a row of positions
reads a row of vectors. A strip of positions is summed in registers, and each input vector is loaded once and serves every
output of the strip that it belongs to: 16 loads and 3 weights for the 42 multiply-adds of a 3-tap row over 14 positions.
Loading the input anew for every tap needs 45 loads and is bound by them: 105 against 77 microseconds for 256 channels of a
56 x 56 map.

Taps outside the map are not visited. Which rows of the kernel lie inside is worked out once per row of the map; at the left
and the right edge run strips whose code was made without the taps beyond it. On the 7x7 map of stage 4 the 7x7 kernel with
dilation 3 has 5.9 of 49 taps inside, on stage 3's 14x14 map 19.6.
"""

from __future__ import annotations

from numba import carray, types
from numba.extending import intrinsic, overload

from ..jit import inline
from .simd import PLAIN_LANES, Emit, Loop, Plain, floats_at, gelu, shape_of, width

LEFT, RIGHT, BOTH = 1, 2, 3  # the edges of the map that a strip touches
DILATION = {3: 1, 5: 1, 7: 3}  # VAN's depthwise kernels: dwconv, conv0, conv_spatial
ACTIVATED = 3  # dwconv is followed by GELU


def finish(e, sums, taps, out):
    for r, value in enumerate(sums):
        e.store(e.gelu(value) if taps == ACTIVATED else value, out, r * e.lanes)


@intrinsic(prefer_literal=True)
def simd_strip(typing_context, lanes, size, taps, edges, x, x_row, w, rows, bias, out):
    """`size` neighbouring positions, the first one at x; `rows` rows of `taps` taps, at least 1.

    `edges`: LEFT where the strip begins at the left edge of the map, RIGHT where it ends at the right one, BOTH, or 0.
    """
    v, positions, columns = shape_of(lanes).lanes, size.literal_value, taps.literal_value
    step = DILATION[columns]
    reach = columns // 2 * step
    first = 0 if edges.literal_value & LEFT else -reach
    last = positions if edges.literal_value & RIGHT else positions + reach

    def emit(context, builder, signature, arguments):
        _, _, _, _, x, x_row, w, rows, bias, out = arguments
        e = Emit(builder, v)
        with Loop(builder, rows, [e.pointer(x), e.pointer(w), *[e.load(e.pointer(bias))] * positions]) as loop:
            x_now, w_now, *sums = loop.values
            weights = [e.load(w_now, column * v) for column in range(columns)]
            for i in range(first, last):
                value = e.load(x_now, i * v)
                for column in range(columns):  # position r sees input r - reach + column * step: its taps come in order
                    r = i + reach - column * step
                    if 0 <= r < positions:
                        sums[r] = e.fma(value, weights[column], sums[r])
            loop.next([e.at(x_now, x_row), e.at(w_now, columns * v), *sums])
        finish(e, loop.values[2:], columns, e.pointer(out))
        return context.get_dummy_value()

    return types.void(lanes, size, taps, edges, x, x_row, w, rows, bias, out), emit


@intrinsic(prefer_literal=True)
def simd_point(typing_context, lanes, taps, x, x_row, w, rows, columns, bias, out):
    """One position; x and w: the first tap inside the map, of `rows` x `columns`, both at least 1."""
    v, kernel = shape_of(lanes).lanes, taps.literal_value

    def emit(context, builder, signature, arguments):
        _, _, x, x_row, w, rows, columns, bias, out = arguments
        e = Emit(builder, v)
        with Loop(builder, rows, [e.pointer(x), e.pointer(w), e.load(e.pointer(bias))]) as outer:
            x_start, w_start, total = outer.values
            with Loop(builder, columns, [x_start, w_start, total]) as inner:
                x_now, w_now, total = inner.values
                total = e.fma(e.load(x_now), e.load(w_now), total)
                inner.next([e.at(x_now, DILATION[kernel] * v), e.at(w_now, v), total])
            outer.next([e.at(x_start, x_row), e.at(w_start, kernel * v), inner.values[2]])
        finish(e, outer.values[2:], kernel, e.pointer(out))
        return context.get_dummy_value()

    return types.void(lanes, taps, x, x_row, w, rows, columns, bias, out), emit


def point(lanes, taps, x, x_row, w, rows, columns, bias, out):
    """simd_point, or the same in scalars. Compiled code calls it; see `overload`."""
    raise NotImplementedError("point is called from compiled code")


@overload(point)
def compile_point(lanes, taps, x, x_row, w, rows, columns, bias, out):
    if lanes.instance_class is Plain:
        return plain_point

    def simd(lanes, taps, x, x_row, w, rows, columns, bias, out):
        if taps == 3:
            simd_point(lanes, 3, x, x_row, w, rows, columns, bias, out)
        elif taps == 5:
            simd_point(lanes, 5, x, x_row, w, rows, columns, bias, out)
        else:
            simd_point(lanes, 7, x, x_row, w, rows, columns, bias, out)

    return simd


def plain_point(lanes, taps, x, x_row, w, rows, columns, bias, out):
    v = PLAIN_LANES
    y, b = carray(floats_at(out), (v,)), carray(floats_at(bias), (v,))
    for i in range(v):
        y[i] = b[i]
    step = 3 if taps == 7 else 1
    for row in range(rows):
        for column in range(columns):
            values = carray(floats_at(x + row * x_row + column * step * v), (v,))
            weights = carray(floats_at(w + (row * taps + column) * v), (v,))
            for i in range(v):
                y[i] += values[i] * weights[i]
    if taps == ACTIVATED:
        for i in range(v):
            y[i] = gelu(y[i])


@inline
def points(lanes, taps, x, x_row, count, w, rows, bias, out, first, last):
    """Positions first..last of a row of any width, one by one: where strips do not fit."""
    v = width(lanes)
    step = 3 if taps == 7 else 1
    for p in range(first, last):
        before, after = min(p // step, taps // 2), min((count - 1 - p) // step, taps // 2)  # taps inside, left and right
        left = x + (p - before * step) * v
        point(lanes, taps, left, x_row, w + (taps // 2 - before) * v, rows, before + 1 + after, bias, out + p * v)


def map_row(lanes, taps, x, x_row, count, w, rows, bias, out):
    """One row of a map of `count` positions; x: its beginning in the row that the first of the kernel's `rows` rows sees.

    Compiled code calls it; see `overload`. A row is cut into strips: one at each edge and those between, shifted so that
    no tap of theirs leaves the map; where strips overlap, the same sums are stored twice. Strips shorter than the kernel's
    reach (7x7 on vectors of 8 and 4) leave the edges to `points`.
    """
    raise NotImplementedError("map_row is called from compiled code")


@overload(map_row)
def compile_map_row(lanes, taps, x, x_row, count, w, rows, bias, out):
    if lanes.instance_class is Plain:
        return plain_map_row
    wide = shape_of(lanes).rows
    half = wide // 2
    wide_3, wide_5, wide_7 = (strips_of(wide, taps) for taps in DILATION)
    half_3, half_5, half_7 = (strips_of(half, taps) for taps in DILATION)

    def simd_map_row(lanes, taps, x, x_row, count, w, rows, bias, out):
        reach = 9 if taps == 7 else taps // 2
        if fits(wide, reach, count):
            if taps == 3:
                wide_3(lanes, x, x_row, count, w, rows, bias, out)
            elif taps == 5:
                wide_5(lanes, x, x_row, count, w, rows, bias, out)
            else:
                wide_7(lanes, x, x_row, count, w, rows, bias, out)
        elif fits(half, reach, count):
            if taps == 3:
                half_3(lanes, x, x_row, count, w, rows, bias, out)
            elif taps == 5:
                half_5(lanes, x, x_row, count, w, rows, bias, out)
            else:
                half_7(lanes, x, x_row, count, w, rows, bias, out)
        else:
            points(lanes, taps, x, x_row, count, w, rows, bias, out, 0, count)

    return simd_map_row


def plain_map_row(lanes, taps, x, x_row, count, w, rows, bias, out):
    points(lanes, taps, x, x_row, count, w, rows, bias, out, 0, count)


@inline
def fits(size, reach, count):
    """Whether strips of this size can cover a row: exactly one; one at each edge; or these and others that reach no edge."""
    return count == size or size + reach <= count <= 2 * size or count >= size + 2 * max(reach, size // 2)


def strips_of(size, taps):
    """Compile the strips of one size and kernel: at the left edge, between, at the right edge, and from edge to edge."""
    reach = taps // 2 * DILATION[taps]

    @inline
    def strips(lanes, x, x_row, count, w, rows, bias, out):
        v = width(lanes)
        if count == size:
            simd_strip(lanes, size, taps, BOTH, x, x_row, w, rows, bias, out)
            return
        edge = max(reach, size)
        if size >= reach:
            p = count - size
            simd_strip(lanes, size, taps, LEFT, x, x_row, w, rows, bias, out)
            simd_strip(lanes, size, taps, RIGHT, x + p * v, x_row, w, rows, bias, out + p * v)
        else:
            points(lanes, taps, x, x_row, count, w, rows, bias, out, 0, reach)
            points(lanes, taps, x, x_row, count, w, rows, bias, out, count - reach, count)
        p = edge
        while p < count - edge:
            p = min(p, count - size - reach)
            simd_strip(lanes, size, taps, 0, x + p * v, x_row, w, rows, bias, out + p * v)
            p += size

    return strips


@inline
def depthwise(lanes, taps, x, top, height, columns, w, bias, out, first, last):
    """Rows first..last of one block's map, taps x taps, padding so that the map keeps its size; GELU after the 3x3.

    x is where row `top` of the map lies, for a band of rows with its neighbours; w: [taps * taps][V]; out: where row
    `first` goes. Rows are taken a dilation apart, so that the rows of x which one output row reads serve the next.
    """
    v, middle = width(lanes), taps // 2
    step = 3 if taps == 7 else 1
    for phase in range(min(step, last - first)):
        for row in range(first + phase, last, step):
            above, below = min(row // step, middle), min((height - 1 - row) // step, middle)  # kernel rows inside
            map_row(
                lanes, taps, x + (row - top - above * step) * columns * v, step * columns * v, columns,
                w + (middle - above) * taps * v, above + 1 + below, bias, out + (row - first) * columns * v,
            )  # fmt: skip
