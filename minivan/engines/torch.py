"""PyTorch as an engine: minivan.model on torch tensors, from the images to the logits. It needs the extra `torch`.

`TORCH` infers, and its derivatives are those of the other engines, so that a model takes it in the place of a name:

    minivan.load(engine=TORCH)

`Operators(training=True)` are for training: BatchNorm normalises by the batch and updates its running statistics, and
autograd derives whatever is computed (examples/training).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..operators import Array, Pair
from .engine import Engine

try:
    import torch
    import torch.nn.functional as F
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise ModuleNotFoundError(
        "the engine torch needs PyTorch: pip install torch, or pip install '.[torch]' from a clone of minivan", name="torch"
    ) from None

__all__ = ["TORCH", "Derivatives", "Operators"]


class Operators:
    """minivan.operators.Operators by torch.nn.functional, on tensors of any floating dtype and device.

    With `training`, BatchNorm takes each channel's mean and variance from the batch, and moves the running ones, in place,
    by `momentum` of the way towards them (torch.nn.functional.batch_norm; the running variance is the unbiased one).
    """

    def __init__(self, training: bool = False, momentum: float = 0.1) -> None:
        self.training, self.momentum = training, momentum

    conv2d = staticmethod(F.conv2d)
    gelu = staticmethod(F.gelu)
    relu = staticmethod(F.relu)
    linear = staticmethod(F.linear)

    def batch_norm(
        self, x: Array, running_mean: Array, running_var: Array, weight: Array, bias: Array, eps: float = 1e-5
    ) -> Array:
        return F.batch_norm(x, running_mean, running_var, weight, bias, self.training, self.momentum, eps)

    @staticmethod
    def batch_norm_training(x: Array, weight: Array, bias: Array, eps: float = 1e-5) -> tuple[Array, Array, Array]:
        var, mean = torch.var_mean(x, (0, 2, 3), correction=0)
        return F.batch_norm(x, None, None, weight, bias, training=True, eps=eps), mean, var

    @staticmethod
    def batch_norm_update(
        running_mean: Array,
        running_var: Array,
        batch_mean: Array,
        batch_var: Array,
        count: int,
        momentum: float = 0.1,
    ) -> tuple[Array, Array]:
        unbiased = batch_var * (count / (count - 1))
        return running_mean + momentum * (batch_mean - running_mean), running_var + momentum * (unbiased - running_var)

    @staticmethod
    def layer_norm(x: Array, weight: Array, bias: Array, eps: float = 1e-6) -> Array:
        return F.layer_norm(x.permute(0, 2, 3, 1), weight.shape, weight, bias, eps).permute(0, 3, 1, 2)

    @staticmethod
    def upsample_nearest(x: Array, size: Sequence[int]) -> Array:
        return F.interpolate(x, tuple(size), mode="nearest")

    @staticmethod
    def upsample_bilinear(x: Array, size: Sequence[int]) -> Array:
        return F.interpolate(x, tuple(size), mode="bilinear", align_corners=False)

    @staticmethod
    def global_average_pool(x: Array) -> Array:
        return x.mean((2, 3))

    @staticmethod
    def softmax(x: Array) -> Array:
        return x.softmax(-1)


def derived(compute: Callable[..., Array], dy: Array, *arrays: Array) -> tuple[Array, ...]:
    """Return the derivatives of `compute(*arrays)` by each of the arrays, by autograd; `dy` is that by its output."""
    leaves = [array.detach().requires_grad_() for array in arrays]
    return tuple(torch.autograd.grad(compute(*leaves), leaves, dy))


class Derivatives:
    """minivan.operators.Derivatives by PyTorch's own."""

    @staticmethod
    def conv2d_input(
        dy: Array,
        weight: Array,
        size: Sequence[int],
        stride: Pair = 1,
        padding: Pair = 0,
        dilation: Pair = 1,
        groups: int = 1,
    ) -> Array:
        shape = (len(dy), weight.shape[1] * groups, *size)
        return torch.nn.grad.conv2d_input(shape, weight, dy, stride, padding, dilation, groups)

    @staticmethod
    def conv2d_weight(
        dy: Array,
        x: Array,
        kernel: Sequence[int],
        stride: Pair = 1,
        padding: Pair = 0,
        dilation: Pair = 1,
        groups: int = 1,
    ) -> Array:
        shape = (dy.shape[1], x.shape[1] // groups, *kernel)
        return torch.nn.grad.conv2d_weight(x, shape, dy, stride, padding, dilation, groups)

    @staticmethod
    def conv2d_bias(dy: Array) -> Array:
        return dy.sum((0, 2, 3))

    @staticmethod
    def batch_norm_input(dy: Array, running_var: Array, weight: Array, eps: float = 1e-5) -> Array:
        return dy * (weight / (running_var + eps).sqrt())[:, None, None]

    @staticmethod
    def batch_norm_parameters(
        dy: Array, x: Array, running_mean: Array, running_var: Array, eps: float = 1e-5
    ) -> tuple[Array, ...]:
        def compute(weight: Array, bias: Array) -> Array:
            return F.batch_norm(x, running_mean, running_var, weight, bias, eps=eps)

        return derived(compute, dy, torch.ones_like(running_var), torch.zeros_like(running_var))

    @staticmethod
    def batch_norm_training_input(dy: Array, x: Array, weight: Array, eps: float = 1e-5) -> Array:
        (dx,) = derived(lambda x: F.batch_norm(x, None, None, weight, training=True, eps=eps), dy, x)
        return dx

    @staticmethod
    def batch_norm_training_parameters(dy: Array, x: Array, eps: float = 1e-5) -> tuple[Array, ...]:
        def compute(weight: Array, bias: Array) -> Array:
            return F.batch_norm(x, None, None, weight, bias, training=True, eps=eps)

        return derived(compute, dy, x.new_ones(x.shape[1]), x.new_zeros(x.shape[1]))

    @staticmethod
    def layer_scale_weight(dy: Array, x: Array) -> Array:
        return (dy * x).sum((0, 2, 3))

    @staticmethod
    def layer_norm_parameters(dy: Array, x: Array, eps: float = 1e-6) -> tuple[Array, ...]:
        def compute(weight: Array, bias: Array) -> Array:
            return Operators.layer_norm(x, weight, bias, eps)

        return derived(compute, dy, x.new_ones(x.shape[1]), x.new_zeros(x.shape[1]))

    @staticmethod
    def layer_norm_input(dy: Array, x: Array, weight: Array, eps: float = 1e-6) -> Array:
        (dx,) = derived(lambda x: Operators.layer_norm(x, weight, torch.zeros_like(weight), eps), dy, x)
        return dx

    @staticmethod
    def gelu_input(dy: Array, x: Array) -> Array:
        (dx,) = derived(F.gelu, dy, x)
        return dx

    @staticmethod
    def relu_input(dy: Array, x: Array) -> Array:
        (dx,) = derived(F.relu, dy, x)
        return dx

    @staticmethod
    def upsample_nearest_input(dy: Array, size: Sequence[int]) -> Array:
        (dx,) = derived(lambda x: Operators.upsample_nearest(x, dy.shape[2:]), dy, dy.new_zeros((*dy.shape[:2], *size)))
        return dx

    @staticmethod
    def upsample_bilinear_input(dy: Array, size: Sequence[int]) -> Array:
        (dx,) = derived(lambda x: Operators.upsample_bilinear(x, dy.shape[2:]), dy, dy.new_zeros((*dy.shape[:2], *size)))
        return dx

    @staticmethod
    def linear_input(dy: Array, weight: Array) -> Array:
        return dy @ weight

    @staticmethod
    def linear_weight(dy: Array, x: Array) -> Array:
        return dy.T @ x

    @staticmethod
    def linear_bias(dy: Array) -> Array:
        return dy.sum(0)

    @staticmethod
    def cross_entropy_input(logits: Array, target: Array, reduction: str = "sum") -> Array:
        (dlogits,) = derived(lambda logits: F.cross_entropy(logits, target, reduction=reduction), logits.new_ones(()), logits)
        return dlogits

    @staticmethod
    def global_average_pool_input(dy: Array, size: Sequence[int]) -> Array:
        return (dy / (size[0] * size[1]))[:, :, None, None].expand(*dy.shape, *size)


TORCH = Engine("torch", ops=Operators(), grad=Derivatives(), array=torch.from_numpy)
