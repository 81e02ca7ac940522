"""What a map costs: each method's time over a forward pass of the same engine, measured in turns.

    python benchmarks/explain.py [--engine exact] [--size 224] [--rounds 7]

Random images and random weights of B0's shape: neither changes the time. Prints the least time of each and its ratio.
"""

import argparse
import time

import numpy as np

from minivan import VAN, explain, variants


def random_tensors(config, rng):
    tensors = {}
    for name, shape in variants.parameter_shapes(config):
        values = rng.normal(size=shape) / np.sqrt(max(1, np.prod(shape[1:])))
        tensors[name] = (np.abs(values) + 0.5 if name.endswith("running_var") else values).astype(np.float32)
    return tensors


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", choices=["exact", "fast"], default="exact")
    parser.add_argument("--model", default="b0")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    config = variants.variant(args.model)
    model = VAN(config, random_tensors(config, rng), args.engine)
    x = rng.normal(size=(1, 3, args.size, args.size)).astype(np.float32)
    stages = explain.stages(model)
    runs = {
        "forward pass": lambda: model(x),
        "cam": lambda: explain.maps(model, x, 0, "cam"),
        "gradcam, last stage": lambda: explain.maps(model, x, 0),
        "gradcam, stage 1": lambda: explain.maps(model, x, 0, layers=stages[:1]),
        "gradcam, all stages": lambda: explain.maps(model, x, 0, layers=stages),
        "derivative by the pixels": lambda: model.gradients(x, 0),
    }
    for run in runs.values():
        run()  # compiles
    times = {name: [] for name in runs}
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
