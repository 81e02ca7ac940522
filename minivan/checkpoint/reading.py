"""The numbers of a network's tensors, as float32: how many lost digits on the way, and what is odd about any."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from ..variants import listed
from . import safetensors_file
from .error import CheckpointError
from .tensor import StoredTensor

LARGEST_READING = 8  # a file's tensors may span this many times its size: some share bytes, none needs more
VARIANCES = "running_var"
Tensors = dict[str, npt.NDArray[np.float32]]


def oddity(name: str, tensor: npt.NDArray[np.float32]) -> str:
    """Say what is odd about a tensor's numbers: NaN, infinities, variances below 0; '' for nothing."""
    if not np.isfinite(tensor).all():
        return f"{name} has {np.count_nonzero(~np.isfinite(tensor)):,} numbers that are NaN or infinite"
    if name.endswith(VARIANCES) and (tensor < 0).any():
        return f"{name} has {np.count_nonzero(tensor < 0):,} negative variances"
    return ""


def numbers(stored: Mapping[str, StoredTensor], shapes: Mapping[str, tuple[int, ...]], size: int) -> tuple[Tensors, int, str]:
    """Read the tensors of a file of `size` bytes as float32, count those that lost digits on the way, and say what is odd.

    `shapes` are those that they get. Raises CheckpointError for tensors that cannot be read.
    """
    wanted = sum(tensor.extent_bytes for tensor in stored.values())
    if wanted > LARGEST_READING * size:
        limit = f"at most {LARGEST_READING} times its size is read"
        raise CheckpointError(f"tensors that span {wanted} bytes in a file of {size}", limit)
    tensors: Tensors = {}
    rounded = 0
    squares: list[float] = []
    with np.errstate(all="ignore"):
        for name, tensor in stored.items():
            try:
                exact = tensor.read()
            except CheckpointError as error:
                raise error.within(name) from None
            flat = safetensors_file.narrow(name, exact, "float32").ravel()
            rounded += exact.dtype == np.float64 and not np.array_equal(flat, exact.ravel(), equal_nan=True)
            squares.append(np.dot(flat, flat))  # finite only where all are; cheap while they are in the processor's cache
            tensors[name] = flat.reshape(shapes[name])  # layer scales are (C, 1, 1) in some files, heads (C, D, 1, 1)
        suspects = zip(tensors.items(), np.isfinite(squares), strict=True)
        odd = [oddity(*item) for item, is_finite in suspects if not is_finite or item[0].endswith(VARIANCES)]
    return tensors, rounded, listed(filter(None, odd))


def sound(
    stored: Mapping[str, StoredTensor], shapes: Mapping[str, tuple[int, ...]], size: int, allow_nonfinite: bool
) -> tuple[Tensors, tuple[str, ...]]:
    """Return what `numbers` does, and sentences on it; CheckpointError where something is odd, unless `allow_nonfinite`."""
    tensors, rounded, odd = numbers(stored, shapes, size)
    notes = (f"{rounded} float64 tensors were rounded to float32, the engines' type",) if rounded else ()
    if odd and not allow_nonfinite:
        raise CheckpointError(odd, "a training that diverged, or damage; --allow-nonfinite reads them all the same")
    return tensors, (*notes, *((odd,) if odd else ()))
