"""Eight-bit numbers: where a network is rounded to them and with which scales, as a file says.

    {"block1.0.attn.proj_1":        {"scale": 0.05, "zero_point": 12, "type": "uint8"},
     "block1.0.attn.proj_1.weight": {"scale": [0.01, 0.02], "axis": 0}}

A name is the path of a layer, `input`, or the name of a tensor of the weights. q = round(x / scale) + zero_point, ties to
even, kept within the type's range; (q - zero_point) * scale takes x's place. `type` is int8 (-128..127, where it is left out)
or uint8 (0..255); `zero_point` is 0 where it is left out: symmetric. With lists, one number for each place along `axis`: per
channel. The arithmetic is float32, as ONNX's QuantizeLinear and DequantizeLinear define it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import input
from ..checkpoint.budget import Budget
from ..checkpoint.json_text import parse_json
from ..checks import Float32, Floating
from ..errors import quote, shown

LARGEST = 8 << 20  # bytes of a file of scales
RANGES = {"int8": (-128, 127), "uint8": (0, 255)}
FIELDS = {"scale", "zero_point", "axis", "type"}
WIDEST = 100_000  # numbers along one axis
SMALLEST_SCALE, LARGEST_SCALE = 2.0**-126, 2.0**127  # of a scale: float32 has them with all their digits


@dataclass(frozen=True)
class Point:
    """How one array is rounded: `scale` and `zero_point` hold one number, or one for each place along `axis`."""

    scale: Float32
    zero_point: npt.NDArray[np.int32]
    axis: int | None
    type: str

    def rounded(self, name: str, x: Floating) -> Float32:
        """Return x as its eight-bit numbers stand for it, float32. Raises ValueError where the scales do not fit its shape."""
        scale, zero = (self._along(name, part, x.shape) for part in (self.scale, self.zero_point))
        low, high = RANGES[self.type]
        with np.errstate(all="ignore"):
            steps = np.rint(np.asarray(x, np.float32) / scale) + zero.astype(np.float32)
            return np.asarray((np.clip(steps, low, high) - zero.astype(np.float32)) * scale, np.float32)

    def restored(self, name: str, q: npt.NDArray[np.integer[Any]]) -> Float32:
        """Return what eight-bit numbers stand for, float32. Raises ValueError where the scales do not fit their shape."""
        scale, zero = (self._along(name, part, q.shape) for part in (self.scale, self.zero_point))
        return np.asarray((q.astype(np.float32) - zero.astype(np.float32)) * scale, np.float32)

    def check(self, name: str, shape: tuple[int, ...]) -> None:
        """Raise ValueError where the scales do not fit a shape."""
        self._along(name, self.scale, shape)

    def _along(self, name: str, part: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
        if self.axis is None:
            return part
        if self.axis >= len(shape) or shape[self.axis] != len(part):
            raise ValueError(f"{shown(name)} has the shape {shape}, and {len(part)} scales along its axis {self.axis}")
        return part.reshape([-1 if axis == self.axis else 1 for axis in range(len(shape))])


@dataclass(frozen=True)
class Scales:
    """The points of a network that are rounded, by name, and the SHA-256 of the file that says so."""

    points: dict[str, Point]
    sha256: str

    def rounded(self, name: str, array: Floating) -> Float32:
        """Return an array as its point rounds it; as it is, where it is none."""
        point = self.points.get(name)
        return np.asarray(array, np.float32) if point is None else point.rounded(name, array)

    def check_names(self, there: Container[str], kinds: str) -> None:
        """Raise ValueError for a point that is none of the names that there are, `kinds` in words: it would do nothing."""
        if strangers := [name for name in self.points if name not in there]:
            more = f", and {len(strangers) - 1:,} more" if len(strangers) > 1 else ""
            raise ValueError(f"the scales name {quote(strangers[0])}{more}: {kinds}; leave it out")


def read_scales(path: str | Path) -> Scales:
    """Read a file of scales. Raises ValueError, one line with the file's name, where it is none; OSError."""
    text = input.read(path, LARGEST)
    try:
        entries = parse_json(text, "its text", Budget(len(text)))
        if not isinstance(entries, dict) or not entries:
            raise ValueError("it is no JSON object of points")
        points = {name: _point(name, entry) for name, entry in entries.items()}
    except (ValueError, OverflowError) as error:  # a whole number may be larger than any other
        raise ValueError(f"{path}: no file of scales ({error})") from None
    return Scales(points, hashlib.sha256(text).hexdigest())


def _point(name: str, entry: Any) -> Point:
    about = quote(name)
    if not isinstance(entry, dict) or "scale" not in entry or not set(entry) <= FIELDS:
        raise ValueError(f"{about} is no object with a scale, and nothing beside {', '.join(sorted(FIELDS - {'scale'}))}")
    axis, kind = entry.get("axis"), entry.get("type", "int8")
    if not isinstance(kind, str) or kind not in RANGES:
        raise ValueError(f"{about} has the type {quote(kind)}; the types are {', '.join(RANGES)}")
    if axis is not None and not (type(axis) is int and 0 <= axis < 8):
        raise ValueError(f"{about} has the axis {quote(axis)}, which no array has")
    scales, zeros = _numbers(entry["scale"]), _numbers(entry.get("zero_point", 0))
    if axis is None and len(scales) != 1:
        raise ValueError(f"{about} has {len(scales)} scales and no axis")
    if len(zeros) not in (1, len(scales)):
        raise ValueError(f"{about} has {len(scales)} scales and {len(zeros)} zero points")
    if not all(SMALLEST_SCALE <= float(scale) <= LARGEST_SCALE for scale in scales):
        raise ValueError(f"{about} has a scale that is not between 2**-126 and 2**127")
    low, high = RANGES[kind]
    if not all(type(z) is int and low <= z <= high for z in zeros):
        raise ValueError(f"{about} has a zero point that is no {kind}")
    zero = np.array(zeros, np.int32) if len(zeros) == len(scales) else np.full(len(scales), zeros[0], np.int32)
    return Point(np.array(scales, np.float32), zero, axis, kind)


def _numbers(value: Any) -> list[Any]:
    """Return a number, or a list of numbers, as a list. Raises ValueError for anything else."""
    numbers = value if isinstance(value, list) else [value]
    if not 0 < len(numbers) <= WIDEST or not all(type(number) in (int, float) for number in numbers):
        raise ValueError("scales and zero points are numbers, or lists of numbers")
    return numbers
