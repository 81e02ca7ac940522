"""Where the time of a warm start goes: what `minivan classify PHOTO --engine fast` does, step by step, in milliseconds.

python benchmarks/startup.py [PHOTO] [--runs 5]
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
SCRIPT = """
import sys, time
last = time.perf_counter()
def lap(name):
    global last
    now = time.perf_counter()
    print(f'{name}\\t{1000 * (now - last):.1f}')
    last = now
import numpy as np
lap('import NumPy')
import numba
lap('import Numba')
import minivan
import minivan.fast
lap('import minivan, its kernels not yet loaded')
model = minivan.load(engine='fast')
lap('read the weights, fold and pack them')
model(np.zeros((1, 3, 32, 32), np.float32))
lap('load the compiled network')
x = minivan.image.prepare(sys.argv[1], model.card.preprocessing)
lap('import Pillow, decode and prepare the photo')
model(x[None])
lap('the network')
import rich.console, rich.table
lap('import rich')
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("photo", nargs="?", default=str(ROOT / "examples" / "cat.jpg"))
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    steps: dict[str, list[float]] = {}
    wholes = []
    for _ in range(args.runs + 1):  # the first may compile
        start = time.perf_counter()
        command = [sys.executable, "-m", "minivan", "classify", args.photo, "--engine", "fast"]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        wholes.append(1000 * (time.perf_counter() - start))
        done = subprocess.run([sys.executable, "-c", SCRIPT, args.photo], cwd=ROOT, check=True, capture_output=True, text=True)
        for line in done.stdout.splitlines():
            name, milliseconds = line.split("\t")
            steps.setdefault(name, []).append(float(milliseconds))
    print(f"{'milliseconds':>12}  least of {args.runs} warm runs")
    for name, taken in steps.items():
        print(f"{min(taken[1:]):12.1f}  {name}")
    print(f"{min(wholes[1:]):12.1f}  the whole of `classify PHOTO --engine fast`, Python's own start and end included")
    print(f"{wholes[0]:12.1f}  the run before these")


if __name__ == "__main__":
    main()
