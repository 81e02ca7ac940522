"""Labelled photos as a dataset of PyTorch's: each seen anew in every epoch, through another crop, mirrored, in other light."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageEnhance

sys.path[:0] = [str(Path(__file__).parents[2])]

from minivan import image  # noqa: E402
from minivan.card import Preprocessing  # noqa: E402
from minivan.evaluate import Example  # noqa: E402

SMALLEST_PART = 0.35  # of a photo's area that a crop shows
RATIOS = (3 / 4, 4 / 3)  # of a crop's width and height
LIGHT = 0.3  # brightness, contrast and colour lie within 1 +- this


@dataclass(frozen=True)
class Photos(torch.utils.data.Dataset):
    """Photos, and for each its class's probabilities, float32 (classes,).

    `epoch` is None for photos as they are, prepared as `preprocessing` says; the numbers of an epoch and of a photo decide
    what is done to it in training, so that a training which was stopped sees what it would have seen.
    """

    examples: Sequence[Example]
    classes: Sequence[int]  # of each example
    count: int  # of classes
    preprocessing: Preprocessing
    seed: int = 0
    smoothing: float = 0.1  # of a label's 1, how much is shared out among all classes
    soft: Mapping[str, np.ndarray] = field(default_factory=dict)  # a teacher's probabilities (classes,), by a photo's path
    share: float = 0.6  # of the teacher's in the target
    epoch: int | None = None

    def at(self, epoch: int) -> Photos:
        """Return the photos as an epoch of a training sees them."""
        return replace(self, epoch=epoch)

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        photo = self.examples[i].image.source()
        if self.epoch is None:
            x = image.prepare(photo, self.preprocessing)
        else:
            random = np.random.default_rng((self.seed, self.epoch, i))
            picture = varied(image.decode(photo), self.preprocessing.crop, random)
            x = image.normalise(picture, self.preprocessing.mean, self.preprocessing.std)
        return x, self.target(i)

    def target(self, i: int) -> np.ndarray:
        """Return the probabilities that the network is to give for a photo: its label's, its teacher's, or a mixture."""
        target = np.zeros(self.count, np.float32)
        target[self.classes[i]] = 1
        if self.epoch is None:
            return target
        target = target * (1 - self.smoothing) + self.smoothing / self.count
        teacher = self.soft.get(self.examples[i].path)
        return target if teacher is None else (self.share * teacher + (1 - self.share) * target).astype(np.float32)


def varied(picture: Image.Image, side: int, random: np.random.Generator) -> Image.Image:
    """Return a square of `side` pixels: a random part of a photo, perhaps mirrored, lighter or darker, paler or stronger."""
    width, height = picture.size
    area, ratio = width * height * random.uniform(SMALLEST_PART, 1), np.exp(random.uniform(*np.log(RATIOS)))
    wide, high = min(width, (area * ratio) ** 0.5), min(height, (area / ratio) ** 0.5)
    left, top = random.uniform(0, width - wide), random.uniform(0, height - high)
    part = picture.resize((side, side), Image.Resampling.BICUBIC, (left, top, left + wide, top + high))
    if random.random() < 0.5:
        part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    for change in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        part = change(part).enhance(random.uniform(1 - LIGHT, 1 + LIGHT))
    return part
