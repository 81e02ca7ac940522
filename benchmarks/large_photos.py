"""How fast a folder of photographs of 12 megapixels is classified, by minivan and by others' decoders with the fastest peer.

    python benchmarks/large_photos.py [--photos 32] [--rounds 5] [--threads N] [--write]

The photos are parts of those in examples/, made 4,000 x 3,000, with noise, so that a file is about as large as a camera's. The
network is a b0 that sees 224 x 224 pixels, with made-up weights. Each way of doing it is a process of its own, and they take
turns, in each round in another order:

- minivan: `minivan.predict.classify` of the folder, with the engine fast; and the same with `draft=True`;
- Pillow: a plain loop, one photo after the other: open, make smaller, crop, and the peer for a batch of eight;
- OpenCV, simplejpeg: as many threads as minivan has, which decode and make smaller, eight photos at once to the peer; and
  the same where they decode at a quarter of the sides, which is what minivan's draft does with such photos.

All make the shorter side 248 pixels and cut out 224 x 224: Pillow by its bicubic filter, OpenCV by areas, as its manual
advises; simplejpeg's pictures too, as it has no resizing. The peer is the fastest of OpenVINO and ONNX Runtime for batches of
eight, in float32. *Cores* is how many were busy: the processor time of the process over the time that passed.

Needs `pip install '.[bench]'`. `--write` puts the table into docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import sections
from folder import as_jpeg, cuts, with_noise
from machine import measured, processor
from PIL import Image
from racers import ENGINES, ROOT, Case, Network, lacking, race
from versions import interval

from minivan import processors, seeded
from minivan.card import PRESETS, Card
from minivan.predict import Results, batches, find_images, make_ready
from minivan.van import VAN
from minivan.variants import VARIANTS

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- large photos: benchmarks/large_photos.py --write -->", "<!-- end of large photos -->"
SIZE = 4000, 3000
BATCH = 8
SETTINGS = PRESETS["official"]
MEAN, STD = (np.array(values, np.float32) for values in (SETTINGS.mean, SETTINGS.std))
PEERS = "openvino", "onnxruntime"
DECODERS = {"cv2": "opencv-python-headless", "simplejpeg": "simplejpeg"}
REDUCED = 4  # what sides are divided by where a decoder is to make less than the whole


def network_input(pixels: Pixels) -> np.ndarray:
    """Cut the middle out of a picture (H, W, 3) and normalise it."""
    top, left = ((side - SETTINGS.crop) // 2 for side in pixels.shape[:2])
    cut = pixels[top : top + SETTINGS.crop, left : left + SETTINGS.crop].astype(np.float32)
    return ((cut / np.float32(255) - MEAN) / STD).transpose(2, 0, 1)


def smaller(pixels: Pixels) -> Pixels:
    """Make a picture's shorter side as long as the network is used to, as OpenCV's manual advises."""
    import cv2

    height, width = pixels.shape[:2]
    scale = SETTINGS.resize / min(height, width)
    return cv2.resize(pixels, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)


def by_pillow(path: Path) -> np.ndarray:
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    scale = SETTINGS.resize / min(picture.size)
    size = round(picture.width * scale), round(picture.height * scale)
    return network_input(np.asarray(picture.resize(size, Image.Resampling.BICUBIC)))


def by_opencv(path: Path, reduced: bool = False) -> np.ndarray:
    import cv2

    how = cv2.IMREAD_REDUCED_COLOR_4 if reduced else cv2.IMREAD_COLOR
    return network_input(smaller(cv2.cvtColor(cv2.imread(str(path), how), cv2.COLOR_BGR2RGB)))


def by_simplejpeg(path: Path, reduced: bool = False) -> np.ndarray:
    import simplejpeg

    least = min(SIZE) // REDUCED if reduced else 0
    return network_input(smaller(simplejpeg.decode_jpeg(path.read_bytes(), min_height=least, min_width=least)))


def answers(ready: Iterable[np.ndarray], network: Network) -> int:
    """Have a peer answer for photos in batches; return for how many."""
    return sum(len(network(np.stack(batch)).argmax(1)) for batch in batches(ready, BATCH))


def in_turn(one: Callable[[Path], np.ndarray]) -> Callable[[list[Path], Network, int], int]:
    """Return what prepares one photo after the other, in this thread."""
    return lambda photos, network, threads: answers(map(one, photos), network)


def in_threads(one: Callable[..., np.ndarray], **how: bool) -> Callable[[list[Path], Network, int], int]:
    """Return what prepares photos in threads, ahead of the network, as many at once as there are threads."""

    def run(photos: list[Path], network: Network, threads: int) -> int:
        import cv2

        cv2.setNumThreads(1)  # the photos share the processors already
        with ThreadPoolExecutor(threads) as pool:
            return answers(pool.map(lambda path: one(path, **how), photos), network)

    return run


WAYS: dict[str, tuple[str, Callable[[list[Path], Network, int], int] | None]] = {  # None: minivan's own
    "minivan": ("minivan", None),
    "minivan draft": ("minivan, `--draft`", None),
    "pillow": ("Pillow, a plain loop", in_turn(by_pillow)),
    "opencv": ("OpenCV", in_threads(by_opencv)),
    "opencv reduced": ("OpenCV, decoding a quarter", in_threads(by_opencv, reduced=True)),
    "simplejpeg": ("simplejpeg", in_threads(by_simplejpeg)),
    "simplejpeg reduced": ("simplejpeg, decoding a quarter", in_threads(by_simplejpeg, reduced=True)),
}


def work(name: str, folder: Path, peer: str, threads: int) -> None:
    """Classify a folder in one way, once to warm up with a batch of it; print images a second and how many cores were busy."""
    photos = sorted((folder / "photos").iterdir())
    _, way = WAYS[name]
    if way is None:
        from minivan.image import Reading

        model = VAN(VARIANTS["b0"], seeded.tensors(VARIANTS["b0"]), "fast", Card("b0", SETTINGS))
        make_ready(model)

        def run(some: list[Path]) -> int:
            rows = folder / f"{name}-{len(some)}-{os.getpid()}.csv"
            with Results(model, find_images(some), rows, how=Reading(draft=name.endswith("draft"))) as results:
                done = sum(hasattr(answer, "top") for answer in results.answers())
                results.write()
            return done
    else:
        network = ENGINES[peer].build(_case(threads), folder, "float32")

        def run(some: list[Path]) -> int:
            return way(some, network, threads)

    run(photos[:BATCH])
    start, used = time.perf_counter(), time.process_time()
    if run(photos) != len(photos):
        sys.exit(f"{name} did not answer for every photo")
    seconds = time.perf_counter() - start
    print(json.dumps([len(photos) / seconds, (time.process_time() - used) / seconds]))


def _case(threads: int) -> Case:
    return Case("b0", SETTINGS.crop, BATCH, threads)


def fastest(folder: Path, threads: int) -> str:
    """Return which peer answers a batch sooner."""
    with race(PEERS, _case(threads), folder) as (racers, _):
        times = {name: min(min(racers[name].run(5)) for _ in range(3)) for name in racers}
    return min(times, key=lambda name: times[name])


def speed(name: str, folder: Path, peer: str, threads: int) -> tuple[float, float]:
    """Return images a second of one way, and how many cores were busy, in a process of its own."""
    command = [sys.executable, __file__, "--work", name, str(folder), peer, "--threads", str(threads)]
    environment = os.environ | {"NUMBA_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, cwd=ROOT, env=environment, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{name}: {(done.stderr.strip().splitlines() or ['it failed without a word'])[-1]}")
    images, busy = json.loads(done.stdout.splitlines()[-1])
    return float(images), float(busy)


def table(found: dict[str, list[tuple[float, float]]]) -> list[str]:
    """Return the table: images a second, cores, and how many times as fast minivan is as each, by the rounds' ratios."""
    rows = ["| | images a second | cores | minivan over it | `--draft` over it |", "|---|--:|--:|--:|--:|"]
    for name, taken in found.items():
        images, busy = (statistics.median(values) for values in zip(*taken, strict=True))
        cells = [f"{images:.1f}", f"{busy:.2f}"]
        for mine in ("minivan", "minivan draft"):
            ratios = [own / theirs for (own, _), (theirs, _) in zip(found[mine], taken, strict=True)]
            low, high = interval(ratios)
            cells.append("" if mine == name else f"{statistics.median(ratios):.2f} ({low:.2f}-{high:.2f})")
        rows.append(f"| {WAYS[name][0]} | {' | '.join(cells)} |")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="a folder of photographs of 12 megapixels, by minivan and by others")
    parser.add_argument("--photos", type=int, default=32, help="how many, in whole batches of eight (32)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=processors.threads(), help="default: as many as this process may use")
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)  # one way of doing it: its name, the folder, the peer
    args = parser.parse_args()
    if args.work:
        name, folder, peer = args.work
        work(name, Path(folder), peer, args.threads)
        return
    missing = lacking([*PEERS], DECODERS)
    if missing:
        sys.exit(missing)
    count, order = args.photos // BATCH * BATCH, random.Random(0)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in WAYS}
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        (folder / "photos").mkdir()
        draw, size = np.random.default_rng(0), 0
        for number, cut in enumerate(cuts(count, SIZE, draw)):
            size += (folder / "photos" / f"{number:04}.jpg").write_bytes(as_jpeg(with_noise(cut, draw)))
        peer = fastest(folder, args.threads)
        for _ in range(args.rounds):
            for name in order.sample([*WAYS], len(WAYS)):
                found[name].append(speed(name, folder, peer, args.threads))
                print(name, *(f"{value:.2f}" for value in found[name][-1]), flush=True)
    versions = measured("pillow", "opencv-python-headless", "simplejpeg", peer, "numpy", "numba")
    what = f"{count} photos of {size / count / 1e6:.1f} MB, {args.rounds} rounds, {args.threads} thread(s)"
    said = f"{what}; the peer is {ENGINES[peer].title}. {versions}"
    report = "\n".join([textwrap.fill(said, 128), "", *table(found)])
    print(report)
    if args.write:
        sections.write(PAGE, BEGIN, END, processor(), report)


if __name__ == "__main__":
    main()
