"""Measure what `finetune` learns beside scikit-learn on PyTorch's features, what new classes cost old ones, and the time.

    python benchmarks/finetune.py [--write]

It needs the extras `test` and `torch`, MINIVAN_LABELLED (see CONTRIBUTING.md), and MINIVAN_CAMVID, a zip of CamVid's scenes:
train/NAME.jpg and its mask train/NAME.png with the classes 0 to 11, and the same in test/. With --write the tables go into
docs/finetune.md.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np  # noqa: E402
from machine import machine  # noqa: E402

import minivan  # noqa: E402
from minivan import labelled, learn  # noqa: E402
from minivan.evaluate import open_dataset  # noqa: E402
from minivan.evaluate.dataset import Example  # noqa: E402

PAGE = ROOT / "docs" / "finetune.md"
CAMVID = "MINIVAN_CAMVID"
PLACES = {
    name: re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- end -->)", re.DOTALL)
    for name in ("screen", "accuracy", "old classes", "time")
}
LEFT_OUT = 10  # classes that a network is made to forget, and learns again


def screen(folder: Path) -> str:
    """Return what a person sees who types the command."""
    from support import own_classes

    from minivan.cli import main

    own_classes.camvid(os.environ[CAMVID], folder / "patches")
    said = io.StringIO()
    with contextlib.chdir(folder / "patches"), contextlib.redirect_stdout(said):
        Path("train").rename("streets")
        main(["finetune", "streets", "-o", "streets.safetensors"])
    print(said.getvalue(), flush=True)
    lines = "\n".join(line.rstrip() for line in said.getvalue().splitlines())
    return f"```\n$ python -m minivan finetune streets -o streets.safetensors\n{lines}\n```\n"


def accuracy(base: minivan.VAN, folder: Path) -> str:
    """Learn three collections in two ways, and return a table of top-1 on photos that neither learned from."""
    from support import own_classes

    from minivan.engines.torch import TORCH

    torch = minivan.VAN(base.config, base.tensors, TORCH, base.card)
    makers = {
        "scikit-learn's digits, 8 x 8": lambda place: own_classes.digits(place, 1000, 797),
        "patches of CamVid's scenes, 32 x 32": lambda place: own_classes.camvid(os.environ[CAMVID], place),
        "Tiny ImageNet's, of classes that the network knows": lambda place: own_classes.tiny_imagenet(labelled.given(), place),
    }
    lines = ["| photos | classes | learned from | judged by | `finetune` | its own cross-validation | scikit-learn, PyTorch |",
             "|---|--:|--:|--:|--:|--:|--:|"]  # fmt: skip
    for number, (name, make) in enumerate(makers.items()):
        place = folder / str(number)
        make(place)
        learned, top1 = own_classes.by_minivan(base, place)
        judge = own_classes.by_scikit_learn(torch, place)
        held, counts = learned.report.held_out.top1, learned.report.counts
        lines.append(
            f"| {name} | {len(counts)} | {counts.sum():,} | {top1.of:,} | {top1.rate:.1%} | {held.rate:.1%} | {judge:.1%} |"
        )
        print(lines[-1], flush=True)
    return "\n".join(lines) + "\n"


def old_classes(base: minivan.VAN) -> str:
    """Have a network forget some of its classes and learn them again beside the others; return a table of what that does."""
    source = labelled.given()
    examples = open_dataset(source).examples
    known = [label.wnid for label in base.card.labels]
    forgotten = known[:: len(known) // LEFT_OUT][:LEFT_OUT]
    kept = [index for index, wnid in enumerate(known) if wnid not in forgotten]
    tensors = {**base.tensors, **{name: base.tensors[name][kept] for name in ("head.weight", "head.bias")}}
    card = replace(base.card, labels=tuple(base.card.labels[index] for index in kept))
    less = minivan.VAN(replace(base.config, classes=len(kept)), tensors, base.engine, card)
    place: dict[str, int] = {}
    parts: dict[bool, list[Example]] = {True: [], False: []}
    for example in examples:  # three of five photos of each class to learn from
        place[example.label] = place.get(example.label, -1) + 1
        parts[place[example.label] < 3].append(example)
    found = {part: list(learn.featured(base, each)) for part, each in parts.items()}
    new = {wnid: [photo for photo in found[True] if photo.label == wnid] for wnid in forgotten}
    learned = learn.extended(less, new, [photo for photo in found[True] if photo.label not in forgotten])
    lines = ["| photos held out | network of all 200 classes | of 190, before | with ten new ones | taken for one of the ten |",
             "|---|--:|--:|--:|--:|"]  # fmt: skip
    names = [label.wnid or label.name for label in learned.model.card.labels]
    for title, wanted in (("of the 190", False), ("of the ten", True)):
        photos = [photo for photo in found[False] if (photo.label in forgotten) == wanted]
        x = np.stack([photo.features[0] for photo in photos if photo.features is not None])
        said = [
            [labels[i] for i in _logits(model, x).argmax(axis=1)]
            for model, labels in ((base, known), (less, [known[k] for k in kept]), (learned.model, names))
        ]
        rights = [np.mean([said_of == photo.label for said_of, photo in zip(each, photos, strict=True)]) for each in said]
        taken = np.mean([each in forgotten for each in said[2]])
        before = "–" if wanted else f"{rights[1]:.1%}"
        lines.append(f"| {title}, {len(photos)} | {rights[0]:.1%} | {before} | {rights[2]:.1%} | {taken:.1%} |")
    print("\n".join(lines), flush=True)
    return "\n".join(lines) + "\n"


def _logits(model: minivan.VAN, features: np.ndarray) -> np.ndarray:
    return features.astype(np.float64) @ model.tensors["head.weight"].T.astype(np.float64) + model.tensors["head.bias"]


def times(base: minivan.VAN) -> str:
    """Return a table of seconds for 1,000 photos: classified, their features, and a head for ten classes of them."""
    from minivan.learn.learning import learned
    from minivan.predict import classify

    examples = open_dataset(labelled.given()).examples
    paths = [str(labelled.given())]
    list(classify(base, paths, 1)), list(learn.featured(base, examples[:16]))  # compiled, and in memory
    rows: dict[str, list[float]] = {"classified": [], "features, of photo and mirror image": []}
    for _ in range(3):
        for name, work in zip(
            rows, (lambda: list(classify(base, paths, 1)), lambda: list(learn.featured(base, examples))), strict=True
        ):
            start = time.perf_counter()
            done = work()
            rows[name].append(time.perf_counter() - start)
    ten = [photo._replace(label=str(int(photo.label[1:]) % 10)) for photo in done]
    start = time.perf_counter()
    learned(base, ten, "ten")
    rows["a head for ten classes"] = [time.perf_counter() - start]
    lines = ["| 1,000 photos | seconds |", "|---|--:|"]
    lines += [f"| {name} | {min(seconds):.1f} |" for name, seconds in rows.items()]
    ratio = min(rows["features, of photo and mirror image"]) / min(rows["classified"])
    said = machine("numpy", "scikit-learn")
    on = f"{said['processor']}, {said['cores']} threads; scikit-learn {said['scikit-learn']}"
    lines += ["", f"Features took {ratio:.2f} times what classifying took. {on}."]
    print("\n".join(lines), flush=True)
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what finetune learns, what it costs old classes, how long it takes.")
    parser.add_argument("--only", choices=tuple(PLACES), help="one of the four")
    parser.add_argument("--write", action="store_true", help="write the tables into docs/finetune.md")
    args = parser.parse_args()
    base = minivan.load("van_b0_tiny_imagenet200", "fast")
    with tempfile.TemporaryDirectory() as folder:
        tables = {
            "screen": lambda: screen(Path(folder)),
            "accuracy": lambda: accuracy(base, Path(folder)),
            "old classes": lambda: old_classes(base),
            "time": lambda: times(base),
        }
        for name, make in tables.items():
            if args.only not in (None, name):
                continue
            said = make()
            if args.write:
                text, found = PLACES[name].subn(lambda _, said=said: said, PAGE.read_text(encoding="utf-8"), count=1)
                if found != 1:
                    sys.exit(f"{PAGE}: the place of the table {name!r} was found {found} times, not once")
                PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
