"""How long photos take to be read: against the version before, and with a colour profile against without one.

    python benchmarks/photos.py OLD_CHECKOUT [--rounds 15] [--photos 16]

A JPEG photo of 12 megapixels is read as it is, which is sRGB, by both checkouts, and as Display P3 by this one, each checkout
in a process of its own. They take turns: in each round each reads each photo once, in the other order in every other round. A
round gives one ratio of each pair: what slows the machine for a while slows both. Then a folder of such photos is classified
by this checkout, as they are and as Display P3, where other threads read while the network computes. Shown are the least
times, and the median of the rounds' ratios with the interval that holds 95 % of its bootstrap.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from machine import machine
from PIL import Image
from versions import interval

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.profiles import profile  # noqa: E402

SIZE = 4032, 3024
GRAIN = 4.0  # levels of noise, so that the file is as large as a camera's
FOLDER_ROUNDS = 5
WORKER = """
import json, sys, time
from pathlib import Path
import minivan
from minivan import image
if not Path(minivan.__file__).resolve().is_relative_to(Path.cwd()):
    raise SystemExit(f'{Path.cwd()} is to be measured, and {minivan.__file__} was imported')
model = None
for line in sys.stdin:
    what, path = json.loads(line)
    if what == 'classify' and model is None:
        model = minivan.load(engine='fast')
        list(minivan.predict.classify(model, sorted(Path(path).iterdir())[:2]))
    start = time.perf_counter()
    if what == 'decode':
        image.decode(path)
    else:
        answers = list(minivan.predict.classify(model, path))
        assert answers and not any(hasattr(answer, 'fault') for answer in answers), answers
    print(json.dumps(time.perf_counter() - start), flush=True)
"""


class Reader:
    """One checkout in a process of its own, which reads what it is asked to."""

    def __init__(self, checkout: Path) -> None:
        self.checkout = checkout
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER], cwd=checkout.resolve(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def seconds(self, what: str, path: Path) -> float:
        """Return how long it takes to 'decode' a file, or to 'classify' a folder."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps([what, str(path.resolve())]) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"{self.checkout}: its process ended with status {self.process.wait()} on {path}")
        return float(json.loads(answer))

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


Turn = tuple[Reader, str, Path]


def photos(folder: Path, count: int) -> tuple[Path, Path]:
    """Write folders of photos, as they are and the same ones as Display P3; return them."""
    large = Image.open(ROOT / "examples" / "coffee.jpg").convert("RGB").resize(SIZE, Image.Resampling.BICUBIC)
    noise = np.random.default_rng(0).normal(0, GRAIN, (*SIZE[::-1], 3))
    photo = Image.fromarray(np.clip(np.rint(np.asarray(large) + noise), 0, 255).astype(np.uint8))
    made = folder / "plain", folder / "p3"
    for place, icc in zip(made, (None, profile("Display P3")), strict=True):
        place.mkdir()
        photo.save(place / "0.jpg", quality=90, icc_profile=icc)
        for number in range(1, count):
            (place / f"{number}.jpg").write_bytes((place / "0.jpg").read_bytes())
    return made


def race(name: str, before: Turn, after: Turn, rounds: int) -> None:
    """Time two turns one after the other, again and again, and print what was seen."""
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(-1, rounds):  # the first round is for the caches
        for i in (0, 1) if turn % 2 == 0 else (1, 0):
            reader, what, path = (before, after)[i]
            seconds = reader.seconds(what, path)
            if turn >= 0:
                times[i].append(seconds)
    ratios = [new / old for old, new in zip(*times, strict=True)]
    low, high = interval(ratios)
    print(f"{name:40} {min(times[0]):7.3f} {min(times[1]):7.3f} s {statistics.median(ratios):7.3f} [{low:.3f}, {high:.3f}]",
          flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("old", type=Path, metavar="OLD_CHECKOUT")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--photos", type=int, default=16, help="of the folder (default: %(default)s)")
    args = parser.parse_args()
    print(machine("pillow", "numpy", "numba"))
    print(f"{'':40} {'before':>7} {'after':>7}   {'ratio':>7}  paired median of the rounds, 95 %")
    with tempfile.TemporaryDirectory() as name:
        plain, p3 = photos(Path(name), args.photos)
        old, new = Reader(args.old), Reader(ROOT)
        try:
            race(
                "sRGB, the version before and this one",
                (old, "decode", plain / "0.jpg"),
                (new, "decode", plain / "0.jpg"),
                args.rounds,
            )
            race(
                "without a profile, and Display P3",
                (new, "decode", plain / "0.jpg"),
                (new, "decode", p3 / "0.jpg"),
                args.rounds,
            )
            race(f"folders of {args.photos}, likewise", (new, "classify", plain), (new, "classify", p3), FOLDER_ROUNDS)
        finally:
            old.close()
            new.close()


if __name__ == "__main__":
    main()
