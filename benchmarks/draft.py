"""What decoding photos small (`--draft`) does to the answers; large_photos.py says what it saves.

    python benchmarks/draft.py [--labelled 250] [--cuts 40] [--write]

Photos, each made on the spot, as a JPEG file of quality 90:

- labelled: those of Tiny ImageNet's validation images in MINIVAN_LABELLED, 64 x 64 pixels, enlarged to 400 to 2,048 a side;
- enlarged cuts: out of the photos in examples/, made 4,000 x 3,000, as folder.py makes its 12 megapixels;
- plain cuts: as many pixels as those photos have themselves, 384 to 600 a side: all their detail is a camera's.

What was enlarged has no detail of its own: noise is added, as cameras have it. The weights are the bundled ones, which see
96 x 96 pixels, and the same ones shown 224 x 224, where they are seldom right: as much is cut off there as of a network for
that size. The engine is fast. `--write` puts the table into docs/images.md.
"""

from __future__ import annotations

import argparse
import io
import math
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from folder import as_jpeg, cuts, with_noise
from machine import measured
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]

import minivan  # noqa: E402
from minivan import image, labelled  # noqa: E402
from minivan.ops import softmax  # noqa: E402
from minivan.van import VAN  # noqa: E402

PAGE = ROOT / "docs" / "images.md"
BEGIN, END = "<!-- draft: benchmarks/draft.py --write -->", "<!-- end of draft -->"
SIDES = 96, 224
SURE = 0.5  # the first class's probability
HEADS = "photos", "seen at", "number", "read at", "same class", "of the sure", "largest", "median", "right"
ENLARGED = 400, 2048
PLAIN, SMALLEST = ("coffee", "rocket", "astronaut", "four"), 384
LARGE = 4000, 3000


class Photo(NamedTuple):
    """A JPEG file, and the class that it shows, where that is known."""

    file: bytes
    target: int = -1


def labelled_photos(count: int) -> Iterator[Photo]:
    """Yield labelled photos, enlarged and with noise."""
    names = labelled.names(labelled.given())[:: max(1, 1000 // count)]
    wnids = [label.wnid for label in minivan.load().card.labels]
    draw = np.random.default_rng(1)
    for name, file in zip(names, labelled.files(labelled.given(), names), strict=True):
        side = int(2 ** draw.uniform(*map(math.log2, ENLARGED)))
        large = Image.open(io.BytesIO(file)).convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
        yield Photo(as_jpeg(with_noise(large, draw)), wnids.index(labelled.wnid(name)))


def enlarged_cuts(count: int) -> Iterator[Photo]:
    """Yield parts of the photos in examples/, enlarged and with noise."""
    draw = np.random.default_rng(2)
    for cut in cuts(count, LARGE, draw):
        yield Photo(as_jpeg(with_noise(cut, draw)))


def plain_cuts(count: int) -> Iterator[Photo]:
    """Yield parts of those photos, pixel for pixel."""
    draw = np.random.default_rng(3)
    for number in range(count):
        photo = Image.open(ROOT / "examples" / f"{PLAIN[number % len(PLAIN)]}.jpg").convert("RGB")
        side = int(draw.integers(SMALLEST, min(photo.size) + 1))
        left, top = (int(draw.integers(0, whole - side + 1)) for whole in photo.size)
        yield Photo(as_jpeg(photo.crop((left, top, left + side, top + side))))


class Seen(NamedTuple):
    """What became of some photos, without and with draft: probabilities (N, classes)."""

    whole: np.ndarray
    draft: np.ndarray
    targets: np.ndarray
    scales: set[int]


def see(model: VAN, photos: Iterator[Photo]) -> Seen:
    """Answer for every photo twice."""
    settings = model.card.preprocessing
    answers: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    targets, scales = [], set()
    for photo in photos:
        for i, draft in enumerate((False, True)):
            x = image.prepare(photo.file, settings, draft=draft)
            answers[i].append(softmax(model(x[None]))[0])
        targets.append(photo.target)
        scales.add(image.examine(photo.file, 3, settings.resize).look.scale)
    return Seen(np.array(answers[0]), np.array(answers[1]), np.array(targets), scales)


def row(name: str, side: int, seen: Seen) -> str:
    """Return a row of the table."""
    first, second = seen.whole.argmax(1), seen.draft.argmax(1)
    same, sure, differences = first == second, seen.whole.max(1) >= SURE, np.abs(seen.whole - seen.draft).max(1)
    cells = [
        name,
        str(side),
        str(len(first)),
        " ".join(f"1/{scale}" for scale in sorted(seen.scales)),
        f"{same.mean():.1%}",
        f"{same[sure].mean():.1%} of {sure.sum()}" if sure.any() else "",
        f"{differences.max():.3f}",
        f"{np.median(differences):.4f}",
        f"{(first == seen.targets).sum()} / {(second == seen.targets).sum()}" if (seen.targets >= 0).all() else "",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description="what --draft does to the answers")
    parser.add_argument("--labelled", type=int, default=250, help="how many of the labelled photos (250)")
    parser.add_argument("--cuts", type=int, default=40, help="how many cuts of the photos in examples/ (40)")
    parser.add_argument("--write", action="store_true", help="put the table into docs/images.md")
    args = parser.parse_args()
    try:
        labelled.given()
    except ValueError as error:
        sys.exit(str(error))
    kinds: dict[str, tuple[Callable[[int], Iterator[Photo]], int]] = {
        "labelled": (labelled_photos, args.labelled),
        "enlarged cuts": (enlarged_cuts, args.cuts),
        "plain cuts": (plain_cuts, args.cuts),
    }
    rows = [f"| {' | '.join(HEADS)} |", f"|---|{'--:|' * (len(HEADS) - 1)}"]
    for name, (photos, count) in kinds.items():
        for side in SIDES:
            rows.append(row(name, side, see(minivan.load(engine="fast", size=side), photos(count))))
            print(rows[-1], flush=True)
    if args.write:
        said = textwrap.fill(measured("pillow", "numpy", "numba"), 128)
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        between = "\n".join(["", "", *rows, "", said, "", ""])
        PAGE.write_text(before + BEGIN + between + END + rest.partition(END)[2], encoding="utf-8")


if __name__ == "__main__":
    main()
