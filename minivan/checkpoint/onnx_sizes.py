"""Integers that an ONNX graph computes of the sizes of its arrays, as exporters write the shapes that a Reshape is given.

A size that is not known is kept as the axes that it is the product of, so that it is compared exactly or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod

from .onnx_file import MOST_INTEGERS, Attribute, Node
from .tensor import StoredTensor

MOST_FACTORS = 8  # axes in a product
INTEGERS = {6: "int32", 7: "int64"}  # TensorProto.DataType
ENDLESS = 1 << 62  # no size is as large


@dataclass(frozen=True)
class Axis:
    """One of the image's axes, by its place there, after strides whose product is `divisor`, rounded up; or the channels."""

    kind: str
    divisor: int = 1
    size: int | None = None  # where the graph fixes it


Layout = tuple[tuple[Axis, ...], ...]  # an array's axes, each those that are joined in it; none for a side of one


@dataclass(frozen=True)
class Size:
    """An integer: `factor` times the sizes of `axes`, none of which is known, and `plus`."""

    factor: int
    axes: tuple[Axis, ...] = ()
    plus: int = 0


Sizes = tuple[Size, ...]  # of one axis each, or one scalar


def size_of(axes: tuple[Axis, ...]) -> Size:
    """Return the size of axes that are joined."""
    unknown = sorted((axis for axis in axes if axis.size is None), key=lambda axis: (axis.kind, axis.divisor))
    return Size(prod(axis.size for axis in axes if axis.size is not None), tuple(unknown))


def stored(tensor: StoredTensor) -> Sizes | None:
    """Return the integers in a tensor, None where it holds no few integers in a row."""
    if tensor.dtype not in INTEGERS.values() or tensor.count > MOST_INTEGERS or tensor.count != max(tensor.shape, default=1):
        return None
    return tuple(Size(int(number)) for number in tensor.read_marks().ravel())


def integers(sizes: Sizes | None) -> tuple[int, ...] | None:
    """Return sizes as integers, None where one is not known."""
    return tuple(size.factor for size in sizes) if sizes is not None and not any(size.axes for size in sizes) else None


def computed(node: Node, layout: Layout | None, read: Callable[[str], Sizes | None]) -> Sizes | None:
    """Return the integers that a node gives, None where they cannot be told.

    `layout` is its first input's, where that is an array whose axes are known; `read` gives the integers of a name.
    """
    if node.operator == "Constant":
        return _constant(node.attributes)
    if node.operator == "Shape":
        start, end = node.attributes.get("start", 0), node.attributes.get("end", ENDLESS)
        if layout is None or not isinstance(start, int) or not isinstance(end, int):
            return None
        return tuple(map(size_of, layout))[start:end]
    inputs = [read(name) if name else None for name in node.inputs]
    if not inputs or inputs[0] is None:
        return None
    first = inputs[0]
    if node.operator == "Concat" and node.attributes.get("axis") == 0:
        parts = [part for part in inputs if part is not None]
        few = len(parts) == len(inputs) and sum(map(len, parts)) <= MOST_INTEGERS
        return tuple(size for part in parts for size in part) if few else None
    if node.operator in ("Unsqueeze", "Squeeze", "Reshape"):
        return first if len(first) == 1 else None  # one number stays what it is
    if node.operator == "Identity" or (node.operator == "Cast" and node.attributes.get("to") in INTEGERS):
        return first
    if node.operator == "Gather" and len(inputs) > 1 and node.attributes.get("axis", 0) == 0:
        indices = integers(inputs[1])
        inside = indices is not None and all(-len(first) <= index < len(first) for index in indices)
        return tuple(first[index] for index in indices) if indices is not None and inside else None
    if node.operator == "Slice":
        return _sliced(first, node.attributes, inputs[1:])
    if node.operator in ARITHMETIC and len(inputs) == 2 and inputs[1] is not None:
        return _elementwise(ARITHMETIC[node.operator], first, inputs[1])
    return None


def _constant(attributes: Mapping[str, Attribute]) -> Sizes | None:
    value = attributes.get("value", attributes.get("value_int", attributes.get("value_ints")))
    if isinstance(value, StoredTensor):
        return stored(value)
    values = value if isinstance(value, tuple) else (value,)
    return tuple(Size(number) for number in values if isinstance(number, int)) if value is not None else None


def _sliced(sizes: Sizes, attributes: Mapping[str, Attribute], inputs: list[Sizes | None]) -> Sizes | None:
    """Return a run of sizes, one after the other."""
    given = [integers(numbers) for numbers in inputs]
    given = given or [value if isinstance(value := attributes.get(key), tuple) else None for key in ("starts", "ends")]
    if len(given) < 2 or any(value is None or len(value) != 1 for value in given) or given[2:3] not in ([], [(0,)]):
        return None
    (start,), (end,) = given[0] or (0,), given[1] or (0,)
    return sizes[start:end] if given[3:] in ([], [(1,)]) and attributes.get("axes", (0,)) == (0,) else None


def _elementwise(operation: Callable[[Size, Size], Size | None], left: Sizes, right: Sizes) -> Sizes | None:
    if not left or not right or (len(left) != len(right) and 1 not in (len(left), len(right))):
        return None
    length = max(len(left), len(right))
    results = [operation(a, b) for a, b in zip(left * (length // len(left)), right * (length // len(right)), strict=True)]
    known = tuple(size for size in results if size is not None and max(abs(size.factor), abs(size.plus)) < ENDLESS)
    return known if len(known) == length else None


def _sum(left: Size, right: Size) -> Size | None:
    if not left.axes:
        left, right = right, left
    if right.axes:
        return None
    return Size(left.factor, left.axes, left.plus + right.factor) if left.axes else Size(left.factor + right.factor)


def _difference(left: Size, right: Size) -> Size | None:
    return _sum(left, Size(-right.factor)) if not right.axes else None


def _product(left: Size, right: Size) -> Size | None:
    axes = left.axes + right.axes
    if left.plus or right.plus or len(axes) > MOST_FACTORS:
        return None
    return Size(left.factor * right.factor, size_of(axes).axes)


def _quotient(left: Size, right: Size) -> Size | None:
    """Return a quotient, rounded down: of numbers that are known, or of a size less one, as a convolution's sizes have it."""
    if right.axes or right.factor < 1 or right.factor >= ENDLESS:
        return None
    if not left.axes:
        return Size(left.factor // right.factor) if left.factor >= 0 else None
    if len(left.axes) != 1 or (left.factor, left.plus) != (1, -1):
        return None
    axis = left.axes[0]
    divisor = axis.divisor * right.factor
    return Size(1, (Axis(axis.kind, divisor),), -1) if divisor < ENDLESS else None


ARITHMETIC = {"Add": _sum, "Sub": _difference, "Mul": _product, "Div": _quotient}
