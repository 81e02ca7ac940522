"""How many photos a second one and two processes of a Ray cluster answer, and what that costs beside the plain loop.

    python benchmarks/cluster.py [--photos 600] [--rounds 3] [--write]

Photos of 500 x 375 pixels lie in WebDataset shards. The plain loop is `minivan.predict.Results` over the same shards in one
process with one thread, which is what one process of the cluster has. All take turns, each in processes of its own. The speed
is counted from when each process has done its first shard, and loaded its kernels with it; what goes before the first shard is
shown apart, for it does not grow with the photos. Beside the photos a second stand the milliseconds that all threads of a
process compute for a photo: on a cluster each process has one core, on a machine with idle ones its decoder has another, and
where others compute too, fewer photos a second say little.
Shown are medians of the rounds. `--write` puts the table, and what follows for a million photos on 100 cores, into
docs/cluster.md.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]

from minivan import seeded  # noqa: E402
from minivan.card import Card  # noqa: E402
from minivan.checkpoint import Weights, write  # noqa: E402
from minivan.variants import VARIANTS  # noqa: E402

DOCUMENT = ROOT / "docs" / "cluster.md"
BEGIN, END = "<!-- speed: benchmarks/cluster.py --write -->", "<!-- end of speed -->"
SIZE = 500, 375  # ImageNet's photos have about so many pixels
GRAIN = 8.0  # levels of noise, so that a file is as large as a photo's
SHARDS = 20
MILLION, CORES = 1_000_000, 100
PLAIN, ONE, TWO = "plain loop, one thread", "cluster, one process", "cluster, two processes"

# Each is a process: what it is to do comes as JSON in its argument, and what it measured goes out as JSON.
PLAIN_LOOP = """
import io, json, sys, time
from pathlib import Path
import numpy as np
asked = json.loads(sys.argv[1])
import minivan
from minivan.predict import Results, find_images, make_ready
model = minivan.load(asked["weights"] and Path(asked["weights"]), "fast")
make_ready(model)
def over(paths, output):
    start = time.perf_counter()
    with Results(model, find_images(paths), output) as results:
        assert all(not hasattr(answer, "fault") for answer in results.answers(threads=1))
        results.write()
    return time.perf_counter() - start
over(asked["shards"][:1], asked["output"] + "/warm.parquet")
start_cpu = time.process_time()
seconds = over(asked["shards"][1:], asked["output"] + "/all.parquet")
core = time.process_time() - start_cpu
photos = [image.source() for image in find_images(asked["shards"][:2])]
start = time.process_time()
inputs = [minivan.image.prepare(io.BytesIO(photo), model.card.preprocessing) for photo in photos]
decoding = (time.process_time() - start) / len(photos)
start = time.process_time()
for i in range(0, len(inputs), 8):
    model(np.stack(inputs[i : i + 8]))
network = (time.process_time() - start) / len(photos)
print(json.dumps({
    "shards": len(asked["shards"]) - 1, "seconds": seconds, "core": core, "before": 0.0,
    "decoding": decoding, "network": network}))
"""
CLUSTER = """
import json, sys, time
from pathlib import Path
start = time.perf_counter()
asked = json.loads(sys.argv[1])
import minivan
from minivan import cluster
from minivan.predict.shard import find_shards
from timed_shard import Timed
work = Timed(minivan.load(asked["weights"] and Path(asked["weights"]), "fast"), asked["output"] + "/rows", threads=1)
ends, starts, cores, begun = [], [], [], set()
def done(answered):
    outcome, core, process = answered
    if process in begun:
        cores.append(core)
    begun.add(process)
    assert outcome.images and not outcome.failed, outcome
    ends.append(time.perf_counter())
    starts.append(ends[-1] - outcome.seconds)
cluster.run(work, find_shards(asked["shards"]), "local", asked["workers"], done)
ready = ends[asked["workers"] - 1]
print(json.dumps({
    "shards": len(ends) - asked["workers"], "seconds": ends[-1] - ready,
    "core": sum(cores) / len(cores) * (len(ends) - asked["workers"]), "before": min(starts) - start}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Photos a second on a Ray cluster of this machine, beside the plain loop.")
    parser.add_argument("--photos", type=int, default=600, help="of each run (default: 600)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="put the results into docs/cluster.md")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        shards, size = make_shards(Path(folder), args.photos)
        photos = len(shards) * (args.photos // len(shards))
        weights = Path(folder, "b0.safetensors")
        config = VARIANTS["b0"]
        write(Weights(config, seeded.tensors(config), Card("VAN-B0, 224 pixels")), weights)
        networks = {"the bundled weights, 96 pixels": None, "VAN-B0, 224 pixels": str(weights)}
        found = {name: measured(Path(folder), file, shards, args.rounds) for name, file in networks.items()}
    lines = report(found, photos, size, args.rounds)
    print("\n".join(lines))
    if args.write:
        before, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
        DOCUMENT.write_text(before + "\n".join([BEGIN, "", *lines, "", END]) + rest.partition(END)[2], encoding="utf-8")


def make_shards(folder: Path, photos: int) -> tuple[list[str], float]:
    """Make photos of the examples, each a little otherwise, in shards; return those, and a photo's mean size in bytes."""
    numbers = np.random.default_rng(0)
    sources = [
        Image.open(ROOT / "examples" / f"{name}.jpg").convert("RGB").resize(SIZE) for name in ("cat", "coffee", "rocket")
    ]
    loose = folder / "photos"
    loose.mkdir()
    for i in range(SHARDS * (photos // SHARDS)):
        pixels = np.asarray(sources[i % len(sources)], np.float32)
        noisy = (pixels + numbers.normal(0, GRAIN, pixels.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(loose / f"{i:06}.jpg", quality=90)
    size = statistics.mean(path.stat().st_size for path in loose.iterdir())
    script = [sys.executable, str(ROOT / "examples" / "cluster" / "make_shards.py"), str(loose), str(folder / "shards")]
    subprocess.run([*script, "--photos", str(photos // SHARDS)], check=True, stdout=subprocess.DEVNULL)
    return sorted(str(path) for path in (folder / "shards").iterdir()), size


def measured(folder: Path, weights: str | None, shards: list[str], rounds: int) -> dict[str, list[dict[str, float]]]:
    """Run the plain loop and both clusters in turns; return what each said."""
    found: dict[str, list[dict[str, float]]] = {PLAIN: [], ONE: [], TWO: []}
    for _ in range(rounds):
        for name, workers in ((PLAIN, 0), (ONE, 1), (TWO, 2)):
            with tempfile.TemporaryDirectory(dir=folder) as output:
                asked = {"weights": weights, "shards": shards, "output": output, "workers": workers}
                env = {**os.environ, "NUMBA_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'benchmarks'}"}
                line = [sys.executable, "-c", CLUSTER if workers else PLAIN_LOOP, json.dumps(asked)]
                done = subprocess.run(line, env=env, capture_output=True, text=True)
                if done.returncode:
                    raise SystemExit(done.stderr)
                found[name].append(json.loads(done.stdout))
    return found


def report(found: dict[str, dict[str, list[dict[str, float]]]], photos: int, size: float, rounds: int) -> list[str]:
    """Return the table, and what a million photos cost at that speed."""
    here: dict[str, Any] = machine("ray", "numpy", "numba")
    load = os.getloadavg()[1]
    lines = [
        f"{photos:,} JPEG photos of {SIZE[0]} x {SIZE[1]} pixels, {size / 1e3:.0f} kB each, in {SHARDS} shards; medians of"
        f" {rounds} rounds; {here['processor']}, {here['cores']} processors, load average {load:.1f}; ray {here.get('ray')}.",
        "",
        "| network | | photos a second | computed for a photo | beside the plain loop | before the first shard |",
        "|---|---|--:|--:|--:|--:|",
    ]
    paper = [
        "",
        f"A million such photos on {CORES} such cores:",
        "",
        "| network | time | core hours | read in all | read a second | decoding a photo | the network |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for network, runs in found.items():
        each = photos / SHARDS
        rates = {name: statistics.median(each * run["shards"] / run["seconds"] for run in of) for name, of in runs.items()}
        core = {name: statistics.median(run["core"] / run["shards"] / each for run in of) for name, of in runs.items()}
        before = {name: statistics.median(run["before"] for run in of) for name, of in runs.items()}
        for name in (PLAIN, ONE, TWO):
            beside = "" if name == PLAIN else f"{core[name] / core[PLAIN]:.2f} times"
            waits = "" if name == PLAIN else f"{before[name]:.0f} s"
            lines.append(f"| {network} | {name} | {rates[name]:.0f} | {1e3 * core[name]:.1f} ms | {beside} | {waits} |")
        seconds = MILLION * core[TWO] / CORES + before[TWO]
        gigabytes, bandwidth = size * MILLION / 1e9, size * CORES / core[TWO] / 1e6
        hours = MILLION * core[TWO] / 3600
        parts = [statistics.median(1e3 * run[part] for run in runs[PLAIN]) for part in ("decoding", "network")]
        costs = f"{seconds / 60:.1f} min | {hours:.1f} | {gigabytes:.0f} GB | {bandwidth:,.0f} MB"
        paper.append(f"| {network} | {costs} | {parts[0]:.1f} ms | {parts[1]:.1f} ms |")
    return [*lines, *paper]


if __name__ == "__main__":
    main()
