"""3x3 convolutions of stride 1 that keep a map's size, by Winograd's minimal filtering F(2x2, 3x3).

A tile is 2x2 outputs, and they see 4x4 inputs. With d those inputs of one channel and g the kernel from it to one output:

    outputs = A^T ((G g G^T) * (B^T d B)) A          * element by element: 16 products, where the definition has 36

Summed over the input channels, each of the 16 is a matrix product of its own, positions being tiles: matmul.py does them, and
they are all but a few percent of the work; the rest is in smoothing.py. G g G^T is in the weights (fpn_pack.py). B has 0, 1 and
-1 alone, A too, and G halves besides: sums of whole numbers stay exact, and rounding errors grow by a small factor.

Source: Lavin and Gray 2016, "Fast algorithms for convolutional neural networks", section 4.1; Winograd 1980. F(4x4, 3x3) needs
36 products for 16 outputs, a quarter of the definition's, and its errors are ten times these.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .addresses import FLOAT_BYTES
from .lanes import Shape

SIDE, SEEN = 2, 4  # rows and columns of a tile's outputs, and of the inputs they see
PRODUCTS = SEEN * SEEN
MIDDLE = SEEN + 1  # the product that each of the four outputs gets once: where the bias is added

# Bytes of transformed inputs that are multiplied at once: they stay in the second-level cache, and the more there are, the
# rarer are the weights read. 256 KiB, 512, 1 MiB and 2 MiB: 169, 160, 161 and 167 ms for b0 with the authors' channels.
CACHE = 512 << 10

G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])


def transform_kernel(weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """G g G^T: (N, C, 3, 3) -> (16, N, C)."""
    n, c = weight.shape[:2]
    transformed: NDArray[np.float64] = np.einsum("ir,ncrs,js->ijnc", G, weight, G)
    return transformed.reshape(PRODUCTS, n, c)


def tiles_at_once(channels: int, shape: Shape) -> int:
    """Return how many tiles of so many input channels are transformed together: in whole matrix tiles."""
    return max(1, CACHE // (FLOAT_BYTES * PRODUCTS * channels * shape.rows)) * shape.rows
