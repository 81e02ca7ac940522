"""The lesson's four pictures on one sheet, drawn with Matplotlib for `--plot`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .. import lka
from ..explain.figure import matplotlib_figure
from .numbers import Numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by colour-blind readers too.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#8A8A8A"


def draw(n: Numbers) -> Figure:
    """Return a Matplotlib figure of the numbers of `minivan.lesson.numbers.numbers`; ValueError without Matplotlib."""
    figure: Figure = matplotlib_figure()(figsize=(9.6, 9.2), dpi=120, layout="constrained")
    axes = figure.subplots(2, 2)
    for panel, ax in zip((steps, paths, dilations, growth), axes.ravel(), strict=True):
        panel(ax, n)
    return figure


def steps(ax: Axes, n: Numbers) -> None:
    """Which positions each step reads."""
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    masks = lka.read_by(n["K"], n["d"])
    shown = np.zeros(masks["both"].shape, int)
    shown[masks["local"]] = 1
    shown[masks["dilated"]] = 2
    shown[masks["pointwise"]] = 3
    ax.imshow(shown, cmap=ListedColormap(["#F2F2F2", ORANGE, BLUE, "black"]), vmin=0, vmax=3)
    lines(ax, n["support"])
    k, s = n["local_side"], n["dilated_side"]
    names = (f"1  near: {k} x {k}", f"2  far: {s} x {s}, {n['d']} apart", "3  mix: 1 x 1, all channels")
    patches = [Patch(color=colour, label=name) for colour, name in zip((ORANGE, BLUE, "black"), names, strict=True)]
    ax.legend(handles=patches, loc="upper center", bbox_to_anchor=(0.5, -0.02), frameon=False, fontsize=11)
    ax.set_title("What each step reads for one output", fontsize=13)


def paths(ax: Axes, n: Numbers) -> None:
    """How many ways lead from each position to the output."""
    counts = lka.footprint(n["K"], n["d"])
    picture = ax.imshow(counts, cmap="viridis", vmin=0)
    lines(ax, n["support"])
    bar = ax.figure.colorbar(picture, ax=ax, ticks=np.unique(counts), shrink=0.8)
    bar.set_label("ways to the output", fontsize=11)
    side = n["support"]
    ax.set_xlabel(f"{side} x {side} positions" + (f", not {n['K']} x {n['K']}" if side != n["K"] else ""), fontsize=11)
    ax.set_title("Steps 1 and 2 together", fontsize=13)


def lines(ax: Axes, side: int) -> None:
    """Part the cells by white lines while they are large enough to see."""
    ax.set_xticks([])
    ax.set_yticks([])
    if side <= 40:
        ax.set_xticks(np.arange(side + 1) - 0.5, minor=True)
        ax.set_yticks(np.arange(side + 1) - 0.5, minor=True)
        ax.grid(which="minor", color="white", linewidth=0.8)
    ax.tick_params(which="both", length=0)
    ax.spines[:].set_visible(False)


def dilations(ax: Axes, n: Numbers) -> None:
    """The cost of every d, and the smooth curve whose slope is zero at the best."""
    tried, smooth = n["optimum"]["tried"], n["optimum"]["smooth_d"]
    whole = [row["d"] for row in tried]
    curve = np.linspace(max(0.9, whole[0] - 0.4), whole[-1] + 0.2, 200)
    ax.plot(curve, [lka.smooth_spatial_weights(n["K"], d) for d in curve], color=GREY, label="without rounding")
    ax.plot(whole, [row["weights"] for row in tried], "o", color=BLUE, markersize=8, label="whole d, rounded up")
    lowest = n["optimum"]["smooth_weights"]
    ax.plot([smooth], [lowest], "D", color=ORANGE, markersize=8, label=f"slope zero: d = {smooth:.2f}")
    ax.set(ylim=(0, 1.05 * max(row["weights"] for row in tried)))
    ax.set_xlabel("dilation d", fontsize=11)
    ax.set_ylabel("depthwise weights per channel", fontsize=11)
    ax.legend(frameon=False, fontsize=11)
    ax.set_title(f"Which d is cheapest for K = {n['K']}", fontsize=13)


def growth(ax: Axes, n: Numbers) -> None:
    """Multiply-adds of one layer against the side of the map."""
    sides = [row["side"] for row in n["growth"]]
    marks = {"self_attention": ("o", ORANGE, "self-attention"), "dense": ("s", GREY, "dense"), "lka": ("D", BLUE, "LKA")}
    for form, (mark, colour, name) in marks.items():
        label = name if form != "dense" else f"dense {n['K']} x {n['K']}"
        ax.loglog(sides, [row["multiply_adds"][form] for row in n["growth"]], mark + "-", color=colour, label=label)
    ax.set_xticks(sides, [str(side) for side in sides])
    ax.minorticks_off()
    ax.set_xlabel("side of the map", fontsize=11)
    ax.set_ylabel(f"multiply-adds, C = {n['C']}", fontsize=11)
    ax.legend(frameon=False, fontsize=11)
    ax.set_title("One layer, growing map", fontsize=13)
