"""What is left of the trained network's accuracy after each change that the page of `minivan explore` offers.

    python benchmarks/page.py                  all 1,000 labelled images, some minutes
    python benchmarks/page.py --limit 100      a quick look, nothing written

It writes minivan/page/figures.json. The changes are those of minivan/page/changes.js under the same names. What
examples/ablations/ablate.py has measured of them is taken from its results; the change that it does not make is measured here,
on the labelled images that MINIVAN_LABELLED names (benchmarks/make_labelled.py makes them), and the network as trained again,
which tells results of other weights.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
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
ABLATIONS = Path(__file__).parents[1] / "examples" / "ablations" / "results.json"
MEASURED = {  # the page's name -> that of examples/ablations
    "none": "as trained",
    "one": "no attention: u passes",
    "sigmoid": "sigmoid on the attention",
    "add": "add instead of multiply",
    "taps5": "K = 15: middle 5 x 5 of the far kernel",
    "taps3": "K = 9: middle 3 x 3 of the far kernel",
    "taps1": "K = 3: middle 1 x 1 of the far kernel",
    "dilation1": "K = 7: far kernel with dilation 1",
    "dilation2": "K = 14: far kernel with dilation 2",
    "dilation4": "K = 28: far kernel with dilation 4",
    "dilation5": "K = 35: far kernel with dilation 5",
}
MISSING = "mean"
CHANGES = (*MEASURED, MISSING)
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
    accuracy = measured()
    x, targets = labelled.inputs(labelled.given(), model.card)
    x, targets = x[: args.limit], targets[: args.limit]
    found = {}
    for change in ("none", MISSING):
        hook = changed(model, change)
        logits = np.concatenate([model(x[i : i + BATCH], hook=hook) for i in range(0, len(x), BATCH)])
        found[change] = labelled.right(logits, targets)
        print(f"{change}: {found[change]} of {len(x)}")
    accuracy[MISSING] = found[MISSING]
    if args.limit is None:
        if found["none"] != accuracy["none"]:
            sys.exit("examples/ablations/results.json is of other weights or images: run examples/ablations/ablate.py first")
        made = {"images": len(x), "weights_sha256": model.card.sha256, "accuracy": accuracy}
        FIGURES.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")


def measured() -> dict[str, int]:
    """Return how many of the 1,000 images the ablations found right, by the page's names."""
    right = {row["name"]: row["right"] for row in json.loads(ABLATIONS.read_text(encoding="utf-8"))}
    return {change: right[name] for change, name in MEASURED.items()}


if __name__ == "__main__":
    main()
