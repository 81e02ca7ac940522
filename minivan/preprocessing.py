"""How a photo becomes the tensor a network was trained on: sizes and statistics, and the published presets."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Preprocessing:
    """How a photo becomes the tensor a network was trained on."""

    crop: int = 224  # side of the square the network sees
    resize: int = 248  # length the photo's shorter side is scaled to first
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)  # per RGB channel, on the scale 0..1
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)

    def __post_init__(self):
        object.__setattr__(self, "mean", tuple(float(v) for v in self.mean))
        object.__setattr__(self, "std", tuple(float(v) for v in self.std))
        if not (1 <= self.crop <= 8192 and 1 <= self.resize <= 8192):
            raise ValueError(f"crop and resize lie in 1..8192 pixels; got crop {self.crop}, resize {self.resize}")
        numbers = (*self.mean, *self.std)
        if len(self.mean) != 3 or len(self.std) != 3 or not all(map(math.isfinite, numbers)) or min(self.std) <= 0:
            raise ValueError(f"mean and std are three numbers each, std positive; got mean {self.mean}, std {self.std}")


PRESETS = {
    # timm 0.4.12's default for a vision transformer, which the authors trained with: floor(224 / 0.9) = 248.
    "official": Preprocessing(224, 248, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    # Hugging Face's image processor: it differs from the training, but their published logits need it.
    "hf": Preprocessing(224, 256, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
