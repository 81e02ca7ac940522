"""Two pictures of an evaluation: what was taken for what, and whether probabilities are to be taken at their word."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import shortened, shown
from ..explain.figure import DOTS, MAGNITUDE, matplotlib_figure, title
from .result import Evaluation
from .statistics import confusion

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMED = 40  # classes that have room for their names
LETTERS = 24  # of a name
RIGHT, SHORT = "#2C5F8A", "#D98C3F"  # blue and orange, which everybody tells apart


def draw_confusion(found: Evaluation) -> Figure:
    """Draw the confusion matrix: each row is a class's images, coloured by the share that was taken for each class.

    MissingPlots without Matplotlib.
    """
    classes, matrix = confusion(found.targets[found.judged], found.answers.top[found.judged])
    of = matrix.sum(axis=1, keepdims=True)
    shares = np.divide(matrix, of, out=np.zeros(matrix.shape), where=of > 0)
    side = min(11.0, max(5.0, 2.4 + 0.22 * len(classes)))
    figure = matplotlib_figure()(figsize=(side + 0.6, side), dpi=DOTS, layout="constrained")
    axes = figure.subplots()
    drawn = axes.imshow(shares, cmap=MAGNITUDE, vmin=0, vmax=1, interpolation="nearest")
    figure.colorbar(drawn, ax=axes, label="share of the class's images", fraction=0.04, pad=0.02)
    axes.set(xlabel="taken for", ylabel="right class")
    title(axes, shown(found.card.name), f"{found.top1.rate:.1%} of {found.top1.of:,} images right")
    if len(classes) <= NAMED:
        names = [shown(shortened(found.label(index), LETTERS)) for index in classes]
        axes.set_xticks(range(len(classes)), names, rotation=90, fontsize=7, parse_math=False)
        axes.set_yticks(range(len(classes)), names, fontsize=7, parse_math=False)
    else:
        across, down = f"taken for: {len(classes)} classes in the order of their indices", "right class, in the same order"
        axes.set(xticks=[], yticks=[], xlabel=across, ylabel=down)
    return figure


def draw_reliability(found: Evaluation) -> Figure:
    """Draw the reliability diagram (Guo et al. 2017, figure 1): how many are right of those answered with such a probability.

    Below it stands how many images each bin has. MissingPlots without Matplotlib.
    """
    calibration = found.calibration
    low = np.array([each.low for each in calibration.bins])
    width = 1 / len(calibration.bins)
    images = np.array([each.right.of for each in calibration.bins])
    right = np.array([each.right.rate if each.right.of else 0.0 for each in calibration.bins])
    said = np.array([each.probability for each in calibration.bins])
    figure = matplotlib_figure()(figsize=(5.4, 6.4), dpi=DOTS, layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.bar(low, right, width, align="edge", color=RIGHT, edgecolor="white", label="right")
    intervals = [each.right.interval for each in calibration.bins]
    for place, share, (least, most), count in zip(low + width / 2, right, intervals, images, strict=True):
        if count:
            upper.plot([place, place], [least, most], color="black", linewidth=1)
            upper.plot(place, share, ".", color="black", markersize=3)
    upper.plot(said[images > 0], said[images > 0], "D", color=SHORT, markersize=4, label="mean probability said")
    upper.plot([0, 1], [0, 1], "--", color="grey", linewidth=1, label="perfectly calibrated")
    upper.set(ylabel="share right", xlim=(0, 1), ylim=(0, 1))
    upper.legend(loc="upper left", fontsize=8, frameon=False)
    error = f"expected calibration error {calibration.error:.1%}"
    title(upper, shown(found.card.name), error, f"{images.sum():,} images, with 95 % intervals")
    lower.bar(low, images, width, align="edge", color="grey", edgecolor="white")
    lower.set(xlabel=f"probability of the first class ({found.card.activation})", ylabel="images")
    return figure
