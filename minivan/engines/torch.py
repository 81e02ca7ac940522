"""PyTorch as an engine: minivan.model on torch tensors, from the images to the logits. It needs the extra `torch`.

`TORCH` infers, and its derivatives are those of the other engines, so that a model takes it in the place of a name:

    minivan.load(engine=TORCH)

`Operators(training=True)` are for training: BatchNorm normalises by the batch and updates its running statistics, and
autograd derives whatever is computed (examples/training).
"""

from __future__ import annotations

from collections.abc import Sequence

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
    linear = staticmethod(F.linear)

    def batch_norm(
        self, x: Array, running_mean: Array, running_var: Array, weight: Array, bias: Array, eps: float = 1e-5
    ) -> Array:
        return F.batch_norm(x, running_mean, running_var, weight, bias, self.training, self.momentum, eps)

    @staticmethod
    def layer_norm(x: Array, weight: Array, bias: Array, eps: float = 1e-6) -> Array:
        return F.layer_norm(x.permute(0, 2, 3, 1), weight.shape, weight, bias, eps).permute(0, 3, 1, 2)

    @staticmethod
    def global_average_pool(x: Array) -> Array:
        return x.mean((2, 3))

    @staticmethod
    def softmax(x: Array) -> Array:
        return x.softmax(-1)


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
    def batch_norm_input(dy: Array, running_var: Array, weight: Array, eps: float = 1e-5) -> Array:
        return dy * (weight / (running_var + eps).sqrt())[:, None, None]

    @staticmethod
    def layer_norm_input(dy: Array, x: Array, weight: Array, eps: float = 1e-6) -> Array:
        x = x.detach().requires_grad_()
        y = Operators.layer_norm(x, weight, torch.zeros_like(weight), eps)
        return torch.autograd.grad(y, x, dy)[0]

    @staticmethod
    def gelu_input(dy: Array, x: Array) -> Array:
        x = x.detach().requires_grad_()
        return torch.autograd.grad(F.gelu(x), x, dy)[0]

    @staticmethod
    def linear_input(dy: Array, weight: Array) -> Array:
        return dy @ weight

    @staticmethod
    def global_average_pool_input(dy: Array, size: Sequence[int]) -> Array:
        return (dy / (size[0] * size[1]))[:, :, None, None].expand(*dy.shape, *size)


TORCH = Engine("torch", ops=Operators(), grad=Derivatives(), array=torch.from_numpy)
