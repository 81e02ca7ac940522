"""The lesson's pictures on one sheet, drawn with Matplotlib for `--plot`."""

from __future__ import annotations

from collections.abc import Sequence
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


def draw(n: Numbers, walked: Numbers) -> Figure:
    """Return a Matplotlib figure of what `minivan.lesson.numbers.numbers` and `photo.walk` found; ValueError without it."""
    figure: Figure = matplotlib_figure()(figsize=(12.6, 12.2), dpi=100, layout="constrained")
    rows = figure.add_gridspec(3, 1, height_ratios=(1, 1.25, 1.25))
    top, middle, bottom = (figure.add_subfigure(rows[i]) for i in range(3))
    steps(top.subplots(1, 4), n)
    for panel, ax in zip((paths, dilations, growth), middle.subplots(1, 3), strict=True):
        panel(ax, n)
    for piece, ax in zip((seen, sources, distances), bottom.subplots(1, 3), strict=True):
        piece(ax, walked)
    return figure


def steps(axes: Sequence[Axes], n: Numbers) -> None:
    """What each step reads, on the map that it reads: each one on what the step before has made; and the gate."""
    from matplotlib.colors import to_rgb

    k, s, masks = n["local_side"], n["dilated_side"], lka.read_by(n["K"], n["d"])
    panels = (
        ("u", masks["local"], ORANGE, f"step 1, near, reads {k} x {k}"),
        ("what step 1 made", masks["dilated"], BLUE, f"step 2, far, reads {s} x {s}, {n['d']} apart"),
        ("what step 2 made", masks["pointwise"], GREEN, "step 3, mix, reads all channels"),
        ("u, and the attention from step 3", masks["pointwise"], "black", "the gate: u x attention"),
    )
    for ax, (title, mask, colour, label) in zip(axes, panels, strict=True):
        cells = np.full((*mask.shape, 3), 0.95)
        cells[mask] = to_rgb(colour)
        ax.imshow(cells)
        lines(ax, n["support"])
        ax.set_title(title, fontsize=12)
        ax.set_xlabel(label, fontsize=11)


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
        edges = np.arange(side + 1) - 0.5  # drawn as lines: ticks would be laid out one by one
        ax.hlines(edges, -0.5, side - 0.5, color="white", linewidth=0.8)
        ax.vlines(edges, -0.5, side - 0.5, color="white", linewidth=0.8)
    ax.spines[:].set_visible(False)


def dilations(ax: Axes, n: Numbers) -> None:
    """The cost of every d, and the smooth curve whose slope is zero at the best."""
    tried, smooth = n["optimum"]["tried"], n["optimum"]["smooth_d"]
    whole = [row["d"] for row in tried]
    curve = np.linspace(max(0.9, whole[0] - 0.4), whole[-1] + 0.2, 200)
    ax.plot(curve, [lka.smooth_spatial_weights(n["K"], d) for d in curve], color=GREY, label="without rounding")
    ax.plot(whole, [row["weights"] for row in tried], "o", color=BLUE, markersize=8, label="whole d, rounded up")
    lowest = n["optimum"]["smooth_weights"]
    ax.plot(whole, [row["tiling_weights"] for row in tried], "s:", color=GREEN, label="were the near kernel d wide")
    ax.plot([smooth], [lowest], "D", color=ORANGE, markersize=8, label=f"slope zero: d = {smooth:.2f}")
    ax.set(ylim=(0, 1.05 * max(row["weights"] for row in tried)))
    ax.set_xlabel("dilation d", fontsize=11)
    ax.set_ylabel("depthwise weights per channel", fontsize=11)
    ax.legend(frameon=False, fontsize=11)
    ax.set_title(f"Which d is cheapest for K = {n['K']}", fontsize=13)


def growth(ax: Axes, n: Numbers) -> None:
    """Multiply-adds of one layer against the side of the map."""
    sides = [row["side"] for row in n["growth"]]
    marks = {
        "self_attention": ("o", ORANGE, "self-attention"),
        "van_attention": ("D", GREEN, "VAN's attention"),
        "dense": ("s", GREY, f"dense {n['K']} x {n['K']}"),
        "lka": ("D", BLUE, "LKA alone"),
    }
    for form, (mark, colour, label) in marks.items():
        ax.loglog(sides, [row["multiply_adds"][form] for row in n["growth"]], mark + "-", color=colour, label=label)
    ax.set_xticks(sides, [str(side) for side in sides])
    ax.minorticks_off()
    ax.set_xlabel("side of the map", fontsize=11)
    ax.set_ylabel(f"multiply-adds, C = {n['C']}", fontsize=11)
    ax.legend(frameon=False, fontsize=11)
    ax.set_title("One layer, growing map", fontsize=13)


def seen(ax: Axes, w: Numbers) -> None:
    """The photo as the network sees it, the followed position marked."""
    from matplotlib.patches import Rectangle

    (H, W), (height, width) = w["map"], w["input"]
    ax.imshow(np.asarray(w["maps"]["seen"]))
    corner = w["column"] * width / W - 0.5, w["row"] * height / H - 0.5
    ax.add_patch(Rectangle(corner, width / W, height / H, fill=False, edgecolor="cyan", linewidth=2))
    lines(ax, width)
    ax.set_title(f"{w['image']}: what decides at the square?", fontsize=12)


def sources(ax: Axes, w: Numbers) -> None:
    """What each position adds to the followed attention value."""
    from matplotlib.patches import Rectangle

    places, split = w["maps"]["sources"], w["surroundings"]
    scale = abs(places).max()
    picture = ax.imshow(places, cmap="RdBu_r", vmin=-scale, vmax=scale)
    ax.add_patch(Rectangle((w["column"] - 0.5, w["row"] - 0.5), 1, 1, fill=False, edgecolor="black"))
    ax.figure.colorbar(picture, ax=ax, shrink=0.8)
    ax.set(xticks=[], yticks=[])
    ax.set_xlabel(f"biases {split['bias']:+.2f}, itself {split['own']:+.2f}, the others {split['around']:+.2f}", fontsize=11)
    ax.set_title(f"what each adds to its attention, channel {w['channel']},\nwhich lifts much and turns much over", fontsize=12)


def distances(ax: Axes, w: Numbers) -> None:
    """How much the positions at each distance add on average over the photo."""
    values = w["average"]["by_distance"]
    ax.bar(range(len(values)), values, color=[GREEN, *[BLUE] * (len(values) - 1)])
    ax.set_xlabel("distance from the position", fontsize=11)
    ax.set_ylabel("mean magnitude of what they add", fontsize=11)
    ax.set_title(f"its own position is overruled in {100 * w['average']['overruled']:.0f} %", fontsize=12)
