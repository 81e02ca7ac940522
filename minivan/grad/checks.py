"""What derivatives demand of their arguments, checked once for the loops and for the NumPy definitions."""

from __future__ import annotations

import numpy as np

from .. import shapes


def check_same_shape(dy, of, name: str) -> None:
    """Raise ValueError unless dy is floating and has the shape of the operator's output."""
    shapes.check_floating(dy=dy)
    if dy.shape != tuple(of):
        raise ValueError(f"dy must have the shape of {name}, {tuple(of)}, got {dy.shape}")


def check_conv2d(dy, x_shape, weight, stride, padding, dilation, groups):
    """Check dy against the convolution it comes from; return stride, padding and dilation as pairs.

    One of x and weight is known by its shape alone: a stand-in without memory of its own takes its place.
    """
    if len(x_shape) != 4 or min(x_shape) < 0:
        raise ValueError(f"x must have the shape (N, C, H, W), got {tuple(x_shape)}")
    x = stand_in(x_shape)
    stride, padding, dilation, size = shapes.check_conv2d(x, weight, None, stride, padding, dilation, groups)
    check_same_shape(dy, (x.shape[0], weight.shape[0], *size), "the convolution's output")
    return stride, padding, dilation


def stand_in(shape) -> np.ndarray:
    """Return zeros of any shape in four bytes."""
    return np.broadcast_to(np.float32(0), tuple(int(side) for side in shape))
