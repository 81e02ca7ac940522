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

from ..ops.jit import njit
from .simd import PLAIN_LANES, Emit, Loop, Plain, doubles_at, floats_at, shape_of


@njit(nogil=True)
def gather_image(v, image, height, width, columns, width_out, first, last):
    """The stem's windows: positions first..last of the 7x7 stride 4 padding 3 convolution on an image (3, height, width).

    columns: [22 * 8 / V][last - first][V]. 3 x 7 kernel rows, each filled up to 8 with a zero, and a row of zeros: the seven
    pixels of a row lie together in the image, and a row of 8 never crosses a block of 8 or 16 channels.
    """
    count = last - first
    pixels = carray(floats_at(image), (3, height, width))
    for p in range(first, last):
        top, left = p // width_out * 4 - 3, p % width_out * 4 - 3
        for row in range(22):
            y = top + row % 7
            for part in range(0, 8, min(v, 8)):
                k = row * 8 + part
                to = carray(floats_at(columns + (k // v * count + p - first) * v + k % v), (min(v, 8),))
                inside = row < 21 and 0 <= y < height
                for i in range(min(v, 8)):
                    x = left + part + i
                    to[i] = pixels[row // 7, y, x] if inside and part + i < 7 and 0 <= x < width else 0


@njit(nogil=True)
def gather_row(v, x, x_step, blocks, height, width, tap_row, columns, height_out, width_out, first, last):
    """One row of three taps of a 3x3 stride 2 padding 1 convolution, for positions first..last over all images.

    columns: [3 * blocks][last - first][V], column by column of the kernel; zeros where the tap lies outside the map.
    """
    count = last - first
    for p in range(first, last):
        image = p // (height_out * width_out)
        q = p % (height_out * width_out)
        top, left = q // width_out * 2 - 1 + tap_row, q % width_out * 2 - 1
        for column in range(3):
            inside = 0 <= top < height and 0 <= left + column < width
            source = x + ((image * height + top) * width + left + column) * v
            for block in range(blocks):
                to = carray(floats_at(columns + ((column * blocks + block) * count + p - first) * v), (v,))
                if inside:
                    values = carray(floats_at(source + block * x_step), (v,))
                    for i in range(v):
                        to[i] = values[i]
                else:
                    for i in range(v):
                        to[i] = 0


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


@njit(nogil=True)
def pool(v, x, x_step, channels, positions, pooled):
    """Mean over one image's positions, rounded to float32 as every tensor between operators."""
    to = carray(floats_at(pooled), (channels,))
    for c in range(channels):
        values = carray(floats_at(x + c // v * x_step), (positions, v))
        total = 0.0
        for p in range(positions):
            total += values[p, c % v]
        to[c] = total / positions


@njit(nogil=True)
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
