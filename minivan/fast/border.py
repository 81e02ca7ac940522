"""What is neither a 1x1 nor a depthwise convolution: windows laid out for a matrix product, LayerNorm, pooling, the head.

None of it is heavy, so LayerNorm, pooling and head work in float64: their results are those of the engine `exact`,
given the same maps.
"""

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.extending import intrinsic, overload

from ..jit import inline
from .simd import PLAIN_LANES, Emit, Loop, Plain, doubles_at, floats_at, shape_of, width


@inline
def gather_image(lanes, image, height, columns_in, columns, columns_out, first, last):
    """The stem's windows: positions first..last of the 7x7 stride 4 padding 3 convolution on an image.

    columns: [22 * 8 / V][last - first][V]. 3 x 7 kernel rows, each filled up to 8 with a zero, and a row of zeros: the seven
    pixels of a row lie together in the image, and a row of 8 never crosses a block of 8 or 16 channels.
    """
    v, count = width(lanes), last - first
    pixels = carray(floats_at(image), (3 * height, columns_in))
    part = min(v, 8)
    for k in range(0, 22 * 8, part):
        row, offset = k // 8, k % 8
        to = carray(floats_at(columns + k // v * count * v + k % v), ((count - 1) * v + part,))
        p = first
        while p < last:
            line = p // columns_out
            stop = min(last, (line + 1) * columns_out)
            y = line * 4 - 3 + row % 7
            inside = row < 21 and 0 <= y < height
            at = (p - first) * v
            for left in range((p - line * columns_out) * 4 - 3, (stop - line * columns_out) * 4 - 3, 4):
                if inside and part == 8 and left >= 0 and left + 7 <= columns_in:
                    for i in range(7):
                        to[at + i] = pixels[row // 7 * height + y, left + i]
                    to[at + 7] = 0
                else:
                    for i in range(part):
                        x = left + offset + i
                        valid = inside and offset + i < 7 and 0 <= x < columns_in
                        to[at + i] = pixels[row // 7 * height + y, x] if valid else 0
                at += v
            p = stop


@inline
def gather_row(lanes, x, x_step, blocks, height, columns_in, tap_row, columns, height_out, columns_out, first, last):
    """One row of three taps of a 3x3 stride 2 padding 1 convolution, for positions first..last over all images.

    columns: [3 * blocks][last - first][V], column by column of the kernel; zeros where the tap lies outside the map.
    """
    v, count = width(lanes), last - first
    p = first
    while p < last:
        line = p // columns_out  # rows of the output, those of all images counted on
        stop = min(last, (line + 1) * columns_out)
        image, top = line // height_out, line % height_out * 2 - 1 + tap_row
        source = x + (image * height + top) * columns_in * v
        for column in range(3):
            for block in range(blocks):
                to = carray(floats_at(columns + ((column * blocks + block) * count + p - first) * v), (stop - p, v))
                values = carray(floats_at(source + block * x_step), (columns_in, v))
                for q in range(stop - p):
                    left = (p - line * columns_out + q) * 2 - 1 + column
                    if 0 <= top < height and 0 <= left < columns_in:
                        for i in range(v):
                            to[q, i] = values[left, i]
                    else:
                        for i in range(v):
                            to[q, i] = 0
        p = stop


@intrinsic
def simd_layer_norm(typing_context, lanes, x, x_step, blocks, channels, eps, weight, bias, out, out_step):
    """LayerNorm over the channels of one position, in float64, V lanes at a time. See layer_norm."""
    v = shape_of(lanes).lanes

    def emit(context, builder, signature, arguments):
        _, x, x_step, blocks, channels, eps, weight, bias, out, out_step = arguments
        e = Emit(builder, v)
        double = ir.VectorType(ir.DoubleType(), v)
        zero = ir.Constant(double, [0.0] * v)

        def widen(value):
            return builder.fpext(value, double)

        def total(value):
            """The sum of the lanes, pairwise, in every lane."""
            distance = v // 2
            while distance:
                mask = ir.Constant(ir.VectorType(ir.IntType(32), v), [(i + distance) % v for i in range(v)])
                value = builder.fadd(value, builder.shuffle_vector(value, value, mask))
                distance //= 2
            return builder.extract_element(value, ir.Constant(ir.IntType(32), 0))

        def everywhere(value):
            first = builder.insert_element(zero, value, ir.Constant(ir.IntType(32), 0))
            return builder.shuffle_vector(first, zero, ir.Constant(ir.VectorType(ir.IntType(32), v), [0] * v))

        with Loop(builder, blocks, [e.pointer(x), zero, zero]) as loop:
            now, sums, squares = loop.values
            value = widen(e.load(now))
            loop.next([e.at(now, x_step), builder.fadd(sums, value), e.call("fma", value, value, squares)])
        mean = builder.fdiv(total(loop.values[1]), channels)
        variance = builder.fsub(builder.fdiv(total(loop.values[2]), channels), builder.fmul(mean, mean))
        variance = builder.select(builder.fcmp_ordered("<", variance, variance.type(0.0)), variance.type(0.0), variance)
        root = ir.FunctionType(ir.DoubleType(), [ir.DoubleType()])
        sqrt = builder.module.declare_intrinsic("llvm.sqrt", [ir.DoubleType()], root)
        deviation = everywhere(builder.call(sqrt, [builder.fadd(variance, eps)]))
        mean = everywhere(mean)
        with Loop(builder, blocks, [e.pointer(x), e.pointer(weight), e.pointer(bias), e.pointer(out)]) as loop:
            now, w, b, y = loop.values
            value = builder.fdiv(builder.fsub(widen(e.load(now)), mean), deviation)
            value = e.call("fma", value, widen(e.load(w)), widen(e.load(b)))
            e.store(builder.fptrunc(value, e.vector), y)
            loop.next([e.at(now, x_step), e.at(w, v), e.at(b, v), e.at(y, out_step)])
        return context.get_dummy_value()

    return types.void(lanes, x, x_step, blocks, channels, eps, weight, bias, out, out_step), emit


def layer_norm(lanes, x, x_step, blocks, channels, eps, weight, bias, out, out_step, first, last):
    """Positions first..last. mean = sum x / C; variance = sum x^2 / C - mean^2, one pass: float64 has bits to spare.

    The channels that fill up the last block are 0 in x, weight and bias, so they add nothing and stay 0.
    """
    raise NotImplementedError("layer_norm is called from compiled code")


@overload(layer_norm)
def compile_layer_norm(lanes, x, x_step, blocks, channels, eps, weight, bias, out, out_step, first, last):
    if lanes.instance_class is Plain:
        return plain_layer_norm
    v = shape_of(lanes).lanes

    def norm(lanes, x, x_step, blocks, channels, eps, weight, bias, out, out_step, first, last):
        for p in range(first, last):
            simd_layer_norm(lanes, x + p * v, x_step, blocks, float(channels), eps, weight, bias, out + p * v, out_step)

    return norm


def plain_layer_norm(lanes, x, x_step, blocks, channels, eps, weight, bias, out, out_step, first, last):
    v = PLAIN_LANES
    w, b = carray(floats_at(weight), (blocks, v)), carray(floats_at(bias), (blocks, v))
    for p in range(first, last):
        total, squares = 0.0, 0.0
        for block in range(blocks):
            values = carray(floats_at(x + block * x_step + p * v), (v,))
            for i in range(v):
                total += values[i]
                squares += np.float64(values[i]) * values[i]
        mean = total / channels
        deviation = math.sqrt(max(squares / channels - mean * mean, 0.0) + eps)
        for block in range(blocks):
            values = carray(floats_at(x + block * x_step + p * v), (v,))
            y = carray(floats_at(out + block * out_step + p * v), (v,))
            for i in range(v):
                y[i] = (values[i] - mean) / deviation * w[block, i] + b[block, i]


@inline
def pool(v, x, x_step, channels, positions, pooled):
    """Mean over one image's positions, rounded to float32 as every tensor between operators."""
    to = carray(floats_at(pooled), (channels,))
    for c in range(channels):
        values = carray(floats_at(x + c // v * x_step), (positions, v))
        total = 0.0
        for p in range(positions):
            total += values[p, c % v]
        to[c] = total / positions


@inline
def head(pooled, channels, weight, classes, bias, sums, logits, first, last):
    """Logits first..last of one image; weight: [channels][classes], so that lanes run over classes."""
    w, b = carray(floats_at(weight), (channels, classes)), carray(floats_at(bias), (classes,))
    x, y = carray(floats_at(pooled), (channels,)), carray(floats_at(logits), (classes,))
    total = carray(doubles_at(sums), (classes,))
    for j in range(first, last):
        total[j] = b[j]
    for c in range(channels):
        value = np.float64(x[c])
        for j in range(first, last):
            total[j] += value * w[c, j]
    for j in range(first, last):
        y[j] = total[j]
