"""minivan: the Visual Attention Network in NumPy and Numba.

>>> import minivan
>>> minivan.classify("cat.jpg").label
'Egyptian cat'
>>> model = minivan.load()                                      # the bundled weights
>>> x = minivan.image.prepare("cat.jpg", model.card.preprocessing)
>>> logits = model(x[None])                                     # float32 (1, classes)

Names below are imported when they are first used: the command line's help needs neither Numba nor Pillow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from . import forks  # noqa: F401  (watches over forks from here on, while other modules are imported)

if TYPE_CHECKING:
    from .checkpoint import list_models as list_models
    from .checkpoint import load as load
    from .learn import finetune as finetune
    from .predict.classifier import Classifier as Classifier
    from .predict.classifier import classify as classify
    from .segmentation.predict import segment as segment
    from .van import VAN as VAN

__version__ = "0.2.0"

_MODULES = (
    "backward", "bench", "card", "checkpoint", "doctor", "engines", "evaluate", "explain", "geometry", "grad", "image",
    "labelled", "learn", "lka", "model", "ops", "oracle", "paths", "predict", "reference", "seeded", "segmentation", "summary",
    "van", "variants",
)  # fmt: skip
_NAMES = {  # name -> the module that it is in
    "Classifier": "predict.classifier", "VAN": "van", "classify": "predict.classifier", "finetune": "learn",
    "list_models": "checkpoint", "load": "checkpoint", "segment": "segmentation.predict",
}  # fmt: skip

__all__ = ["VAN", "Classifier", "classify", "finetune", "list_models", "load", "segment", *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"minivan.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(f"minivan.{_NAMES[name]}"), name)
    raise AttributeError(f"module 'minivan' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
