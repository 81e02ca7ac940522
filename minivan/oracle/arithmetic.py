"""References in a port's own precision: the engine `exact`, with what every operator gives rounded to a shorter format.

It is the best that a port in that format can do: each operator computes as `exact` does (float64 sums, float32 results), and
its result is rounded once more, to the nearest number of the format, ties to the even one. The sums and products between
operators are operators too: x + scale * z is rounded twice. So the bits are the same on every machine, as those of `exact` are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from ..checks import Float32
from ..engines import EXACT, Engine
from ..operators import Array, Operators
from .scales import Scales
from .ulp import round_to

ROUNDED = ("float16", "bfloat16", "tf32")  # formats that every operator's output can be rounded to


@dataclass(frozen=True)
class Arithmetic:
    """What a reference computes in: one of ROUNDED, or 'int8' at the points that `scales` names.

    Operators' outputs are rounded, and with `everything` the network's input and all weights as well. int8 rounds what the
    scales name, be it an output, the input or a weight. Raises ValueError for another word, and for int8 without scales.
    """

    word: str
    everything: bool = False
    scales: Scales | None = None

    def __post_init__(self) -> None:
        if self.word not in (*ROUNDED, "int8"):
            raise ValueError(f"no reference is rounded to {self.word!r}; it can be to {', '.join(ROUNDED)} and int8")
        if (self.word == "int8") != (self.scales is not None):
            raise ValueError(
                "int8 needs scales, which say where and how numbers are rounded, and nothing else does: give --scales"
            )

    @property
    def engine(self) -> Engine:
        """The engine that computes so; for int8, `exact`: see `at`."""
        if self.scales is not None:
            return Engine("exact, int8", ops=EXACT.ops)
        given = partial(_given, self.word, self.everything)
        return Engine(f"exact, {self.word}", ops=cast(Operators, _Rounding(self.word)), array=given)

    def tensors(self, tensors: Mapping[str, Float32]) -> dict[str, Float32]:
        """Return a network's weights as this arithmetic has them."""
        if self.scales is None:
            return dict(tensors)
        return {name: self.scales.rounded(name, tensor) for name, tensor in tensors.items()}

    def at(self, path: str, array: Array) -> Array | None:
        """Return what takes the place of the array at a path, None where that stays."""
        if self.scales is None or path not in self.scales.points:
            return None
        return self.scales.rounded(path, np.asarray(array))

    def metadata(self) -> dict[str, str]:
        """Return what a trace says of it."""
        said = {"precision": self.word, "rounded": "everything" if self.everything else "outputs"}
        return said if self.scales is None else {"precision": self.word, "scales_sha256": self.scales.sha256}


class Numbers:
    """An array whose sums and products are rounded to a format: what `minivan.model` computes with between operators."""

    def __init__(self, values: Float32, form: str) -> None:
        self.values, self.form = values, form
        self.shape, self.dtype, self.ndim = values.shape, values.dtype, values.ndim

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.array(self.values, dtype) if copy else np.asarray(self.values, dtype)

    def __getitem__(self, index: Any) -> Numbers:
        return Numbers(self.values[index], self.form)

    def __add__(self, other: Numbers) -> Numbers:
        return _rounded(self.values + other.values, self.form)

    def __mul__(self, other: Numbers) -> Numbers:
        return _rounded(self.values * other.values, self.form)


def _rounded(values: Float32, form: str) -> Numbers:
    return Numbers(round_to(values, form).astype(np.float32, copy=False), form)


class _Rounding:
    """The operators of `exact` on `Numbers`, each one's output rounded."""

    def __init__(self, form: str) -> None:
        self.form = form

    def __getattr__(self, operator: str) -> Callable[..., Numbers]:
        function = getattr(EXACT.ops, operator)

        def call(*args: Any, **kwargs: Any) -> Numbers:
            plain = [_values(value) for value in args]
            return _rounded(function(*plain, **{name: _values(value) for name, value in kwargs.items()}), self.form)

        return call


def _values(value: Any) -> Any:
    return value.values if isinstance(value, Numbers) else value


def _given(form: str, rounded: bool, array: npt.NDArray[np.floating[Any]]) -> Numbers:
    """The input or a weight as the network has it, rounded or not; what is computed of it is rounded in any case."""
    values = np.asarray(array, np.float32)
    return _rounded(values, form) if rounded else Numbers(values, form)
