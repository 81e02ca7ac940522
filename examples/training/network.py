"""What the loop trains here: a VAN as minivan.model writes it, blocks left out at random, and the loss of soft labels; a
Semantic FPN as minivan.fpn writes it, on maps that a backbone has computed, and the loss of masks."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

sys.path[:0] = [str(Path(__file__).parents[2])]

from minivan import fpn, model, paths  # noqa: E402
from minivan.engines.torch import Operators  # noqa: E402
from minivan.hooks import Hook  # noqa: E402
from minivan.variants import Config  # noqa: E402

BRANCHES = ("attn", "mlp.fc2")  # of a block: what is added to its input, but for the layer scale
VARIANCE, LARGEST = "bn.running_var", 2.0**15  # of a Semantic FPN: how its name ends, and the largest to be held in float16
LAST_SUM = f"{fpn.HEAD}.sums.{fpn.MAPS - 1}"  # of a Semantic FPN: what its last convolution reads


class Classifier:
    """The logits of a VAN: a `forward` of the loop's.

    In training, each of a block's two branches is left out for an image with a probability that grows from 0 in the first
    block to `depth` in the last, and is as much larger else (stochastic depth, Huang et al. 2016, arXiv 1603.09382).
    """

    def __init__(self, config: Config, depth: float = 0.0) -> None:
        if not 0 <= depth < 1:
            raise ValueError(f"stochastic depth is a probability of at least 0, and below 1; got {depth}")
        self.config = config
        blocks = [path for stage in paths.blocks(config.depths) for path in stage]
        self.left_out = {
            f"{path}.{branch}": depth * i / max(1, len(blocks) - 1) for i, path in enumerate(blocks) for branch in BRANCHES
        }

    def __call__(self, ops: Operators, x: Any, tensors: Mapping[str, Any], random: torch.Generator | None) -> Any:
        """x (N, C, H, W) -> (N, classes); `random` is None for inference."""

        def leave_out(path: str, array: torch.Tensor) -> torch.Tensor | None:
            probability = self.left_out.get(path)
            if not probability:
                return None
            kept = torch.rand(len(array), 1, 1, 1, generator=random) >= probability
            return array * (kept / (1 - probability)).to(array)  # drawn by the processor, whatever the device

        parameters = paths.nested(tensors)
        hook = Hook(leave_out if random is not None else None)
        maps = model.features(ops, hook, x, parameters, self.config)
        return model.classifier(ops, hook, maps[-1], head=parameters["head"])


def soft_cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy of logits (N, classes) with probabilities (N, classes)."""
    return F.cross_entropy(logits.float(), targets)


class Segmenter:
    """The logits of a Semantic FPN for maps of a backbone: a `forward` of the loop's.

    In training, a channel of what the last convolution reads is left out with a probability of `dropout`, and is as much larger
    else (mmsegmentation's FPNHead: Dropout2d, 0.1).
    """

    def __init__(self, config: fpn.FPNConfig, dropout: float = 0.1) -> None:
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout is a probability of at least 0, and below 1; got {dropout}")
        self.config, self.dropout = config, dropout

    def __call__(self, ops: Operators, x: Any, tensors: Mapping[str, Any], random: torch.Generator | None) -> Any:
        """x is four maps (N, C_i, H_i, W_i) of a floating dtype -> (N, classes, H_0, W_0); `random` is None for inference."""

        def leave_out(path: str, array: torch.Tensor) -> torch.Tensor | None:
            if path != LAST_SUM or not self.dropout:
                return None
            kept = torch.rand(*array.shape[:2], 1, 1, generator=random) >= self.dropout
            return array * (kept / (1 - self.dropout)).to(array)

        hook = Hook(leave_out if random is not None else None)
        maps = [each.float().contiguous(memory_format=torch.channels_last) for each in x]  # a quarter quicker on a processor
        return fpn.segment(ops, hook, maps, paths.nested(tensors), self.config)


class PixelCrossEntropy:
    """The mean cross-entropy of logits (N, classes, H, W), scaled up bilinearly to targets of classes (N, H', W').

    Targets of `void` count for nothing; `weights` (classes,) say how much the others count, all the same by default.
    """

    def __init__(self, void: int, weights: Sequence[float] | None = None) -> None:
        self.void = void
        self.weights = None if weights is None else torch.tensor(weights, dtype=torch.float32)

    def __call__(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        scaled = F.interpolate(logits.float(), targets.shape[1:], mode="bilinear", align_corners=False)
        weights = None if self.weights is None else self.weights.to(logits.device)
        total = F.cross_entropy(scaled, targets, weights, ignore_index=self.void, reduction="sum")
        judged = targets[targets != self.void]
        return total / (weights[judged].sum() if weights is not None else len(judged) * total.new_ones(())).clamp(min=1e-6)


def narrowed(tensors: Mapping[str, npt.NDArray[np.float32]]) -> dict[str, npt.NDArray[np.float16]]:
    """Return the tensors of a Semantic FPN in float16.

    A BatchNorm takes no notice of the scale of what it is given. Where one has met a variance that float16 cannot hold, the
    convolution before it, its mean and its variance are scaled down by a power of two, which rounds nothing.
    """
    made = dict(tensors)
    for name in tensors:
        if name.endswith(VARIANCE):
            module = name.removesuffix(VARIANCE)
            steps = math.ceil(math.log2(max(1.0, float(tensors[name].max()) / LARGEST)) / 2)
            made[f"{module}conv.weight"] = tensors[f"{module}conv.weight"] * np.float32(2.0**-steps)
            made[f"{module}bn.running_mean"] = tensors[f"{module}bn.running_mean"] * np.float32(2.0**-steps)
            made[name] = tensors[name] * np.float32(4.0**-steps)
    return {name: tensor.astype(np.float16) for name, tensor in made.items()}
