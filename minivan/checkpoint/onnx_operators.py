"""The operators of an engine that computes nothing: each writes down, as nodes of an ONNX graph, what it would compute.

minivan.model runs on it as on any other, so an ONNX file has the network that is written there. What it gives are names: an
array that a hook sees is called by its path (`head` is called `logits` by whoever writes the file), and what leads to it by
the path and the operator that makes it, 'block1.0.mlp.act/Erf'. Operators: https://onnx.ai/onnx/operators, those of opset 17.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import paths
from ..checks import pair
from ..operators import Array, Pair

OPSET = 17  # the first with LayerNormalization
TO_LAST, BACK = (0, 2, 3, 1), (0, 3, 1, 2)  # channels to where LayerNormalization takes them, and back

Shape = tuple[int | None, ...]  # None for what the images decide


@dataclass(eq=False)
class Value:
    """An array of the graph: of numbers that are known, of one of its nodes, or of what it is given."""

    graph: OnnxOperators = field(repr=False)
    shape: Shape
    name: str = ""
    numbers: np.ndarray[Any, Any] | None = None

    def __add__(self, other: Value) -> Value:
        return self.graph.add("Add", self, other, shape=max(self.shape, other.shape, key=len))

    def __mul__(self, other: Value) -> Value:
        return self.graph.add("Mul", self, other, shape=max(self.shape, other.shape, key=len))

    def __getitem__(self, key: Any) -> Value:
        """Return known numbers with other axes, under their own name."""
        assert self.numbers is not None, "the network adds axes to parameters alone"
        numbers = self.numbers[key]
        return Value(self.graph, numbers.shape, self.name, numbers)


@dataclass(eq=False)
class Step:
    """A node of the graph: an operator, what it reads, what it gives."""

    operator: str
    inputs: tuple[Value, ...]
    output: Value
    attributes: dict[str, Any]
    name: str = ""


class OnnxOperators:
    """A graph that grows with every operator that it is asked for; `named` is the hook that calls its arrays by their paths."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._constants: dict[str, Value] = {}
        self._unnamed: list[Step] = []  # made since the last path

    def add(self, operator: str, *inputs: Value, shape: Shape, **attributes: Any) -> Value:
        """Add a node, and return what it gives."""
        step = Step(operator, inputs, Value(self, shape), attributes)
        self.steps.append(step)
        self._unnamed.append(step)
        return step.output

    def named(self, path: str, array: Value) -> None:
        """Call an array by its path, and the nodes since the last path by this one and their operators."""
        counts = Counter[str]()
        for step in self._unnamed:
            count = counts[step.operator]
            counts[step.operator] += 1
            step.name = step.output.name = f"{path}/{step.operator}{f'_{count}' if count else ''}"
        self._unnamed.clear()
        array.name = path

    def parameter(self, name: str, tensor: np.ndarray[Any, Any]) -> Value:
        """Return a parameter under its own name; a layer scale, whose name is the path of a sum too, as its 'gamma'."""
        return Value(self, tensor.shape, f"{name}.gamma" if paths.is_layer_scale(name) else name, tensor)

    def stored(self) -> dict[str, np.ndarray[Any, Any]]:
        """Return the numbers that the nodes read, by their names."""
        return {value.name: value.numbers for step in self.steps for value in step.inputs if value.numbers is not None}

    def _constant(self, name: str, number: float) -> Value:
        return self._constants.setdefault(name, Value(self, (), name, np.array(number, np.float32)))

    # the operators, as in minivan.operators

    def conv2d(
        self,
        x: Array,
        weight: Array,
        bias: Array | None = None,
        stride: Pair = 1,
        padding: Pair = 0,
        dilation: Pair = 1,
        groups: int = 1,
    ) -> Array:
        """x (N, C_in, H, W), weight (C_out, C_in / groups, K, K), bias (C_out,) -> (N, C_out, H', W')."""
        attributes = {
            "kernel_shape": weight.shape[2:], "strides": pair(stride, "stride", 1), "pads": 2 * pair(padding, "padding", 0),
            "dilations": pair(dilation, "dilation", 1), "group": groups,
        }  # fmt: skip
        shape = x.shape[0], weight.shape[0], None, None
        return self.add("Conv", x, weight, *([] if bias is None else [bias]), shape=shape, **attributes)

    def batch_norm(
        self, x: Array, running_mean: Array, running_var: Array, weight: Array, bias: Array, eps: float = 1e-5
    ) -> Array:
        """x (N, C, H, W), the rest (C,) -> (N, C, H, W)."""
        parameters = weight, bias, running_mean, running_var
        return self.add("BatchNormalization", x, *parameters, shape=x.shape, epsilon=eps)

    def layer_norm(self, x: Array, weight: Array, bias: Array, eps: float = 1e-6) -> Array:
        """x (N, C, H, W), weight and bias (C,) -> (N, C, H, W): ONNX's works on last axes, so C goes there and back."""
        y = self.add("Transpose", x, shape=tuple(x.shape[axis] for axis in TO_LAST), perm=TO_LAST)
        y = self.add("LayerNormalization", y, weight, bias, shape=y.shape, axis=-1, epsilon=eps)
        return self.add("Transpose", y, shape=x.shape, perm=BACK)

    def gelu(self, x: Array) -> Array:
        """x / 2 * (1 + erf(x / sqrt 2)), in the order in which PyTorch's exporter writes it: runtimes fuse it into one."""
        y = self.add("Div", x, self._constant("sqrt_2", math.sqrt(2)), shape=x.shape)
        y = self.add("Erf", y, shape=x.shape)
        y = self.add("Add", y, self._constant("one", 1), shape=x.shape)
        y = self.add("Mul", x, y, shape=x.shape)
        return self.add("Mul", y, self._constant("half", 0.5), shape=x.shape)

    def linear(self, x: Array, weight: Array, bias: Array | None = None) -> Array:
        """x (N, C_in), weight (C_out, C_in), bias (C_out,) -> (N, C_out)."""
        shape = x.shape[0], weight.shape[0]
        return self.add("Gemm", x, weight, *([] if bias is None else [bias]), shape=shape, transB=1)

    def global_average_pool(self, x: Array) -> Array:
        """x (N, C, H, W) -> (N, C)."""
        y = self.add("GlobalAveragePool", x, shape=(*x.shape[:2], 1, 1))
        return self.add("Flatten", y, shape=x.shape[:2], axis=1)

    def softmax(self, x: Array) -> Array:
        """x (..., classes) -> the same shape."""
        return self.add("Softmax", x, shape=x.shape, axis=-1)
