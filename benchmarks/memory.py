"""Peak memory of one process that runs one image, by image size; and of the parts every process has.

python benchmarks/memory.py [--variant b0] [--sizes 224,512,1024,2048]
"""

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
SCRIPT = """
import resource, sys
import numpy as np
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == 'darwin' else 1 << 10)
import numba
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


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--variant", default="b0")
    parser.add_argument("--sizes", default="224,512,1024,2048")
    args = parser.parse_args()
    print(f"VAN-{args.variant.upper()}, engine fast, megabytes\n{'pixels':>6} {'imports':>8} {'+ model':>8} {'+ image':>8}"
          f" {'bytes a pixel':>14}")  # fmt: skip
    for size in (int(v) for v in args.sizes.split(",")):
        command = [sys.executable, "-c", SCRIPT, args.variant, str(size)]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)  # compiles, should nothing be cached yet
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        imported, loaded, peak = (float(v) for v in done.stdout.split())
        print(f"{size:6} {imported:8.0f} {loaded:8.0f} {peak:8.0f} {(peak - loaded) * 2**20 / size**2:14.0f}", flush=True)


if __name__ == "__main__":
    main()
