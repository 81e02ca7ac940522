"""Explicit SIMD in Numba: what a micro-kernel needs beyond scalar Python, emitted as LLVM vectors.

Numba compiles loops over scalars and leaves vectors to LLVM's vectoriser, which on AVX-512 machines picks 256-bit vectors
and keeps no block of accumulators in registers: plain loops reach 20-45 of 239 GFLOP/s here. `numba.extending.intrinsic`
lets Python write the LLVM instructions of one function instead. A value of type <16 x float> is one AVX-512 register,
<8 x float> one AVX2 register, <4 x float> one SSE or NEON register; `llvm.fma` is one instruction on all of them.

Which widths there are, and how a kernel is told of its own, is in lanes.py.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils
from numba.extending import overload

from ..jit import inline
from .lanes import FLOATS, SHAPES, TILES, Lanes, Plain, RoundedPlain, Shape
from .pointers import pointer_to

FLOAT, INT = ir.FloatType(), ir.IntType(64)


def shape_of(lanes: Any) -> Shape:
    """Return the Shape of a Numba type such as that of Lanes16(): what an intrinsic or an `overload` is given for `lanes`.

    Numba wants an `overload` annotated as what it stands for is, so that there too the annotation says Lanes.
    """
    return SHAPES[lanes.instance_class]


def is_plain(lanes: Any) -> bool:
    """Whether a Numba type is that of Plain()."""
    return lanes.instance_class in (Plain, RoundedPlain)


def vector_width(lanes: Lanes) -> int:
    """The floats in a vector, a constant to the compiler. Compiled code calls it; see `overload`."""
    return SHAPES[type(lanes)].lanes


@overload(vector_width)
def compile_vector_width(lanes: Lanes) -> Callable[[Lanes], int]:
    v = shape_of(lanes).lanes

    def width(lanes: Lanes) -> int:
        return v

    return width


def tile_rows(lanes: Lanes) -> int:
    """The positions of a matrix tile, a constant to the compiler. Compiled code calls it; see `overload`."""
    return SHAPES[type(lanes)].rows


@overload(tile_rows)
def compile_tile_rows(lanes: Lanes) -> Callable[[Lanes], int]:
    rows = shape_of(lanes).rows

    def count(lanes: Lanes) -> int:
        return rows

    return count


def operand_width(lanes: Lanes) -> int:
    """Shape.operand_width, a constant to the compiler. Compiled code calls it; see `overload`."""
    return SHAPES[type(lanes)].operand_width


@overload(operand_width)
def compile_operand_width(lanes: Lanes) -> Callable[[Lanes], int]:
    words = shape_of(lanes).operand_width

    def width(lanes: Lanes) -> int:
        return words

    return width


def operand_steps(lanes: Lanes) -> int:
    """Shape.steps, a constant to the compiler. Compiled code calls it; see `overload`."""
    return SHAPES[type(lanes)].steps


@overload(operand_steps)
def compile_operand_steps(lanes: Lanes) -> Callable[[Lanes], int]:
    steps = shape_of(lanes).steps

    def count(lanes: Lanes) -> int:
        return steps

    return count


def halved(lanes: Lanes) -> bool:
    """Whether operands are bfloat16, a constant to the compiler. Compiled code calls it; see `overload`."""
    return SHAPES[type(lanes)].operands != FLOATS


@overload(halved)
def compile_halved(lanes: Lanes) -> Callable[[Lanes], bool]:
    constant = shape_of(lanes).operands != FLOATS

    def answer(lanes: Lanes) -> bool:
        return constant

    return answer


def tiled(lanes: Lanes) -> bool:
    """Whether operands lie as tiles have them, a constant to the compiler. Compiled code calls it; see `overload`."""
    return SHAPES[type(lanes)].operands == TILES


@overload(tiled)
def compile_tiled(lanes: Lanes) -> Callable[[Lanes], bool]:
    constant = shape_of(lanes).operands == TILES

    def answer(lanes: Lanes) -> bool:
        return constant

    return answer


class Emit:
    """The vector instructions of a micro-kernel, over an LLVM IR builder."""

    def __init__(self, builder: ir.IRBuilder, lanes: int) -> None:
        self.builder, self.lanes = builder, lanes
        self.vector = ir.VectorType(FLOAT, lanes)

    def pointer(self, address: ir.Value) -> ir.Value:
        """An Address as LLVM's pointer to a float."""
        return pointer_to(self.builder, address, FLOAT)

    def prefetch(self, pointer: ir.Value) -> None:
        """Ask for the cache line there, into the second-level cache; nothing happens where there is none."""
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        signature = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        function = cgutils.get_or_insert_function(self.builder.module, signature, "llvm.prefetch.p0")
        read, second_level, data = (ir.Constant(number, value) for value in (0, 2, 1))
        self.builder.call(function, [self.builder.bitcast(pointer, byte), read, second_level, data])

    def at(self, pointer: ir.Value, offset: int | ir.Value) -> ir.Value:
        """The pointer, so many floats further."""
        return self.builder.gep(pointer, [offset if isinstance(offset, ir.Value) else int_(offset)])

    def load(self, pointer: ir.Value, offset: int = 0) -> ir.Value:
        """One vector; the layout keeps vectors aligned to their size."""
        return self.builder.load(self._vectors(pointer, offset), align=4 * self.lanes)

    def store(self, value: ir.Value, pointer: ir.Value, offset: int = 0) -> None:
        self.builder.store(value, self._vectors(pointer, offset), align=4 * self.lanes)

    def broadcast(self, pointer: ir.Value, offset: int = 0) -> ir.Value:
        """One float in every lane."""
        return self.spread(self.builder.load(self.at(pointer, offset), align=4))

    def spread(self, scalar: ir.Value) -> ir.Value:
        """A scalar in every lane."""
        nothing = ir.Constant(self.vector, ir.Undefined)
        first = self.builder.insert_element(nothing, scalar, ir.Constant(ir.IntType(32), 0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(first, nothing, zeros)

    def constant(self, value: float) -> ir.Constant:
        """A number, rounded to float32, in every lane."""
        return ir.Constant(self.vector, [ctypes.c_float(value).value] * self.lanes)

    def fma(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        """a * b + c, rounded once."""
        return self.call("fma", a, b, c)

    def call(self, name: str, *operands: ir.Value) -> ir.Value:
        """llvm.`name` on vectors of the operands' type."""
        vector = operands[0].type
        kind = "f64" if vector.element == ir.DoubleType() else "f32"
        signature = ir.FunctionType(vector, [vector] * len(operands))
        intrinsic = cgutils.get_or_insert_function(self.builder.module, signature, f"llvm.{name}.v{vector.count}{kind}")
        return self.builder.call(intrinsic, operands)

    def gelu(self, x: ir.Value) -> ir.Value:
        """x * Phi(x), without a branch and without a division: max(x, 0) - |x| * max(polynomial(|x|), 0)^8.

        The polynomial approximates Q(t)^(1/8), Q the normal distribution's upper tail, and falls through zero for good at 7.25,
        where t * Q(t) is below 1e-11. It is fitted to weigh the error of GELU itself: below 3e-7 absolute everywhere, of which
        all but 2e-8 is float32's rounding. A finite x above 6 is returned as it is, below -7.25 there is 0, and 0 gives 0.

        A 3x3 depthwise convolution with it takes 12.7 to 14.3 cycles a vector on an Intel Xeon; with Q(t)^(-1/8), of the form
        of Abramowitz and Stegun 7.1.28, and a division 16.6 to 17.9. A clamped polynomial for erf needs degree 13 for an error
        of 6e-7: 1.7 times the cycles of that division on an AMD EPYC 9005.
        """
        builder = self.builder
        zero, t = self.constant(0.0), self.call("fabs", x)
        p = self.constant(TAIL[-1])
        for coefficient in TAIL[-2::-1]:
            p = self.fma(p, t, self.constant(coefficient))
        p = builder.select(builder.fcmp_ordered(">", zero, p), zero, p)  # what is no number stays none
        for _ in range(3):
            p = builder.fmul(p, p)
        above = builder.select(builder.fcmp_ordered(">", x, zero), x, zero)
        return self.fma(builder.fneg(t), p, above)

    def _vectors(self, pointer: ir.Value, offset: int) -> ir.Value:
        return self.builder.bitcast(self.at(pointer, offset), self.vector.as_pointer())


# gelu's polynomial, constant first: (7.25 - t) times a least squares fit, reweighted until the largest error of GELU was least.
TAIL = (
    0.917003870010376, -0.09145551919937134, -0.031936224550008774, -0.0006556535372510552, 0.0014869533479213715,
    4.476586764212698e-05, -6.379469414241612e-05, 8.102519132080488e-06, -3.401916046641418e-07,
)  # fmt: skip


def int_(value: int) -> ir.Constant:
    return ir.Constant(INT, value)


class Loop:
    """`for _ in range(count)` in IR, count >= 1, with values carried from one turn to the next.

    with Loop(builder, count, [a, b]) as loop:  # loop.values: a, b as this turn sees them
        loop.next([a2, b2])
    loop.values                                 # a2, b2 of the last turn
    """

    def __init__(self, builder: ir.IRBuilder, count: ir.Value, values: Sequence[ir.Value]) -> None:
        self.builder, self.count, self.start = builder, count, values

    def __enter__(self) -> Loop:
        builder = self.builder
        before = builder.block
        self.body = builder.append_basic_block("loop")
        self.after = builder.append_basic_block("after")
        builder.branch(self.body)
        builder.position_at_end(self.body)
        self.left = builder.phi(INT)
        self.left.add_incoming(self.count, before)
        self.values = [builder.phi(value.type) for value in self.start]
        for phi, value in zip(self.values, self.start, strict=True):
            phi.add_incoming(value, before)
        return self

    def next(self, values: Sequence[ir.Value]) -> None:
        """End a turn: these are the values of the next one."""
        builder = self.builder
        left = builder.sub(self.left, int_(1))
        end = builder.block
        self.left.add_incoming(left, end)
        for phi, value in zip(self.values, values, strict=True):
            phi.add_incoming(value, end)
        builder.cbranch(builder.icmp_signed(">", left, int_(0)), self.body, self.after)
        self.values = list(values)

    def __exit__(self, *_: object) -> None:
        self.builder.position_at_end(self.after)


def unpack(builder: ir.IRBuilder, named_tuple: ir.Value) -> list[ir.Value]:
    """The fields of a named tuple that an intrinsic was given."""
    return list(cgutils.unpack_tuple(builder, named_tuple))


TAIL32 = np.array(TAIL, np.float32)


@inline
def gelu(x: Any) -> Any:
    """Emit.gelu for one float32, where there are no intrinsics."""
    t = abs(x)
    p = TAIL32[-1]
    for i in range(len(TAIL32) - 2, -1, -1):
        p = p * t + TAIL32[i]
    p = np.float32(0) if p <= 0 else p
    p = p * p
    p = p * p
    p = p * p
    return max(x, np.float32(0)) - t * p
