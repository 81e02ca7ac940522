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


TORCH = Engine("torch", ops=Operators(), array=torch.from_numpy)
