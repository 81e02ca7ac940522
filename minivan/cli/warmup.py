"""python -m minivan warmup: compile everything now, so that later commands only load it."""

from __future__ import annotations

import time


def add_arguments(parser) -> None:
    parser.add_argument("--engine", choices=["all", "fast", "exact"], default="all", help="what to compile (default: all)")


def run(args) -> int:
    import numpy as np

    from minivan.cli.bench import random_tensors
    from minivan.van import VAN
    from minivan.variants import Config

    config = Config((8, 8, 8, 8), (1, 1, 1, 1), (2, 2, 2, 2), classes=2)
    for engine in ("fast", "exact") if args.engine == "all" else (args.engine,):
        start = time.perf_counter()
        model = VAN(config, random_tensors(config), engine=engine)
        model(np.zeros((1, 3, 64, 64), np.float32))
        print(f"{engine}: {time.perf_counter() - start:.1f} s")
    return 0
