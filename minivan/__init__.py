"""minivan: the Visual Attention Network in NumPy and Numba.

>>> import minivan
>>> model = minivan.load()                                      # the bundled weights
>>> x = minivan.image.prepare("cat.jpg", model.card.preprocessing)
>>> logits = model(x[None])                                     # float32 (1, classes)

Names below are imported when they are first used: the command line's help needs neither Numba nor Pillow.
"""

import importlib

__version__ = "0.1.0"

_MODULES = ("checkpoint", "explain", "grad", "image", "labels", "model", "ops", "oracle", "reference", "summary", "variants")
_NAMES = {"VAN": "model", "load": "checkpoint"}

__all__ = ["VAN", "load", *_MODULES]


def __getattr__(name):
    if name in _MODULES:
        return importlib.import_module(f"minivan.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(f"minivan.{_NAMES[name]}"), name)
    raise AttributeError(f"module 'minivan' has no attribute {name!r}")


def __dir__():
    return [*globals(), *__all__]
