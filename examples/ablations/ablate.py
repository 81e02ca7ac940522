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
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numba
import numpy as np
from matplotlib.figure import Figure

import minivan
from minivan import labelled, lka, paths, reference
from minivan.checkpoint.hub import bundled
from minivan.geometry import CONV0, CONV_SPATIAL
from minivan.hooks import Callback
from minivan.operators import Array, Operators
from minivan.van import VAN

HERE = Path(__file__).resolve().parent
BATCH = 50
MARGIN = 3  # right answers of a hundred: as many may come and go by chance
FITTED_TO, FITTED_SHOWN = 50, 100  # images that factors and summands are fitted to, the last; that they are tried on, the first

Parameters: TypeAlias = dict[str, Any]  # of one attention: conv0, conv_spatial, conv1
Change: TypeAlias = Callable[[Operators, Array, Parameters], Array]  # what takes the place of u * attention
Fits: TypeAlias = dict[str, dict[str, Array]]  # block -> factor and summand, float64 (C, 1, 1) each
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
ATTENTIONS: dict[str, Change] = {  # of the changes above, those that put another map in the place of the attention
    "as trained": attention,
    "no near step (5 x 5)": lambda ops, u, p: mix(ops, far(ops, u, p), p),
    "no far step (7 x 7, dilated)": lambda ops, u, p: mix(ops, near(ops, u, p), p),
    "no mixing step (1 x 1)": lambda ops, u, p: far(ops, near(ops, u, p), p),
    "no attention: u passes": lambda ops, u, p: np.ones_like(u),
    **{
        name: lambda ops, u, p, reach=reach: attention(ops, u, p, **reach)
        for name, reach in REACHES.items()
        if "middle" in name
    },
}
PUBLISHED_REACHES = {(7, 2): 74.8, (14, 3): 75.3, (28, 4): 75.4}  # K and d; the near kernel is 2d - 1 wide, the far one K/d


def ablations() -> dict[str, Ablation]:
    """Return name -> (function, published) of all changes."""

    def with_reach(reach: dict[str, int]) -> Ablation:
        return lambda ops, u, p: u * attention(ops, u, p, **reach), None  # the paper's other K have other kernels

    return PARTS | {name: with_reach(reach) for name, reach in REACHES.items()}


def unit(model: VAN, block: str = "block1.0") -> Parameters:
    """Return the parameters of a block's attention."""
    return paths.branch(model.parameters, f"{block}.{paths.UNIT}")


def replace(model: VAN, change: Change, fits: Fits | None = None) -> Callback:
    """Return a hook that puts `change(ops, u, parameters)` in the place of every gated map.

    With `fits`, what `change` gives is an attention: each channel takes its block's factor and summand, then it gates u.
    """
    kept = {}

    def hook(path: str, array: Array) -> Array | None:
        block = paths.block_of(path)
        if paths.is_gated(path):
            kept["u"] = array
        if block is None or not paths.is_unit(path):
            return None
        changed = change(model.engine.ops, kept["u"], unit(model, block))
        if fits is None:
            return changed
        gated: Array = kept["u"] * (fits[block]["factor"] * changed + fits[block]["summand"])
        return gated.astype(array.dtype)

    return hook


def fit(model: VAN, x: Array, attentions: Mapping[str, Change] = ATTENTIONS) -> dict[str, Fits]:
    """Return, for each of these attentions, what brings it closest to the trained one: a factor and a summand per channel.

    Least squares over all places of the images, each block being given what it has in the unchanged network. No label is
    looked at, and no weight changes.
    """
    kept: dict[str, Array] = {}
    sums: dict[tuple[str, str], Array] = {}  # of 1, changed, trained, changed * trained and changed squared, per channel

    def hook(path: str, array: Array) -> None:
        block = paths.block_of(path)
        if paths.is_gated(path):
            kept["u"] = array
        if block is None or not paths.is_factor(path):
            return
        for name, change in attentions.items():
            a, b = array.astype(np.float64), change(model.engine.ops, kept["u"], unit(model, block)).astype(np.float64)
            terms = np.array([term.sum(axis=(0, 2, 3)) for term in (np.ones_like(a), b, a, a * b, b * b)])
            sums[name, block] = sums.get((name, block), 0 * terms) + terms

    for i in range(0, len(x), BATCH):
        model(x[i : i + BATCH], hook=hook)
    fits: dict[str, Fits] = {name: {} for name in attentions}
    for (name, block), (count, b, a, ab, bb) in sums.items():
        spread = bb / count - (b / count) ** 2
        varies = spread > 1e-12 * (bb / count)  # a channel that is one number everywhere has no factor
        factor = np.where(varies, ab / count - a * b / count**2, 0) / np.where(varies, spread, 1)
        fits[name][block] = {"factor": factor[:, None, None], "summand": ((a - factor * b) / count)[:, None, None]}
    return fits


def photographs(model: VAN, limit: int) -> tuple[Array, Array]:
    """Return the first `limit` of the labelled images, in the order of their file names, and their class indices."""
    source = labelled.given()
    names = sorted(labelled.names(source), key=lambda name: name.rsplit("/", 1)[-1])
    return labelled.inputs(source, model.card, names[:limit])


def logits(model: VAN, x: Array, change: Change | None = None, fits: Fits | None = None) -> Array:
    """Run all images in batches, with a change or as the network is."""
    hook = replace(model, change, fits) if change else None
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
    fitted = fitted_right(model, x, targets)
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
                "fitted_right": fitted.get(name),
            }
        )
        print(line(rows[-1], rows[0]), flush=True)
    return rows


def fitted_right(model: VAN, x: Array, targets: Array) -> dict[str, int]:
    """Return, for each of ATTENTIONS, how many of the first images are right once it is fitted to the last ones."""
    fits = fit(model, x[-FITTED_TO:])
    shown = slice(min(FITTED_SHOWN, len(x)))
    return {
        name: int((logits(model, x[shown], change, fits[name]).argmax(1) == targets[shown]).sum())
        for name, change in ATTENTIONS.items()
    }


def line(row: Row, first: Row) -> str:
    """Format one row of the page's tables."""
    accuracy, same = (f"{100 * row[key] / row['images']:.1f} %" for key in ("right", "same_answer"))
    reads = f"{row['reads']} x {row['reads']}"
    relative = f"{row['milliseconds'] / first['milliseconds']:.2f}"
    return f"| {row['name']} | {accuracy} | {same} | {100 * row['logits_change']:.0f} % | {reads} | {relative} |"


def fitted_line(row: Row) -> str:
    """Format one row of the table of fitted attentions."""
    alone = "u passes" in row["name"]  # then what is fitted is one number for each channel
    name, reads = ("each channel's mean", "nothing") if alone else (row["name"], f"{row['reads']} x {row['reads']}")
    return f"| {name} | {reads} | {row['right_of_first_100']} | {row['fitted_right']} |"


def fitted_told(rows: list[Row]) -> str:
    """Say what fitting gives back, from the numbers."""
    fitted = {row["name"]: row["fitted_right"] for row in rows if row.get("fitted_right") is not None}
    starts = ("no far", "K = 3:", "K = 9:", "no attention: u", "as trained")
    no_far, middle, wider, means, trained = (fitted[name] for start in starts for name in fitted if name.startswith(start))
    apart = "which a factor afterwards cannot make up for. It is not reach that parts the two"
    parted = apart if middle - no_far > MARGIN else "and for these weights that is worth little"
    return f"""
- One number for each channel, which reads nothing at all, has {means} right, where the trained attention has {trained}.
- The trained near kernel and the far kernel's middle, 5 x 5 in all, have {middle}; with its middle 3 x 3, 11 x 11 in all,
  {wider}.
- No far step has {no_far}, and it reads the same 5 x 5: it differs from the far kernel's middle only in that nothing weighs the
  channels before they are mixed, {parted}."""


def reach_trained(K: int, d: int) -> str:
    """Name a network of the paper by its K and d, and the two kernels that follow from them."""
    near, far = lka.local_side(d), lka.dilated_side(K, d)
    return f"K = {K}, d = {d}: {near} x {near}, then {far} x {far} with dilation {d}"


def percent(row: Row) -> str:
    return f"{100 * row['right'] / row['images']:.1f} %"


def report(model: VAN, rows: list[Row]) -> str:
    """Return README.md."""
    parts, reaches = rows[: len(PARTS)], [rows[0] | {"name": "K = 21: as trained"}, *rows[len(PARTS) :]]
    no_far = next(row for row in rows if row["name"].startswith("no far"))
    narrower, narrowest = (next(row for row in rows if row["name"].startswith(f"K = {K}:")) for K in (15, 3))
    crop = model.card.preprocessing.crop
    first, last = crop // 4, crop // 32
    published = [row["published_top1"] for row in parts if row["published_top1"]]
    trained = {row["name"]: row["published_top1"] for row in parts if row["published_top1"]}
    trained |= {reach_trained(K, d): top1 for (K, d), top1 in PUBLISHED_REACHES.items()}
    unmixed = next(f"{100 * row['right'] / rows[0]['right']:.0f} %" for row in rows if row["name"].startswith("no mixing"))
    kept = percent(max(parts[1:], key=lambda row: row["right"]))
    page = f"""# Ablations

What is each part of the attention good for? Here one thing is changed in every block of the trained network
(`{model.card.name}`), **without training it again**, and {rows[0]["images"]:,} labelled images are shown to it.
`python examples/ablations/ablate.py` makes this page. It needs no fork of the network: what a hook returns takes the
place of what it saw.

| change in every block | top-1 | same answer | logits change | an output reads | time |
|---|--:|--:|--:|--:|--:|
{chr(10).join(line(row, rows[0]) for row in parts)}

- top-1: on the labelled images, exact engine. Same answer: as the unchanged network's, right or wrong.
- time: of the changed unit alone on a 56 x 56 map, relative to the unchanged one, exact engine, one thread, measured.

The same trained weights with another reach, K being the far kernel's taps times its dilation:

| change in every block | top-1 | same answer | logits change | an output reads | time |
|---|--:|--:|--:|--:|--:|
{chr(10).join(line(row, rows[0]) for row in reaches)}

![Accuracy after each change](ablations.png)

## Reach, apart from calibration

"{no_far["name"].capitalize()}" keeps {percent(no_far)}, "{narrowest["name"]}" {percent(narrowest)}, and both read
{no_far["reads"]} x {no_far["reads"]}: it is not reach that parts them. A step that is left out takes its scale and its bias
with it, and the next step meets numbers that it was never trained for. So here each channel of the changed attention is given
a factor and a summand, those with which it comes closest to the trained attention (least squares over the last {FITTED_TO}
images, labels unseen; no weight is trained), and the first {FITTED_SHOWN} images are shown to it:

| the attention | an output reads | right of {FITTED_SHOWN} as it is | right of {FITTED_SHOWN} fitted |
|---|--:|--:|--:|
{chr(10).join(fitted_line(row) for row in rows if row.get("fitted_right") is not None)}

{FITTED_SHOWN} images place an accuracy within {50 / FITTED_SHOWN**0.5:.0f} points or so (one standard error at 50 %).
{fitted_told(rows)}

## What the paper measured

Guo et al. 2022 *trained* VAN-B0 with each change, on ImageNet-1k: other images, other weights, and another question. None of
these stands beside a number of the tables above; and a network trained with another K has the kernels of that K from the
start, other ones than the trained 5 x 5 and 7 x 7 set closer or wider above.

| trained with | **published** top-1 |
|---|--:|
{chr(10).join(f"| {name} | {top1} % |" for name, top1 in trained.items())}

What to see: a network *trained* without one of the parts loses at most {max(published) - min(published):.1f} points.
Robbed of it *after* training, of {percent(rows[0])} at most {kept} are left. An ablation after the fact shows what these
weights rely on, not what the idea is worth; both questions are fair, and their answers differ.

And the reach: without fitting, the middle 5 x 5 of the far kernel, 17 x 17 instead of 23 x 23, keeps {percent(narrower)}, its
middle alone, 5 x 5, {percent(narrowest)}; the table of fitted attentions says how little of that loss was reach. On photos of
{crop} x {crop} the first map is {first} x {first} and the last {last} x {last}: there is not much to reach for.

Other weights, other conclusions. Version 1 of the bundled weights saw photos of 64 x 64 and lost nothing by a reach of 17 x 17;
without the mixing step it kept two fifths of its right answers, where these keep {unmixed} of theirs.
"""
    return page


def draw(rows: list[Row]) -> Figure:
    """Return the figure: accuracy after each change, as it is and fitted. What the paper trained has no place on its axis."""
    figure = Figure(figsize=(9, 4.8), dpi=110, layout="constrained")
    ax = figure.subplots()
    places = np.arange(len(rows))[::-1]
    accuracy = [100 * row["right"] / row["images"] for row in rows]
    ax.barh(places, accuracy, color="#0072B2", label=f"changed after training, {rows[0]['images']:,} images")
    fitted = [
        (100 * row["fitted_right"] / FITTED_SHOWN, place)
        for place, row in zip(places, rows, strict=True)
        if row.get("fitted_right") is not None
    ]
    ax.plot(
        *zip(*fitted, strict=True), "D", color="#D55E00", label=f"each channel's scale and bias fitted, {FITTED_SHOWN} images"
    )
    ax.set_yticks(places, [row["name"] for row in rows])
    ax.set(xlabel="top-1 accuracy of the bundled weights in per cent", xlim=(0, 100))
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
