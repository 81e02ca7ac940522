"""PyTorch as an engine: torch.nn.functional under the names that minivan.model calls. Takes and returns NumPy arrays.

The dtype of x decides the arithmetic: float32 for what PyTorch users get, float64 for a judge of both.
"""

import numpy as np
import torch
import torch.nn.functional as F


def _tensors(x, *parameters):
    x = torch.from_numpy(np.array(x))
    return x, *(None if p is None else torch.from_numpy(np.array(p)).to(x.dtype) for p in parameters)


def conv2d(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    x, weight, bias = _tensors(x, weight, bias)
    return F.conv2d(x, weight, bias, stride, padding, dilation, groups).numpy()


def batch_norm(x, running_mean, running_var, weight, bias, eps=1e-5):
    x, running_mean, running_var, weight, bias = _tensors(x, running_mean, running_var, weight, bias)
    return F.batch_norm(x, running_mean, running_var, weight, bias, training=False, eps=eps).numpy()


def layer_norm(x, weight, bias, eps=1e-6):
    x, weight, bias = _tensors(x, weight, bias)
    return F.layer_norm(x.permute(0, 2, 3, 1), weight.shape, weight, bias, eps).permute(0, 3, 1, 2).numpy()


def gelu(x):
    return F.gelu(_tensors(x)[0]).numpy()


def relu(x):
    return F.relu(_tensors(x)[0]).numpy()


def upsample_nearest(x, size):
    return F.interpolate(_tensors(x)[0], size, mode="nearest").numpy()


def upsample_bilinear(x, size):
    return F.interpolate(_tensors(x)[0], size, mode="bilinear", align_corners=False).numpy()


def linear(x, weight, bias=None):
    return F.linear(*_tensors(x, weight, bias)).numpy()


def global_average_pool(x):
    return _tensors(x)[0].mean((2, 3)).numpy()


def softmax(x):
    return F.softmax(_tensors(x)[0], -1).numpy()
