"""Where VAN looks: class activation maps, attention maps, receptive fields, and figures of them.

>>> found = minivan.explain.maps(model, x)              # Grad-CAM of the top class at the last stage
>>> found.maps["norm4"]                                 # (N, H / 32, W / 32)
"""

from .attention import attention_maps, choose_blocks, most_selective
from .classes import choose
from .methods import METHODS, SIGNED, Maps, maps, stages
from .receptive import area_ratio, effective, impulse_response, theoretical

__all__ = [
    "METHODS",
    "SIGNED",
    "Maps",
    "area_ratio",
    "attention_maps",
    "choose",
    "choose_blocks",
    "effective",
    "impulse_response",
    "maps",
    "most_selective",
    "stages",
    "theoretical",
]
