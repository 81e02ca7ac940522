"""LayerNorm, in float64, which takes little time.

Given the same map its result is that of the engine `exact`, but where float64's last bits decide how float32 is rounded, once
in many millions: here the variance takes one pass, and a position one division and a multiplication for each of its channels,
where `exact` takes two passes and divides. By divisions the network's LayerNorms took 1.5 times as long.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import overload

from ..jit import carray, intrinsic
from .lanes import PLAIN_LANES, Lanes
from .maps import Map, Parameters
from .pointers import floats_at
from .simd import Emit, Loop, is_plain, shape_of, unpack
from .views import moved


@intrinsic()
def simd_layer_norm(typing_context: Any, lanes: Any, x: Any, channels: Any, eps: Any, weight: Any, bias: Any, out: Any) -> Any:
    """LayerNorm over the channels of one position, in float64, V lanes at a time. See layer_norm; channels: as float64."""
    v = shape_of(lanes).lanes

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        _, x, channels, eps, weight, bias, out = arguments
        (x, x_step, blocks), (out, out_step, _) = unpack(builder, x), unpack(builder, out)
        e = Emit(builder, v)
        double = ir.VectorType(ir.DoubleType(), v)
        zero = ir.Constant(double, [0.0] * v)

        def widen(value: ir.Value) -> ir.Value:
            return builder.fpext(value, double)

        def total(value: ir.Value) -> ir.Value:
            """The sum of the lanes, pairwise, in every lane."""
            distance = v // 2
            while distance:
                mask = ir.Constant(ir.VectorType(ir.IntType(32), v), [(i + distance) % v for i in range(v)])
                value = builder.fadd(value, builder.shuffle_vector(value, value, mask))
                distance //= 2
            return builder.extract_element(value, ir.Constant(ir.IntType(32), 0))

        def everywhere(value: ir.Value) -> ir.Value:
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
        deviation = builder.call(sqrt, [builder.fadd(variance, eps)])
        scale = everywhere(builder.fdiv(deviation.type(1.0), deviation))
        mean = everywhere(mean)
        with Loop(builder, blocks, [e.pointer(x), e.pointer(weight), e.pointer(bias), e.pointer(out)]) as loop:
            now, w, b, y = loop.values
            value = builder.fmul(builder.fsub(widen(e.load(now)), mean), scale)
            value = e.call("fma", value, widen(e.load(w)), widen(e.load(b)))
            e.store(builder.fptrunc(value, e.vector), y)
            loop.next([e.at(now, x_step), e.at(w, v), e.at(b, v), e.at(y, out_step)])
        return context.get_dummy_value()

    return types.void(lanes, x, channels, eps, weight, bias, out), emit


def layer_norm(
    lanes: Lanes, x: Map, channels: int, eps: float, parameters: Parameters, out: Map, first: int, last: int
) -> None:
    """Positions first..last. mean = sum x / C; variance = sum x^2 / C - mean^2, one pass: float64 has bits to spare.

    The channels that fill up the last block are 0 in x, weight and bias, so they add nothing and stay 0. Compiled code
    calls it; see `overload`.
    """
    raise NotImplementedError("layer_norm is called from compiled code")


@overload(layer_norm)
def compile_layer_norm(
    lanes: Lanes, x: Map, channels: int, eps: float, parameters: Parameters, out: Map, first: int, last: int
) -> Callable[[Lanes, Map, int, float, Parameters, Map, int, int], None]:
    if is_plain(lanes):
        return plain_layer_norm
    v = shape_of(lanes).lanes

    def norm(lanes: Lanes, x: Map, channels: int, eps: float, parameters: Parameters, out: Map, first: int, last: int) -> None:
        weight, bias = parameters.weight, parameters.bias
        for p in range(first, last):
            simd_layer_norm(lanes, moved(x, p * v), float(channels), eps, weight, bias, moved(out, p * v))

    return norm


def plain_layer_norm(
    lanes: Lanes, x: Map, channels: int, eps: float, parameters: Parameters, out: Map, first: int, last: int
) -> None:
    v = PLAIN_LANES
    w, b = carray(floats_at(parameters.weight), (x.blocks, v)), carray(floats_at(parameters.bias), (x.blocks, v))
    for p in range(first, last):
        total, squares = 0.0, 0.0
        for block in range(x.blocks):
            values = carray(floats_at(x.address + block * x.step + p * v), (v,))
            for i in range(v):
                total += values[i]
                squares += np.float64(values[i]) * values[i]
        mean = total / channels
        scale = 1.0 / math.sqrt(max(squares / channels - mean * mean, 0.0) + eps)
        for block in range(x.blocks):
            values = carray(floats_at(x.address + block * x.step + p * v), (v,))
            y = carray(floats_at(out.address + block * out.step + p * v), (v,))
            for i in range(v):
                y[i] = (values[i] - mean) * scale * w[block, i] + b[block, i]
