"""How well a head's masks are those of scenes: intersection over union, of maps that the backbone has computed."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from network import Segmenter
from scenes import Scene, Size, Stored, padded, scaled, whole

sys.path[:0] = [str(Path(__file__).parents[2])]

from minivan.card import Preprocessing  # noqa: E402
from minivan.engines.torch import Operators  # noqa: E402
from minivan.van import VAN  # noqa: E402


@dataclass(frozen=True)
class Judged:
    """How many pixels of each class were taken for which: (classes, classes), a row for each class in truth."""

    confusion: npt.NDArray[np.int64]
    scenes: int

    @property
    def iou(self) -> npt.NDArray[np.float64]:
        """Of each class, right pixels by those that are of it or were taken for it; NaN for a class without either."""
        right = np.diag(self.confusion)
        either = self.confusion.sum(0) + self.confusion.sum(1) - right
        return np.divide(right, either, out=np.full(len(right), np.nan), where=either > 0)

    @property
    def mean_iou(self) -> float:
        """The mean over the classes that occur."""
        return float(np.nanmean(self.iou))

    @property
    def accuracy(self) -> float:
        """The share of pixels that are right."""
        return float(np.diag(self.confusion).sum() / self.confusion.sum())


@dataclass(frozen=True)
class Seen:
    """The maps that a backbone has of each scene, whole and padded, computed when they are asked for."""

    scenes: Sequence[Scene]
    backbone: VAN
    side: int
    preprocessing: Preprocessing

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, i: int) -> list[npt.NDArray[np.float32]]:
        return [values[0] for values in self.backbone.features(self.input(i)[None])]

    @property
    def sizes(self) -> list[Size]:
        """The sizes of the inputs."""
        return [padded(scaled(scene.size, self.side)) for scene in self.scenes]

    def input(self, i: int) -> npt.NDArray[np.float32]:
        """Return what the backbone sees of scene i, (3, H, W)."""
        scene = self.scenes[i]
        return whole(scene.size, self.side).photo(scene, self.preprocessing, padded(scaled(scene.size, self.side)))


class Judge:
    """Scenes to judge by, at their masks' own sizes, and the backbone's maps of each."""

    def __init__(self, scenes: Sequence[Scene], maps: Stored | Seen, forward: Segmenter, side: int) -> None:
        self.scenes, self.maps, self.forward, self.side = scenes, maps, forward, side
        self.classes = forward.config.classes

    def __call__(self, tensors: Mapping[str, npt.NDArray[np.floating]]) -> Judged:
        """Return what a head of these tensors makes of all scenes."""
        held = {name: torch.from_numpy(np.asarray(tensor, np.float32)) for name, tensor in tensors.items()}
        total = np.zeros((self.classes, self.classes), np.int64)
        for i, scene in enumerate(self.scenes):
            truth = np.asarray(scene.classes(self.classes))
            counted = truth < self.classes
            pairs = truth[counted].astype(np.int64) * self.classes + self.mask(held, i, truth.shape)[counted]
            total += np.bincount(pairs, minlength=total.size).reshape(total.shape)
        return Judged(total, len(self.scenes))

    def mask(self, tensors: Mapping[str, torch.Tensor], i: int, size: tuple[int, int]) -> npt.NDArray[np.int64]:
        """Return the likeliest class of each pixel of scene i, (H, W): the logits without their padding, scaled up."""
        width, height = scaled(self.scenes[i].size, self.side)
        with torch.inference_mode():
            logits = self.forward(Operators(), [torch.from_numpy(each)[None] for each in self.maps[i]], tensors, None)
            part = logits[:, :, : -(-height // 4), : -(-width // 4)]
            found: npt.NDArray[np.int64] = F.interpolate(part, size, mode="bilinear", align_corners=False)[0].argmax(0).numpy()
        return found
