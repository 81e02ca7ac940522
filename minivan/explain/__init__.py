"""Where VAN looks: class activation maps, attention maps, receptive fields, and figures of them.

A photo, its maps, a picture of them:

>>> seen = minivan.explain.look(model, "cat.jpg")
>>> found = minivan.explain.photo_maps(model, seen, ["tabby"])   # Grad-CAM at the last stage
>>> minivan.explain.draw([found]).savefig("looks.png")

The same as arrays, for images of your own (N, C, H, W):

>>> found = minivan.explain.maps(model, x)                       # of each image's top class
>>> found.maps["norm4"].shape                                    # (N, H / 32, W / 32), here of one image of 64 x 64
(1, 2, 2)

Names below are imported when they are first used: a command's help needs no NumPy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import attention, cam, choices, classes, faithfulness, figure, methods, perturb, photo, probability, receptive, view
    from .attention import Variance, attention_maps, attention_variance, averaged, choose_blocks, most_selective
    from .choices import LARGEST_VIEW, METHODS, SIGNED, SMALLEST_VIEW
    from .classes import choose, choose_classes
    from .figure import draw
    from .methods import Maps, choose_layers, maps, maps_of_classes, on_one_engine, stages
    from .photo import PhotoAttention, PhotoMaps, photo_attention, photo_maps
    from .probability import probabilities, rank
    from .receptive import area_ratio, effective, fields, impulse_response, theoretical
    from .view import Seen, batch, look, scaled, view_side

__all__ = [
    "LARGEST_VIEW", "METHODS", "SIGNED", "SMALLEST_VIEW", "Maps", "PhotoAttention", "PhotoMaps", "Seen", "Variance",
    "area_ratio", "attention", "attention_maps", "attention_variance", "averaged", "batch", "cam", "choices", "choose",
    "choose_blocks", "choose_classes", "choose_layers", "classes", "draw", "effective", "faithfulness", "fields", "figure",
    "impulse_response", "look", "maps",
    "maps_of_classes", "methods", "most_selective", "on_one_engine", "perturb", "photo", "photo_attention", "photo_maps",
    "probabilities", "probability", "rank", "receptive", "scaled", "stages", "theoretical", "view", "view_side",
]  # fmt: skip

_MODULES = (
    "attention", "cam", "choices", "classes", "faithfulness", "figure", "methods", "perturb", "photo", "probability",
    "receptive", "view",
)  # fmt: skip
_NAMES = {
    "attention": ("Variance", "attention_maps", "attention_variance", "averaged", "choose_blocks", "most_selective"),
    "choices": ("LARGEST_VIEW", "METHODS", "SIGNED", "SMALLEST_VIEW"),
    "classes": ("choose", "choose_classes"),
    "figure": ("draw",),
    "methods": ("Maps", "choose_layers", "maps", "maps_of_classes", "on_one_engine", "stages"),
    "photo": ("PhotoAttention", "PhotoMaps", "photo_attention", "photo_maps"),
    "probability": ("probabilities", "rank"),
    "receptive": ("area_ratio", "effective", "fields", "impulse_response", "theoretical"),
    "view": ("Seen", "batch", "look", "scaled", "view_side"),
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _MODULE_OF:
        return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
