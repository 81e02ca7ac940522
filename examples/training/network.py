"""What the loop trains here: a VAN as minivan.model writes it, blocks left out at random, and the loss of soft labels."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

sys.path[:0] = [str(Path(__file__).parents[2])]

from minivan import model, paths  # noqa: E402
from minivan.engines.torch import Operators  # noqa: E402
from minivan.hooks import Hook  # noqa: E402
from minivan.variants import Config  # noqa: E402

BRANCHES = ("attn", "mlp.fc2")  # of a block: what is added to its input, but for the layer scale


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
