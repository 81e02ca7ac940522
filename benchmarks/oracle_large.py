"""What `oracle record` and `oracle compare` cost a large network: seconds and memory, beside a forward pass of `exact`.

    python benchmarks/oracle_large.py [--variant b3] [--size 512] [--rounds 3] [--folder DIR] [--write]

Every step runs in a process of its own, in turns, and the least of the rounds counts. On a busy machine the seconds of all
processors tell more than the clock's. The weights are random ones; the port is the trace with an error of about one rounding in
every number, a folder of .npy files. Four gigabytes are needed under --folder, which is a temporary one otherwise; files that
are there already are used again. --write puts the figures into docs/oracle.md.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

PAGE = ROOT / "docs" / "oracle.md"
SECTION = re.compile(r"(?<=<!-- large networks -->\n).*?(?=<!-- end -->)", re.DOTALL)
MEMORY = """
import resource, sys, time
def print_cost(out=sys.stdout):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(time.perf_counter() - start, time.process_time() - spent, peak, file=out)
"""
START = "start, spent = time.perf_counter(), time.process_time()"
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
import numpy as np
from minivan import load
x, model = np.load(sys.argv[1] + "/input.npy"), load(sys.argv[1] + "/weights.safetensors", "exact")
model(x[:, :, :64, :64])
{START}
model(x)
print_cost()
"""
READING = f"""
{MEMORY}
import os
{START}
for name in [sys.argv[1] + "/trace.safetensors", *(entry.path for entry in os.scandir(sys.argv[1] + "/port"))]:
    with open(name, "rb", buffering=0) as file:
        data = bytearray(1 << 20)
        while file.readinto(data):
            pass
print_cost()
"""
COMMAND = f"""
{MEMORY}
import io
{START}
from minivan.cli import main
out, sys.stdout = sys.stdout, io.StringIO()
status = main(sys.argv[1:])
if status:
    sys.exit(f"minivan {{' '.join(sys.argv[1:])}} ended with {{status}}")
print_cost(out)
"""


class Cost(NamedTuple):
    """What a step took: seconds by the clock, those of all processors together, and the largest resident memory in MB."""

    seconds: float
    processor: float
    memory: float


def step(script: str, *arguments: str) -> Cost:
    """Run a step in a process of its own; one that says nothing of its cost has none."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    seconds, processor, memory = (float(number) for number in done.stdout.split() or ("0", "0", "0"))
    return Cost(seconds, processor, memory * UNIT / 1e6)


def figures(folder: str, variant: str, size: int, rounds: int) -> dict[str, Cost]:
    """Return what each step costs."""
    names = "weights.safetensors", "input.npy", "trace.safetensors", "port"
    weights, given, trace, port = (f"{folder}/{name}" for name in names)
    record = ("oracle", "record", given, "-o", trace, "--model", weights)
    if not os.path.isdir(port):
        step(MAKE, folder, variant, str(size))
        step(COMMAND, *record)
        step(PORT, folder)
    steps = {
        "forward": (FORWARD, folder),
        "record": (COMMAND, *record),
        "compare": (COMMAND, "oracle", "compare", trace, port, "--model", weights),
        "reading": (READING, folder),
    }
    found: dict[str, Cost] = {}
    for _ in range(rounds):
        for name, (script, *arguments) in steps.items():
            cost = step(script, *arguments)
            print(f"{name:8} {cost.seconds:6.2f} s {cost.processor:6.2f} s of processors {cost.memory:6.0f} MB", flush=True)
            before = found.get(name, cost)
            least = min(cost.seconds, before.seconds), min(cost.processor, before.processor)
            found[name] = Cost(*least, max(cost.memory, before.memory))
    return found


def said(found: dict[str, Cost], variant: str, size: int, here: str, bytes_written: int) -> str:
    """Return the table in Markdown."""
    forward, reading = found["forward"], found["reading"]
    lines = [
        f"Measured by `python benchmarks/oracle_large.py --write`: {variant} at {size} pixels, whose trace has",
        f"{bytes_written / 1e9:.2f} GB, on {here}. Reading trace and port takes",
        f"{reading.seconds:.1f} s, a processor's part {reading.processor:.1f} s. In brackets: the same in forward passes.",
        "", "| | seconds | seconds of all processors | resident memory, MB |", "|---|--:|--:|--:|",
    ]  # fmt: skip
    names = {"forward": "a forward pass of `exact`, loaded", "record": "`record`", "compare": "`compare`"}
    for name, title in names.items():
        cost = found[name]
        times = (f"{a:.1f} ({a / b:.2f})" for a, b in zip(cost[:2], forward[:2], strict=True))
        lines.append(f"| {title} | {' | '.join(times)} | {cost.memory:.0f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--variant", default="b3")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", help="an existing folder for the files, which stay there")
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
