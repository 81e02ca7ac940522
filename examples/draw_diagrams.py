"""Draw the network, one block and the footprint of its attention, each as SVG and PNG, from the bundled model itself.

    python examples/draw_diagrams.py [FOLDER]

Every shape comes from a hook on a forward pass, every count from the model's tensors, and the footprint from impulses
sent through the model's own attention function. FOLDER is examples/diagrams unless given.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

import minivan
from minivan import paths, reference, summary
from minivan.checkpoint.hub import bundled
from minivan.hooks import Hook
from minivan.model import lka
from minivan.operators import Array
from minivan.van import VAN

Shape: TypeAlias = tuple[int, ...]

GAP = 0.74  # inches between two maps
SIDE = 224  # pixels: the size at which networks of this kind are drawn and counted
STAGE_COLOURS = ("#D6E6F2", "#A9CCE3", "#6FA8D0", "#2E75B6")
BLUE, ORANGE, GREEN, INK, PALE = "#0072B2", "#D55E00", "#009E73", "#222222", "#F3F3F3"
STYLE = {"svg.hashsalt": "minivan", "font.family": "DejaVu Sans", "text.color": INK}


def shapes_of(model: VAN) -> dict[str, Shape]:
    """Return path -> (C, H, W) of everything that a hook sees during one forward pass of a SIDE x SIDE image."""
    shapes: dict[str, Shape] = {}
    model(np.zeros((1, 3, SIDE, SIDE), np.float32), hook=lambda path, array: shapes.update({path: array.shape[1:]}))
    return shapes


def architecture(model: VAN) -> Figure:
    """The four stages from photo to classes: shapes, blocks, parameters, multiply-adds."""
    shapes, rows = shapes_of(model), summary.summarise(model.config, SIDE, SIDE)
    figure, ax = canvas(11, 4.6)
    x, middle = 0.25, 3.05
    x = plates(ax, x, middle, (3, SIDE, SIDE), "#E8E4D8", "photo", [f"{SIDE} x {SIDE}", "3 channels"])
    for i, row in enumerate(rows[:-1], start=1):
        C, H, W = shapes[paths.norm(i)]
        arrow(ax, x, x + GAP - 0.08, middle)
        millions = f"{row.multiply_adds / 1e6:,.0f} M mult.-adds"
        lines = [f"{H} x {W}", f"{C} channels", f"{row.blocks} blocks", f"{thousands(row.parameters)} param.", millions]
        x = plates(ax, x + GAP, middle, (C, H, W), STAGE_COLOURS[i - 1], f"stage {i}", lines)
    arrow(ax, x, x + GAP - 0.08, middle)
    classes = shapes["head"][0]
    box(ax, x + GAP, middle - 0.55, 1.2, 1.1, PALE, "mean over\npositions,\nlinear", 10)
    label(ax, x + GAP + 0.6, middle - 1.2, f"{classes} classes", 11, weight="bold")
    label(ax, x + GAP + 0.6, middle - 1.45, thousands(rows[-1].parameters) + " parameters", 9.5)
    parameters, multiply_adds = summary.totals(rows)
    totals = f"{parameters:,} parameters, {multiply_adds / 1e9:.3f} G multiply-adds at {SIDE} x {SIDE}"
    label(ax, 5.5, 4.3, f"{model.card.name}: {totals}", 11, weight="bold")
    label(ax, 5.5, 0.2, "a stage:  patch embedding (strided convolution, BatchNorm)  >  its blocks  >  LayerNorm", 11)
    return figure


def thousands(number: float) -> str:
    return f"{number / 1000:,.0f} k"


def plates(ax: Axes, x: float, middle: float, shape: Shape, colour: str, name: str, lines: Sequence[str]) -> float:
    """Draw a map as plates, one for each doubling of channels, the side by the logarithm of the map's; return the right end."""
    C, H, _ = shape
    side = 0.2 * math.log2(H) - 0.2
    count = max(1, round(math.log2(C)) - 2) if C > 3 else 3
    shift = 0.07
    for k in reversed(range(count)):
        corner = (x + k * shift, middle - side / 2 + k * shift - count * shift / 2)
        ax.add_patch(Rectangle(corner, side, side, facecolor=colour, edgecolor=INK, linewidth=0.8))
    width = side + (count - 1) * shift
    centre = x + width / 2
    label(ax, centre, middle - 1.2, name, 11, weight="bold")
    for i, text in enumerate(lines):
        label(ax, centre, middle - 1.45 - 0.21 * i, text, 9.5)
    return x + width + 0.06


def block(model: VAN) -> Figure:
    """Every operator of the first block, in order, with its kernel and the shape of its output."""
    shapes, name = shapes_of(model), paths.block(1, 0)
    inside = [paths.within_block(path) for path in shapes if path != name and paths.lies_under(path, name)] + [name]
    half = inside.index("layer_scale_1") + 1
    figure, ax = canvas(10.2, 7.6)
    C, H, W = shapes["patch_embed1.norm"]
    label(ax, 5, 7.35, f"{name}: one block of stage 1, maps of {H} x {W}", 12, weight="bold")
    for column, part in enumerate((inside[:half], inside[half:])):
        left, top = 1.15 + 5.0 * column, 6.9
        heading = (f"x, {C} channels", "x after attention")[column]
        label(ax, left + 1.5, top, heading, 10)
        places = {"x": top - 0.2}
        for row, path in enumerate(part):
            y = top - 0.08 - 0.65 * (row + 1)
            places[path] = y
            inside_unit = paths.lies_under(path, paths.UNIT)
            inside_branch = paths.lies_under(path, "attn") or paths.lies_under(path, "mlp")
            colour = "#FBE3D3" if inside_unit else "#DCEAF5" if inside_branch else PALE
            box(ax, left, y - 0.21, 3.0, 0.42, colour, f"{short(path, name)}:  {operation(model, name, path)}", 10)
            full = path if path == name else f"{name}.{path}"
            label(ax, left + 3.1, y, f"{shapes[full][0]} channels", 9, align="left")
            start = places["x"] + 0.06 if row == 0 else y + 0.44
            down(ax, left + 1.5, start, y + 0.21)
        for source, target in residuals(part, name):
            bow(ax, left + (1.5 if source == "x" else 0), left, places[source], places[target])
    return figure


def residuals(part: Sequence[str], name: str) -> list[tuple[str, str]]:
    """Return which arrays are used again: (where it comes from, where it is added or multiplied)."""
    if name in part:
        return [("x", name)]
    return [
        (paths.GATED, paths.UNIT),
        ("norm1", "attn"),
        ("x", "layer_scale_1"),
    ]


def short(path: str, name: str) -> str:
    """Shorten a path to what stands in a box."""
    if path == name:
        return "sum"
    inside_unit = path != paths.UNIT and paths.lies_under(path, paths.UNIT)
    return path.removeprefix(f"{paths.UNIT}." if inside_unit else f"{path.split('.')[0]}.")


def operation(model: VAN, name: str, path: str) -> str:
    """Say what the operator under a path does; a convolution's kernel is read from its weight."""
    weight = model.tensors.get(f"{name}.{path}.weight")
    if weight is not None and weight.ndim == 4:
        kernel = f"{weight.shape[2]} x {weight.shape[3]}"
        dilation = f", {dilation_of(model)} apart" if path.endswith("conv_spatial") else ""
        return f"{kernel} {'depthwise' if weight.shape[1] == 1 else 'pointwise'}{dilation}"
    return {
        "norm1": "BatchNorm",
        "norm2": "BatchNorm",
        paths.GATED: "GELU",
        "mlp.act": "GELU",
        paths.UNIT: "u x attention",
        "attn": "+ norm1's output",
        "layer_scale_1": "x + scale x attention",
        name: "x + scale x mlp",
    }[path]


def impulse_responses(model: VAN, side: int = 35) -> dict[str, Array]:
    """Send a one in a map of zeros through the first block's attention function; return (C, side, side) for conv0,
    conv_spatial alone, and both.

    What biases alone give is subtracted. Mirrored, the response at the middle is what the middle output reads.
    """
    unit = paths.branch(model.parameters, f"{paths.block(1, 0)}.{paths.UNIT}")
    channels = len(unit["conv0"]["bias"])
    nothing = np.zeros((1, channels, side, side))
    impulse = nothing.copy()
    impulse[:, :, side // 2, side // 2] = 1

    def respond(u: Array, near: Array | None = None) -> dict[str, Array]:
        kept: dict[str, Array] = {}

        def keep(path: str, array: Array) -> Array | None:
            kept[path] = array[0]
            return near if path == "conv0" else None  # in place of what conv0 gave, where that is asked for

        lka(reference, Hook(keep), u, **unit)
        return kept

    both = {path: respond(impulse)[path] - respond(nothing)[path] for path in ("conv0", "conv_spatial")}
    alone = respond(nothing, impulse)["conv_spatial"] - respond(nothing, nothing)["conv_spatial"]
    responses = {"conv0": both["conv0"], "conv_spatial": alone, "both": both["conv_spatial"]}
    return {path: response[:, ::-1, ::-1] for path, response in responses.items()}


def dilation_of(model: VAN) -> int:
    """Return the spacing of conv_spatial's taps, measured on its response to an impulse."""
    columns = np.flatnonzero(np.abs(impulse_responses(model)["conv_spatial"]).sum(0).any(0))
    return int(columns[1] - columns[0])


def footprint(model: VAN) -> Figure:
    """What each step reads of the map before it, how strongly the trained pair weighs each position, and the gate."""
    responses = impulse_responses(model)
    strength = np.abs(responses["both"]).mean(0)
    rows = np.flatnonzero(strength.any(1))
    span = slice(rows[0], rows[-1] + 1)
    side = len(rows)
    figure = Figure(figsize=(14, 4.3), dpi=100, layout="constrained")
    axes = figure.subplots(1, 4)
    own = np.zeros((side, side), bool)
    own[side // 2, side // 2] = True
    titles = (
        "conv0 reads, of u",
        "conv_spatial reads, of conv0's map",
        f"together, of u: {side} x {side}",
        "the gate reads, of u",
    )
    reads = {key: np.abs(responses[key]).sum(0)[span, span] > 0 for key in ("conv0", "conv_spatial")} | {"gate": own}
    for ax, key, colour in zip((axes[0], axes[1], axes[3]), reads, (ORANGE, BLUE, "black"), strict=True):
        cells = np.ones((*own.shape, 3)) * 0.95
        cells[reads[key]] = matplotlib.colors.to_rgb(colour)
        cells[own] = 0
        ax.imshow(cells)
        count = int(reads[key].sum())
        ax.set_xlabel(f"{count} positions" if count > 1 else "1 position, times its attention", fontsize=12)
    picture = axes[2].imshow(strength[span, span] / strength.max(), cmap="viridis", vmin=0, vmax=1)
    bar = figure.colorbar(picture, ax=axes[2], shrink=0.75)
    bar.set_label("mean strength over channels", fontsize=11)
    axes[2].set_xlabel(f"{side * side} positions, as trained", fontsize=12)
    for ax, title in zip(axes, titles, strict=True):
        ax.set_title(title, fontsize=13)
        ax.set_xticks(np.arange(side + 1) - 0.5, minor=True)
        ax.set_yticks(np.arange(side + 1) - 0.5, minor=True)
        ax.grid(which="minor", color="white", linewidth=0.7)
        ax.set(xticks=[], yticks=[])
        ax.tick_params(which="both", length=0)
        ax.spines[:].set_visible(False)
    return figure


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure and one axis whose unit is an inch."""
    figure = Figure(figsize=(width, height), dpi=100)
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, width), ylim=(0, height))
    ax.axis("off")
    return figure, ax


def label(ax: Axes, x: float, y: float, text: str, size: float, weight: str = "normal", align: str = "center") -> None:
    ax.text(x, y, text, fontsize=size, fontweight=weight, ha=align, va="center")


def box(ax: Axes, x: float, y: float, width: float, height: float, colour: str, text: str, size: float) -> None:
    shape = FancyBboxPatch((x, y), width, height, boxstyle="round,pad=0,rounding_size=0.08")
    shape.set(facecolor=colour, edgecolor=INK, linewidth=0.9)
    ax.add_patch(shape)
    label(ax, x + width / 2, y + height / 2, text, size)


def arrow(ax: Axes, x0: float, x1: float, y: float) -> None:
    ax.add_patch(FancyArrowPatch((x0, y), (x1, y), arrowstyle="-|>", mutation_scale=12, color=INK, shrinkA=0, shrinkB=0))


def down(ax: Axes, x: float, y0: float, y1: float) -> None:
    ax.add_patch(FancyArrowPatch((x, y0), (x, y1), arrowstyle="-|>", mutation_scale=9, color=INK, shrinkA=0, shrinkB=0))


def bow(ax: Axes, x0: float, x1: float, y0: float, y1: float) -> None:
    """Draw a line that leaves the column to the left and comes back further down; longer ones lie further out."""
    out = x1 - 0.1 - 0.13 * (y0 - y1)
    ax.plot([x0, out, out], [y0, y0, y1], color=GREEN, linewidth=1.4)
    ax.add_patch(FancyArrowPatch((out, y1), (x1, y1), arrowstyle="-|>", mutation_scale=9, color=GREEN, shrinkA=0, shrinkB=0))


DIAGRAMS = {"architecture": architecture, "block": block, "footprint": footprint}


def draw_all(folder: Path) -> None:
    """Write every diagram; the same model and Matplotlib give the same bytes."""
    model = minivan.load(bundled()[0], engine="numpy")
    folder.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(STYLE):
        for name, draw in DIAGRAMS.items():
            figure = draw(model)
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None, "Creator": None})
            figure.savefig(folder / f"{name}.png", metadata={"Software": None}, dpi=150)


if __name__ == "__main__":
    draw_all(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "diagrams")
