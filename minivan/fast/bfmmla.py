"""ARM's BFMMLA: 2 positions x 4 channels by 4 channels x 2 outputs of bfloat16, added to 2 x 2 sums in one register.

With V = 4 a position's block of bfloat16 takes 8 bytes, so that two neighbouring positions are the instruction's 16 bytes of
values as they lie. Weights are packed as its other 16: two outputs, 4 channels each. What it adds to are sums of two outputs at
two positions; outside of the loop a tile's sums are four outputs at one position each. The two are made of each other by the
same exchange of halves:

    position 0:  a b c d           outputs a, b:  a b A B
    position 1:  A B C D           outputs c, d:  c d C D

A tile of 8 positions and 8 outputs is 16 registers of sums, to which each block of 4 channels adds by 16 instructions from 4
registers of weights and 4 of values: 8 loads for 256 multiply-adds, and 24 of 32 registers.

The instruction sums channels in pairs and rounds to odd between: another order than that of bfloat16.py, but one for all tiles.
"""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir
from numba.core import cgutils

from .lanes import Shape, host_features
from .simd import Emit

CHANNELS, OUTPUTS = 4, 2
WORD, HALVES = ir.IntType(32), ir.VectorType(ir.IntType(16), 2 * CHANNELS)


class BFloat(ir.Type):  # type: ignore[misc]  # llvmlite says nothing of its types
    """LLVM's bfloat, which llvmlite does not know. The instruction alone sees it: everywhere else it is a 16-bit number."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BFloat)

    def __hash__(self) -> int:
        return hash(BFloat)


def exchanged(e: Emit, sums: Sequence[ir.Value]) -> list[ir.Value]:
    """Sums of 2 x 2 for those of 4 outputs at a position, or the reverse; 2 vectors of outputs for each position, in turn."""
    found = list(sums)
    for r in range(0, len(sums), 4):
        for j in range(2):
            first, second = sums[r + j], sums[r + j + 2]
            for i, half in enumerate((0, 2)):
                mask = ir.Constant(ir.VectorType(WORD, 4), [half, half + 1, half + 4, half + 5])
                found[r + j + 2 * i] = e.builder.shuffle_vector(first, second, mask)
    return found


def allow(function: ir.Function) -> None:
    """Let LLVM use the instruction in a function, where it is not among the features that it compiles all others for.

    It would end the process otherwise. The attribute takes the place of those features, so that it repeats them: into this
    function LLVM then inlines what that calls, and the function itself only where the instruction is allowed too. llvmlite does
    not know the attribute's name: see `pointers.pointer_to`.
    """
    features = ",".join(feature for feature in (*host_features(), "+bf16") if feature)
    set.add(function.attributes, f'"target-features"="{features}"')


def matrix_product(e: Emit, sums: ir.Value, values: ir.Value, weights: ir.Value) -> ir.Value:
    """BFMMLA: 2 positions x 2 outputs."""
    halves = ir.VectorType(BFloat(), 2 * CHANNELS)
    signature = ir.FunctionType(e.vector, [e.vector, halves, halves])
    function = cgutils.get_or_insert_function(e.builder.module, signature, "llvm.aarch64.neon.bfmmla")
    return e.builder.call(function, [sums, e.builder.bitcast(values, halves), e.builder.bitcast(weights, halves)])


def product_in_software(e: Emit, sums: ir.Value, values: ir.Value, weights: ir.Value) -> ir.Value:
    """The same in vectors of any processor, rounded to nearest even instead: for tests of how operands lie."""
    builder, whole = e.builder, ir.VectorType(WORD, 2 * CHANNELS)

    def floats(halves: ir.Value, lanes: list[int]) -> ir.Value:
        bits = builder.shl(builder.zext(halves, whole), ir.Constant(whole, [16] * 2 * CHANNELS))
        mask = ir.Constant(ir.VectorType(WORD, 4), lanes)
        return builder.bitcast(builder.shuffle_vector(bits, bits, mask), e.vector)

    products = []
    for k in range(CHANNELS):
        x, w = floats(values, [k, k, 4 + k, 4 + k]), floats(weights, [k, 4 + k, k, 4 + k])
        products.append(builder.fmul(x, w))  # exact: of 16 bits
    for k in (0, 2):
        sums = builder.fadd(sums, builder.fadd(products[k], products[k + 1]))
    return sums


def multiplied_by_block(e: Emit, shape: Shape, x: ir.Value, w: ir.Value, sums: Sequence[ir.Value]) -> list[ir.Value]:
    """The sums of a tile, 2 x 2 each, after a block of 4 channels: x[positions][4], w[4][2 outputs][4], as pairs."""
    found, product = list(sums), product_in_software if shape.software else matrix_product
    if not shape.software:
        allow(e.builder.function)

    def operand(pointer: ir.Value, offset: int) -> ir.Value:
        at = e.builder.bitcast(e.at(pointer, offset), HALVES.as_pointer())
        return e.builder.load(at, align=2 * CHANNELS)

    weights = [operand(w, OUTPUTS * CHANNELS // 2 * i) for i in range(4)]
    for r in range(0, len(sums), 4):  # two positions, four sums: outputs 0-1 and 4-5, then 2-3 and 6-7
        values = operand(x, CHANNELS // 2 * (r // 2))
        for i, panel in enumerate((0, 2, 1, 3)):
            found[r + i] = product(e, found[r + i], values, weights[panel])
    return found
