"""How fast a folder of photos is classified into a file of rows, and how fast its parts are by themselves.

    python benchmarks/folder.py [--photos 600] [--rounds 5] [--write]
    python benchmarks/folder.py --pixels 4000x3000 --photos 48

Photos of 500 x 375 pixels, or of other sizes, cut out of those in examples/; what is enlarged has noise. Each run is a process
of its own, the runs take turns:

- network: the prepared images are in memory, in batches as `classify` makes them;
- decoder: photos are read, decoded and prepared by as many threads as there are processors, and nothing else is done;
- folder: `minivan.predict.Results`, which is what `classify -o rows.csv` does, from the list of the images to the written file.

Network and decoder use all processors, so that together they can do no more than 1 / (1 / network + 1 / decoder): that is
'both'. Shown are the medians of the rounds, and those of the rounds' ratios with the interval that holds 95 % of their
bootstrap. The weights are the bundled ones, and made-up ones of a b0 for 224 x 224 pixels, which sees a third of the photos;
the engine is fast.
`--write` puts the table into docs/performance.md.
"""

from __future__ import annotations

import argparse
import io
import itertools
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from machine import machine
from PIL import Image
from versions import interval

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- folder: benchmarks/folder.py --write -->", "<!-- end of folder -->"
SIZE = 500, 375  # of most of ImageNet's photos
QUALITY = 90
NOISE = 10  # levels at most: 12 megapixels become some 4 MB
PARTS = "network", "decoder", "folder"
NETWORKS = {"the bundled weights, 96 x 96": 1, "a b0, 224 x 224": 3}  # -> of how many photos one is taken
WORKER = """
import os, sys, time
import numpy as np
import minivan
from minivan import seeded
from minivan.card import Card
from minivan.predict import Results, batches, find_images, make_ready, prepare_ahead
from minivan.predict.answers import BATCH
from minivan.van import VAN
from minivan.variants import VARIANTS
part, folder, every = sys.argv[1:]
model = minivan.load(engine='fast')
if every != '1':
    model = VAN(VARIANTS['b0'], seeded.tensors(VARIANTS['b0']), 'fast', Card('b0'))
make_ready(model)
images = find_images([folder])[:: int(every)]
def ready(some):
    return prepare_ahead(some, model.card.preprocessing, ahead=2 * BATCH)
few = [np.stack([each.x for each in batch]) for batch in batches(ready(images[:64]), BATCH)]  # and Pillow is imported
for batch in few:
    model(batch)
start = time.perf_counter()
if part == 'network':
    for i in range(len(images) // BATCH):
        model(few[i % len(few)])
    done = len(images) // BATCH * BATCH
elif part == 'decoder':
    done = sum(each.x is not None for each in ready(images))
else:
    with Results(model, images, os.path.join(folder, 'rows.csv')) as results:
        done = sum(hasattr(answer, 'top') for answer in results.answers())
        results.write()
print(done / (time.perf_counter() - start))
"""


def cuts(count: int, size: tuple[int, int], draw: np.random.Generator) -> Iterator[Image.Image]:
    """Yield pictures of a size, no two the same, each a part of one of the photos in examples/."""
    originals = [
        Image.open(ROOT / "examples" / f"{name}.jpg").convert("RGB") for name in ("cat", "coffee", "rocket", "astronaut")
    ]
    for number in range(count):
        photo = originals[number % len(originals)]
        side = draw.uniform(0.6, 1.0)
        width, height = side * photo.width, side * photo.height
        left, top = draw.uniform(0, photo.width - width), draw.uniform(0, photo.height - height)
        yield photo.resize(size, Image.Resampling.BICUBIC, (left, top, left + width, top + height))


def with_noise(picture: Image.Image, draw: np.random.Generator) -> Image.Image:
    """Return an enlarged picture with noise of grey, which makes it about as large a JPEG file as a camera's."""
    noise = draw.integers(-NOISE, NOISE + 1, (picture.height, picture.width, 1), dtype=np.int16)
    return Image.fromarray(np.clip(np.asarray(picture, np.int16) + noise, 0, 255).astype(np.uint8))


def as_jpeg(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def photos(folder: Path, count: int, size: tuple[int, int]) -> None:
    """Write photos of a size."""
    draw = np.random.default_rng(0)
    for number, cut in enumerate(cuts(count, size, draw)):
        (folder / f"{number:05}.jpg").write_bytes(as_jpeg(cut if size == SIZE else with_noise(cut, draw)))


def speed(part: str, folder: Path, every: int) -> float:
    """Return how many images a second one part takes, in a process of its own."""
    command = [sys.executable, "-c", WORKER, part, str(folder), str(every)]
    return float(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)


Speeds = dict[str, list[float]]  # a part -> its images a second, round by round


def share(reached: list[float], allowed: list[float]) -> str:
    """Return what part of some speeds was reached, as '97 % (92-98)'."""
    ratios = [one / most for one, most in zip(reached, allowed, strict=True)]
    low, high = interval(ratios)
    return f"{100 * statistics.median(ratios):.0f} % ({100 * low:.0f}-{100 * high:.0f})"


def table(found: dict[str, Speeds]) -> list[str]:
    """Return the table: images a second of each network, and what part the folder reaches of what its parts allow."""
    heads = "network", "decoder", "both", "folder", "of both", "of the slower alone"
    rows = [f"| | {' | '.join(heads)} |", f"|---|{'--:|' * len(heads)}"]
    for name, speeds in found.items():
        network, decoder, folder = (speeds[part] for part in PARTS)
        slower = [min(pair) for pair in zip(network, decoder, strict=True)]
        both = [1 / (1 / a + 1 / b) for a, b in zip(network, decoder, strict=True)]
        medians = [f"{statistics.median(each):.0f}" for each in (network, decoder, both, folder)]
        rows.append(f"| {' | '.join([name, *medians, share(folder, both), share(folder, slower)])} |")
    return rows


def size_of(text: str) -> tuple[int, int]:
    """Read '4000x3000'."""
    width, height = map(int, text.split("x"))
    return width, height


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--photos", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pixels", type=size_of, default=SIZE, metavar="WIDTHxHEIGHT", help="of the photos (500x375)")
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    args = parser.parse_args()
    speeds: dict[str, Speeds] = {name: {part: [] for part in PARTS} for name in NETWORKS}
    with tempfile.TemporaryDirectory() as folder:
        photos(Path(folder), args.photos, args.pixels)
        for turn in range(-1, args.rounds):  # the first round is for the caches
            for (network, every), part in itertools.product(NETWORKS.items(), PARTS if turn % 2 else PARTS[::-1]):
                found = speed(part, Path(folder), every)
                if turn >= 0:
                    speeds[network][part].append(found)
    seen = machine("pillow", "numpy", "numba")
    versions = f"Pillow {seen['pillow']}, NumPy {seen['numpy']}, Numba {seen['numba']}"
    what = "{} photos of {} x {} pixels, {} rounds".format(args.photos, *args.pixels, args.rounds)
    where = f"{what}, {seen['cores']} processors, {seen['processor']}; {versions}."
    text = "\n".join([where, "", *table(speeds)])
    print(text)
    if args.write:
        page = PAGE.read_text(encoding="utf-8")
        made, count = re.subn(
            f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: f"{BEGIN}\n{text}\n{END}", page, flags=re.DOTALL
        )
        if count != 1:
            raise SystemExit(f"{PAGE}: no {BEGIN} ... {END}")
        PAGE.write_text(made, encoding="utf-8")


if __name__ == "__main__":
    main()
