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
    ) -> Array:
        """x (N, C_in, H, W), weight (C_out, C_in / groups, K, K), bias (C_out,) -> (N, C_out, H', W')."""
        ...

    def batch_norm(
        self, x: Array, running_mean: Array, running_var: Array, weight: Array, bias: Array, eps: float = 1e-5
    ) -> Array:
        """x (N, C, H, W), the rest (C,) -> (N, C, H, W): each channel by its running statistics, as inference does."""
        ...

    def layer_norm(self, x: Array, weight: Array, bias: Array, eps: float = 1e-6) -> Array:
        """x (N, C, H, W), weight and bias (C,) -> (N, C, H, W): at each position over its channels."""
        ...

    def gelu(self, x: Array) -> Array:
        """x of any shape -> the same shape: the exact form, x / 2 * (1 + erf(x / sqrt 2))."""
        ...

    def linear(self, x: Array, weight: Array, bias: Array | None = None) -> Array:
        """x (N, C_in), weight (C_out, C_in), bias (C_out,) -> (N, C_out)."""
        ...

    def global_average_pool(self, x: Array) -> Array:
        """x (N, C, H, W) -> (N, C): the mean of each channel's map."""
        ...

    def softmax(self, x: Array) -> Array:
        """x (..., classes) -> the same shape: probabilities along the last axis."""
        ...


class SegmentationOperators(Operators, Protocol):
    """What a neck and a head of minivan.fpn call besides."""

    def relu(self, x: Array) -> Array:
        """x of any shape -> the same shape: what is above 0, and 0 for the rest."""
        ...

    def upsample_nearest(self, x: Array, size: Sequence[int]) -> Array:
        """x (N, C, H, W), size (H', W') -> (N, C, H', W'): at each place the value of the one that it lies in."""
        ...

    def upsample_bilinear(self, x: Array, size: Sequence[int]) -> Array:
        """x (N, C, H, W), size (H', W') -> (N, C, H', W'): at each place a mean of four neighbours (align_corners False)."""
        ...


class TrainingOperators(Operators, Protocol):
    """What a forward pass in training form calls besides: BatchNorm by the statistics of the batch."""

    def batch_norm_training(self, x: Array, weight: Array, bias: Array, eps: float = 1e-5) -> tuple[Array, Array, Array]:
        """x (N, C, H, W), weight and bias (C,) -> y (N, C, H, W), batch_mean and batch_var (C,): by this batch's statistics.

        The variance is the biased one.
        """
        ...

    def batch_norm_update(
        self,
        running_mean: Array,
        running_var: Array,
        batch_mean: Array,
        batch_var: Array,
        count: int,
        momentum: float = 0.1,
    ) -> tuple[Array, Array]:
        """Four of (C,), and how many values of a channel the batch had -> the running statistics after it."""
        ...


class Derivatives(Protocol):
    """The backward pass: what minivan.backward calls. `dy` is the derivative by the operator's output.

    An engine whose derivatives are by arrays alone needs those that end in `_input`, without `batch_norm_training_input`.
    """

    def conv2d_input(
        self,
        dy: Array,
        weight: Array,
        size: Sequence[int],
        stride: Pair = 1,
        padding: Pair = 0,
        dilation: Pair = 1,
        groups: int = 1,
    ) -> Array:
        """dy (N, C_out, H', W'), weight as in the forward pass, size (H, W) of its x -> dx (N, C_in, H, W)."""
        ...

    def conv2d_weight(
        self,
        dy: Array,
        x: Array,
        kernel: Sequence[int],
        stride: Pair = 1,
        padding: Pair = 0,
        dilation: Pair = 1,
        groups: int = 1,
    ) -> Array:
        """dy (N, C_out, H', W'), x (N, C_in, H, W), kernel (K, K) -> dweight (C_out, C_in / groups, K, K)."""
        ...

    def conv2d_bias(self, dy: Array) -> Array:
        """dy (N, C_out, H', W') -> dbias (C_out,)."""
        ...

    def batch_norm_input(self, dy: Array, running_var: Array, weight: Array, eps: float = 1e-5) -> Array:
        """dy (N, C, H, W), running_var and weight (C,) -> dx (N, C, H, W); its x is not needed."""
        ...

    def batch_norm_parameters(
        self, dy: Array, x: Array, running_mean: Array, running_var: Array, eps: float = 1e-5
    ) -> tuple[Array, Array]:
        """dy and x (N, C, H, W), the statistics (C,) -> dweight and dbias (C,)."""
        ...

    def batch_norm_training_input(self, dy: Array, x: Array, weight: Array, eps: float = 1e-5) -> Array:
        """dy and x (N, C, H, W), weight (C,) -> dx (N, C, H, W): through the batch's statistics, too."""
        ...

    def batch_norm_training_parameters(self, dy: Array, x: Array, eps: float = 1e-5) -> tuple[Array, Array]:
        """dy and x (N, C, H, W) -> dweight and dbias (C,)."""
        ...

    def layer_scale_weight(self, dy: Array, x: Array) -> Array:
        """dy and x (N, C, H, W), x before it is scaled -> dscale (C,)."""
        ...

    def layer_norm_parameters(self, dy: Array, x: Array, eps: float = 1e-6) -> tuple[Array, Array]:
        """dy and x (N, C, H, W) -> dweight and dbias (C,)."""
        ...

    def layer_norm_input(self, dy: Array, x: Array, weight: Array, eps: float = 1e-6) -> Array:
        """dy and x (N, C, H, W), weight (C,) -> dx (N, C, H, W)."""
        ...

    def gelu_input(self, dy: Array, x: Array) -> Array:
        """dy and x of one shape -> dx of that shape."""
        ...

    def relu_input(self, dy: Array, x: Array) -> Array:
        """dy and x of one shape -> dx of that shape."""
        ...

    def upsample_nearest_input(self, dy: Array, size: Sequence[int]) -> Array:
        """dy (N, C, H', W'), size (H, W) of the forward pass's x -> dx (N, C, H, W)."""
        ...

    def upsample_bilinear_input(self, dy: Array, size: Sequence[int]) -> Array:
        """dy (N, C, H', W'), size (H, W) of the forward pass's x -> dx (N, C, H, W)."""
        ...

    def linear_input(self, dy: Array, weight: Array) -> Array:
        """dy (N, C_out), weight (C_out, C_in) -> dx (N, C_in)."""
        ...

    def linear_weight(self, dy: Array, x: Array) -> Array:
        """dy (N, C_out), x (N, C_in) -> dweight (C_out, C_in)."""
        ...

    def linear_bias(self, dy: Array) -> Array:
        """dy (N, C_out) -> dbias (C_out,)."""
        ...

    def cross_entropy_input(self, logits: Array, target: Array, reduction: str = "sum") -> Array:
        """logits (N, classes), a class for each image (N,) -> dlogits of -log softmax(logits)[target], 'sum' or 'mean'."""
        ...

    def global_average_pool_input(self, dy: Array, size: Sequence[int]) -> Array:
        """dy (N, C), size (H, W) of the forward pass's x -> dx (N, C, H, W)."""
        ...
