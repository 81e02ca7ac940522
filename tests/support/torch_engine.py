"""PyTorch as an engine with arrays of its own: torch tensors from the images to the logits."""

import torch
import torch.nn.functional as F

from minivan.engines import Engine


class Operators:
    conv2d = staticmethod(F.conv2d)
    gelu = staticmethod(F.gelu)
    linear = staticmethod(F.linear)

    @staticmethod
    def batch_norm(x, running_mean, running_var, weight, bias, eps=1e-5):
        return F.batch_norm(x, running_mean, running_var, weight, bias, training=False, eps=eps)

    @staticmethod
    def layer_norm(x, weight, bias, eps=1e-6):
        return F.layer_norm(x.permute(0, 2, 3, 1), weight.shape, weight, bias, eps).permute(0, 3, 1, 2)

    @staticmethod
    def global_average_pool(x):
        return x.mean((2, 3))

    @staticmethod
    def softmax(x):
        return x.softmax(-1)


class Derivatives:
    @staticmethod
    def conv2d_input(dy, weight, size, stride=1, padding=0, dilation=1, groups=1):
        shape = (len(dy), weight.shape[1] * groups, *size)
        return torch.nn.grad.conv2d_input(shape, weight, dy, stride, padding, dilation, groups)

    @staticmethod
    def batch_norm_input(dy, running_var, weight, eps=1e-5):
        return dy * (weight / (running_var + eps).sqrt())[:, None, None]

    @staticmethod
    def layer_norm_input(dy, x, weight, eps=1e-6):
        x = x.detach().requires_grad_()
        y = Operators.layer_norm(x, weight, torch.zeros_like(weight), eps)
        return torch.autograd.grad(y, x, dy)[0]

    @staticmethod
    def gelu_input(dy, x):
        x = x.detach().requires_grad_()
        return torch.autograd.grad(F.gelu(x), x, dy)[0]

    @staticmethod
    def linear_input(dy, weight):
        return dy @ weight

    @staticmethod
    def global_average_pool_input(dy, size):
        return (dy / (size[0] * size[1]))[:, :, None, None].expand(*dy.shape, *size)


TORCH = Engine("torch", ops=Operators(), grad=Derivatives(), array=torch.from_numpy)
