"""minivan against PyTorch, ONNX Runtime and OpenVINO, in float32 and in bfloat16: the same weights and input, in one run.

    python benchmarks/peers.py [--only CASE...] [--engines NAME,...] [--rounds 9] [--quick] [--json FILE] [--write]

A case is a variant, pixels a side, images at once and threads: b0-224-1-2. `--only b1 b0-224` measures those that begin so.
Each engine is in a process of its own (racers.py). Their answers are compared before anything is timed. Then they take turns,
in each round in another order: a call to warm up, and a few by the clock. An engine that is far behind the fastest of its
precision runs in three rounds only. `--json` keeps what was measured, case by case, and a run with the same file on the same
machine measures what is missing. `--write` puts the tables into docs/performance.md, in the place of this processor's.

Needs `pip install '.[bench]'`; --engines leaves some out.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import random
import statistics
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sections
from machine import machine, measured, processor
from racers import ENGINES, PRECISIONS, ROOT, Case, Racer, lacking, ours, race
from versions import interval

from minivan.summary import summarise, totals
from minivan.variants import VARIANTS

PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- peers: benchmarks/peers.py --write -->", "<!-- end of peers -->"
CASES = [
    Case(variant, size, batch, threads)
    for size, variant, batch, threads in itertools.product((224, 384), ("b0", "b1", "b2"), (1, 8), (1, 2))
]
QUICK = [case for case in CASES if case.variant == "b0" and case.size == 224 and case.batch == 1]
AGREE = {"float32": 1e-4, "bfloat16": 5e-2}  # of the largest logit, how far an answer may lie from the first engine's
TURN, MOST = 0.2, 10  # seconds of calls that a turn is to have, and the most calls
FAR, FEW = 4, 3  # times as slow as the fastest of its precision: the engine runs in so many rounds only
PACKAGES = "numpy", "numba", "openvino", "onnxruntime", "torch"
WIDTH = 128  # of the page's lines
SEED = 0  # of the order in which the engines run

Times = dict[str, list[list[float]]]  # an engine -> its milliseconds, round by round


def check(racers: dict[str, Racer], case: Case) -> None:
    """End where an engine's answers are not those of the first one."""
    first, *others = racers.values()
    largest = float(np.abs(first.logits).max())
    for racer in others:
        difference = float(np.abs(racer.logits - first.logits).max()) / largest
        most = max(AGREE[ENGINES[racer.engine].precision], AGREE[ENGINES[first.engine].precision])
        if not difference <= most:
            sys.exit(
                f"{racer.engine} and {first.engine} differ by {difference:.1e} of the largest logit on {case}, not {most:g}"
            )


def measure(racers: dict[str, Racer], case: Case, rounds: int) -> Times:
    """Time every engine in turns; milliseconds."""
    once = {name: min(racer.run(1)) for name, racer in racers.items()}
    fastest = {p: min((once[name] for name in once if ENGINES[name].precision == p), default=0.0) for p in PRECISIONS}
    order = random.Random(f"{SEED} {case}")
    times: Times = {name: [] for name in racers}
    for turn in range(rounds):
        names = [name for name in racers if turn < FEW or once[name] < FAR * fastest[ENGINES[name].precision]]
        order.shuffle(names)
        for name in names:
            calls = max(2, min(MOST, int(TURN / once[name])))
            times[name].append([1000 * seconds for seconds in racers[name].run(calls)])
    return times


def summary(taken: list[list[float]]) -> dict[str, Any]:
    """Return the least and the median of an engine's milliseconds, and the ends of their middle half."""
    every = sorted(itertools.chain.from_iterable(taken))
    low, middle, high = np.percentile(every, [25, 50, 75])
    return {
        "min": every[0], "median": float(middle), "quartiles": [float(low), float(high)], "runs": len(every),
        "rounds": [min(each) for each in taken],
    }  # fmt: skip


def ahead(engines: dict[str, dict[str, Any]], precision: str) -> dict[str, Any] | None:
    """Return how many times minivan is as fast as the fastest peer of a precision, with which peer; None where one is missing.

    `engines` is a case's summaries. Of least times, of medians, and of the rounds' ratios the interval that holds 95 % of
    their bootstrap.
    """
    same = {name: said for name, said in engines.items() if ENGINES[name].precision == precision}
    mine = next((name for name in same if ours(name)), None)
    peers = [name for name in same if not ours(name)]
    if mine is None or not peers:
        return None
    peer = min(peers, key=lambda name: same[name]["min"])
    pairs = zip(same[peer]["rounds"], same[mine]["rounds"], strict=False)
    low, high = interval([theirs / own for theirs, own in pairs])
    return {
        "peer": peer, "ratio": same[peer]["min"] / same[mine]["min"], "medians": same[peer]["median"] / same[mine]["median"],
        "interval": [low, high],
    }  # fmt: skip


def geometric_mean(values: Iterable[float]) -> float:
    return math.exp(statistics.fmean(map(math.log, values)))


def peaks(threads: Iterable[int]) -> dict[int, float]:
    """Return what a matrix product by itself reaches on so many threads, in float32: GFLOP/s."""
    from minivan.fast import peak  # compiles it

    return {count: peak.ours(count) for count in sorted(set(threads))}


def gflop(case: Case) -> float:
    """Return the arithmetic of a case: two operations for each of its multiply-adds."""
    return 2e-9 * case.batch * totals(summarise(VARIANTS[case.variant], case.size, case.size))[1]


def contest(case: Case, engines: Sequence[str], rounds: int, folder: Path) -> dict[str, Any]:
    """Measure one case; return its engines' summaries, how far minivan is ahead, and why engines are not there."""
    with race(engines, case, folder) as (racers, absent):
        check(racers, case)
        times = measure(racers, case, rounds)
        said = {name: summary(taken) | {"restless": racers[name].restless} for name, taken in times.items()}
    return {"case": list(case), "engines": said, "absent": absent, "ahead": {p: ahead(said, p) for p in PRECISIONS}}


def setting(engines: Sequence[str], rounds: int) -> dict[str, Any]:
    """Return what measurements must have in common to stand in one table."""
    return {**machine(*PACKAGES), "processor": processor(), "engines": [*engines], "rounds": rounds}


def every(
    cases: Iterable[Case], contest: Callable[[Case, Path], dict[str, Any]], here: dict[str, Any], kept: Path | None
) -> Iterator[dict[str, Any]]:
    """Yield what was measured of each case: what a file keeps of this machine, or what is measured now and kept there."""
    before = json.loads(kept.read_text()) if kept and kept.exists() else {"machine": here, "cases": []}
    if before["machine"] != here:
        sys.exit(f"{kept} was measured on another machine, or otherwise: {before['machine']}")
    done = {Case(*each["case"]): each for each in before["cases"]}
    with tempfile.TemporaryDirectory() as folder:
        for case in cases:
            if case not in done:
                done[case] = contest(case, Path(folder))
                if kept:
                    kept.write_text(json.dumps({"machine": here, "cases": [*done.values()]}, indent=1) + "\n")
            yield done[case]


def show(found: dict[str, Any]) -> None:
    """Print one case, the fastest first."""
    case = Case(*found["case"])
    work = gflop(case)
    print(f"\n{case}  ({work:.2f} GFLOP)")
    for name, said in sorted(found["engines"].items(), key=lambda item: float(item[1]["min"])):
        low, high = said["quartiles"]
        print(f"  {name:24} least {said['min']:9.2f}  median {said['median']:9.2f} ({low:.2f}-{high:.2f}) ms"
              f"  {1000 * work / said['min']:7.1f} GFLOP/s  asleep after {said['restless']:.2f} s")  # fmt: skip
    for precision, lead in found["ahead"].items():
        if lead:
            low, high = lead["interval"]
            print(f"  {precision}: {lead['ratio']:.2f} times as fast as {lead['peer']} (medians {lead['medians']:.2f}, "
                  f"rounds {low:.2f}-{high:.2f})")  # fmt: skip
    sys.stdout.flush()


def means(cases: Sequence[dict[str, Any]], precision: str) -> str:
    """Return a sentence: the geometric mean of the ratios, and the least and the largest of them."""
    leads = {str(Case(*each["case"])): each["ahead"][precision] for each in cases if each["ahead"][precision]}
    if not leads:
        return f"In {precision} there is nothing to compare minivan with."
    mean = geometric_mean(lead["ratio"] for lead in leads.values())
    least, most = (extreme(leads, key=lambda name: float(leads[name]["ratio"])) for extreme in (min, max))
    return (
        f"In {precision} minivan is {mean:.2f} times as fast as the fastest peer in the geometric mean (cases: {len(leads)}), "
        f"from {leads[least]['ratio']:.2f} ({least}, {leads[least]['peer']}) "
        f"to {leads[most]['ratio']:.2f} ({most}, {leads[most]['peer']})."
    )


def table(cases: Sequence[dict[str, Any]], precision: str, peak: dict[int, float]) -> list[str]:
    """Return the rows of one precision: least milliseconds with the median, how far minivan is ahead with its interval, and
    what share of a float32 matrix product's speed the arithmetic of `fast` has."""
    names = [n for n in ENGINES if ENGINES[n].precision == precision and any(n in each["engines"] for each in cases)]
    heads = [f"{precision}", "pixels", "batch", "threads", *(ENGINES[name].title for name in names), "ahead", "of peak"]
    rows = [f"| {' | '.join(heads)} |", f"|---|{'--:|' * (len(heads) - 1)}"]
    for each in cases:
        case, there, lead = Case(*each["case"]), each["engines"], each["ahead"][precision]
        cells = [f"{there[name]['min']:.1f} ({there[name]['median']:.1f})" if name in there else "" for name in names]
        cells.append("{:.2f} ({:.2f}-{:.2f})".format(lead["ratio"], *lead["interval"]) if lead else "")
        mine = next((there[name]["min"] for name in names if ours(name) and name in there), math.inf)
        cells.append(f"{1000 * gflop(case) / mine / peak[case.threads]:.0%}" if mine < math.inf else "")
        rows.append(f"| {' | '.join([*map(str, case), *cells])} |")
    return rows if names else []


def report(cases: Sequence[dict[str, Any]], rounds: int, peak: dict[int, float]) -> str:
    """Return what goes into the page for this processor."""
    absent = {name: reason for each in cases for name, reason in each["absent"].items()}
    lines = [measured(*PACKAGES), f"{rounds} rounds.", *(f"Not here: {name} ({reason})." for name, reason in absent.items())]
    lines.append(f"The peak: {', '.join(f'{speed:.0f} GFLOP/s on {count}' for count, speed in peak.items())} thread(s).")
    parts = [textwrap.fill(" ".join(lines), WIDTH)]
    for precision in PRECISIONS:
        if rows := table(cases, precision, peak):
            parts += ["\n".join(rows), textwrap.fill(means(cases, precision), WIDTH)]
    return "\n\n".join(parts)


def chosen(only: Sequence[str], quick: bool) -> list[Case]:
    """Return the cases whose names begin as one of `only`, or all; SystemExit where one of them names none."""
    cases = QUICK if quick else CASES
    for begin in only:
        if not any(str(case).startswith(begin) for case in cases):
            sys.exit(f"no case begins with {begin!r}; they are {', '.join(map(str, cases))}")
    return [case for case in cases if not only or str(case).startswith(tuple(only))]


def engines_of(text: str) -> list[str]:
    """Return the engines that a list names; SystemExit for an unknown one, and for one whose package is not installed."""
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in ENGINES:
            sys.exit(f"no engine {name!r}; they are {', '.join(ENGINES)}")
    if missing := lacking(names):
        sys.exit(missing)
    return [name for name in ENGINES if name in names]


def main() -> None:
    parser = argparse.ArgumentParser(description="minivan against the peers, each engine in a process of its own")
    parser.add_argument("--only", nargs="+", default=[], metavar="CASE", help="cases that begin so, as b0-224-1-2 or b1")
    parser.add_argument("--engines", help=f"of {', '.join(ENGINES)} (default: all)")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument(
        "--quick", action="store_true", help="b0, one image of 224 x 224, three rounds, nothing by PyTorch's compiler"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep what was measured there, and go on with it")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/performance.md")
    args = parser.parse_args()
    usual = [name for name in ENGINES if not (args.quick and "compiled" in name)]
    engines, cases = engines_of(args.engines or ",".join(usual)), chosen(args.only, args.quick)
    rounds = FEW if args.quick else args.rounds
    here = setting(engines, rounds)
    print(here)
    found = []
    for each in every(cases, lambda case, folder: contest(case, engines, rounds, folder), here, args.json):
        found.append(each)
        show(each)
    print("", *(means(found, precision) for precision in PRECISIONS), sep="\n")
    if args.write:
        sections.write(PAGE, BEGIN, END, processor(), report(found, rounds, peaks(case.threads for case in cases)))


if __name__ == "__main__":
    main()
