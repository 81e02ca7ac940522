"""Ports of VAN with one fault each, for tests of the oracle: PyTorch computes, and one operator or weight is wrong on purpose.

The faults are written here a second time, in other words than minivan.oracle.faults uses. Where a fault needs no other
operators than minivan has, NumPy computes, for tests that run without PyTorch.
"""

import functools

import numpy as np

from minivan import seeded
from minivan.engines import NUMPY, Engine
from minivan.oracle import trace
from minivan.oracle.recorded import Recorded
from minivan.oracle.ulp import round_to
from minivan.van import VAN
from minivan.variants import Config
from support.judge import F, torch, torch_ops

CONFIG = Config((8, 16, 12), (1, 2, 1), (2, 2, 2), classes=12)
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


def layers_of(ops, tensors=TENSORS, change=None, x=X, form=None) -> dict[str, np.ndarray]:
    """Run a port and return its layers; `change(path, array, layers)` may put another array in a layer's place.

    With a `form` the port computes in a shorter format: what every layer gives is rounded to it, and kept as float32.
    """
    layers = {"input": x}

    def hook(path, array):
        changed = None if change is None else change(path, array, layers)
        if form is not None:
            changed = round_to(np.asarray(array if changed is None else changed, np.float32), form).astype(np.float32)
        layers[path] = np.asarray(array if changed is None else changed)
        return changed

    VAN(CONFIG, tensors, Engine("port", ops=ops))(x, hook)
    return layers


def recorded_layers(ops=torch_ops, **given) -> dict[str, np.ndarray]:
    """The layers of a port in PyTorch, given what `layers_of` is given."""
    return layers_of(ops, **given)


def numpy_layers(**given) -> dict[str, np.ndarray]:
    """The layers of a port in NumPy, rounded to float32, given what `layers_of` is given."""
    return {path: np.asarray(array, np.float32) for path, array in layers_of(NUMPY.ops, **given).items()}


def as_port(layers, form=None) -> dict[str, Recorded]:
    return {name: Recorded(array, form or array.dtype.name) for name, array in layers.items()}


@functools.cache
def sound_port() -> dict[str, np.ndarray]:
    """The layers of a port without a fault."""
    return numpy_layers()


@functools.cache
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
