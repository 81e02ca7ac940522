"""Pictures in characters: plain ASCII beside texts of any language, no colour, at most 78 columns."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from ..checks import Numeric
from ..lka import Mask
from ..typesetting import to_left, to_right, width, wrapped

WIDTH = 78
DARK_TO_LIGHT = " .:-=+*#%@"


def paragraph(text: str, indent: int = 0, columns: int = WIDTH) -> list[str]:
    """Break a text into lines; '3 x 3', 'd = 3' or '40 %' stays on one line."""
    whole = re.sub(r"(?<=\d) (?=%)", "\xa0", re.sub(r"(?<=[\w)]) ([x=^]) (?=[-\w(])", "\xa0\\1\xa0", text))
    return [" " * indent + line.replace("\xa0", " ") for line in wrapped(whole, columns - indent)]


def table(header: list[str], rows: list[list[str]], indent: int = 2) -> list[str]:
    """Set right-aligned columns; the header may hold two lines parted by a newline."""
    head = [cell.split("\n") for cell in header]
    depth = max(len(cell) for cell in head)
    lines = [[cell[i - depth + len(cell)] if i >= depth - len(cell) else "" for cell in head] for i in range(depth)]
    widths = [max(width(row[i]) for row in [*lines, *rows]) for i in range(len(header))]
    rule = ["-" * columns for columns in widths]
    return [
        (" " * indent + "  ".join(to_right(cell, columns) for cell, columns in zip(row, widths, strict=True))).rstrip()
        for row in [*lines, rule, *rows]
    ]


def grid(cells: Numeric, space: int) -> list[str]:
    """Draw one character per cell, two columns wide where that fits into `space` columns, else one; [] where neither does."""
    side = cells.shape[1]
    if side > space:
        return []
    joint = " " if 2 * side - 1 <= space else ""
    return [joint.join(row) for row in cells]


def taps(mask: Mask, own: tuple[int, ...]) -> npt.NDArray[np.str_]:
    """Return a picture's cells: '#' a pixel that is read, '.' one that is not, and the output's own place as '@' or 'o'."""
    cells = np.where(mask, "#", ".")
    cells[own] = "@" if mask[own] else "o"
    return cells


def beside(picture: list[str], text: str) -> list[str]:
    """Set a text to the right of a picture where at least 28 columns are left there, else below it."""
    columns = max(map(width, picture), default=0)
    room = WIDTH - 2 - columns - 3
    if room < 28:
        return ["  " + line for line in picture] + [""] * bool(picture) + paragraph(text, 2)
    words = paragraph(text, 0, room)
    top = max(0, (len(picture) - len(words)) // 2)
    rows = max(len(picture), top + len(words))
    left = picture + [""] * (rows - len(picture))
    right = [""] * top + words + [""] * (rows - top - len(words))
    return [f"  {to_left(a, columns)}   {b}".rstrip() for a, b in zip(left, right, strict=True)]


def columns(*blocks: list[str], gap: int = 4) -> list[str]:
    """Set blocks of lines side by side."""
    rows = max(len(block) for block in blocks)
    widths = [max(map(width, block)) for block in blocks]
    padded = [block + [""] * (rows - len(block)) for block in blocks]
    return [
        (" " * gap).join(to_left(line, columns) for line, columns in zip(row, widths, strict=True)).rstrip()
        for row in zip(*padded, strict=True)
    ]


def bar(value: float, largest: float, width: int) -> str:
    """Return a bar of '#', at least one for anything above zero."""
    return "#" * max(round(width * value / largest), int(value > 0))


def grey(values: Numeric, space: int) -> list[str]:
    """Draw values from 0 to 1 as ten steps from ' ' to '@', every cell two columns wide where that fits."""
    steps = np.clip((values * len(DARK_TO_LIGHT)).astype(int), 0, len(DARK_TO_LIGHT) - 1)
    return _doubled(np.array(list(DARK_TO_LIGHT))[steps], space)


def signed(values: Numeric, scale: float, space: int) -> list[str]:
    """Draw signed values in five steps of `scale`: '=' below -3/5, '-' below -1/5, ' ' near zero, '+', '#' above 3/5."""
    steps = np.digitize(values / scale, [-0.6, -0.2, 0.2, 0.6])
    return _doubled(np.array(list("=- +#"))[steps], space)


def framed(picture: list[str]) -> list[str]:
    """Draw a line around a picture."""
    rule = "+" + "-" * len(picture[0]) + "+"
    return [rule, *(f"|{row}|" for row in picture), rule]


def _doubled(cells: npt.NDArray[np.str_], space: int) -> list[str]:
    """Leave out every other row and column while a row is too long; repeat a cell where that makes it a square."""
    while cells.shape[1] > space:
        cells = cells[::2, ::2]
    times = 2 if 2 * cells.shape[1] <= space else 1
    return ["".join(cell * times for cell in row) for row in cells]
