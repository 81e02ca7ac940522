"""Keras weights of a VAN under PyTorch's conventions: `.h5` files of Keras 2, weights alone or whole models.

Sources: github.com/shkarupa-alex/tfvan (its layers have the authors' names, both its norms an eps of 1.001e-5) and
github.com/EMalagoli92/VAN-Classification-TensorFlow (the same names with Keras' own below them, PyTorch's epsilons). An array
is called after its layer and its weight: 'block1.0/block1.0/attn/proj_1/kernel:0' (`save_weights_to_hdf5_group` of
keras/saving/hdf5_format.py). Convolutions are (H, W, in, out), depthwise ones (H, W, C, 1), a Dense is (in, out).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from ..errors import quote
from .budget import Budget
from .error import CheckpointError
from .paddle import transposed
from .tensor import StoredTensor

TFVAN_EPS = 1.001e-5
DEPTHWISE = "depthwise_kernel"
LEAVES = {
    "kernel": "weight", DEPTHWISE: "weight", "bias": "bias", "gamma": "weight", "beta": "bias",
    "moving_mean": "running_mean", "moving_variance": "running_var",
}  # fmt: skip
OPTIMIZER = "optimizer_weights"  # a group that holds no network
_STAGED = re.compile(r"(?<![^.])(?:patch_embed[1-4]|block[1-4]\.[0-9]{1,5})(?=\.)")
_SINGLE = re.compile(r"(?<![^.])(?:norm[1-4]|head)(?=\.)")
_AUTOMATIC = re.compile(r"(?:conv2d|depthwise_conv2d|dense|batch_normalization|layer_normalization)(?:_[0-9]+)?")
_NUMBERED = re.compile(r"(mlp)_[0-9]+")
LONGEST = 1024  # characters of a path


def as_pytorch(
    arrays: Mapping[str, StoredTensor], budget: Budget
) -> tuple[dict[str, StoredTensor], tuple[float, float] | None]:
    """Return Keras' arrays by the authors' names, as PyTorch has them, and the epsilons of LayerNorm and BatchNorm.

    An array without such a name keeps its own. Raises CheckpointError where two have the same, or none is a VAN's.
    """
    found: dict[str, StoredTensor] = {}
    is_tfvan = False
    for path, array in arrays.items():
        budget.step(8)
        budget.hold(1000)
        name, leaf = _names(path)
        if name in found:
            raise CheckpointError(f"two arrays stand for {name}", f"{quote(path)} is the second")
        is_tfvan |= leaf == DEPTHWISE
        found[name] = _tensor(array, leaf)
    if not any(_STAGED.match(name) for name in found):
        first = f", {quote(next(iter(arrays)))} first" if arrays else ""
        numbered = any("/vars/" in path for path in arrays)
        why = "Keras 3 numbers its weights, which says of none what it is" if numbered else "none has a name known to tfvan"
        raise CheckpointError(f"an HDF5 file with {len(arrays)} arrays of numbers{first}", why)
    return found, (TFVAN_EPS, TFVAN_EPS) if is_tfvan else None


def _names(path: str) -> tuple[str, str]:
    """Return 'block1.0.attn.proj_1.weight' and 'kernel' for '.../block1.0/attn/proj_1/conv2d_3/kernel:0'; else the path."""
    dotted = path[:LONGEST].removesuffix(":0").replace("/", ".")
    starts = [match.start() for match in _STAGED.finditer(dotted)] or [match.start() for match in _SINGLE.finditer(dotted)]
    if not starts:
        return path, ""
    *modules, leaf = dotted[starts[-1] :].split(".")
    kept = [_NUMBERED.sub(r"\1", module) for module in modules if not _AUTOMATIC.fullmatch(module)]
    return ".".join([*kept, LEAVES.get(leaf, leaf)]), leaf


def _tensor(array: StoredTensor, leaf: str) -> StoredTensor:
    """Return an array with PyTorch's axes: of a convolution (out, in, H, W), of a Dense (out, in), of a scale (C,)."""
    shape = array.shape
    if leaf == "kernel" and len(shape) == 2:
        return transposed(array)
    if len(shape) != 4:
        return array
    height, width, inner, outer = shape
    if leaf == DEPTHWISE:
        strides = (outer, 1, width * inner * outer, inner * outer)
        return replace(array, shape=(inner, outer, height, width), strides=strides)
    if leaf == "kernel":
        strides = (1, outer, width * inner * outer, inner * outer)
        return replace(array, shape=(outer, inner, height, width), strides=strides)
    return replace(array, shape=shape[3:]) if shape[:3] == (1, 1, 1) else array
