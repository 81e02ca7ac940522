"""The sizes of VAN's kernels, each written once; whatever follows from them is computed from here.

Source: Guo et al. 2022, section 3.2 and table 3, and the authors' classification/models/van.py.
"""

from __future__ import annotations

import math
from typing import NamedTuple


class Kernel(NamedTuple):
    """A square kernel and how it is laid over a map, in positions; padding is the same on all four sides."""

    side: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1

    @property
    def reach(self) -> int:
        """How far the outermost tap lies from the middle one."""
        return self.side // 2 * self.dilation

    @property
    def taps(self) -> int:
        """How many weights it has per pair of channels that it joins."""
        return self.side * self.side


PATCH_KERNELS = (7, 3, 3, 3)  #: overlapping patch embedding: kernel of each stage's strided convolution
PATCH_STRIDES = (4, 2, 2, 2)  #: so a stage works at 1/4, 1/8, 1/16 and 1/32 of the input
#: the same with their padding, half a kernel: stage i's is PATCH_EMBEDS[i - 1]
PATCH_EMBEDS = tuple(Kernel(side, stride, side // 2) for side, stride in zip(PATCH_KERNELS, PATCH_STRIDES, strict=True))

CONV0 = Kernel(5, padding=2)  #: LKA's near step, depthwise
CONV_SPATIAL = Kernel(7, padding=9, dilation=3)  #: LKA's far step, depthwise
DWCONV = Kernel(3, padding=1)  #: the MLP's look at its neighbours, depthwise
POINTWISE = Kernel(1)  #: proj_1, conv1, proj_2, fc1, fc2

LARGE_KERNEL = CONV_SPATIAL.side * CONV_SPATIAL.dilation  #: 21, the K of the paper
SMALLEST_SIDE = math.prod(PATCH_STRIDES)  #: 32 pixels: the last stage works at 1/32 of the input


def output_side(side: int, kernel: Kernel) -> int:
    """Return how many positions a kernel gives on one axis of `side` positions."""
    return (side + 2 * kernel.padding - kernel.dilation * (kernel.side - 1) - 1) // kernel.stride + 1


def stage_sizes(stages: int, height: int, width: int) -> list[tuple[int, int]]:
    """Return the (H, W) of each stage's maps for an input of this many pixels."""
    sizes = []
    for kernel in PATCH_EMBEDS[:stages]:
        height, width = output_side(height, kernel), output_side(width, kernel)
        sizes.append((height, width))
    return sizes


def stage_stride(stage: int) -> int:
    """Return how many input pixels lie between neighbouring positions of stage 1..4: 4, 8, 16, 32."""
    return math.prod(PATCH_STRIDES[:stage])
