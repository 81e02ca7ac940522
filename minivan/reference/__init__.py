"""What every operator means, in plain NumPy and float64: the engine called 'numpy'.

`operators` has the forward pass, `derivatives` the backward pass; the operators are here by name.
"""

from .operators import (
    batch_norm,
    batch_norm_training,
    batch_norm_update,
    conv2d,
    gelu,
    global_average_pool,
    layer_norm,
    linear,
    relu,
    sigmoid,
    softmax,
    upsample_bilinear,
    upsample_nearest,
)

__all__ = [
    "batch_norm",
    "batch_norm_training",
    "batch_norm_update",
    "conv2d",
    "gelu",
    "global_average_pool",
    "layer_norm",
    "linear",
    "relu",
    "sigmoid",
    "softmax",
    "upsample_bilinear",
    "upsample_nearest",
]
