"""Ports of VAN with one fault each, for tests of the oracle: PyTorch computes, and one operator or weight is wrong on purpose.

The faults are written here a second time, in other words than minivan.oracle.faults uses.
"""

import numpy as np
import torch
import torch.nn.functional as F

from minivan import seeded
from minivan.engines import Engine
from minivan.oracle import trace
from minivan.oracle.recorded import Recorded
from minivan.van import VAN
from minivan.variants import Config
from support import torch_ops

CONFIG = Config((8, 16, 12, 16), (1, 2, 1, 1), (2, 2, 2, 2), classes=16)
TENSORS = seeded.tensors(CONFIG)
X = seeded.images((2, 3, 64, 48))
PLANTED = "block2.1"


class Faulty:
    """PyTorch's operators, with one replaced where it works with the weights called `name`."""

    def __init__(self, operator, name, replacement):
        self.operator, self.name, self.replacement = operator, name, replacement

    def __getattr__(self, operator):
        right = getattr(torch_ops, operator)
        if operator != self.operator:
            return right
        tensor = TENSORS[f"{self.name}.weight"]

        def call(x, **parameters):
            return (self.replacement if parameters["weight"] is tensor else right)(x, **parameters)

        return call


def recorded_layers(ops=torch_ops, tensors=TENSORS, change=None, x=X) -> dict[str, np.ndarray]:
    """Run a port and return its layers; `change(path, array, layers)` may put another array in a layer's place."""
    layers = {"input": x}

    def hook(path, array):
        changed = None if change is None else change(path, array, layers)
        layers[path] = np.asarray(array if changed is None else changed)
        return changed

    VAN(CONFIG, tensors, Engine("port", ops=ops))(x, hook)
    return layers


def as_port(layers, form=None) -> dict[str, Recorded]:
    return {name: Recorded(array, form or array.dtype.name) for name, array in layers.items()}


def reference() -> trace.Trace:
    return trace.record(VAN(CONFIG, TENSORS), X)


def run(engine, hook):
    """The network behind `reference`, for minivan.oracle.replay."""
    VAN(CONFIG, TENSORS, engine)(hook("input", X), hook)


def with_tensor(name, change) -> dict[str, np.ndarray]:
    """The weights with one tensor changed."""
    return {**TENSORS, name: np.ascontiguousarray(change(TENSORS[name]), np.float32)}


def instead(path, make):
    """A change for `recorded_layers`: at `path`, `make(array, layers)` takes the array's place."""
    return lambda at, array, layers: np.ascontiguousarray(make(array, layers), np.float32) if at == path else None


def torch_conv(x, weight, bias, **attributes):
    return F.conv2d(*(torch.from_numpy(np.ascontiguousarray(v)) for v in (x, weight, bias)), **attributes).numpy()


def shifted(rows, columns):
    """A convolution whose padding is `rows` too wide above and too narrow below, `columns` likewise."""

    def conv2d(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        pads = (padding + columns, padding - columns, padding + rows, padding - rows)
        padded = F.pad(torch.from_numpy(np.array(x)), pads).numpy()
        return torch_conv(padded, weight, bias, stride=stride, dilation=dilation, groups=groups)

    return conv2d


def half_sums(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """A 1x1 convolution whose sums are kept in float16: even channels, then odd ones, the bias last."""
    x, weight = x.astype(np.float16), weight.astype(np.float16)
    total = np.zeros((x.shape[0], weight.shape[0], *x.shape[2:]), np.float16)
    for c in [*range(0, x.shape[1], 2), *range(1, x.shape[1], 2)]:
        total = (total + (x[:, None, c] * weight[:, c, 0, 0, None, None]).astype(np.float16)).astype(np.float16)
    return (total + bias.astype(np.float16)[:, None, None]).astype(np.float32)
