"""The operators' derivatives in Numba: what a change of an operator's output asks of its input, weight and bias.

Each function is a vector-Jacobian product: `dy` is the derivative of some number by the operator's output, the result that
number's derivative by the argument in the function's name, with that argument's shape. The numbers are those of
minivan.ops: float32 tensors, every sum in float64 by one thread in one written order, rounded once.
minivan.reference.derivatives has the same functions in NumPy, minivan.backward the whole network's backward pass.
"""

from .activation import cross_entropy_input, gelu_input, relu_input, softmax_input
from .conv import conv2d_bias, conv2d_input, conv2d_weight
from .norm import (
    batch_norm_input,
    batch_norm_parameters,
    batch_norm_training_input,
    batch_norm_training_parameters,
    layer_norm_input,
    layer_norm_parameters,
    layer_scale_weight,
)
from .pointwise import linear_bias, linear_input, linear_weight
from .pool import global_average_pool_input
from .upsample import upsample_bilinear_input, upsample_nearest_input

__all__ = [
    "batch_norm_input",
    "batch_norm_parameters",
    "batch_norm_training_input",
    "batch_norm_training_parameters",
    "conv2d_bias",
    "conv2d_input",
    "conv2d_weight",
    "cross_entropy_input",
    "gelu_input",
    "global_average_pool_input",
    "layer_norm_input",
    "layer_norm_parameters",
    "layer_scale_weight",
    "linear_bias",
    "linear_input",
    "linear_weight",
    "relu_input",
    "softmax_input",
    "upsample_bilinear_input",
    "upsample_nearest_input",
]
