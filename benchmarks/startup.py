"""Where the time of a warm start goes: what `minivan classify PHOTO` does, step by step, in milliseconds.

python benchmarks/startup.py [PHOTO] [--engine fast] [--runs 5]

Bytecode is written where Python was told not to (PYTHONDONTWRITEBYTECODE): an installed copy has it.
"""

import argparse
import os
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
photo, engine = sys.argv[1:]
import numpy as np
lap('import NumPy')
if engine == 'fast':
    import llvmlite.binding
    lap('import LLVM')
    import minivan.fast
    lap('import minivan.fast, its kernels not yet loaded')
import minivan.cli.classify
lap('import what the command is called by')
import minivan.checkpoint
lap('import what reads weights')
model = minivan.load(engine=engine)
lap('read the weights, and fold and pack them for fast')
if engine == 'fast':
    model(np.zeros((1, 3, 32, 32), np.float32))
    lap('load the compiled network')
import PIL.Image, PIL.JpegImagePlugin
lap('import Pillow')
x = minivan.image.prepare(photo, model.card.preprocessing)
lap('import minivan.image, decode and prepare the photo')
model(x[None])
lap('the network')
if 'numba' in sys.modules:
    raise SystemExit('Numba was imported: nothing was kept, or a variable NUMBA_... had it asked')
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("photo", nargs="?", default=str(ROOT / "examples" / "cat.jpg"))
    parser.add_argument("--engine", choices=("fast", "numpy"), default="fast")
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    options = {"cwd": ROOT, "env": environment, "check": True, "capture_output": True}
    steps: dict[str, list[float]] = {}
    wholes = []
    for _ in range(args.runs + 1):  # the first may compile
        start = time.perf_counter()
        command = [sys.executable, "-m", "minivan", "classify", args.photo, "--engine", args.engine]
        subprocess.run(command, **options)
        wholes.append(1000 * (time.perf_counter() - start))
        done = subprocess.run([sys.executable, "-c", SCRIPT, args.photo, args.engine], text=True, **options)
        for line in done.stdout.splitlines():
            name, milliseconds = line.split("\t")
            steps.setdefault(name, []).append(float(milliseconds))
    print(f"{'milliseconds':>12}  least of {args.runs} warm runs")
    for name, taken in steps.items():
        print(f"{min(taken[1:]):12.1f}  {name}")
    print(f"{min(wholes[1:]):12.1f}  the whole of `classify PHOTO --engine {args.engine}`, Python's own start and end included")
    print(f"{wholes[0]:12.1f}  the run before these")


if __name__ == "__main__":
    main()
