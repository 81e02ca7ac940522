"""python -m minivan bench: how fast this machine runs a network, and how much of its arithmetic that uses."""

from __future__ import annotations

import json
import os

from ..errors import WrongCall
from .arguments import add_threads, positive
from .summary import size


def add_arguments(parser) -> None:
    parser.add_argument("name", nargs="?", default="b0", metavar="NAME", help="b0 to b6, with random weights (default: b0)")
    parser.add_argument("--engine", choices=["fast", "exact"], default="fast", help="what computes (default: fast)")
    parser.add_argument("--size", type=size, default=(224, 224), metavar="N", help="input pixels: N, or HxW (default: 224)")
    parser.add_argument("--batch", type=positive, default=1, metavar="N", help="images at once (default: 1)")
    add_threads(parser)
    parser.add_argument("--runs", type=positive, default=30, metavar="N", help="timed runs (default: 30)")
    parser.add_argument("--json", action="store_true", help="as one JSON object")


def run(args) -> int:
    from minivan.variants import canonical, variant

    try:
        name, config = canonical(args.name), variant(args.name)
    except ValueError as error:
        raise WrongCall(str(error)) from None
    result = {"variant": name, "engine": args.engine, **measure(config, args)}
    if args.json:
        print(json.dumps(result))
        return 0
    print(f"VAN-{name.upper()}, {result['height']} x {result['width']}, batch {result['batch']}, engine {args.engine}, "
          f"{result['threads']} of {os.cpu_count()} threads, {args.runs} runs")  # fmt: skip
    print(f"  first call   {result['first_ms']:9.1f} ms  (compiling, or loading what was compiled)")
    print(f"  minimum      {result['min_ms']:9.2f} ms")
    print(f"  median       {result['median_ms']:9.2f} ms  {result['images_per_second']:.1f} images/s")
    share, peak = result["share"], result["peak_gflops"]
    print(f"  arithmetic   {result['gflops']:9.1f} GFLOP/s, {share:.0%} of a matrix product's {peak:.0f}")
    return 0


def measure(config, args) -> dict:
    """Time an engine on random weights and images; milliseconds, GFLOP/s (all taps counted) and their share of the peak."""
    import statistics
    import time

    import numba
    import numpy as np

    from minivan.fast.peak import ours
    from minivan.summary import summarise, totals
    from minivan.van import VAN

    def clock():
        start = time.perf_counter()
        model(x)
        return 1000 * (time.perf_counter() - start)

    model = VAN(config, random_tensors(config), engine=args.engine)
    x = np.random.default_rng(0).normal(size=(args.batch, 3, *args.size)).astype(np.float32)
    first = clock()
    times = [clock() for _ in range(args.runs)]
    work = 2e-9 * args.batch * totals(summarise(config, *args.size))[1]
    peak = ours(numba.get_num_threads())
    gflops = work / min(times) * 1000
    return {
        "height": args.size[0], "width": args.size[1], "batch": args.batch, "threads": numba.get_num_threads(),
        "first_ms": first, "min_ms": min(times), "median_ms": statistics.median(times),
        "images_per_second": 1000 * args.batch / statistics.median(times),
        "gflops": gflops, "peak_gflops": peak, "share": gflops / peak,
    }  # fmt: skip


def random_tensors(config) -> dict:
    """Return weights for a VAN that keep the size of the signal, so that no number grows until arithmetic changes its pace."""
    import numpy as np

    from minivan.variants import parameter_shapes

    rng, tensors = np.random.default_rng(0), {}
    for name, shape in parameter_shapes(config):
        if len(shape) > 1:
            tensors[name] = rng.normal(size=shape).astype(np.float32) / np.float32(np.sqrt(np.prod(shape[1:])))
        elif "layer_scale" in name:
            tensors[name] = np.full(shape, 0.1, np.float32)
        else:
            tensors[name] = np.full(shape, 1 if name.endswith((".running_var", "weight")) else 0, np.float32)
    return tensors
