"""From paths to answers: the images that paths name, decoded ahead of the network, and the classes they show.

>>> import minivan
>>> from minivan.predict import classify
>>> for answer in classify(minivan.load(), "examples/coffee.jpg", top_k=1):
...     print(answer.image, answer.top[0].label, f"{answer.top[0].probability:.0%}")
examples/coffee.jpg espresso 98%

Importing it costs next to nothing: NumPy and Pillow are imported with the first image, what writes files with the first file.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .ahead import Prepared, batches, prepare_ahead
from .answers import Answer, Guess, Unusable, answers, classify, guesses, make_ready
from .images import STANDARD_INPUT, Found, Images, find_images

if TYPE_CHECKING:
    from .classifier import Answers, Classifier
    from .results import Results

_NAMES = {"Answers": "classifier", "Classifier": "classifier", "Results": "results"}  # name -> the module that it is in

__all__ = [
    "STANDARD_INPUT",
    "Answer",
    "Answers",
    "Classifier",
    "Found",
    "Guess",
    "Images",
    "Prepared",
    "Results",
    "Unusable",
    "answers",
    "batches",
    "classify",
    "find_images",
    "guesses",
    "make_ready",
    "prepare_ahead",
]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(f"{__name__}.{_NAMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_NAMES]
