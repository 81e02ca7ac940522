"""Change one thing in every attention of the trained network, without training, and measure what is left of it.

    python examples/ablations/ablate.py                       all 1,000 labelled images, a few minutes
    python examples/ablations/ablate.py --limit 100 --dry     a quick look, nothing written

Without --dry it writes results.json, README.md and ablations.png beside this file. Published accuracies are those of
networks that were trained with the change (Guo et al. 2022, ablation tables, VAN-B0 on ImageNet-1k).
"""

from __future__ import annotations

import argparse
import io
import json
import time
import zipfile
from pathlib import Path

import numba
import numpy as np

import minivan
from minivan import image, reference
from minivan.checkpoint.hub import bundled

HERE = Path(__file__).resolve().parent
IMAGES = HERE.parent.parent / "tests" / "data" / "tiny_imagenet_val_1000.zip"
BATCH = 50
UNIT = "spatial_gating_unit"


def near(ops, u, p):
    return ops.conv2d(u, **p["conv0"], padding=2, groups=u.shape[1])


def far(ops, u, p, taps=7, dilation=3):
    """The dilated depthwise kernel, or its middle taps x taps, or with another dilation; the map keeps its size."""
    cut = (7 - taps) // 2
    weight = np.ascontiguousarray(p["conv_spatial"]["weight"][:, :, cut : 7 - cut, cut : 7 - cut])
    padding = dilation * (taps // 2)
    return ops.conv2d(u, weight, p["conv_spatial"]["bias"], padding=padding, dilation=dilation, groups=u.shape[1])


def mix(ops, u, p):
    return ops.conv2d(u, **p["conv1"])


def attention(ops, u, p, **reach):
    return mix(ops, far(ops, near(ops, u, p), p, **reach), p)


def sigmoid(a):
    return (1 / (1 + np.exp(-a))).astype(a.dtype)


PARTS = {  # name -> (what takes the place of u * attention, published top-1 of a network trained so)
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


def ablations() -> dict:
    """Return name -> (function, published) of all changes."""

    def with_reach(reach):
        published = PUBLISHED_BY_K.get(reach.get("taps", 7) * reach.get("dilation", 3))
        return lambda ops, u, p: u * attention(ops, u, p, **reach), published

    return PARTS | {name: with_reach(reach) for name, reach in REACHES.items()}


def replace(model, change):
    """Return a tap that puts `change(ops, u, parameters)` in the place of every gated map."""
    kept = {}

    def tap(path, array):
        if path.endswith("attn.activation"):
            kept["u"] = array
        if not path.endswith(UNIT):
            return None
        stage, block = path.split(".")[:2]
        return change(model.ops, kept["u"], model.parameters[stage][block]["attn"][UNIT])

    return tap


def labelled(model, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first `limit` of the labelled images, in the order of their numbers, and their class indices."""
    index = {label.wnid: i for i, label in enumerate(model.card.labels)}
    with zipfile.ZipFile(IMAGES) as archive:
        names = [name for name in archive.namelist() if name.endswith(".JPEG")]
        names = sorted(names, key=lambda name: name.split("/")[1])[:limit]
        x = [image.prepare(io.BytesIO(archive.read(name)), model.card.preprocessing) for name in names]
    return np.stack(x), np.array([index[name.split("/")[0]] for name in names])


def logits(model, x, change=None) -> np.ndarray:
    """Run all images in batches, with a change or as the network is."""
    tap = change and replace(model, change)
    return np.concatenate([model(x[i : i + BATCH], hook=hook) for i in range(0, len(x), BATCH)])


def footprint(model, change, side=41) -> int:
    """Return how wide a square of inputs an output reads: poke one position, see which outputs notice."""
    p = model.parameters["block1"]["0"]["attn"][UNIT]
    u = np.random.default_rng(0).random((1, len(p["conv0"]["bias"]), side, side)) + 1
    poked = u.copy()
    poked[..., side // 2, side // 2] += 1
    noticed = np.flatnonzero((change(reference, poked, p) != change(reference, u, p)).any(axis=(0, 1, 2)))
    return int(np.ptp(noticed)) + 1


def milliseconds(model, repeats=40) -> dict[str, float]:
    """Return the shortest time of each changed unit on a stage-1 map at 224 x 224, one thread, all taking turns."""
    p = model.parameters["block1"]["0"]["attn"][UNIT]
    u = np.random.default_rng(0).standard_normal((1, len(p["conv0"]["bias"]), 56, 56)).astype(np.float32)
    spent = {name: [] for name in ablations()}
    threads = numba.get_num_threads()
    numba.set_num_threads(1)  # two threads wait for each other on a busy machine, and the ratios drown in that
    for turn in range(repeats + 1):
        for name, (change, _) in ablations().items():
            start = time.perf_counter()
            change(model.ops, u, p)
            if turn:  # the first turn compiles
                spent[name].append(1000 * (time.perf_counter() - start))
    numba.set_num_threads(threads)
    return {name: min(times) for name, times in spent.items()}


def measure(model, limit: int) -> list[dict]:
    """Return a row per change: accuracy, agreement with the unchanged network, distance of the logits, reach, time."""
    x, targets = labelled(model, limit)
    unchanged, times, rows = logits(model, x), milliseconds(model), []
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


def line(row, first) -> str:
    """Format one row of the page's tables."""
    accuracy, same = (f"{100 * row[key] / row['images']:.1f} %" for key in ("right", "same_answer"))
    reads = f"{row['reads']} x {row['reads']}"
    relative = f"{row['milliseconds'] / first['milliseconds']:.2f}"
    published = f"{row['published_top1']} %" if row["published_top1"] else ""
    return f"| {row['name']} | {accuracy} | {same} | {100 * row['logits_change']:.0f} % | {reads} | {relative} | {published} |"


def percent(row) -> str:
    return f"{100 * row['right'] / row['images']:.1f} %"


def report(model, rows) -> str:
    """Return README.md."""
    parts, reaches = rows[: len(PARTS)], [rows[0] | {"name": "K = 21: as trained"}, *rows[len(PARTS) :]]
    narrower = next(row for row in rows if row["name"].startswith("K = 15"))
    crop = model.card.preprocessing.crop
    first, last = crop // 4, crop // 32
    published = [row["published_top1"] for row in parts if row["published_top1"]]
    kept = percent(max(parts[1:], key=lambda row: row["right"]))
    page = f"""# Ablations

What is each part of the attention good for? Here one thing is changed in every block of the trained network
(`{model.card.name}`), **without training it again**, and {rows[0]["images"]:,} labelled images are shown to it.
`python examples/ablations/ablate.py` makes this page. It needs no fork of the network: what a `tap` returns takes the
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

And the reach: with the middle 5 x 5 of the far kernel alone, 17 x 17 instead of 23 x 23, {percent(narrower)} are right.
On photos of {crop} x {crop} the first map is {first} x {first} and the last {last} x {last}; there is little left to reach for.
"""
    return page


def draw(rows):
    """Return the figure: accuracy after each change, and the published accuracy where the paper trained with it."""
    from matplotlib.figure import Figure

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


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--limit", type=int, default=1000, help="labelled images to use (default 1000)")
    parser.add_argument("--dry", action="store_true", help="print only, write nothing")
    args = parser.parse_args(argv)
    model = minivan.load(bundled()[0])
    rows = measure(model, args.limit)
    if not args.dry:
        (HERE / "results.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        (HERE / "README.md").write_text(report(model, rows), encoding="utf-8")
        draw(rows).savefig(HERE / "ablations.png", metadata={"Software": None})


if __name__ == "__main__":
    main()
