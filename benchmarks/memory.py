"""Peak memory of one process that runs one image, by image size; and of `classify`, by the photo's size and engine.

python benchmarks/memory.py [--variant b0] [--sizes 224,512,1024,2048]     the network on images of those sizes
python benchmarks/memory.py --write                                       `classify`, and the table goes into
                                                                           docs/deployment.md
"""

import argparse
import datetime
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from machine import machine
from PIL import Image

ROOT = Path(__file__).parent.parent
PAGE, BEGIN, END = ROOT / "docs" / "deployment.md", "<!-- memory: benchmarks/memory.py --write -->", "<!-- end of memory -->"
SCRIPT = """
import resource, sys
import numpy as np
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == 'darwin' else 1 << 10)
imported = peak()
from minivan import seeded
from minivan.van import VAN
from minivan.variants import variant
config = variant(sys.argv[1])
model = VAN(config, seeded.tensors(config), engine='fast')
model(np.zeros((1, 3, 32, 32), np.float32))
loaded = peak()
model(np.zeros((1, 3, int(sys.argv[2]), int(sys.argv[2])), np.float32))
print(imported, loaded, peak())
"""
ENGINES, SIDES = ("numpy", "fast", "exact"), (512, 1024, 2048, 4096)


def networks(variant: str, sizes: list[int]) -> None:
    """Print what the network takes on images of those sizes."""
    print(f"VAN-{variant.upper()}, engine fast, megabytes\n{'pixels':>6} {'imports':>8} {'+ model':>8} {'+ image':>8}"
          f" {'bytes a pixel':>14}")  # fmt: skip
    for size in sizes:
        command = [sys.executable, "-c", SCRIPT, variant, str(size)]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)  # compiles, should nothing be cached yet
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        imported, loaded, peak = (float(v) for v in done.stdout.split())
        print(f"{size:6} {imported:8.0f} {loaded:8.0f} {peak:8.0f} {(peak - loaded) * 2**20 / size**2:14.0f}", flush=True)


def taken(photo: Path, engine: str) -> int:
    """Return the megabytes (2^20 bytes) that `classify` holds at most."""
    command = [sys.executable, "-m", "minivan", "classify", str(photo), "--engine", engine]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"classify ended with status {process.returncode}")
    return round(used.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10))


def commands() -> str:
    """Return the table of what `classify` takes with the bundled weights, kernels being there, and what it was measured on."""
    here = machine()
    lines = [f"| a JPEG file of | {' | '.join(f'`{engine}`' for engine in ENGINES)} |", "|---|" + "--:|" * len(ENGINES)]
    with tempfile.TemporaryDirectory() as folder:
        for side in SIDES:
            photo = Path(folder) / f"{side}.jpg"
            Image.open(ROOT / "examples" / "coffee.jpg").resize((side, side)).save(photo, quality=90)
            for engine in ENGINES if side == SIDES[0] else ():
                taken(photo, engine)  # compiles, should nothing be cached yet
            lines.append(f"| {side:,} x {side:,} | {' | '.join(f'{taken(photo, engine)} MiB' for engine in ENGINES)} |")
            print(lines[-1], flush=True)
    cores, today = here["cores"], f"{datetime.date.today():%Y-%m-%d}"
    return "\n".join(
        [*lines, "", f"Measured on {cores} cores of an {here['processor']}, Python {sys.version.split()[0]}, {today}."]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--variant", default="b0")
    parser.add_argument("--sizes", default="224,512,1024,2048")
    parser.add_argument("--write", action="store_true", help="measure `classify`, and put the table into docs/deployment.md")
    args = parser.parse_args()
    if not args.write:
        networks(args.variant, [int(size) for size in args.sizes.split(",")])
        return
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n\n{commands()}\n\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
