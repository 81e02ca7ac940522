"""The windows of the patch embeddings laid out as rows, so that a matrix product does the rest: see windows.py."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from ..jit import carray, inline, intrinsic
from .addresses import FLOAT_BYTES, Address
from .lanes import Lanes
from .maps import Grid, Map
from .pointers import floats_at
from .simd import Emit, operand_width, vector_width
from .windows import EMBED, STEM, STEM_ROW


@intrinsic()
def copy_window(typing_context: Any, source: Any, to: Any) -> Any:
    """A row of one of the stem's windows: STEM.side pixels, and zeros up to STEM_ROW."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        source, to = arguments
        e = Emit(builder, STEM_ROW)
        bit, number, pointer = ir.IntType(1), ir.IntType(32), e.vector.as_pointer()
        mask = ir.Constant(ir.VectorType(bit, STEM_ROW), [i < STEM.side for i in range(STEM_ROW)])
        signature = ir.FunctionType(e.vector, [pointer, number, mask.type, e.vector])
        load = cgutils.get_or_insert_function(builder.module, signature, f"llvm.masked.load.v{STEM_ROW}f32.p0")
        pixels = builder.bitcast(e.pointer(source), pointer)
        e.store(builder.call(load, [pixels, ir.Constant(number, FLOAT_BYTES), mask, e.constant(0.0)]), e.pointer(to))
        return context.get_dummy_value()

    return types.void(source, to), emit


@inline
def gather_image(
    lanes: Lanes, image: Address, pixels: Grid, colours: int, columns: Map, grid: Grid, first: int, last: int
) -> None:
    """The stem's windows: positions first..last of its convolution on one image, (colours, H, W) in plain rows of pixels.

    columns: as many blocks of V as the stem's matrix has; pixels: the image's size; grid: the size of what comes out.
    """
    v, count = vector_width(lanes), last - first
    rows = carray(floats_at(image), (colours * pixels.height, pixels.width))
    part = min(v, STEM_ROW)
    for k in range(0, columns.blocks * v, part):
        row, offset = k // STEM_ROW, k % STEM_ROW
        target = columns.address + k // v * columns.step + k % v
        to = carray(floats_at(target), ((count - 1) * v + part,))
        p = first
        while p < last:
            line = p // grid.width
            stop = min(last, (line + 1) * grid.width)
            y = line * STEM.stride - STEM.padding + row % STEM.side
            inside = row < colours * STEM.side and 0 <= y < pixels.height
            at = (p - first) * v
            begin = (p - line * grid.width) * STEM.stride - STEM.padding
            end = (stop - line * grid.width) * STEM.stride - STEM.padding
            for left in range(begin, end, STEM.stride):
                if inside and part == STEM_ROW and left >= 0 and left + STEM.side <= pixels.width:
                    line_of_pixels = image + (row // STEM.side * pixels.height + y) * pixels.width
                    copy_window(line_of_pixels + left, target + at)
                else:
                    for i in range(part):
                        x = left + offset + i
                        valid = inside and offset + i < STEM.side and 0 <= x < pixels.width
                        to[at + i] = rows[row // STEM.side * pixels.height + y, x] if valid else 0
                at += v
            p = stop


@inline
def gather_row(lanes: Lanes, x: Map, pixels: Grid, tap_row: int, columns: Address, grid: Grid, first: int, last: int) -> None:
    """The windows of the other embeddings, one row of taps: positions first..last over all images, on operands of `pixels`.

    columns: [3 * blocks][last - first][V], column by column of the kernel; zeros where the tap lies outside the map.
    """
    v, count = operand_width(lanes), last - first
    p = first
    while p < last:
        line = p // grid.width  # rows of the output, those of all images counted on
        stop = min(last, (line + 1) * grid.width)
        image, top = line // grid.height, line % grid.height * EMBED.stride - EMBED.padding + tap_row
        source = x.address + (image * pixels.height + top) * pixels.width * v
        for column in range(EMBED.side):
            for block in range(x.blocks):
                to = carray(floats_at(columns + ((column * x.blocks + block) * count + p - first) * v), (stop - p, v))
                values = carray(floats_at(source + block * x.step), (pixels.width, v))
                for q in range(stop - p):
                    left = (p - line * grid.width + q) * EMBED.stride - EMBED.padding + column
                    if 0 <= top < pixels.height and 0 <= left < pixels.width:
                        for i in range(v):
                            to[q, i] = values[left, i]
                    else:
                        for i in range(v):
                            to[q, i] = 0
        p = stop
