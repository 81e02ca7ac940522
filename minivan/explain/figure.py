"""Figures of maps, attention and receptive fields. Matplotlib is imported when a figure is begun, and nowhere else.

Magnitudes are drawn in viridis, signed values in a diverging scale centred on zero (PuOr): both read without red and green.
"""

from __future__ import annotations

import textwrap
from typing import NamedTuple

import numpy as np

from ..paths import stride_of
from .attention import most_selective
from .receptive import SHARES, square

MAGNITUDE, SIGNED = "viridis", "PuOr_r"
PANEL = 3.1  # inches
DOTS = 110  # per inch
TITLE = 36  # characters of a title's line, on a panel of that width
SELECTIVE = 4  # channels shown beside the mean
DECADES = 4  # of the effective field, which falls off like a bell curve
SHARE_NAMES = ", ".join(f"{100 * share:.0f}" for share in SHARES) + " %"
ENDINGS = (".png", ".pdf", ".svg")


class MissingPlots(ValueError):
    """Matplotlib is not installed; the message says how to get it."""


def matplotlib_figure():
    """Return Matplotlib's Figure class, which draws without a screen. MissingPlots where Matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingPlots("figures need Matplotlib: pip install 'minivan[plots]'") from None
    return Figure


def spread(values: np.ndarray, stride: float, height: int, width: int) -> np.ndarray:
    """Return a map (h, w) at every pixel of a picture (height, width), between its positions bilinearly, float64.

    Position i of a map is centred on pixel i * stride, not on the middle of a tile: VAN's strided convolutions are padded by
    half their kernel. Beyond the last position its value is kept.
    """
    rows, columns = (np.minimum(np.arange(n) / stride, m - 1) for n, m in zip((height, width), values.shape, strict=True))
    values = np.asarray(values, np.float64)
    top, left = rows.astype(int), columns.astype(int)
    bottom, right = (np.minimum(low + 1, m - 1) for low, m in zip((top, left), values.shape, strict=True))
    down, across = (rows - top)[:, None], columns - left
    upper = values[top][:, left] * (1 - across) + values[top][:, right] * across
    lower = values[bottom][:, left] * (1 - across) + values[bottom][:, right] * across
    return upper * (1 - down) + lower * down


class Panel(NamedTuple):
    """One map to draw over a photo."""

    lines: tuple[str, ...]  # above it
    values: np.ndarray  # (h, w), in the resolution of the array at `path`
    path: str
    signed: bool


class Row(NamedTuple):
    """A photo and the maps of it."""

    name: str
    photo: np.ndarray  # (H, W, 3) uint8, in any resolution
    zoom: float  # its pixels over those that the network saw
    panels: list[Panel]


def maps_figure(rows: list[Row], note: str):
    """Draw each photo and, beside it, its maps over it in colour, each with its scale."""
    figure, axes = grid(len(rows), 1 + max(len(row.panels) for row in rows), rows[0].photo.shape, note)
    for row, (first, *others) in zip(rows, axes, strict=True):
        first.imshow(row.photo)
        title(first, row.name)
        for axis, panel in zip(others, row.panels, strict=False):
            overlay(figure, axis, row, panel)
            title(axis, *panel.lines)
    return figure


def overlay(figure, axis, row: Row, panel: Panel) -> None:
    """Draw a map over the photo in grey, the stronger the more it covers; where it is zero everywhere, say so."""
    axis.imshow(row.photo.mean(axis=2), cmap="gray", vmin=0, vmax=255)
    values = spread(panel.values, stride_of(panel.path) * row.zoom, *row.photo.shape[:2])
    # Single pixels stick out of a map of pixels; Smilkov et al. 2017 cap them too.
    high = np.percentile(values, 99.5) if panel.path == "input" and not panel.signed else np.abs(values).max()
    draw(figure, axis, values, panel.signed, high, alpha=0.4 + 0.35 * np.minimum(np.abs(values) / (high or 1.0), 1))
    if not values.any():
        said = "nothing here speaks\nfor this class"
        axis.text(0.5, 0.5, said, ha="center", va="center", color="white", transform=axis.transAxes)


class Factors(NamedTuple):
    """A photo and what LKA multiplies by, block by block."""

    name: str
    photo: np.ndarray  # (H, W, 3) uint8, in any resolution
    zoom: float  # its pixels over those that the network saw
    blocks: list[tuple[str, np.ndarray]]  # path, (C, h, w)


def attention_figure(rows: list[Factors], note: str):
    """Draw a row a block: the mean over channels, then the most selective channels."""
    figure, axes = grid(sum(len(row.blocks) for row in rows), 2 + SELECTIVE, rows[0].photo.shape, note)
    axes = iter(axes)
    for row in rows:
        for k, (block, factors) in enumerate(row.blocks):
            first, mean, *others = next(axes)
            if k == 0:
                first.imshow(row.photo)
                title(first, row.name)
            channels = most_selective(factors, SELECTIVE)
            panels = [(mean, factors.mean(axis=0), f"{block}: mean of {len(factors)} channels")]
            panels += [(axis, factors[c], f"channel {c}") for axis, c in zip(others, channels, strict=False)]
            for axis, values, said in panels:
                values = spread(values, stride_of(block) * row.zoom, *row.photo.shape[:2])
                draw(figure, axis, values, True, np.abs(values).max())
                title(axis, said, f"{number(values.min())} to {number(values.max())}")
    return figure


def receptive_figure(theory, responses: dict, effective: dict, ratios: dict, note: str):
    """Draw a column a stage: LKA's impulse response in its last block above, the effective field below with its squares."""
    figure, axes = grid(2, len(effective), (1, 1), note)
    sides = {field.path: field.side for field in theory}
    for axis, (path, response) in zip(axes[0], responses.items(), strict=True):
        strength = np.abs(response).mean(axis=0)
        draw(figure, axis, strength, False, strength.max())
        title(axis, f"{path}: {response.shape[1]} x {response.shape[2]} response", f"mean |weight|, {len(response)} channels")
    for axis, (path, field) in zip(axes[1], effective.items(), strict=True):
        decades = np.log10(np.maximum(field / field.max(), 10.0**-DECADES))
        drawn = axis.imshow(decades, cmap=MAGNITUDE, vmin=-DECADES, vmax=0)
        bar = figure.colorbar(drawn, ax=axis, fraction=0.05, pad=0.02)
        bar.set_ticks([-DECADES, -DECADES / 2, 0], labels=["\u2264 0.0001", "0.01", "1"])
        bar.ax.tick_params(labelsize=7, length=2)
        bar.outline.set_visible(False)
        for share in SHARES:
            outline(axis, square(field, share), field.shape, share)
        said = ", ".join(f"{100 * ratio:.2g}" for ratio in ratios[path])
        title(axis, f"{path}: can see {sides[path]} pixels", f"{SHARE_NAMES} of it lie in", f"{said} % of the area")
    return figure


def outline(axis, side: int, shape, share: float) -> None:
    """Draw the square that holds a share of an effective field, with the share at its upper edge."""
    row, column = shape[0] // 2, shape[1] // 2
    top, left = (max(centre - side // 2, 0) - 0.5 for centre in (row, column))
    bottom, right = (min(c + side // 2 + 1, n) - 0.5 for c, n in zip((row, column), shape, strict=True))
    axis.plot([left, right, right, left, left], [top, top, bottom, bottom, top], color="white", linewidth=0.9)
    if side > 0.15 * shape[1]:  # in a smaller one the text would not fit
        axis.text(left + 1, top + 1, f"{share:.0%}", color="white", fontsize=6, va="top")


def grid(rows: int, columns: int, shape, note: str):
    """Return a figure and its axes, rows x columns, for pictures of this (height, width), with a line of text at its foot."""
    height = PANEL * min(max(shape[0] / shape[1], 0.4), 2.0)
    size = columns * (PANEL + 0.6), rows * (height + 0.6) + 0.4
    figure = matplotlib_figure()(figsize=size, dpi=DOTS, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    figure.supxlabel("\n".join(textwrap.wrap(note, int(size[0] * 15))), fontsize=8, color="0.35")
    return figure, axes


def title(axis, *lines: str) -> None:
    """Write lines above a panel, broken where the panel ends."""
    wrapped = [part for line in lines if line for part in textwrap.wrap(line, TITLE)]
    axis.set_title("\n".join(wrapped), fontsize=9)


def draw(figure, axis, values, signed: bool, high: float, **options) -> None:
    """Draw values with their colour scale up to `high`, its ends printed: centred on zero where signed, else from zero."""
    high = float(high) or 1.0
    low = -high if signed else 0.0
    drawn = axis.imshow(values, cmap=SIGNED if signed else MAGNITUDE, vmin=low, vmax=high, **options)
    bar = figure.colorbar(drawn, ax=axis, fraction=0.05, pad=0.02)
    labels = [number(low), number((low + high) / 2), ("\u2265 " if values.max() > high else "") + number(high)]
    bar.set_ticks([low, (low + high) / 2, high], labels=labels)
    bar.ax.tick_params(labelsize=7, length=2)
    bar.outline.set_visible(False)
    bar.solids.set_alpha(1)


def number(value: float) -> str:
    """Return a value in three digits, with a real minus sign."""
    return f"{value:.3g}".replace("-", "\u2212")


def save(figure, path) -> None:
    """Write a figure as .png, .pdf or .svg. ValueError for another ending, OSError where nothing can be written."""
    check_ending(path)
    figure.savefig(path, bbox_inches="tight", pad_inches=0.08)  # a title of three lines may stand out of the layout


def check_ending(path) -> None:
    """Raise ValueError for a file name that says no format a figure can have."""
    if not str(path).lower().endswith(ENDINGS):
        raise ValueError(f"{path}: a figure is written as {', '.join(ENDINGS)}")
