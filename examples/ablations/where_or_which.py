"""Does the trained attention say where, or which channel? Take either away, and measure what is left.

    python examples/ablations/where_or_which.py                      all 1,000 labelled images, some minutes
    python examples/ablations/where_or_which.py --limit 100 --dry    a quick look, nothing written

It reads the labelled images that MINIVAN_LABELLED names (benchmarks/make_labelled.py makes them). Without --dry it writes
minivan/lesson/where_or_which.json, which the lesson quotes, and where_or_which.md and .png beside this file.
"""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import ablate
import numpy as np
from matplotlib.figure import Figure

import minivan
from minivan import paths
from minivan.checkpoint.hub import bundled
from minivan.explain import Variance
from minivan.explain.attention import WHERE, WHICH, split_variance
from minivan.hooks import Callback
from minivan.operators import Array
from minivan.van import VAN

HERE = Path(__file__).resolve().parent
MEASURED = Path(minivan.__file__).parent / "lesson" / "where_or_which.json"
AVERAGED = 100  # images, the last ones, over which the fixed attentions are averaged; no label is looked at

Fixed: TypeAlias = dict[str, Array]  # block -> its attention's mean over images, float64 (C, H, W)
Change: TypeAlias = Callable[[Array, Array], Array]  # from the attention (N, C, H, W) and the fixed one to another
Measured: TypeAlias = dict[str, Any]  # what where_or_which.json holds


def over(array: Array, axes: tuple[int, ...]) -> Array:
    return array.mean(axis=axes, keepdims=True)


CHANGES: dict[str, Change] = {  # what the attention is replaced by, in every block
    "as trained": lambda a, fixed: a,
    "which": lambda a, fixed: over(a, WHICH),
    "where": lambda a, fixed: over(a, WHERE),
    "fixed levels": lambda a, fixed: a - over(a, WHICH) + over(fixed, (1, 2)),
    "fixed maps": lambda a, fixed: fixed,
    "fixed numbers": lambda a, fixed: over(fixed, (1, 2)),
    "one number": lambda a, fixed: fixed.mean(),
}
TOLD = {  # each as the page calls it, and how many numbers it has for a photo, which the photo decides
    "as trained": ("as trained", "C x H x W"),
    "which": ("each map its mean over places: which, not where", "C"),
    "where": ("all channels their mean: where, not which", "H x W"),
    "fixed levels": ("each map as it is, but its mean that of other photos", "C x H x W, less C"),
    "fixed maps": ("each map that of other photos, on average", "none"),
    "fixed numbers": ("each channel one number, the same for all photos", "none"),
    "one number": ("one number for all of the block", "none"),
}


def fixed_attention(model: VAN, x: Array) -> Fixed:
    """Return each block's attention averaged over images x."""
    sums: Fixed = {}

    def hook(path: str, array: Array) -> None:
        block = paths.block_of(path)
        if block is not None and paths.is_factor(path):
            sums[block] = sums.get(block, 0) + array.astype(np.float64).sum(axis=0)

    for i in range(0, len(x), ablate.BATCH):
        model(x[i : i + ablate.BATCH], hook=hook)
    return {block: total / len(x) for block, total in sums.items()}


def replace(change: Change, fixed: Fixed) -> Callback:
    """Return a hook that puts a change of every attention in its place."""

    def hook(path: str, array: Array) -> Array | None:
        block = paths.block_of(path)
        if block is None or not paths.is_factor(path):
            return None
        changed = change(array.astype(np.float64), fixed[block])
        return np.ascontiguousarray(np.broadcast_to(changed, array.shape), array.dtype)

    return hook


def logits(model: VAN, x: Array, change: Change, fixed: Fixed) -> Array:
    """Run all images in batches, every attention changed."""
    hook = replace(change, fixed)
    return np.concatenate([model(x[i : i + ablate.BATCH], hook=hook) for i in range(0, len(x), ablate.BATCH)])


def variances(model: VAN, x: Array) -> dict[str, Variance]:
    """Return how each block's attention varies over all places, channels and images."""
    means: dict[str, list[Array]] = {}
    within: dict[str, list[Array]] = {}

    def hook(path: str, array: Array) -> None:
        block = paths.block_of(path)
        if block is not None and paths.is_factor(path):
            values = array.astype(np.float64)
            means.setdefault(block, []).append(values.mean(axis=(2, 3)))
            within.setdefault(block, []).append(values.var(axis=(2, 3)))

    for i in range(0, len(x), ablate.BATCH):
        model(x[i : i + ablate.BATCH], hook=hook)
    return {block: split_variance(np.concatenate(means[block]), np.concatenate(within[block])) for block in means}


def measure(model: VAN, limit: int) -> Measured:
    """Return how many images each change leaves right, and how the attention varies."""
    x, targets = ablate.photographs(model, limit)
    fixed = fixed_attention(model, x[-AVERAGED:])
    right, first = {}, {}
    for name, change in CHANGES.items():
        is_right = logits(model, x, change, fixed).argmax(1) == targets
        right[name], first[name] = int(is_right.sum()), int(is_right[:100].sum())
        print(f"{name:14s} {right[name]} of {len(x)}", flush=True)
    shares = {
        block: {part: round(getattr(split, part) / split.total, 4) for part in ("channels", "images", "places")}
        for block, split in variances(model, x).items()
    }
    return {
        "images": len(x),
        "weights_sha256": model.card.sha256,
        "right": right,
        "right_of_first_100": first,
        "variance": shares,
    }


def percent(measured: Measured, name: str) -> str:
    return f"{100 * measured['right'][name] / measured['images']:.1f} %"


def report(model: VAN, measured: Measured) -> str:
    """Return where_or_which.md."""
    rows = "\n".join(f"| {said} | {numbers} | {percent(measured, name)} |" for name, (said, numbers) in TOLD.items())
    splits = "\n".join(
        f"| {block} | " + " | ".join(f"{100 * share[part]:.0f} %" for part in ("channels", "images", "places")) + " |"
        for block, share in measured["variance"].items()
    )
    return f"""# Where, or which?

SENet weighs channels: C numbers for a photo. Self-attention weighs places: H x W numbers, the same for all channels there. LKA
has C x H x W numbers, and could say both: which channel, and where. What do the trained weights say
(`{model.card.name}`)?
`python examples/ablations/where_or_which.py` makes this page, from {measured["images"]:,} labelled images, exact engine.

## How the attention varies

The variance of a block's attention values is, without a remainder, the sum of three: between the channels' means over all
photos; between a channel's means in single photos; and between the places of a map.

| block | which channel, in any photo | which channel, as the photo decides | where in the photo |
|---|--:|--:|--:|
{splits}

## What the answer needs of it

Every block's attention is replaced, **nothing is trained again**. The fixed numbers are means over the last {AVERAGED} of the
images, in the unchanged network, labels unseen.

| in the place of the attention | numbers that the photo decides | top-1 |
|---|---|--:|
{rows}

![Accuracy with parts of the attention taken away](where_or_which.png)

{told(measured)}
"""


def told(measured: Measured) -> str:
    """Say what the numbers say, whatever they are."""
    top = {name: 100 * right / measured["images"] for name, right in measured["right"].items()}
    where, which = top["as trained"] - top["which"], top["as trained"] - top["fixed levels"]
    more, other = ("where", "which channel") if where > which else ("which channel", "where")
    alone = top["which"] - top["fixed numbers"]
    block, shares = max(measured["variance"].items(), key=lambda item: item[1]["places"])
    return f"""What each of the two buys, once the other is there: without *where* the answers lose {where:.1f} points; with the
channels' means fixed, so that a photo cannot choose *which*, they lose {which:.1f}. More is lost with {more} than with {other}.
Where neither is left, each channel having one number for all photos, {top["fixed numbers"]:.1f} % are right; letting the
photo set those numbers gives {alone:.1f} points back. One map for all channels keeps {top["where"]:.1f} %: it has lost not
only *which* as the photo decides it, but that channels differ at all. One number for the whole block, which has lost
everything, keeps {top["one number"]:.1f} %.

How much attention varies is not how much that is worth: between the places of {block} lie {100 * shares["places"]:.0f} % of its
variance, and all blocks together lose the {where:.1f} points with it. What is lost is what *these* weights rely on, changed
after training: a network trained without *where*, or without *which*, may do as well.

{measured["images"]:,} images place an accuracy within {50 / measured["images"] ** 0.5:.1f} points or so (one standard
error at 50 %)."""


def draw(measured: Measured) -> Figure:
    """Return the figure: how the attention varies on the left, what the answer needs on the right."""
    figure = Figure(figsize=(10.5, 4.4), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2)
    blocks = list(measured["variance"])
    begin = np.zeros(len(blocks))
    parts = {
        "channels": ("#0072B2", "which channel, in any photo"),
        "images": ("#56B4E9", "which channel, as the photo decides"),
        "places": ("#E69F00", "where in the photo"),
    }
    for part, (colour, said) in parts.items():
        share = np.array([100 * measured["variance"][block][part] for block in blocks])
        left.barh(blocks, share, left=begin, color=colour, label=said)
        begin += share
    left.invert_yaxis()
    left.set(xlabel="share of the variance of attention in per cent", xlim=(0, 100))
    left.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.4, 1.0), fontsize=9)
    names = list(TOLD)
    accuracy = [100 * measured["right"][name] / measured["images"] for name in names]
    right.barh(range(len(names)), accuracy, color="#8A8A8A")
    right.set_yticks(range(len(names)), ["\n".join(textwrap.wrap(TOLD[name][0], 30)) for name in names], fontsize=9)
    right.invert_yaxis()
    for place, value in enumerate(accuracy):
        right.text(value + 1, place, f"{value:.1f}", va="center", fontsize=9)
    right.set(xlabel="top-1 accuracy in per cent", xlim=(0, 75))
    for ax in (left, right):
        ax.spines[["top", "right"]].set_visible(False)
    return figure


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--limit", type=int, default=1000, help="labelled images to use (default 1000)")
    parser.add_argument("--dry", action="store_true", help="print only, write nothing")
    args = parser.parse_args(argv)
    model = minivan.load(bundled()[0], engine="exact")
    try:
        measured = measure(model, args.limit)
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    if not args.dry:
        MEASURED.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
        (HERE / "where_or_which.md").write_text(report(model, measured), encoding="utf-8")
        draw(measured).savefig(HERE / "where_or_which.png", metadata={"Software": None})


if __name__ == "__main__":
    main()
