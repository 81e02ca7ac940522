"""How time and memory grow with pixels, with images at once, with the variant and with threads, beside the fastest peers.

    python benchmarks/growth.py [--only pixels batch variants] [--engines NAME,...] [--quick] [--json FILE] [--write]

Three series, each on 1 and on 2 threads: a b0 with one image of 224 to 2,048 pixels a side; a b0 with 1 to 64 images of
224 x 224; b0 to b6 with one image of 224 x 224. Each engine is in a process of its own, as in peers.py, whose comparison of
answers and turns these are; PyTorch is left out, which was never the fastest. Memory is the most that the process held, its
libraries and weights among it.

In the tables *time* and *growth* are those of minivan: milliseconds, and how many times as long a unit of arithmetic takes as
in the series' first case: 1 is linear. `--json` keeps what was measured and goes on with it; `--write` puts the tables into
docs/performance.md, in the place of this processor's. Needs `pip install '.[bench]'`.
"""

from __future__ import annotations

import argparse
import itertools
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sections
from machine import measured, processor
from peers import PACKAGES, PAGE, WIDTH, ahead, check, engines_of, every, gflop, measure, setting, summary
from racers import ENGINES, PRECISIONS, Case, ours, race

BEGIN, END = "<!-- growth: benchmarks/growth.py --write -->", "<!-- end of growth -->"
THREADS = 1, 2
SERIES = {
    "pixels": [("b0", size, 1) for size in (224, 320, 448, 640, 896, 1280, 2048)],
    "batch": [("b0", 224, batch) for batch in (1, 2, 4, 8, 16, 32, 64)],
    "variants": [(f"b{number}", 224, 1) for number in range(7)],
}
VARIES = {"pixels": "pixels a side, one image, b0", "batch": "images of 224 x 224, b0", "variants": "one image of 224 x 224"}
COLUMN = {"pixels": 1, "batch": 2, "variants": 0}  # of a case, what a series varies
ROUNDS, QUICK = 5, 3
USUAL = "fast", "openvino", "onnxruntime", "fast bfloat16", "openvino bfloat16"


def cases(series: str, quick: bool) -> list[Case]:
    """Return a series' cases, those on one thread first; of a quick one its first two."""
    steps = SERIES[series][:2] if quick else SERIES[series]
    return [Case(*step, threads) for threads in THREADS for step in steps]


def contest(case: Case, engines: Sequence[str], rounds: int, folder: Path) -> dict[str, Any]:
    """Measure one case; return its engines' times and memory, how far minivan is ahead, and why engines are not there."""
    with race(engines, case, folder) as (racers, absent):
        check(racers, case)
        times = measure(racers, case, rounds)
        said = {name: summary(taken) | {"megabytes": racers[name].megabytes} for name, taken in times.items()}
    for file in folder.glob(f"{case.network}.onnx*"):
        if case.threads == THREADS[-1]:
            file.unlink()  # those of large variants take their room
    return {"case": list(case), "engines": said, "absent": absent, "ahead": {p: ahead(said, p) for p in PRECISIONS}}


def table(found: Sequence[dict[str, Any]], series: str) -> list[str]:
    """Return a series' rows for one number of threads."""
    heads = [series, "GFLOP"]
    for precision in PRECISIONS:
        heads += [f"{precision}: time", "growth", "memory", "fastest peer", "its memory", "ahead"]
    rows = [f"| {' | '.join(heads)} |", f"|---|{'--:|' * (len(heads) - 1)}"]
    first: dict[str, float] = {}  # a precision -> milliseconds a GFLOP of its first case
    for each in found:
        case, there = Case(*each["case"]), each["engines"]
        cells = [str(case[COLUMN[series]]), f"{gflop(case):.2f}"]
        for precision in PRECISIONS:
            same = [name for name in there if ENGINES[name].precision == precision]
            mine = next((there[name] for name in same if ours(name)), None)
            peer = min((name for name in same if not ours(name)), key=lambda name: float(there[name]["min"]), default=None)
            if mine:
                each_unit = mine["min"] / gflop(case)
                growth = each_unit / first.setdefault(precision, each_unit)
                cells += [f"{mine['min']:.1f}", f"{growth:.2f}", f"{mine['megabytes']:.0f} MB"]
            else:
                cells += [""] * 3
            if peer:
                cells += [f"{ENGINES[peer].title} {there[peer]['min']:.1f}", f"{there[peer]['megabytes']:.0f} MB"]
            else:
                cells += [""] * 2
            lead = each["ahead"][precision]
            cells.append(f"{lead['ratio']:.2f}" if lead else "")
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def report(done: dict[Case, dict[str, Any]], series: Sequence[str], quick: bool, rounds: int) -> str:
    """Return what goes into the page for this processor."""
    absent = {name: reason for each in done.values() for name, reason in each["absent"].items()}
    lines = [measured(*PACKAGES), f"{rounds} rounds.", *(f"Not here: {name} ({reason})." for name, reason in absent.items())]
    parts = [textwrap.fill(" ".join(lines), WIDTH)]
    for name, threads in itertools.product(series, THREADS):
        chosen = [done[case] for case in cases(name, quick) if case.threads == threads]
        parts += [f"{VARIES[name].capitalize()}, {threads} thread{'s'[: threads - 1]}:", "\n".join(table(chosen, name))]
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description="time and memory by pixels, batch, variant and threads, beside the peers")
    parser.add_argument("--only", nargs="+", choices=[*SERIES], default=[*SERIES], help="which series (default: all)")
    parser.add_argument("--engines", default=",".join(USUAL), help=f"of {', '.join(ENGINES)}")
    parser.add_argument("--quick", action="store_true", help=f"the first two cases of each series, {QUICK} rounds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep what was measured there, and go on with it")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/performance.md")
    args = parser.parse_args()
    engines, rounds = engines_of(args.engines), QUICK if args.quick else ROUNDS
    here = setting(engines, rounds)
    done = {}
    chosen = sorted({case for name in args.only for case in cases(name, args.quick)})
    for each in every(chosen, lambda case, folder: contest(case, engines, rounds, folder), here, args.json):
        done[Case(*each["case"])] = each
        said = (f"{name} {found['min']:.1f} ms {found['megabytes']:.0f} MB" for name, found in each["engines"].items())
        print(f"{Case(*each['case'])}: {', '.join(said)}", flush=True)
    text = report(done, args.only, args.quick, rounds)
    print(f"\n{text}")
    if args.write:
        sections.write(PAGE, BEGIN, END, processor(), text)


if __name__ == "__main__":
    main()
