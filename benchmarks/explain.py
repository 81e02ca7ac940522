"""What a map costs: each method's time over a forward pass of the same engine, measured in turns.

    python benchmarks/explain.py [--engine exact] [--size 224] [--rounds 7]

Weights and images by rule, in B0's shape: neither changes the time. Prints the least time of each and its ratio.
"""

import argparse
import time
from collections.abc import Callable

from minivan import VAN, explain, seeded, variants

CLASSES = range(5)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--engine", choices=["exact", "fast", "numpy"], default="exact")
    parser.add_argument("--model", default="b0")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    config = variants.variant(args.model)
    model = VAN(config, seeded.tensors(config), args.engine)
    x = seeded.images((1, 3, args.size, args.size))
    stages = explain.stages(model)
    runs: dict[str, Callable[[], object]] = {
        "forward pass": lambda: model(x),
        "cam": lambda: explain.maps(model, x, 0, "cam"),
        "gradcam, last stage": lambda: explain.maps(model, x, 0),
        "gradcam, stage 1": lambda: explain.maps(model, x, 0, layers=stages[:1]),
        "gradcam, all stages": lambda: explain.maps(model, x, 0, layers=stages),
        f"{len(CLASSES)} classes, last stage": lambda: explain.maps_of_classes(model, x, CLASSES),
        f"{len(CLASSES)} classes, all stages": lambda: explain.maps_of_classes(model, x, CLASSES, layers=stages),
        "derivative by the pixels": lambda: model.gradients(x, 0),
    }
    for run in runs.values():
        run()  # compiles
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(args.rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    forward = min(times["forward pass"])
    print(f"VAN-{args.model.upper()} at {args.size} x {args.size}, engine {args.engine}, {args.rounds} rounds in turns")
    for name, seconds in times.items():
        print(f"{name:26} {min(seconds) / forward:5.2f} x a forward pass   {1000 * min(seconds):7.1f} ms")


main()
