"""What an engine supplies: the operators' names and signatures, and those of their derivatives.

`Array` stands for whatever an engine computes with: minivan's own take and return NumPy arrays. Tensors are (N, C, H, W),
weights (C_out, C_in / groups, K, K); `minivan.reference` says what each operator means.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

Array: TypeAlias = Any
Pair: TypeAlias = int | Sequence[int]  # one number for rows and columns, or one for each


class Operators(Protocol):
    """The forward pass: what minivan.model calls."""

    def conv2d(
        self,
        x: Array,
        weight: Array,
        bias: Array | None = None,
        stride: Pair = 1,
        padding: Pair = 0,
        dilation: Pair = 1,
        groups: int = 1,
    ) -> Array: ...

    def batch_norm(
        self, x: Array, running_mean: Array, running_var: Array, weight: Array, bias: Array, eps: float = 1e-5
    ) -> Array: ...

    def layer_norm(self, x: Array, weight: Array, bias: Array, eps: float = 1e-6) -> Array: ...

    def gelu(self, x: Array) -> Array: ...

    def linear(self, x: Array, weight: Array, bias: Array | None = None) -> Array: ...

    def global_average_pool(self, x: Array) -> Array: ...

    def softmax(self, x: Array) -> Array: ...


class Derivatives(Protocol):
    """The backward pass by arrays: what minivan.backward calls. `dy` is the derivative by the operator's output."""

    def conv2d_input(
        self,
        dy: Array,
        weight: Array,
        size: Sequence[int],
        stride: Pair = 1,
        padding: Pair = 0,
        dilation: Pair = 1,
        groups: int = 1,
    ) -> Array: ...

    def batch_norm_input(self, dy: Array, running_var: Array, weight: Array, eps: float = 1e-5) -> Array: ...

    def layer_norm_input(self, dy: Array, x: Array, weight: Array, eps: float = 1e-6) -> Array: ...

    def gelu_input(self, dy: Array, x: Array) -> Array: ...

    def linear_input(self, dy: Array, weight: Array) -> Array: ...

    def global_average_pool_input(self, dy: Array, size: Sequence[int]) -> Array: ...
