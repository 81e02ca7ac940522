"""Depthwise convolutions: each channel by itself, so the V channels of a block are V lanes that never mix.

A tap reads the vector of a neighbouring position: dilation is only another constant distance, and a row of positions
reads a row of vectors. A strip of positions is summed in registers, and each input vector is loaded once and serves every
output of the strip that it belongs to: 16 loads and 3 weights for the 42 multiply-adds of a 3-tap row over 14 positions.
Loading the input anew for every tap needs 45 loads and is bound by them: 105 against 77 microseconds for 256 channels of a
56 x 56 map.

On an Intel Xeon with two 512-bit units, conv0 of VAN-B0 runs at 94 % of the peak of multiply-adds and conv_spatial at 90 %, on
maps of 7 x 7 at 61 and 20 %: those take 0.1 % of the network's time. The MLP's takes 12.7 cycles a vector, where its 9
multiply-adds and GELU's 15 instructions need 12, in the first-level cache as in the second.

Taps outside the map are not visited. Which rows of the kernel lie inside is worked out once per row of the map; at the left
and the right edge run strips whose code was made without the taps beyond it. On the 7x7 map of stage 4 the 7x7 kernel with
dilation 3 has 5.9 of 49 taps inside, on stage 3's 14x14 map 19.6.

Which kernel it is travels as lanes do (lanes.py), as the type of an empty named tuple: side and dilation are constants in
compiled code. As numbers, they would cost two divisions for each position outside the strips.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.extending import overload

from ..geometry import CONV0, CONV_SPATIAL, DWCONV, Kernel
from ..jit import carray, inline, intrinsic
from .addresses import Address, Count
from .bfloat16 import operand, store_operand
from .lanes import PLAIN_LANES, SHAPES, Lanes, Shape
from .maps import Grid, Parameters
from .pointers import floats_at
from .simd import INT, Emit, Loop, gelu, is_plain, shape_of, unpack, vector_width

LEFT, RIGHT, BOTH = 1, 2, 3  # the edges of the map that a strip touches


class Conv0(NamedTuple):
    """LKA's near step."""


class ConvSpatial(NamedTuple):
    """LKA's far step."""


class Dwconv(NamedTuple):
    """The MLP's, followed by GELU."""


Convolution = Conv0 | ConvSpatial | Dwconv
KERNELS = {Conv0: CONV0, ConvSpatial: CONV_SPATIAL, Dwconv: DWCONV}
if any(kernel.padding != kernel.reach for kernel in KERNELS.values()):
    raise NotImplementedError("fast keeps the size of a map: a depthwise kernel is padded by its reach")


def kernel_of(convolution: Convolution) -> Kernel:
    """The kernel, a constant to the compiled code that calls it; see `overload`. Its `padding` is its reach."""
    return KERNELS[type(convolution)]


@overload(kernel_of)
def compile_kernel_of(convolution: Convolution) -> Callable[[Convolution], Kernel]:
    constant = kernel_behind(convolution)

    def kernel(convolution: Convolution) -> Kernel:
        return constant

    return kernel


def kernel_behind(convolution: Any) -> Kernel:
    """Return the kernel of a Numba type such as that of Conv0()."""
    return KERNELS[convolution.instance_class]


def activated(convolution: Convolution) -> bool:
    """Whether GELU follows, a constant to the compiled code that calls it; see `overload`."""
    return isinstance(convolution, Dwconv)


@overload(activated)
def compile_activated(convolution: Convolution) -> Callable[[Convolution], bool]:
    constant = is_activated(convolution)

    def answer(convolution: Convolution) -> bool:
        return constant

    return answer


def multiplied(convolution: Convolution) -> bool:
    """Whether a matrix product reads what comes out, a constant to the compiled code that calls it; see `overload`."""
    return not isinstance(convolution, Conv0)


@overload(multiplied)
def compile_multiplied(convolution: Convolution) -> Callable[[Convolution], bool]:
    constant = is_multiplied(convolution)

    def answer(convolution: Convolution) -> bool:
        return constant

    return answer


def is_activated(convolution: Any) -> bool:
    """Whether a Numba type is that of Dwconv()."""
    return convolution.instance_class is Dwconv


class Band(NamedTuple):
    """Rows first..last of a map are wanted. What there is of it lies in a ring of rows: row `top` and those below it and, where
    the ring ends, the next ones from its beginning on, for Dwconv alone. A whole map is a ring that nothing goes beyond."""

    first: int
    last: int
    top: int  # not below the first row that a tap sees, and less than two rings above the last
    ring: int  # rows that there is room for


class Rows(NamedTuple):
    """The rows of a map that the taps of one output row see: those inside the map."""

    address: Address  # of the first of them, at the output's column or where a function says
    step: int  # floats from one to the next
    rows: Count  # how many, at least 1
    end: Address  # of the ring that they lie in: Dwconv's go on from its beginning there
    ring: int  # floats from its beginning to its end


def out_width(lanes: Lanes, convolution: Convolution) -> int:
    """The floats' room of a position in what comes out, a constant to the compiled code that calls it; see `overload`."""
    shape = SHAPES[type(lanes)]
    return shape.lanes if isinstance(convolution, Conv0) else shape.operand_width


@overload(out_width)
def compile_out_width(lanes: Lanes, convolution: Convolution) -> Callable[[Lanes, Convolution], int]:
    constant = shape_of(lanes).operand_width if is_multiplied(convolution) else shape_of(lanes).lanes

    def width(lanes: Lanes, convolution: Convolution) -> int:
        return constant

    return width


def is_multiplied(convolution: Any) -> bool:
    """Whether what comes out is read by a matrix product, for a Numba type: all but that of Conv0()."""
    return convolution.instance_class is not Conv0


def finish(e: Emit, shape: Shape, convolution: Any, sums: list[ir.Value], out: ir.Value) -> None:
    """Store the sums of neighbouring positions."""
    for r, value in enumerate(sums):
        total = e.gelu(value) if is_activated(convolution) else value
        if is_multiplied(convolution):
            store_operand(e, shape, total, out, r)
        else:
            e.store(total, out, r * e.lanes)


def below(e: Emit, convolution: Any, rows: ir.Value, x: ir.Value) -> ir.Value:
    """From the pointer to what one row of a kernel sees, that to what the next one does: at the ring's end its beginning."""
    builder = e.builder
    _, step, _, end, ring = unpack(builder, rows)
    further = e.at(x, step)
    if not is_activated(convolution):
        return further
    beyond = builder.icmp_unsigned(">=", builder.ptrtoint(further, INT), builder.ptrtoint(e.pointer(end), INT))
    return builder.select(beyond, e.at(further, builder.neg(ring)), further)


@intrinsic(prefer_literal=True)
def simd_strip(
    typing_context: Any, lanes: Any, convolution: Any, size: Any, edges: Any, rows: Any, parameters: Any, out: Any
) -> Any:
    """`size` neighbouring positions, all columns of a kernel's `rows`; parameters: of the first of these rows.

    `edges`: LEFT where the strip begins at the left edge of the map, RIGHT where it ends at the right one, BOTH, or 0.
    """
    v, positions, kernel = shape_of(lanes).lanes, size.literal_value, kernel_behind(convolution)
    first = 0 if edges.literal_value & LEFT else -kernel.reach
    last = positions if edges.literal_value & RIGHT else positions + kernel.reach

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        rows, parameters, out = arguments[4:]
        (x, _, count, *_), (w, bias) = unpack(builder, rows), unpack(builder, parameters)
        e = Emit(builder, v)
        with Loop(builder, count, [e.pointer(x), e.pointer(w), *[e.load(e.pointer(bias))] * positions]) as loop:
            x_now, w_now, *sums = loop.values
            weights = [e.load(w_now, column * v) for column in range(kernel.side)]
            for i in range(first, last):
                value = e.load(x_now, i * v)
                for column in range(kernel.side):  # position r sees input r - reach + column * dilation: taps in order
                    r = i + kernel.reach - column * kernel.dilation
                    if 0 <= r < positions:
                        sums[r] = e.fma(value, weights[column], sums[r])
            loop.next([below(e, convolution, rows, x_now), e.at(w_now, kernel.side * v), *sums])
        finish(e, shape_of(lanes), convolution, loop.values[2:], e.pointer(out))
        return context.get_dummy_value()

    return types.void(lanes, convolution, size, edges, rows, parameters, out), emit


@intrinsic()
def simd_point(typing_context: Any, lanes: Any, convolution: Any, rows: Any, columns: Any, parameters: Any, out: Any) -> Any:
    """One position; rows and parameters: from the first tap inside the map on; columns: how many are, at least 1."""
    v, kernel = shape_of(lanes).lanes, kernel_behind(convolution)

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        rows, columns, parameters, out = arguments[2:]
        (x, _, count, *_), (w, bias) = unpack(builder, rows), unpack(builder, parameters)
        e = Emit(builder, v)
        with Loop(builder, count, [e.pointer(x), e.pointer(w), e.load(e.pointer(bias))]) as outer:
            x_start, w_start, total = outer.values
            with Loop(builder, columns, [x_start, w_start, total]) as inner:
                x_now, w_now, total = inner.values
                total = e.fma(e.load(x_now), e.load(w_now), total)
                inner.next([e.at(x_now, kernel.dilation * v), e.at(w_now, v), total])
            outer.next([below(e, convolution, rows, x_start), e.at(w_start, kernel.side * v), inner.values[2]])
        finish(e, shape_of(lanes), convolution, outer.values[2:], e.pointer(out))
        return context.get_dummy_value()

    return types.void(lanes, convolution, rows, columns, parameters, out), emit


def point(lanes: Lanes, convolution: Convolution, rows: Rows, columns: int, parameters: Parameters, out: Address) -> None:
    """simd_point, or the same in scalars. Compiled code calls it; see `overload`."""
    raise NotImplementedError("point is called from compiled code")


@overload(point)
def compile_point(
    lanes: Lanes, convolution: Convolution, rows: Rows, columns: int, parameters: Parameters, out: Address
) -> Callable[[Lanes, Convolution, Rows, int, Parameters, Address], None]:
    if is_plain(lanes):
        return plain_point

    def simd(lanes: Lanes, convolution: Convolution, rows: Rows, columns: int, parameters: Parameters, out: Address) -> None:
        simd_point(lanes, convolution, rows, columns, parameters, out)

    return simd


def plain_point(lanes: Lanes, convolution: Convolution, rows: Rows, columns: int, parameters: Parameters, out: Address) -> None:
    v, kernel = PLAIN_LANES, kernel_of(convolution)
    y, b = carray(floats_at(out), (v,)), carray(floats_at(parameters.bias), (v,))
    for i in range(v):
        y[i] = b[i]
    for row in range(rows.rows):
        start = rows.address + row * rows.step
        if start >= rows.end:
            start -= rows.ring
        for column in range(columns):
            values = carray(floats_at(start + column * kernel.dilation * v), (v,))
            weights = carray(floats_at(parameters.weight + (row * kernel.side + column) * v), (v,))
            for i in range(v):
                y[i] += values[i] * weights[i]
    for i in range(v):
        total = gelu(y[i]) if activated(convolution) else y[i]
        y[i] = operand(lanes, total) if multiplied(convolution) else total


@inline
def points(
    lanes: Lanes, convolution: Convolution, rows: Rows, width: int, parameters: Parameters, out: Address, first: int, last: int
) -> None:
    """Positions first..last of a row of any width, one by one: where strips do not fit. Arguments as of map_row."""
    v, kernel, width_out = vector_width(lanes), kernel_of(convolution), out_width(lanes, convolution)
    middle = kernel.side // 2
    for p in range(first, last):
        before, after = min(p // kernel.dilation, middle), min((width - 1 - p) // kernel.dilation, middle)  # taps inside
        inside = from_column(lanes, rows, p - before * kernel.dilation)
        weights = Parameters(parameters.weight + (middle - before) * v, parameters.bias)
        point(lanes, convolution, inside, before + 1 + after, weights, out + p * width_out)


def map_row(lanes: Lanes, convolution: Convolution, rows: Rows, width: int, parameters: Parameters, out: Address) -> None:
    """One row of a map, `width` positions; rows: from column 0 on; parameters: those of the first of the kernel's `rows`.

    Compiled code calls it; see `overload`. A row is cut into strips: one at each edge and those between, shifted so that
    no tap of theirs leaves the map; where strips overlap, the same sums are stored twice. Strips shorter than the kernel's
    reach (7x7 on vectors of 8 and 4) leave the edges to `points`.
    """
    raise NotImplementedError("map_row is called from compiled code")


@overload(map_row)
def compile_map_row(
    lanes: Lanes, convolution: Convolution, rows: Rows, width: int, parameters: Parameters, out: Address
) -> Callable[[Lanes, Convolution, Rows, int, Parameters, Address], None]:
    if is_plain(lanes):
        return plain_map_row
    wide = shape_of(lanes).rows
    half = wide // 2
    reach = kernel_behind(convolution).reach
    wide_strips, half_strips = strips_of(wide, reach), strips_of(half, reach)

    def simd_map_row(
        lanes: Lanes, convolution: Convolution, rows: Rows, width: int, parameters: Parameters, out: Address
    ) -> None:
        if fits(wide, reach, width):
            wide_strips(lanes, convolution, rows, width, parameters, out)
        elif fits(half, reach, width):
            half_strips(lanes, convolution, rows, width, parameters, out)
        else:
            points(lanes, convolution, rows, width, parameters, out, 0, width)

    return simd_map_row


def plain_map_row(lanes: Lanes, convolution: Convolution, rows: Rows, width: int, parameters: Parameters, out: Address) -> None:
    points(lanes, convolution, rows, width, parameters, out, 0, width)


@inline
def fits(size: int, reach: int, width: int) -> bool:
    """Whether strips of this size can cover a row: exactly one; one at each edge; or these and others that reach no edge."""
    return width == size or size + reach <= width <= 2 * size or width >= size + 2 * max(reach, size // 2)


def strips_of(size: int, reach: int) -> Callable[[Lanes, Convolution, Rows, int, Parameters, Address], None]:
    """Compile the strips of one size and reach: at the left edge, between, at the right edge, and from edge to edge."""

    @inline
    def strips(lanes: Lanes, convolution: Convolution, rows: Rows, width: int, parameters: Parameters, out: Address) -> None:
        across = out_width(lanes, convolution)
        if width == size:
            simd_strip(lanes, convolution, size, BOTH, rows, parameters, out)
            return
        edge = max(reach, size)
        if size >= reach:
            p = width - size
            simd_strip(lanes, convolution, size, LEFT, rows, parameters, out)
            simd_strip(lanes, convolution, size, RIGHT, from_column(lanes, rows, p), parameters, out + p * across)
        else:
            points(lanes, convolution, rows, width, parameters, out, 0, reach)
            points(lanes, convolution, rows, width, parameters, out, width - reach, width)
        p = edge
        while p < width - edge:
            p = min(p, width - size - reach)
            simd_strip(lanes, convolution, size, 0, from_column(lanes, rows, p), parameters, out + p * across)
            p += size

    return strips


@inline
def from_column(lanes: Lanes, rows: Rows, column: int) -> Rows:
    """The same rows from a column on."""
    return Rows(rows.address + column * vector_width(lanes), rows.step, rows.rows, rows.end, rows.ring)


@inline
def of_block(lanes: Lanes, convolution: Convolution, parameters: Parameters, block: int) -> Parameters:
    """A kernel's parameters for one block of channels: [taps][V] and [V] of [blocks][taps][V] and [blocks][V]."""
    v, kernel = vector_width(lanes), kernel_of(convolution)
    return Parameters(parameters.weight + block * kernel.side * kernel.side * v, parameters.bias + block * v)


@inline
def depthwise(
    lanes: Lanes, convolution: Convolution, x: Address, grid: Grid, parameters: Parameters, out: Address, band: Band
) -> None:
    """A band of one block's map in one image, padding so that the map keeps its size; GELU after dwconv.

    x: where the band's ring begins; parameters: those of the block; out: where row band.first goes. Rows are taken a dilation
    apart, so that the rows of x which one output row reads serve the next.
    """
    v, kernel = vector_width(lanes), kernel_of(convolution)
    middle = kernel.side // 2
    line, line_out = grid.width * v, grid.width * out_width(lanes, convolution)
    for phase in range(min(kernel.dilation, band.last - band.first)):
        for row in range(band.first + phase, band.last, kernel.dilation):
            above = min(row // kernel.dilation, middle)  # kernel rows inside the map
            under = min((grid.height - 1 - row) // kernel.dilation, middle)
            seen = row - above * kernel.dilation - band.top  # of the ring's rows, the first that a tap sees
            if seen >= band.ring:
                seen -= band.ring
            ring = band.ring * line
            rows = Rows(x + seen * line, kernel.dilation * line, above + 1 + under, x + ring, ring)
            weights = Parameters(parameters.weight + (middle - above) * kernel.side * v, parameters.bias)
            map_row(lanes, convolution, rows, grid.width, weights, out + (row - band.first) * line_out)
