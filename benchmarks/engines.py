"""How long minivan's engines take: first call (compiling, or loading the cache), then steady, interleaved.

python benchmarks/engines.py [--model NAME] [--size 224] [--batch 1] [--runs 10] [--engines exact,numpy]
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import numba

import minivan
from minivan.engines import ENGINES
from minivan.seeded import images


def clock(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", help="weights, as for classify (default: the bundled ones)")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--engines", default=",".join(ENGINES))
    args = parser.parse_args()
    x = images((args.batch, 3, args.size, args.size))
    models = {name: minivan.load(args.model, engine=name) for name in args.engines.split(",")}
    any_model = next(iter(models.values()))
    print(f"{any_model.card.name}, batch {args.batch}, {args.size} x {args.size}, {args.runs} interleaved runs, milliseconds")
    first = {name: clock(partial(model, x)) for name, model in models.items()}
    print(f"{'engine':8} {'threads':>7} {'first':>9} {'median':>9} {'minimum':>9}")
    for threads in sorted({1, numba.get_num_threads()}):
        numba.set_num_threads(threads)
        times: dict[str, list[float]] = {name: [] for name in models}
        for _ in range(args.runs):
            for name, model in models.items():
                times[name].append(clock(partial(model, x)))
        for name, taken in times.items():
            began = f"{first.pop(name):9.1f}" if name in first else " " * 9
            print(f"{name:8} {threads:7} {began} {statistics.median(taken):9.1f} {min(taken):9.1f}")


if __name__ == "__main__":
    main()
