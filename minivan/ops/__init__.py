"""The operators in Numba, with the same bits on every machine: the engine called 'exact'.

Tensors are float32 and contiguous between operators; inside one, every sum is kept in float64, added up by one thread in
one written order (bias, input channel, kernel row, kernel column), and rounded to float32 once. The product of two
float32 numbers is exact in float64, so a machine with fused multiply-add gets the same sum as one without. The products in
exp, erf and upsample_bilinear are rounded: there nothing may be fused, nor is it (see minivan.jit). Nothing here depends on
the number of threads, the batch or the instruction set.

Special values follow IEEE 754 through that order, and so PyTorch where it computes in the same one:

- NaN and infinities propagate. softmax of a row with NaN or +infinity is NaN throughout; layer_norm likewise, per position.
- gelu(-infinity) is NaN, gelu(infinity) infinity. An infinite BatchNorm weight gives infinity, where PyTorch's folded form
  gives NaN.
- Padding is never multiplied: an infinite weight over the border gives no NaN there. Nor is a value whose share in
  upsample_bilinear is 0, where PyTorch has infinity * 0.
- Zeros keep their sign as IEEE adds them: a sum starts at its bias, or at +0 without one.
- Denormals are kept. A sum overflows only if its float32 result does. Which NaN, of the many, is the processor's choice.
"""

from .activation import erf, erfc, exp, gelu, relu, softmax
from .conv import conv2d, dense_conv2d
from .depthwise import depthwise_conv2d, dilated_depthwise_conv2d
from .norm import batch_norm, batch_norm_training, batch_norm_update, layer_norm
from .pointwise import linear, pointwise_conv2d
from .pool import global_average_pool
from .upsample import upsample_bilinear, upsample_nearest

__all__ = [
    "batch_norm",
    "batch_norm_training",
    "batch_norm_update",
    "conv2d",
    "dense_conv2d",
    "depthwise_conv2d",
    "dilated_depthwise_conv2d",
    "erf",
    "erfc",
    "exp",
    "gelu",
    "global_average_pool",
    "layer_norm",
    "linear",
    "pointwise_conv2d",
    "relu",
    "softmax",
    "upsample_bilinear",
    "upsample_nearest",
]
