"""3x3 convolutions that join channels, in Winograd's form (winograd.py): inputs transformed, multiplied, transformed back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import overload

from ..jit import carray, inline, intrinsic
from .addresses import Address
from .fpn_tables import Smoothing, Workplace
from .lanes import PAIR, PLAIN_LANES, Lanes
from .maps import Grid, Map, Parameters, Part
from .matmul import STORED, matmul
from .pointers import floats_at
from .simd import Emit, is_plain, shape_of, unpack, vector_width
from .views import copy, pair_of
from .winograd import PRODUCTS, SEEN, SIDE


class Window(NamedTuple):
    """Some rows of vectors in a map: from an address on, each so many floats behind the one above."""

    address: Address
    step: int


@intrinsic()
def simd_transform_input(typing_context: Any, lanes: Any, seen: Any, to: Any) -> Any:
    """B^T d B for V channels: 4x4 vectors, a Window, to 16, each a step of `to`, a Window too, behind the one before."""
    v = shape_of(lanes).lanes

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        (x, row), (out, step) = (unpack(builder, each) for each in arguments[1:])
        e = Emit(builder, v)

        def transformed(d: list[ir.Value]) -> list[ir.Value]:
            sub, add = builder.fsub, builder.fadd
            return [sub(d[0], d[2]), add(d[1], d[2]), sub(d[2], d[1]), sub(d[1], d[3])]

        starts = [e.at(e.pointer(x), builder.mul(row, row.type(r))) for r in range(SEEN)]
        columns = [transformed([e.load(start, c * v) for start in starts]) for c in range(SEEN)]
        for r in range(SEEN):
            for c, value in enumerate(transformed([column[r] for column in columns])):
                e.store(value, e.at(e.pointer(out), builder.mul(step, step.type(r * SEEN + c))))
        return context.get_dummy_value()

    return types.void(lanes, seen, to), emit


@intrinsic()
def simd_transform_output(typing_context: Any, lanes: Any, products: Any, lowest: Any, out: Any) -> Any:
    """A^T m A for V channels, and no output below `lowest`: 16 vectors to 2x2; the windows the other way round."""
    v = shape_of(lanes).lanes

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        _, products, lowest, out = arguments
        (m, step), (out, row) = unpack(builder, products), unpack(builder, out)
        e = Emit(builder, v)
        least = e.spread(builder.fptrunc(lowest, ir.FloatType()))

        def transformed(m: list[ir.Value]) -> list[ir.Value]:
            sub, add = builder.fsub, builder.fadd
            return [add(add(m[0], m[1]), m[2]), sub(sub(m[1], m[2]), m[3])]

        values = [e.load(e.at(e.pointer(m), builder.mul(step, step.type(k)))) for k in range(PRODUCTS)]
        columns = [transformed(values[c::SEEN]) for c in range(SEEN)]
        for r in range(SIDE):
            start = e.at(e.pointer(out), builder.mul(row, row.type(r)))
            for c, value in enumerate(transformed([column[r] for column in columns])):
                e.store(builder.select(builder.fcmp_ordered("<", value, least), least, value), start, c * v)
        return context.get_dummy_value()

    return types.void(lanes, products, lowest, out), emit


def transform_input(lanes: Lanes, seen: Window, to: Window) -> None:
    """simd_transform_input, or the same in scalars. Compiled code calls it; see `overload`."""
    raise NotImplementedError("transform_input is called from compiled code")


@overload(transform_input)
def compile_transform_input(lanes: Lanes, seen: Window, to: Window) -> Callable[[Lanes, Window, Window], None]:
    if is_plain(lanes):
        return plain_transform_input

    def simd(lanes: Lanes, seen: Window, to: Window) -> None:
        simd_transform_input(lanes, seen, to)

    return simd


def plain_transform_input(lanes: Lanes, seen: Window, to: Window) -> None:
    x, out = carray(floats_at(seen.address), (SEEN, seen.step)), carray(floats_at(to.address), (PRODUCTS, to.step))
    for i in range(PLAIN_LANES):
        a, b, c, d = input_column(x, 0, i), input_column(x, 1, i), input_column(x, 2, i), input_column(x, 3, i)
        for r in range(SEEN):
            row = input_sums(a[r], b[r], c[r], d[r])
            for column in range(SEEN):
                out[r * SEEN + column, i] = row[column]


@inline
def input_sums(a: Any, b: Any, c: Any, d: Any) -> tuple[Any, Any, Any, Any]:
    """B^T times a column."""
    return a - c, b + c, c - b, b - d


@inline
def input_column(x: Any, column: int, i: int) -> tuple[Any, Any, Any, Any]:
    at = column * PLAIN_LANES + i
    return input_sums(x[0, at], x[1, at], x[2, at], x[3, at])


def transform_output(lanes: Lanes, products: Window, lowest: float, out: Window) -> None:
    """simd_transform_output, or the same in scalars. Compiled code calls it; see `overload`."""
    raise NotImplementedError("transform_output is called from compiled code")


@overload(transform_output)
def compile_transform_output(
    lanes: Lanes, products: Window, lowest: float, out: Window
) -> Callable[[Lanes, Window, float, Window], None]:
    if is_plain(lanes):
        return plain_transform_output

    def simd(lanes: Lanes, products: Window, lowest: float, out: Window) -> None:
        simd_transform_output(lanes, products, lowest, out)

    return simd


def plain_transform_output(lanes: Lanes, products: Window, lowest: float, out: Window) -> None:
    m, y = carray(floats_at(products.address), (PRODUCTS, products.step)), carray(floats_at(out.address), (SIDE, out.step))
    least = np.float32(lowest)
    for i in range(PLAIN_LANES):
        a, b, c, d = output_column(m, 0, i), output_column(m, 1, i), output_column(m, 2, i), output_column(m, 3, i)
        for r in range(SIDE):
            row = output_sums(a[r], b[r], c[r], d[r])
            for column in range(SIDE):
                y[r, column * PLAIN_LANES + i] = least if row[column] < least else row[column]


@inline
def output_sums(a: Any, b: Any, c: Any, d: Any) -> tuple[Any, Any]:
    """A^T times a column."""
    return a + b + c, b - c - d


@inline
def output_column(m: Any, column: int, i: int) -> tuple[Any, Any]:
    return output_sums(m[column, i], m[SEEN + column, i], m[2 * SEEN + column, i], m[3 * SEEN + column, i])


@inline
def tiles_of(grid: Grid) -> int:
    """How many tiles cover a map: those at the lower and the right edge may reach beyond it."""
    return (grid.height + 1) // SIDE * ((grid.width + 1) // SIDE)


@inline
def inputs_of_tiles(lanes: Lanes, x: Map, grid: Grid, first: int, last: int, to: Address, patch: Address) -> None:
    """Tiles first..last of one image's map transformed: [16][blocks][tiles][V] at `to`; patch: room for 4x4 vectors.

    What a tile sees beyond the map is zero: there its inputs are laid out in `patch` first.
    """
    v, count, across = vector_width(lanes), last - first, (grid.width + 1) // SIDE
    for block in range(x.blocks):
        source, place = x.address + block * x.step, to + block * count * v
        t = first
        while t < last:
            row = t // across
            stop = min(last, (row + 1) * across)
            top = SIDE * row - 1
            for column in range(t - row * across, stop - row * across):
                left = SIDE * column - 1
                seen = Window(source + (top * grid.width + left) * v, grid.width * v)
                if top < 0 or left < 0 or top + SEEN > grid.height or left + SEEN > grid.width:
                    seen = padded(lanes, source, grid, top, left, patch)
                transform_input(lanes, seen, Window(place, x.blocks * count * v))
                place += v
            t = stop


@inline
def padded(lanes: Lanes, source: Address, grid: Grid, top: int, left: int, patch: Address) -> Window:
    """The inputs of a tile at an edge, zero beyond the map, copied to `patch`."""
    v = vector_width(lanes)
    to = carray(floats_at(patch), (SEEN, SEEN, v))
    for r in range(SEEN):
        for c in range(SEEN):
            inside = 0 <= top + r < grid.height and 0 <= left + c < grid.width
            if inside:
                copy(patch + (r * SEEN + c) * v, source + ((top + r) * grid.width + left + c) * v, v)
            else:
                to[r, c, :] = 0
    return Window(patch, SEEN * v)


@inline
def outputs_of_tiles(
    lanes: Lanes, products: Map, lowest: float, out: Map, grid: Grid, first: int, last: int, patch: Address
) -> None:
    """The way back: products [16][pair of blocks][tiles][V] to two blocks of `out`; what lies beyond the map is left out."""
    v, across = vector_width(lanes), (grid.width + 1) // SIDE
    for block in range(PAIR):
        to, place = out.address + block * out.step, products.address + block * products.step
        t = first
        while t < last:
            row = t // across
            stop = min(last, (row + 1) * across)
            down = min(SIDE, grid.height - SIDE * row)
            for column in range(t - row * across, stop - row * across):
                right = min(SIDE, grid.width - SIDE * column)
                here = Window(to + (SIDE * row * grid.width + SIDE * column) * v, grid.width * v)
                if down == SIDE and right == SIDE:
                    transform_output(lanes, Window(place, PAIR * products.step), lowest, here)
                else:
                    transform_output(lanes, Window(place, PAIR * products.step), lowest, Window(patch, SIDE * v))
                    for r in range(down):
                        copy(here.address + r * here.step, patch + r * SIDE * v, right * v)
                place += v
            t = stop


@inline
def convolve(
    lanes: Lanes, x: Map, convolution: Smoothing, out: Map, grid: Grid, lowest: float, first: int, last: int, own: Workplace
) -> None:
    """Tiles first..last of a convolution on one image's map, no output below `lowest`: ReLU's 0, or minus infinity.

    Some tiles at a time, few enough for their transformed inputs to stay in the second-level cache; then pair by pair of the
    output's blocks, whose weights [16][blocks * V][2][V] are read in their order.
    """
    v, panel = vector_width(lanes), x.blocks * vector_width(lanes) * PAIR * vector_width(lanes)
    for begin in range(first, last, convolution.tiles):
        end = min(begin + convolution.tiles, last)
        count = end - begin
        inputs_of_tiles(lanes, x, grid, begin, end, own.inputs, own.patch)
        for pair in range(out.blocks // PAIR):
            for k in range(PRODUCTS):
                at = pair * PRODUCTS + k
                parameters = Parameters(convolution.weight + at * panel, convolution.bias + at * PAIR * v)
                inputs = Map(own.inputs + k * x.blocks * count * v, count * v, x.blocks)
                products = Map(own.products + k * PAIR * count * v, count * v, PAIR)
                matmul(lanes, inputs, parameters, products, STORED, Part(0, count, 0, 1), own.spare)
            products = Map(own.products, count * v, PAIR)
            outputs_of_tiles(lanes, products, lowest, pair_of(out, pair), grid, begin, end, own.patch)
