"""Change one thing in every attention of the trained network, without training, and measure what is left of it.

    python examples/ablations/ablate.py                       all 1,000 labelled images, a few minutes
    python examples/ablations/ablate.py --limit 100 --dry     a quick look, nothing written

It reads the labelled images that MINIVAN_LABELLED names (benchmarks/make_labelled.py makes them). Without --dry it writes
results.json, README.md and ablations.png beside this file. Published accuracies are those of networks that were trained with
the change (Guo et al. 2022, ablation tables, VAN-B0 on ImageNet-1k).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numba
import numpy as np
from matplotlib.figure import Figure

import minivan
from minivan import labelled, paths, reference
from minivan.checkpoint.hub import bundled
from minivan.geometry import CONV0, CONV_SPATIAL
from minivan.hooks import Callback
from minivan.operators import Array, Operators
from minivan.van import VAN

HERE = Path(__file__).resolve().parent
BATCH = 50

Parameters: TypeAlias = dict[str, Any]  # of one attention: conv0, conv_spatial, conv1
Change: TypeAlias = Callable[[Operators, Array, Parameters], Array]  # what takes the place of u * attention
Ablation: TypeAlias = tuple[Change, float | None]  # and the published top-1 of a network that was trained so
Row: TypeAlias = dict[str, Any]  # what was measured of one change, as results.json has it


def near(ops: Operators, u: Array, p: Parameters) -> Array:
    return ops.conv2d(u, **p["conv0"], padding=CONV0.padding, groups=u.shape[1])


def far(ops: Operators, u: Array, p: Parameters, taps: int = CONV_SPATIAL.side, dilation: int = CONV_SPATIAL.dilation) -> Array:
    """The dilated depthwise kernel, or its middle taps x taps, or with another dilation; the map keeps its size."""
    middle = slice((CONV_SPATIAL.side - taps) // 2, (CONV_SPATIAL.side + taps) // 2)
    weight = np.ascontiguousarray(p["conv_spatial"]["weight"][:, :, middle, middle])
    padding = dilation * (taps // 2)
    return ops.conv2d(u, weight, p["conv_spatial"]["bias"], padding=padding, dilation=dilation, groups=u.shape[1])


def mix(ops: Operators, u: Array, p: Parameters) -> Array:
    return ops.conv2d(u, **p["conv1"])


def attention(ops: Operators, u: Array, p: Parameters, **reach: int) -> Array:
    return mix(ops, far(ops, near(ops, u, p), p, **reach), p)


def sigmoid(a: Array) -> Array:
    return (1 / (1 + np.exp(-a))).astype(a.dtype)


def nominal(taps: int = CONV_SPATIAL.side, dilation: int = CONV_SPATIAL.dilation) -> int:
    """Return the K that a far kernel stands for."""
    return taps * dilation


PARTS: dict[str, Ablation] = {
    "as trained": (lambda ops, u, p: u * attention(ops, u, p), 75.4),
    "sigmoid on the attention": (lambda ops, u, p: u * sigmoid(attention(ops, u, p)), 75.2),
    "add instead of multiply": (lambda ops, u, p: u + attention(ops, u, p), 74.6),
    "no gate: the attention alone": (lambda ops, u, p: attention(ops, u, p), 74.3),
    "no near step (5 x 5)": (lambda ops, u, p: u * mix(ops, far(ops, u, p), p), 74.9),
    "no far step (7 x 7, dilated)": (lambda ops, u, p: u * mix(ops, near(ops, u, p), p), 74.1),
    "no mixing step (1 x 1)": (lambda ops, u, p: u * far(ops, near(ops, u, p), p), 74.6),
    "no attention: u passes": (lambda ops, u, p: u.copy(), None),
}
REACHES = {  # the same weights with another reach; the nominal K is taps x dilation, 7 x 3 as trained
    "K = 3: middle 1 x 1 of the far kernel": {"taps": 1},
    "K = 9: middle 3 x 3 of the far kernel": {"taps": 3},
    "K = 15: middle 5 x 5 of the far kernel": {"taps": 5},
    "K = 7: far kernel with dilation 1": {"dilation": 1},
    "K = 14: far kernel with dilation 2": {"dilation": 2},
    "K = 28: far kernel with dilation 4": {"dilation": 4},
    "K = 35: far kernel with dilation 5": {"dilation": 5},
}
PUBLISHED_BY_K = {7: 74.8, 14: 75.3, 28: 75.4}  # and 21: 75.4, the network as it is


def ablations() -> dict[str, Ablation]:
    """Return name -> (function, published) of all changes."""

    def with_reach(reach: dict[str, int]) -> Ablation:
        return lambda ops, u, p: u * attention(ops, u, p, **reach), PUBLISHED_BY_K.get(nominal(**reach))

    return PARTS | {name: with_reach(reach) for name, reach in REACHES.items()}


def unit(model: VAN, block: str = "block1.0") -> Parameters:
    """Return the parameters of a block's attention."""
    return paths.branch(model.parameters, f"{block}.{paths.UNIT}")


def replace(model: VAN, change: Change) -> Callback:
    """Return a hook that puts `change(ops, u, parameters)` in the place of every gated map."""
    kept = {}

    def hook(path: str, array: Array) -> Array | None:
        block = paths.block_of(path)
        if paths.is_gated(path):
            kept["u"] = array
        if block is None or not paths.is_unit(path):
            return None
        return change(model.engine.ops, kept["u"], unit(model, block))

    return hook


def photographs(model: VAN, limit: int) -> tuple[Array, Array]:
    """Return the first `limit` of the labelled images, in the order of their file names, and their class indices."""
    source = labelled.given()
    names = sorted(labelled.names(source), key=lambda name: name.rsplit("/", 1)[-1])
    return labelled.inputs(source, model.card, names[:limit])


def logits(model: VAN, x: Array, change: Change | None = None) -> Array:
    """Run all images in batches, with a change or as the network is."""
    hook = replace(model, change) if change else None
    return np.concatenate([model(x[i : i + BATCH], hook=hook) for i in range(0, len(x), BATCH)])


def footprint(model: VAN, change: Change, side: int = 41) -> int:
    """Return how wide a square of inputs an output reads: poke one position, see which outputs notice."""
    p = unit(model)
    u = np.random.default_rng(0).random((1, len(p["conv0"]["bias"]), side, side)) + 1
    poked = u.copy()
    poked[..., side // 2, side // 2] += 1
    noticed = np.flatnonzero((change(reference, poked, p) != change(reference, u, p)).any(axis=(0, 1, 2)))
    return int(np.ptp(noticed)) + 1


def milliseconds(model: VAN, repeats: int = 40) -> dict[str, float]:
    """Return the shortest time of each changed unit on a stage-1 map at 224 x 224, one thread, all taking turns."""
    p = unit(model)
    u = np.random.default_rng(0).standard_normal((1, len(p["conv0"]["bias"]), 56, 56)).astype(np.float32)
    spent: dict[str, list[float]] = {name: [] for name in ablations()}
    threads = numba.get_num_threads()
    numba.set_num_threads(1)  # two threads wait for each other on a busy machine, and the ratios drown in that
    for turn in range(repeats + 1):
        for name, (change, _) in ablations().items():
            start = time.perf_counter()
            change(model.engine.ops, u, p)
            if turn:  # the first turn compiles
                spent[name].append(1000 * (time.perf_counter() - start))
    numba.set_num_threads(threads)
    return {name: min(times) for name, times in spent.items()}


def measure(model: VAN, limit: int) -> list[Row]:
    """Return a row per change: accuracy, agreement with the unchanged network, distance of the logits, reach, time."""
    x, targets = photographs(model, limit)
    unchanged, times = logits(model, x), milliseconds(model)
    rows: list[Row] = []
    for name, (change, published) in ablations().items():
        changed = logits(model, x, change)
        right = changed.argmax(1) == targets
        distance = np.linalg.norm(changed - unchanged, axis=1) / np.linalg.norm(unchanged, axis=1)
        rows.append(
            {
                "name": name,
                "images": len(x),
                "right": int(right.sum()),
                "right_of_first_100": int(right[:100].sum()),
                "same_answer": int((changed.argmax(1) == unchanged.argmax(1)).sum()),
                "logits_change": round(float(distance.mean()), 4),
                "reads": footprint(model, change),
                "milliseconds": round(times[name], 3),
                "published_top1": published,
            }
        )
        print(line(rows[-1], rows[0]), flush=True)
    return rows


def line(row: Row, first: Row) -> str:
    """Format one row of the page's tables."""
    accuracy, same = (f"{100 * row[key] / row['images']:.1f} %" for key in ("right", "same_answer"))
    reads = f"{row['reads']} x {row['reads']}"
    relative = f"{row['milliseconds'] / first['milliseconds']:.2f}"
    published = f"{row['published_top1']} %" if row["published_top1"] else ""
    return f"| {row['name']} | {accuracy} | {same} | {100 * row['logits_change']:.0f} % | {reads} | {relative} | {published} |"


def percent(row: Row) -> str:
    return f"{100 * row['right'] / row['images']:.1f} %"


def report(model: VAN, rows: list[Row]) -> str:
    """Return README.md."""
    parts, reaches = rows[: len(PARTS)], [rows[0] | {"name": "K = 21: as trained"}, *rows[len(PARTS) :]]
    narrower, narrowest = (next(row for row in rows if row["name"].startswith(f"K = {K}:")) for K in (15, 3))
    crop = model.card.preprocessing.crop
    first, last = crop // 4, crop // 32
    published = [row["published_top1"] for row in parts if row["published_top1"]]
    kept = percent(max(parts[1:], key=lambda row: row["right"]))
    page = f"""# Ablations

What is each part of the attention good for? Here one thing is changed in every block of the trained network
(`{model.card.name}`), **without training it again**, and {rows[0]["images"]:,} labelled images are shown to it.
`python examples/ablations/ablate.py` makes this page. It needs no fork of the network: what a hook returns takes the
place of what it saw.

| change in every block | top-1 | same answer | logits change | an output reads | time | **published**, trained so |
|---|--:|--:|--:|--:|--:|--:|
{chr(10).join(line(row, rows[0]) for row in parts)}

- top-1: on the labelled images, exact engine. Same answer: as the unchanged network's, right or wrong.
- time: of the changed unit alone on a 56 x 56 map, relative to the unchanged one, exact engine, one thread, measured.
- **published**: Guo et al. 2022, VAN-B0 *trained with the change* on ImageNet-1k. Other images, other weights: compare
  within this column only.

The same trained weights with another reach, K being the far kernel's taps times its dilation:

| change in every block | top-1 | same answer | logits change | an output reads | time | **published**, trained with that K |
|---|--:|--:|--:|--:|--:|--:|
{chr(10).join(line(row, rows[0]) for row in reaches)}

![Accuracy after each change](ablations.png)

What to see: a network *trained* without one of the parts loses at most {max(published) - min(published):.1f} points.
Robbed of it *after* training, of {percent(rows[0])} at most {kept} are left. An ablation after the fact shows what these
weights rely on, not what the idea is worth; both questions are fair, and their answers differ.

And the reach: with the middle 5 x 5 of the far kernel alone, 17 x 17 instead of 23 x 23, {percent(narrower)} are right, with
its middle alone, 5 x 5, {percent(narrowest)}. On photos of {crop} x {crop} the first map is {first} x {first} and the last
{last} x {last}: there is not much to reach for, but what there is is used.

Other weights, other conclusions. Version 1 of the bundled weights saw photos of 64 x 64 and lost nothing by a reach of 17 x 17;
without the mixing step it kept two fifths of its right answers, where these keep next to none. Both lost the most without the
far step, and the least, of the changes to the gate, by the sigmoid.
"""
    return page


def draw(rows: list[Row]) -> Figure:
    """Return the figure: accuracy after each change, and the published accuracy where the paper trained with it."""
    figure = Figure(figsize=(9, 4.8), dpi=110, layout="constrained")
    ax = figure.subplots()
    places = np.arange(len(rows))[::-1]
    accuracy = [100 * row["right"] / row["images"] for row in rows]
    ax.barh(places, accuracy, color="#0072B2", label="bundled weights, changed after training")
    published = [(row["published_top1"], place) for place, row in zip(places, rows, strict=True) if row["published_top1"]]
    ax.plot(*zip(*published, strict=True), "D", color="#D55E00", label="published: trained with the change, ImageNet-1k")
    ax.set_yticks(places, [row["name"] for row in rows])
    ax.set(xlabel="top-1 accuracy in per cent", xlim=(0, 100))
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=2)
    return figure


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--limit", type=int, default=1000, help="labelled images to use (default 1000)")
    parser.add_argument("--dry", action="store_true", help="print only, write nothing")
    args = parser.parse_args(argv)
    model = minivan.load(bundled()[0], engine="exact")
    try:
        rows = measure(model, args.limit)
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    if not args.dry:
        (HERE / "results.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        (HERE / "README.md").write_text(report(model, rows), encoding="utf-8")
        draw(rows).savefig(HERE / "ablations.png", metadata={"Software": None})


if __name__ == "__main__":
    main()
