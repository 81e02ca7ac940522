"""What the engine `auto` reckons with, measured: seconds of numpy and of fast, to load and to compile; and whole commands.

python benchmarks/auto.py [--rounds 9]

Its constants stand in minivan/engines/auto.py and, of compiling, in minivan/compiling.py. Two cores, and nothing else on them.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from minivan import compiling, kernel_cache

ROOT = Path(__file__).parent.parent
PHOTO = str(ROOT / "examples" / "coffee.jpg")
STEADY = """
import time
from minivan import seeded
from minivan.engines.auto import NumpyPlan, multiply_adds
from minivan.van import VAN
from minivan.variants import variant
for name, side in (('b0', 64), ('b0', 96), ('b0', 224), ('b1', 96), ('b2', 96)):
    config, x = variant(name), seeded.images((1, 3, side, side))
    tensors, work = seeded.tensors(config), multiply_adds(config, side, side)
    for engine, network in (('numpy', NumpyPlan(config, tensors)), ('fast', VAN(config, tensors, 'fast'))):
        network(x)
        times = []
        for _ in range(5):
            start = time.perf_counter()
            network(x)
            times.append(time.perf_counter() - start)
        took = sorted(times)[2]
        print(f'{name} {side:3} {engine:5} {1000 * took:7.1f} ms {1e9 * took / work:6.3f} ns for each multiply-add')
"""
LOADING = """
import time
import numpy as np
import minivan, minivan.engines.auto as auto
model = minivan.load()
start = time.perf_counter()
auto._load()
minivan.VAN(model.config, model.tensors, 'fast')
print(time.perf_counter() - start)
"""


def seconds(command: Sequence[str], cache: str) -> float:
    """Return how long a command takes as a whole, with kernels kept in that folder."""
    environment = os.environ | {"MINIVAN_CACHE": cache}
    start = time.perf_counter()
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    return time.perf_counter() - start


def compiled(part: str, cache: str) -> float:
    """Return how long the kernels of a part took to compile, as their files say."""
    files = [path for path in Path(cache).rglob("*.kernel") if compiling.part_of(path.name) == part]
    found = [kernel_cache.parts(path.read_bytes()) for path in files]
    return sum(float(content.seconds) for content in found if content)


def said(script: str, cache: str) -> str:
    """Return what a script prints in a process of its own."""
    command, environment = [sys.executable, "-c", script], os.environ | {"MINIVAN_CACHE": cache}
    return subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout


def whole_commands(rounds: int, warm: str) -> None:
    """Print how long `classify` takes with nothing compiled and with all, in turns."""
    classify = [sys.executable, "-m", "minivan", "classify", PHOTO]
    commands = {
        "classify, nothing compiled": (classify, None),
        "classify, all compiled": (classify, warm),
        "classify --engine fast, all compiled": ([*classify, "--engine", "fast"], warm),
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds + 1):
        for name, (command, cache) in commands.items():
            with tempfile.TemporaryDirectory() as empty:
                times[name].append(seconds(command, cache or empty))
    print(f"the whole process, {rounds} rounds in turns: median, least and most")
    for name, taken in times.items():
        print(f"  {statistics.median(taken[1:]):5.2f} s {min(taken[1:]):5.2f} {max(taken[1:]):5.2f}  {name}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--cache", metavar="DIR", help="compiled kernels (default: compile anew, and time that too)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as new:
        warm = args.cache or new
        if not args.cache:
            for engine in ("fast", "exact"):
                taken = seconds([sys.executable, "-m", "minivan", "warmup", "--engine", engine], warm)
                print(f"warmup --engine {engine}: {taken:.1f} s", flush=True)
            for part, reckoned in compiling.SECONDS.items():
                print(f"to compile {compiling.WHAT[part]}: {compiled(part, warm):.1f} s (reckoned with: {reckoned})")
        print(said(STEADY, warm), end="", flush=True)
        loads = [float(said(LOADING, warm)) for _ in range(5)]
        print(f"to load fast: {statistics.median(loads):.2f} s", flush=True)
        whole_commands(args.rounds, warm)


if __name__ == "__main__":
    main()
