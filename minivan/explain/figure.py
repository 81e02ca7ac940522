"""Figures of maps, attention and receptive fields. Matplotlib is imported when a figure is begun, and nowhere else.

Magnitudes are drawn in viridis, signed values in a diverging scale centred on zero (PuOr): both read without red and green.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from .. import paths
from ..checks import Floating
from ..errors import printable, reason
from ..output import place, replacing
from .attention import SELECTIVE, most_selective
from .choices import SIGNED
from .photo import ClassMaps, PhotoAttention, PhotoMaps, told
from .receptive import SHARES, Fields, impulse_response, square

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAGNITUDE, DIVERGING = "viridis", "PuOr_r"
PANEL = 3.1  # inches
DOTS = 110  # per inch
TITLE_AIR = 0.1  # inches: a title of three lines stands out of the room that the layout makes for it
TITLE = 36  # characters of a title's line, on a panel of that width
DECADES = 4  # of the effective field, which falls off like a bell curve
SHARE_NAMES = ", ".join(f"{100 * share:.0f}" for share in SHARES) + " %"
ENDINGS = (".png", ".pdf", ".svg")


Spread: TypeAlias = Callable[[Floating, float, int, int], npt.NDArray[np.float64]]  # a map at every pixel of a picture


class MissingPlots(ValueError):
    """Matplotlib is not installed, or cannot be imported; the message says what to do or why."""


def matplotlib_figure(beside: Path | None = None) -> type[Figure]:
    """Return Matplotlib's Figure class, which draws without a screen. MissingPlots where it cannot be had.

    It wants a folder that it can write while it is imported: where there are no temporary ones, it gets one in `beside`.
    """
    try:
        with _whatever_backend(), _some_folder(beside), _in_silence():
            from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "matplotlib":
            raise MissingPlots("figures need Matplotlib: pip install '.[plots]' from a clone of minivan") from None
        raise MissingPlots(f"Matplotlib cannot be imported: {reason(error)}") from None
    except Exception as error:  # as one that was built for another NumPy
        raise MissingPlots(f"Matplotlib cannot be imported: {reason(error)}") from None
    return Figure


@contextlib.contextmanager
def _some_folder(beside: Path | None) -> Iterator[None]:
    """Let Matplotlib be imported where nothing can be written but `beside`, in which nothing is left."""
    named = os.environ.get("MPLCONFIGDIR")
    with contextlib.ExitStack() as stack:
        if beside and "matplotlib" not in sys.modules and not (named and os.access(named, os.W_OK)):
            try:
                tempfile.gettempdir()
            except FileNotFoundError:
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix=".matplotlib-", dir=beside))
                stack.callback(_set, "MPLCONFIGDIR", named)
                _set("MPLCONFIGDIR", folder)
        yield


def _set(variable: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(variable, None)
    else:
        os.environ[variable] = value


@contextlib.contextmanager
def _in_silence() -> Iterator[None]:
    """Keep to itself what Matplotlib says of its folders, its fonts and the user's settings: a file needs none of them."""
    logger = logging.getLogger("matplotlib")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextlib.contextmanager
def _whatever_backend() -> Iterator[None]:
    """Let Matplotlib be imported where MPLBACKEND, which no file needs, names a backend that it does not know.

    Afterwards the variable and the setting that it stands for are what they would be without minivan.
    """
    named = None if "matplotlib" in sys.modules else os.environ.pop("MPLBACKEND", None)
    try:
        yield
    finally:
        if named is not None:
            os.environ["MPLBACKEND"] = named
    if named:
        import matplotlib

        with contextlib.suppress(ValueError):  # a name that means nothing to it
            matplotlib.rcParams["backend"] = named


def spread(values: Floating, stride: float, height: int, width: int) -> npt.NDArray[np.float64]:
    """Return a map (h, w) at every pixel of a picture (height, width), between its positions bilinearly, float64.

    Position i of a map is centred on pixel i * stride, not on the middle of a tile: VAN's strided convolutions are padded by
    half their kernel. Beyond the last position its value is kept.
    """
    rows, columns = (np.minimum(np.arange(n) / stride, m - 1) for n, m in zip((height, width), values.shape, strict=True))
    at = np.asarray(values, np.float64)
    top, left = rows.astype(int), columns.astype(int)
    bottom, right = (np.minimum(low + 1, m - 1) for low, m in zip((top, left), at.shape, strict=True))
    down, across = (rows - top)[:, None], columns - left
    upper = at[top][:, left] * (1 - across) + at[top][:, right] * across
    lower = at[bottom][:, left] * (1 - across) + at[bottom][:, right] * across
    between: npt.NDArray[np.float64] = upper * (1 - down) + lower * down
    return between


def squares(values: Floating, stride: float, height: int, width: int) -> npt.NDArray[np.float64]:
    """Return a map (h, w) at every pixel of a picture (height, width), each having the value of the nearest position, float64.

    Positions are centred as for `spread`: the first ones' squares are cut in half by the picture's edge.
    """
    rows, columns = (
        np.minimum(np.floor(np.arange(n) / stride + 0.5).astype(int), m - 1)
        for n, m in zip((height, width), values.shape, strict=True)
    )
    return np.asarray(values, np.float64)[np.ix_(rows, columns)]


def draw(found: Sequence[PhotoMaps | PhotoAttention], smooth: bool = False) -> Figure:
    """Draw what was found in photos, one or several, in a figure: maps, or attention.

    Each position is drawn as the square around it, or `smooth`, with what lies between the positions made up bilinearly.
    Raises ValueError where there is nothing to draw, or both kinds, and MissingPlots without Matplotlib.
    """
    maps = [each for each in found if isinstance(each, PhotoMaps)]
    attention = [each for each in found if isinstance(each, PhotoAttention)]
    if bool(maps) == bool(attention):
        raise ValueError("a figure shows photos with their maps or with their attention: one at least, all of one kind")
    first, *others = told(found)
    squared = "Between the places of the map colours are made up." if smooth else "A square is one place of the map."
    note, at = "\n".join((f"{first} {squared}", *others)), spread if smooth else squares
    if maps:
        return maps_figure([row for each in maps for row in maps_rows(each)], note, at)
    return attention_figure([attention_row(each) for each in attention], note, at)


class Panel(NamedTuple):
    """One map to draw over a photo."""

    lines: tuple[str, ...]  # above it
    values: Floating  # (h, w), in the resolution of the array at `path`
    path: str
    signed: bool


class Row(NamedTuple):
    """A photo and the maps of it."""

    name: str
    photo: npt.NDArray[np.uint8]  # (H, W, 3), in any resolution
    zoom: float  # its pixels over those that the network saw
    panels: list[Panel]
    seen: str = ""  # at which size the network saw it


def maps_rows(found: PhotoMaps) -> list[Row]:
    """Return a photo's maps as rows of a figure: all in one or, with several layers, a row for each class."""
    signed, usual = found.method in SIGNED, (paths.INPUT, paths.norm(found.model.config.stages))
    panels = []
    for each in found.classes:
        classes, several = found.model.config.classes, len(each.maps) > 1
        here = "" if found.seen.as_trained is found.seen.x else f"at this size {chance(each, classes, as_seen=True)}"
        lines = (each.label.short, chance(each, classes), here)
        where = {path: (path,) if several or path not in usual else () for path in each.maps}
        panels.append([Panel((*lines, *where[path]), values, path, signed) for path, values in each.maps.items()])
    if all(len(row) == 1 for row in panels):
        panels = [[panel for row in panels for panel in row]]
    seen = "seen at {} x {} pixels".format(*found.seen.x.shape[2:])
    return [Row(found.seen.name, found.seen.photo, found.seen.zoom, row, seen) for row in panels]


def chance(found: ClassMaps, classes: int, as_seen: bool = False) -> str:
    """Say how probable a class is and, where it is not the likeliest, its rank: as trained, or at the size of its maps."""
    probability, place = (found.seen_probability, found.seen_rank) if as_seen else (found.probability, found.rank)
    rank = f", rank {place} of {classes}" if place > 1 else ""
    return (f"{probability:.1%}" if probability >= 0.001 else "under 0.1%") + rank


def maps_figure(rows: list[Row], note: str, at: Spread = squares) -> Figure:
    """Draw each photo and, beside it, its maps over it in colour, each with its scale."""
    figure, axes = grid(len(rows), 1 + max(len(row.panels) for row in rows), rows[0].photo.shape, note)
    for row, (first, *others) in zip(rows, axes, strict=True):
        first.imshow(row.photo)
        title(first, row.name, row.seen)
        for axis, panel in zip(others, row.panels, strict=False):
            overlay(figure, axis, row, panel, at)
            title(axis, *panel.lines)
    return figure


def overlay(figure: Figure, axis: Axes, row: Row, panel: Panel, at: Spread) -> None:
    """Draw a map over the photo in grey, the stronger the more it covers; where it is zero everywhere, say so."""
    axis.imshow(row.photo.mean(axis=2), cmap="gray", vmin=0, vmax=255)
    values = at(panel.values, paths.stride_of(panel.path) * row.zoom, *row.photo.shape[:2])
    # Single pixels stick out of a map of pixels; Smilkov et al. 2017 cap them too.
    high = np.percentile(values, 99.5) if panel.path == paths.INPUT and not panel.signed else np.abs(values).max()
    coloured(figure, axis, values, panel.signed, high, alpha=0.4 + 0.35 * np.minimum(np.abs(values) / (high or 1.0), 1))
    if not values.any():
        said = "nothing here speaks\nfor this class"
        axis.text(0.5, 0.5, said, ha="center", va="center", color="white", transform=axis.transAxes)


class Factors(NamedTuple):
    """A photo and what LKA multiplies by, block by block."""

    name: str
    photo: npt.NDArray[np.uint8]  # (H, W, 3), in any resolution
    zoom: float  # its pixels over those that the network saw
    blocks: dict[str, Floating]  # path -> (C, h, w)


def attention_row(found: PhotoAttention) -> Factors:
    """Return what a photo's attention gives to a figure."""
    return Factors(found.seen.name, found.seen.photo, found.seen.zoom, found.factors)


def attention_figure(rows: list[Factors], note: str, at: Spread = squares) -> Figure:
    """Draw a row a block: the mean over channels, then the most selective channels."""
    figure, axes = grid(sum(len(row.blocks) for row in rows), 2 + SELECTIVE, rows[0].photo.shape, note)
    lines = iter(axes)
    for row in rows:
        for k, (block, factors) in enumerate(row.blocks.items()):
            first, mean, *others = next(lines)
            if k == 0:
                first.imshow(row.photo)
                title(first, row.name)
            channels = most_selective(factors, SELECTIVE)
            panels = [(mean, factors.mean(axis=0), f"{block}: mean of {len(factors)} channels")]
            panels += [(axis, factors[c], f"channel {c}") for axis, c in zip(others, channels, strict=False)]
            for axis, factor, said in panels:
                values = at(factor, paths.stride_of(block) * row.zoom, *row.photo.shape[:2])
                coloured(figure, axis, values, True, np.abs(values).max())
                title(axis, said, f"{number(values.min())} to {number(values.max())}")
    return figure


def receptive_figure(found: Fields) -> Figure:
    """Draw a column a stage: LKA's impulse response in its last block above, the effective field below with its squares."""
    figure, axes = grid(2, len(found.effective), (1, 1), f"{found.sentence()}\n{found.footnote()}")
    sides = {field.path: field.side for field in found.theory}
    for axis, path in zip(axes[0], found.effective, strict=True):
        response = impulse_response(found.model, path)
        strength = np.abs(response).mean(axis=0)
        coloured(figure, axis, strength, False, strength.max())
        title(axis, f"{path}: {response.shape[1]} x {response.shape[2]} response", f"mean |weight|, {len(response)} channels")
    for axis, (path, field) in zip(axes[1], found.effective.items(), strict=True):
        decades = np.log10(np.maximum(field / field.max(), 10.0**-DECADES))
        drawn = axis.imshow(decades, cmap=MAGNITUDE, vmin=-DECADES, vmax=0)
        bar = figure.colorbar(drawn, ax=axis, fraction=0.05, pad=0.02)
        bar.set_ticks([-DECADES, -DECADES / 2, 0], labels=["\u2264 0.0001", "0.01", "1"])
        bar.ax.tick_params(labelsize=7, length=2)
        bar.outline.set_visible(False)
        for share in SHARES:
            outline(axis, square(field, share), field.shape, share)
        said = ", ".join(f"{100 * ratio:.2g}" if ratio < 0.1 else f"{100 * ratio:.0f}" for ratio in found.ratios[path])
        title(axis, f"{path}: can see {sides[path]} pixels", f"{SHARE_NAMES} of it lie in", f"{said} % of the area")
    return figure


def outline(axis: Axes, side: int, shape: Sequence[int], share: float) -> None:
    """Draw the square that holds a share of an effective field, with the share at its upper edge."""
    row, column = shape[0] // 2, shape[1] // 2
    top, left = (max(centre - side // 2, 0) - 0.5 for centre in (row, column))
    bottom, right = (min(c + side // 2 + 1, n) - 0.5 for c, n in zip((row, column), shape, strict=True))
    axis.plot([left, right, right, left, left], [top, top, bottom, bottom, top], color="white", linewidth=0.9)
    if side > 0.15 * shape[1]:  # in a smaller one the text would not fit
        axis.text(left + 1, top + 1, f"{share:.0%}", color="white", fontsize=6, va="top")


def grid(rows: int, columns: int, shape: Sequence[int], note: str) -> tuple[Figure, npt.NDArray[Any]]:
    """Return a figure and its axes, rows x columns, for pictures of this (height, width), with a line of text at its foot."""
    height = PANEL * min(max(shape[0] / shape[1], 0.4), 2.0)
    width = columns * (PANEL + 0.6)
    foot = [part for line in note.split("\n") for part in textwrap.wrap(printable(line), int(width * 15))]
    size = width, rows * (height + 0.75) + 0.2 + 0.15 * len(foot)
    drawing = matplotlib_figure()
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = drawing(figsize=size, dpi=DOTS, layout=ConstrainedLayoutEngine(h_pad=TITLE_AIR))
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    figure.supxlabel("\n".join(foot), fontsize=8, color="0.35", parse_math=False)
    return figure, axes


def title(axis: Axes, *lines: str) -> None:
    """Write lines above a panel, broken where the panel ends."""
    wrapped = [part for line in lines if line for part in textwrap.wrap(printable(line), TITLE)]
    axis.set_title("\n".join(wrapped), fontsize=9, parse_math=False)  # a dollar in a file's name is no formula


def coloured(figure: Figure, axis: Axes, values: Floating, signed: bool, high: float, alpha: Floating | None = None) -> None:
    """Draw values with their colour scale up to `high`, its ends printed: centred on zero where signed, else from zero."""
    high = float(high) or 1.0
    low = -high if signed else 0.0
    drawn = axis.imshow(values, cmap=DIVERGING if signed else MAGNITUDE, vmin=low, vmax=high, alpha=alpha)
    bar = figure.colorbar(drawn, ax=axis, fraction=0.05, pad=0.02)
    labels = [number(low), number((low + high) / 2), ("\u2265 " if values.max() > high else "") + number(high)]
    bar.set_ticks([low, (low + high) / 2, high], labels=labels)
    bar.ax.tick_params(labelsize=7, length=2)
    bar.outline.set_visible(False)
    if bar.solids is not None:  # the scale shows full colours, whatever shines through on the photo
        bar.solids.set_alpha(1)


def number(value: float) -> str:
    """Return a value in three digits, with a real minus sign."""
    return f"{value:.3g}".replace("-", "\u2212")


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure as .png, .pdf or .svg. ValueError for another ending, OSError where nothing can be written."""
    check_ending(path)
    form = os.path.splitext(path)[1].removeprefix(".").lower()
    with replacing(path) as file:
        figure.savefig(file, format=form, bbox_inches="tight", pad_inches=0.08)  # three lines of title stand out of the layout


def check_ending(path: str | Path) -> None:
    """Raise ValueError for a file name that says no format a figure can have."""
    if not str(path).lower().endswith(ENDINGS):
        raise ValueError(f"{path}: a figure is written as {', '.join(ENDINGS)}; a folder for several ends in /")


def check_output(path: str | Path) -> None:
    """Say before the network runs what would be wrong with the figure's file after it.

    Raises ValueError for another ending, MissingPlots, and OSError where there is no such folder or no file can be.
    """
    check_ending(path)
    end = place(path)
    matplotlib_figure(end.parent)
