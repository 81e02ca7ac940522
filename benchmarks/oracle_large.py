"""What `oracle record` and `oracle compare` cost a large network: seconds and memory, beside a forward pass of `exact`.

    python benchmarks/oracle_large.py [--variant b3] [--size 512] [--rounds 3] [--folder DIR] [--write]

Every step runs in a process of its own, in turns, and the quickest of the rounds counts. The weights are random ones; the port
is the trace with an error of about one rounding in every number, a folder of .npy files. Four gigabytes are needed under
--folder, which is a temporary one otherwise. --write puts the figures into docs/oracle.md.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

PAGE = ROOT / "docs" / "oracle.md"
SECTION = re.compile(r"(?<=<!-- large networks -->\n).*?(?=<!-- end -->)", re.DOTALL)
MEMORY = "import resource, sys; peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss"
UNIT = 1 if sys.platform == "darwin" else 1024  # bytes that ru_maxrss counts in

MAKE = """
import sys, numpy as np
from minivan import seeded
from minivan.checkpoint import safetensors_file
from minivan.variants import variant
config = variant(sys.argv[2])
safetensors_file.write(sys.argv[1] + "/weights.safetensors", seeded.tensors(config), {})
np.save(sys.argv[1] + "/input.npy", seeded.images((1, 3, int(sys.argv[3]), int(sys.argv[3]))))
"""
PORT = """
import os, sys, numpy as np
from minivan.oracle import read_trace
trace, random = read_trace(sys.argv[1] + "/trace.safetensors"), np.random.default_rng(1)
os.makedirs(sys.argv[1] + "/port", exist_ok=True)
for path, array in trace.layers.items():
    off = random.standard_normal(array.shape, np.float32) * np.float32(2.0**-24)
    np.save(f"{sys.argv[1]}/port/{path}.npy", array + array * off)
"""
FORWARD = f"""
{MEMORY}
import time, numpy as np
from minivan import load
x, model = np.load(sys.argv[1] + "/input.npy"), load(sys.argv[1] + "/weights.safetensors", "exact")
model(x[:, :, :64, :64])
start = time.perf_counter()
model(x)
print(time.perf_counter() - start, peak())
"""
READING = f"""
{MEMORY}
import os, time
start = time.perf_counter()
for name in [sys.argv[1] + "/trace.safetensors", *(entry.path for entry in os.scandir(sys.argv[1] + "/port"))]:
    with open(name, "rb", buffering=0) as file:
        data = bytearray(1 << 20)
        while file.readinto(data):
            pass
print(time.perf_counter() - start, peak())
"""
COMMAND = f"""
{MEMORY}
import io, time
start = time.perf_counter()
from minivan.cli import main
out, sys.stdout = sys.stdout, io.StringIO()
status = main(sys.argv[1:])
if status:
    sys.exit(f"minivan {{' '.join(sys.argv[1:])}} ended with {{status}}")
print(time.perf_counter() - start, peak(), file=out)
"""


def step(script: str, *arguments: str) -> tuple[float, float]:
    """Run a step in a process of its own; return its seconds and the largest resident memory, in MB."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    seconds, memory = (float(number) for number in done.stdout.split() or ("0", "0"))
    return seconds, memory * UNIT / 1e6


def figures(folder: str, variant: str, size: int, rounds: int) -> dict[str, tuple[float, float]]:
    """Return the seconds and the memory of each step."""
    weights, given, trace, port = (
        f"{folder}/{name}" for name in ("weights.safetensors", "input.npy", "trace.safetensors", "port")
    )
    record = ("oracle", "record", given, "-o", trace, "--model", weights)
    step(MAKE, folder, variant, str(size))
    step(COMMAND, *record)
    step(PORT, folder)
    steps = {
        "forward": (FORWARD, folder),
        "record": (COMMAND, *record),
        "compare": (COMMAND, "oracle", "compare", trace, port, "--model", weights),
        "reading": (READING, folder),
    }
    found: dict[str, tuple[float, float]] = {}
    for _ in range(rounds):
        for name, (script, *arguments) in steps.items():
            seconds, memory = step(script, *arguments)
            print(f"{name:8} {seconds:6.2f} s {memory:6.0f} MB", flush=True)
            before = found.get(name, (seconds, memory))
            found[name] = min(before[0], seconds), max(before[1], memory)
    return found


def said(found: dict[str, tuple[float, float]], variant: str, size: int, here: str, bytes_written: int) -> str:
    """Return the table in Markdown."""
    forward, reading = found["forward"][0], found["reading"][0]
    lines = [
        f"Measured by `python benchmarks/oracle_large.py --write`: {variant} at {size} pixels, whose trace has",
        f"{bytes_written / 1e9:.2f} GB, on {here}; reading trace and port takes {reading:.1f} s.",
        "", "| | seconds | forward passes | resident memory, MB |", "|---|--:|--:|--:|",
    ]  # fmt: skip
    names = {"forward": "a forward pass of `exact`, loaded", "record": "`record`", "compare": "`compare`"}
    for name, title in names.items():
        seconds, memory = found[name]
        lines.append(f"| {title} | {seconds:.1f} | {seconds / forward:.2f} | {memory:.0f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--variant", default="b3")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", help="an existing folder for the files, which are left there")
    parser.add_argument("--write", action="store_true", help="write the figures into docs/oracle.md")
    args = parser.parse_args()
    from machine import machine

    seen = machine()
    here = f"{seen['cores']} cores of {seen['processor']}"
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or temporary
        found = figures(folder, args.variant, args.size, args.rounds)
        text = said(found, args.variant, args.size, here, os.path.getsize(f"{folder}/trace.safetensors"))
    print(text)
    if args.write:
        page, count = SECTION.subn(lambda _: text, PAGE.read_text(encoding="utf-8"))
        if count != 1:
            sys.exit(f"{PAGE}: the place of the figures was found {count} times, not once")
        PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
