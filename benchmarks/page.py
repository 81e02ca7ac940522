"""What is left of the trained network's accuracy after each change that the page of `minivan explore` offers.

    python benchmarks/page.py                  all 1,000 labelled images, some minutes
    python benchmarks/page.py --limit 100      a quick look, nothing written

It reads the labelled images that MINIVAN_LABELLED names (benchmarks/make_labelled.py makes them) and writes
minivan/page/figures.json. The changes are those of minivan/page/changes.js under the same names.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import numpy as np

import minivan
from minivan import labelled, paths
from minivan.checkpoint import bundled
from minivan.geometry import CONV_SPATIAL
from minivan.hooks import Callback
from minivan.operators import Array
from minivan.van import VAN

FIGURES = Path(minivan.__file__).parent / "page" / "figures.json"
CHANGES = (
    "none", "one", "mean", "sigmoid", "add", "taps5", "taps3", "taps1", "dilation1", "dilation2", "dilation4", "dilation5",
)  # fmt: skip
BATCH = 50


def changed(model: VAN, change: str) -> Callback:
    """Return the hook that makes one change in every block."""
    ops, kept = model.engine.ops, dict[str, Array]()

    def hook(path: str, array: Array) -> Array | None:
        block = paths.block_of(path)
        if block is None:
            return None
        name = paths.within_block(path)
        kept[name] = array
        if paths.is_factor(path) and change in ("one", "mean", "sigmoid"):
            if change == "one":
                return np.ones_like(array)
            if change == "mean":
                return np.broadcast_to(array.mean(axis=(2, 3), keepdims=True, dtype=np.float64), array.shape).astype(np.float32)
            return (1 / (1 + np.exp(-array.astype(np.float64)))).astype(np.float32)
        if paths.is_unit(path) and change == "add":
            return kept[paths.GATED] + kept[paths.FACTOR]
        if name == f"{paths.UNIT}.conv_spatial" and (reach := re.fullmatch(r"(taps|dilation)(\d)", change)):
            number = int(reach[2])
            taps, dilation = (number, CONV_SPATIAL.dilation) if reach[1] == "taps" else (CONV_SPATIAL.side, number)
            middle = slice((CONV_SPATIAL.side - taps) // 2, (CONV_SPATIAL.side + taps) // 2)
            weight = np.ascontiguousarray(model.tensors[f"{path}.weight"][:, :, middle, middle])
            near, bias = kept[f"{paths.UNIT}.conv0"], model.tensors[f"{path}.bias"]
            return ops.conv2d(near, weight, bias, padding=taps // 2 * dilation, dilation=dilation, groups=len(weight))
        return None

    return hook


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, help="only so many images; then nothing is written")
    args = parser.parse_args()
    model = minivan.load(bundled()[0], engine="exact")
    x, targets = labelled.inputs(labelled.given(), model.card)
    x, targets = x[: args.limit], targets[: args.limit]
    accuracy = {}
    for change in CHANGES:
        hook = changed(model, change)
        logits = np.concatenate([model(x[i : i + BATCH], hook=hook) for i in range(0, len(x), BATCH)])
        accuracy[change] = labelled.right(logits, targets)
        print(f"{change:<10} {accuracy[change]:>5} of {len(x)}", flush=True)
    if args.limit is None:
        made = {"images": len(x), "weights_sha256": model.card.sha256, "accuracy": accuracy}
        FIGURES.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
