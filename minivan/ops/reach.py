"""Which outputs a tap of a kernel reaches: the arithmetic of stride, padding and dilation."""

from ..jit import inline


@inline
def reach(offset: int, stride: int, size_in: int, size_out: int) -> tuple[int, int]:
    """Return (first, end): for these outputs i, the input index i * stride + offset lies inside the map.

    `offset` is tap * dilation - padding. Taps that fall on the zero padding are thereby never visited.
    """
    first = 0 if offset >= 0 else (-offset + stride - 1) // stride  # smallest i with i * stride + offset >= 0
    end = 0 if offset >= size_in else (size_in - 1 - offset) // stride + 1  # one past the largest i that stays inside
    return first, min(end, size_out)
