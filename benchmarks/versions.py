"""Two versions of minivan's engine `fast` against each other: is the new one slower than the old one?

    python benchmarks/versions.py OLD_CHECKOUT [NEW_CHECKOUT] [--networks b0@64,b0@224,b1@224] [--batches 1,8] [--threads 1,2]

Each checkout (the new one is this one, unless given) runs in a process of its own, on the same weights and the same input;
their outputs are compared before anything is timed. Then they take turns: in each round each runs once to warm up and a few
times by the clock, the old one first in every other round. A round gives one ratio, the new one's least time over the old
one's: what slows the machine for a while slows both. Shown are the least times, and the median of the rounds' ratios with the
interval that holds 95 % of its bootstrap. A checkout against itself says what the machine's noise is.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from machine import machine

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT)]

from minivan import seeded  # noqa: E402
from minivan.variants import VARIANTS  # noqa: E402

AGREE = 1e-4  # of the largest logit
TURN = 0.05  # seconds that a turn is to take at least, in calls of one network
MOST = 10  # calls of a turn
DRAWS = 2000  # of the bootstrap

WORKER = """
import json, sys, time
from pathlib import Path
import numba
import numpy as np
import minivan
if not Path(minivan.__file__).resolve().is_relative_to(Path.cwd()):
    raise SystemExit(f'{Path.cwd()} is to be measured, and {minivan.__file__} was imported')
models = {}
for line in sys.stdin:
    variant, images, threads, calls, logits = json.loads(line)
    if variant not in models:
        config = minivan.variants.VARIANTS[variant]
        models[variant] = minivan.VAN(config, dict(np.load(sys.argv[1] + f'/{variant}.npz')), engine='fast')
    numba.set_num_threads(threads)
    model, x = models[variant], np.load(images)
    y = model(x)
    if logits:
        np.save(logits, y)
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        model(x)
        times.append(time.perf_counter() - start)
    print(json.dumps(min(times)), flush=True)
"""


class Case(NamedTuple):
    """One network with its input's shape and the number of threads."""

    variant: str
    size: int
    batch: int
    threads: int

    def __str__(self) -> str:
        return f"{self.variant}@{self.size}, batch {self.batch}, {self.threads} thread{'s'[: self.threads - 1]}"


class Version:
    """One checkout in a process of its own, which computes when it is asked to."""

    def __init__(self, checkout: Path, folder: Path) -> None:
        self.checkout, self.folder = checkout, folder
        environment = {"OMP_WAIT_POLICY": "passive", **os.environ}  # its threads do not spin while the other one is timed
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(folder)],
            cwd=checkout.resolve(), env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def least(self, case: Case, calls: int, logits: Path | None = None) -> float:
        """Return the least seconds of so many calls, after one that is not timed; write that one's logits."""
        images = self.folder / f"{case.size}-{case.batch}.npy"
        if not images.exists():
            np.save(images, seeded.images((case.batch, 3, case.size, case.size)))
        asked = [case.variant, str(images), case.threads, calls, str(logits or "")]
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"{self.checkout}: its process ended with status {self.process.wait()} on {case}")
        return float(json.loads(answer))

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def interval(ratios: Sequence[float]) -> tuple[float, float]:
    """Return the ends of the interval that holds 95 % of the medians of as many ratios drawn with replacement."""
    drawn = np.random.default_rng(0).choice(np.array(ratios), (DRAWS, len(ratios)))
    low, high = np.percentile(np.median(drawn, axis=1), [2.5, 97.5])
    return float(low), float(high)


def check(versions: Sequence[Version], case: Case, folder: Path) -> float:
    """Have both compute one case, and end where their logits differ; return the slower one's seconds."""
    files = [folder / f"logits-{number}.npy" for number in range(len(versions))]
    seconds = max(version.least(case, 1, file) for version, file in zip(versions, files, strict=True))
    old, new = (np.load(file) for file in files)
    difference = float(np.abs(new - old).max() / np.abs(old).max())
    if not difference <= AGREE:
        raise SystemExit(f"the two differ by {difference:.1e} of the largest logit on {case}")
    return seconds


def race(versions: Sequence[Version], case: Case, rounds: int, folder: Path) -> None:
    """Time one case in turns, and print what was seen."""
    calls = min(MOST, 1 + int(TURN / check(versions, case, folder)))
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(rounds):
        for i in (0, 1) if turn % 2 == 0 else (1, 0):
            times[i].append(versions[i].least(case, calls))
    old, new = (1000 * min(taken) for taken in times)
    ratios = [after / before for before, after in zip(*times, strict=True)]
    low, high = interval(ratios)
    print(f"{case!s:26} {old:9.2f} {new:9.2f} ms  {new / old:6.3f}  {statistics.median(ratios):6.3f} [{low:.3f}, {high:.3f}]",
          flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("old", type=Path, metavar="OLD_CHECKOUT")
    parser.add_argument("new", type=Path, nargs="?", default=ROOT, metavar="NEW_CHECKOUT", help="default: this one")
    parser.add_argument("--networks", default="b0@64,b0@224,b1@224", help="each a variant and the side of its images")
    parser.add_argument("--batches", default="1,8")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    networks = [(variant, int(size)) for variant, size in (name.split("@") for name in args.networks.split(","))]
    batches, threads = ([int(value) for value in getattr(args, name).split(",")] for name in ("batches", "threads"))
    print(machine("numba", "numpy"))
    print(f"old: {args.old.resolve()}\nnew: {args.new.resolve()}")
    print(f"{'':26} {'old':>9} {'new':>9}     {'new/old':>7}  {'paired median of ' + str(args.rounds) + ' rounds, 95 %'}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for variant in {variant for variant, _ in networks}:
            np.savez(folder / f"{variant}.npz", **seeded.tensors(VARIANTS[variant]))
        versions = [Version(checkout, folder) for checkout in (args.old, args.new)]
        try:
            for (variant, size), batch, count in itertools.product(networks, batches, threads):
                race(versions, Case(variant, size, batch, count), args.rounds, folder)
        finally:
            for version in versions:
                version.close()


if __name__ == "__main__":
    main()
