"""What one attention value is made of, and what the average one is: its bias, its own place, and the places around it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import lka
from ..checks import Float64, Numeric
from ..geometry import CONV_SPATIAL
from .numbers import Numbers

Parameters = Mapping[str, Mapping[str, Numeric]]  # of one attention: conv0, conv_spatial, conv1


def one(u: Float64, parameters: Parameters, channel: int, place: tuple[int, int]) -> Numbers:
    """Split one attention value of u, (C, H, W); under 'places' stands what each place adds to it, (H, W)."""
    bias, places = lka.attention_sources(u, **_double(parameters), dilation=CONV_SPATIAL.dilation, channel=channel, place=place)
    rows, columns = (abs(np.arange(side) - at) for side, at in zip(places.shape, place, strict=True))
    distance = np.maximum.outer(rows, columns)
    own = float(places[place])
    around = float(places.sum()) - own
    furthest = int(distance[places != 0].max(initial=0))
    return {
        "bias": bias,
        "own": own,
        "around": around,
        "by_distance": [float(places[distance == k].sum()) for k in range(furthest + 1)],
        "places": places,
    }


def average(maps: Numeric, parameters: Parameters) -> Numbers:
    """Split every attention value of several images' u, (N, C, H, W), and average over all of them.

    'overruled' is the share of values where the own place adds a number of one sign, and the place and its surroundings
    together make one of the other; 'by_distance' the mean magnitude of what the places at each distance add together, 0 being
    the own place; 'bias' that of the bias.
    """
    total: list[Any] = []
    for u in maps.astype(np.float64):
        bias, parts = lka.attention_by_distance(u, **_double(parameters), dilation=CONV_SPATIAL.dilation)
        overruled = (parts[0] * parts.sum(axis=0) < 0).mean()
        total.append([overruled, abs(bias).mean(), *abs(parts).mean(axis=(1, 2, 3))])
    overruled, mean_bias, *by_distance = np.mean(total, axis=0).tolist()
    return {"images": len(maps), "overruled": overruled, "bias": mean_bias, "by_distance": by_distance}


def _double(parameters: Parameters) -> dict[str, Any]:
    return {step: {name: array.astype(np.float64) for name, array in p.items()} for step, p in parameters.items()}
