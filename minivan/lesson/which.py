"""Whether attention says where or which channel: how it varies in each block, and what is left of an answer without either."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .. import reference
from ..checks import Float32, Numeric
from ..explain import attention_variance, averaged
from ..explain.attention import WHERE, WHICH
from ..input import read_text
from ..van import VAN
from .numbers import Numbers

MEASURED = Path(__file__).parent / "where_or_which.json"  # which examples/ablations/where_or_which.py wrote
MOST_BYTES = 1 << 16


def varied(factors: Mapping[str, Numeric]) -> list[Numbers]:
    """Return, for each block's attention (1, C, H, W), its shape and how its variance splits."""
    found = []
    for block, factor in factors.items():
        split = attention_variance(factor)
        share = split.between_channels
        found.append({"block": block, "shape": list(factor.shape[1:]), "total": split.total, "between_channels": share})
    return found


def by_stage(blocks: list[Numbers]) -> list[float]:
    """Return each stage's share between channels, of the variance of all its blocks together."""
    sums: dict[str, npt.NDArray[np.float64]] = {}
    for each in blocks:
        stage, total = each["block"].partition(".")[0], each["total"]
        sums[stage] = sums.get(stage, np.zeros(2)) + np.array([each["between_channels"] * total, total])
    return [float(between / total) if total else 0.0 for between, total in sums.values()]


def without(model: VAN, x: Float32) -> dict[str, npt.NDArray[np.float64]]:
    """Return the probabilities for one image where every map of attention is its mean over places, and over channels."""
    return {
        left: reference.softmax(model(x, hook=averaged(axes)).astype(np.float64))[0]
        for left, axes in {"which": WHICH, "where": WHERE}.items()
    }


def measured(model: VAN) -> Numbers | None:
    """Return what was measured of these weights on many labelled images, as where_or_which.json has it; None of any others."""
    found: Numbers = json.loads(read_text(MEASURED, MOST_BYTES))
    return found if found["weights_sha256"] == model.card.sha256 != "" else None
