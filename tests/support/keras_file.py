"""Keras files of a VAN, as tfvan and VAN-Classification-TensorFlow save their models: written out from their code."""

import h5py
import numpy as np

LEAVES = {"running_mean": "moving_mean", "running_var": "moving_variance"}


def tfvan_name(name):
    """'block1.0/attn/proj_1/kernel:0' for 'block1.0.attn.proj_1.weight': the layer, then the weight's name below it."""
    parts = name.split(".")
    layer = ".".join(parts[:2]) if parts[0].startswith("block") else parts[0]
    inner = parts[2:] if parts[0].startswith("block") else parts[1:]
    if inner[0].startswith("layer_scale"):
        return layer, f"{layer}/{inner[0]}:0"
    *modules, leaf = inner
    if modules[:1] == ["mlp"] and modules[1] == "dwconv":
        modules = ["mlp", "dwconv.dwconv"]
    norm = "norm" in (modules[-1] if modules else layer)
    depthwise = (modules or [""])[-1] in ("conv0", "conv_spatial", "dwconv.dwconv")
    if norm:
        leaf = {"weight": "gamma", "bias": "beta"}.get(leaf, leaf)
    elif leaf == "weight":
        leaf = "depthwise_kernel" if depthwise else "kernel"
    return layer, "/".join([layer, *modules, f"{LEAVES.get(leaf, leaf)}:0"])


def keras_array(name, array):
    if "layer_scale" in name:
        return array.reshape(1, 1, 1, -1)
    if array.ndim == 4:
        return array.transpose(2, 3, 0, 1) if array.shape[1] == 1 and array.shape[0] != 1 else array.transpose(2, 3, 1, 0)
    return array.T


def write(path, tensors, inside="", **options):
    """`tensors` are arrays by the authors' names; a whole model's weights lie inside `model_weights`."""
    with h5py.File(path, "w", **options) as file:
        file.attrs["backend"], file.attrs["keras_version"] = b"tensorflow", b"2.9.0"
        top = file.create_group(inside) if inside else file
        layers = {}
        for name, array in tensors.items():
            layer, weight = tfvan_name(name)
            layers.setdefault(layer, {})[weight] = keras_array(name, np.asarray(array))
        top.attrs["layer_names"] = [layer.encode() for layer in layers]
        for layer, weights in layers.items():
            group = top.create_group(layer)
            group.attrs["weight_names"] = [weight.encode() for weight in weights]
            for weight, array in weights.items():
                group.create_dataset(weight, array.shape, dtype=array.dtype)[:] = array
    return path


def write_automatic(path, tensors):
    """VAN-Classification-TensorFlow's: convolutions are Conv2D with groups, in layers that Keras names and numbers."""
    with h5py.File(path, "w") as file:
        for number, (name, array) in enumerate(tensors.items()):
            layer, weight = tfvan_name(name)
            layer, weight = (
                layer.replace(".", "/"),
                weight.replace("depthwise_kernel", "kernel").replace("dwconv.dwconv", "dwconv/dwconv"),
            )
            weight = weight.replace(".", "/") if layer.startswith("block") else weight
            if weight.endswith(("kernel:0", "bias:0")) and "head" not in weight:
                head, _, leaf = weight.rpartition("/")
                weight = f"{head}/conv2d_{number}/{leaf}"
            value = array.reshape(-1) if "layer_scale" in name else array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T
            file.create_dataset(f"{layer}/van_/{weight}", value.shape, dtype=value.dtype)[:] = value
    return path
