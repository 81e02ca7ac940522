"""Every number of the lesson, computed from K, d, C and the map's size, in the shape that `--json` prints."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from .. import lka
from ..geometry import CONV_SPATIAL, LARGE_KERNEL

Numbers: TypeAlias = dict[str, Any]  # plain values by name, dictionaries and lists of them included, as JSON has them

PAPER_CHANNELS = (32, 64, 128, 256, 512)  # the columns of the paper's table of parameters
EXPERIMENT_SIDE = 64  # the border experiment runs on a map of at most this side: larger ones show nothing new


def numbers(K: int = LARGE_KERNEL, d: int = CONV_SPATIAL.dilation, C: int = 64, size: int = 56) -> Numbers:
    """Return the lesson's numbers as plain Python values, ready for JSON. Raises ValueError as minivan.lka does."""
    positions = size * size
    return {
        "K": K,
        "d": d,
        "C": C,
        "size": size,
        "positions": positions,
        "local_side": lka.local_side(d),
        "dilated_side": lka.dilated_side(K, d),
        "support": lka.support(K, d),
        "reach": reach(K, d, size),
        "forms": forms(C, K, d, positions),
        "growth": [growth(C, K, d, side) for side in (max(1, size // 2), size, 2 * size, 4 * size)],
        "paper_table": [forms(channels, K, d, positions) | {"C": channels} for channels in PAPER_CHANNELS],
        "optimum": optimum(K),
        "footprint": footprint(K, d),
        "border": border(K, d, min(size, EXPERIMENT_SIDE)),
        "gate": gate(),
    }


def reach(K: int, d: int, size: int) -> Numbers:
    """How many layers it takes until the middle of a map can see its whole width."""
    return {
        "layers_of_3x3": math.ceil((size - 1) / 2),  # each adds one pixel on either side
        "layers_of_K": math.ceil((size - 1) / max(K - 1, 1)),
        "layers_of_lka": math.ceil((size - 1) / max(lka.support(K, d) - 1, 1)),
        "seen_by_3x3": 3 * 3,
        "seen_by_K": K * K,
        "seen_by_lka": lka.support(K, d) ** 2,
    }


def forms(C: int, K: int, d: int, positions: int) -> Numbers:
    """Parameters and multiply-adds of the three forms of one K x K kernel on C channels."""
    parameters = {
        "dense": lka.dense_parameters(C, K),
        "mobilenet": lka.mobilenet_parameters(C, K),
        "lka": lka.lka_parameters(C, K, d),
    }
    return {
        "parameters": parameters,
        "multiply_adds": {form: lka.multiply_adds(count, positions, 1) for form, count in parameters.items()},
        "depthwise_parameters": C * K * K,
        "pointwise_parameters": C * C,
        "local_parameters": C * lka.local_side(d) ** 2,
        "dilated_parameters": C * lka.dilated_side(K, d) ** 2,
    }


def growth(C: int, K: int, d: int, side: int) -> Numbers:
    """Multiply-adds on a side x side map of self-attention, VAN's attention, the dense kernel, and LKA by itself."""
    positions = side * side
    costs = {
        "self_attention": lka.self_attention_multiply_adds(C, positions),
        "van_attention": lka.lka_attention_multiply_adds(C, K, d, positions),
        "dense": lka.multiply_adds(lka.dense_parameters(C, K), side, side),
        "lka": lka.multiply_adds(lka.lka_parameters(C, K, d), side, side),
    }
    return {"side": side, "positions": positions, "scores": positions**2, "multiply_adds": costs}


def optimum(K: int) -> Numbers:
    """The staircase of whole dilations around the best one, and the smooth curve's lowest point."""
    best, smooth = lka.best_dilation(K), lka.continuous_best_dilation(K)
    tiling = lka.best_dilation(K, lka.tiling_weights)
    first = max(1, best - 3)
    tried = [
        {
            "d": d,
            "local_side": lka.local_side(d),
            "dilated_side": lka.dilated_side(K, d),
            "weights": lka.spatial_weights(K, d),
            "smooth_weights": lka.smooth_spatial_weights(K, d),
            "support": lka.support(K, d),
            "tiling_weights": lka.tiling_weights(K, d),
            "tiling_support": d * lka.dilated_side(K, d),
        }
        for d in range(first, min(K, max(first + 7, tiling + 1)) + 1)
    ]
    return {
        "best_d": best,
        "best_tiling_d": tiling,
        "smooth_d": smooth,
        "smooth_weights": lka.smooth_spatial_weights(K, smooth),
        "slope_below": lka.slope(K, smooth - 0.25),
        "slope_above": lka.slope(K, smooth + 0.25),
        "tried": tried,
    }


def footprint(K: int, d: int) -> Numbers:
    """Which pixels an output reads through both steps, and by how many paths."""
    paths = lka.footprint(K, d)
    counts = np.bincount(paths.ravel())
    return {
        "side": paths.shape[0],
        "pixels": paths.size,
        "paths": int(paths.sum()),
        "pixels_by_paths": {int(n): int(counts[n]) for n in np.flatnonzero(counts)},
        "along_one_axis": np.sqrt(np.diagonal(paths)).astype(int).tolist(),
    }


def border(K: int, d: int, side: int) -> Numbers:
    """Run both forms on random whole numbers, where no rounding can hide or feign a difference."""
    rng = np.random.default_rng(21)
    u = rng.integers(1, 10, (1, side, side))
    conv0 = rng.integers(1, 10, (1, 1, lka.local_side(d), lka.local_side(d)))
    conv_spatial = rng.integers(1, 10, (1, 1, lka.dilated_side(K, d), lka.dilated_side(K, d)))
    differs = (lka.one_step(u, conv0, conv_spatial, d) != lka.two_steps(u, conv0, conv_spatial, d))[0]
    affected = lka.border_affected(side, side, K, d)
    middle = side // 2
    return {
        "side": side,
        "positions": side * side,
        "differ": int(differs.sum()),
        "equal": int((~differs).sum()),
        "foreseen": int(affected.sum()),
        "differ_unforeseen": int((differs & ~affected).sum()),
        "rows_from_top": np.flatnonzero(differs[: middle + 1, middle]).tolist(),
    }


def gate() -> Numbers:
    """A row of six values, an attention small enough to check by hand, and what each kind of gate makes of them."""
    u = np.array([0.0, 1.0, 3.0, 1.0, 0.0, 2.0])
    kernel = np.array([-1.0, 2.0, -1.0])
    around = np.pad(u, 1)

    def attention(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.array([kernel @ values[i : i + 3] for i in range(len(values) - 2)])

    a = attention(around)
    doubled = 2 * u * attention(2 * around)
    softmax = np.exp(a) / np.exp(a).sum()
    sigmoid = 1 / (1 + np.exp(-a))
    rows = {
        "u": u,
        "a": a,
        "gated": u * a,
        "doubled": doubled,
        "sigmoid": sigmoid,
        "sigmoid_gated": u * sigmoid,
        "softmax": softmax,
        "softmax_gated": u * softmax,
    }
    third = (around[2:5], float(kernel @ around[2:5]))
    return {"kernel": kernel.tolist(), "third_reads": third[0].tolist(), "third_attention": third[1]} | {
        name: (row + 0.0).tolist()  # + 0.0 turns -0.0 into 0.0
        for name, row in rows.items()
    }
