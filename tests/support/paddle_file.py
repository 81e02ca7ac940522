"""PaddlePaddle's files, as its `paddle.save` writes them, from a network of PyTorch's: written out from its code."""

import pickle

import numpy as np


def conventions(state):
    """{name: array} as PaddleClas' VAN has it: BatchNorm's statistics renamed, Linear (in, out), scales (C, 1, 1)."""
    arrays = {}
    for name, tensor in state.items():
        if name.endswith("num_batches_tracked"):
            continue
        array = tensor.numpy()
        if "layer_scale" in name:
            array = array.reshape(-1, 1, 1)
        if name == "head.weight":
            array = np.ascontiguousarray(array.T)
        arrays[name.replace("running_mean", "_mean").replace("running_var", "_variance")] = array
    return arrays


def pickled(state, protocol=4, names=True):
    arrays = conventions(state)
    table = {name: f"conv2d_{i}.w_0" for i, name in enumerate(arrays)}
    return pickle.dumps(arrays | ({"StructuredToParameterName@@": table} if names else {}), protocol)


class Named:
    """A tensor that is not a parameter: paddle pickles it as tuple((name, array))."""

    def __init__(self, name, array):
        self.name, self.array = name, array

    def __reduce__(self):
        return tuple, ((self.name, self.array),)
