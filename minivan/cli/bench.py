"""python -m minivan bench: how fast this machine runs a network, and how much of its arithmetic that uses."""

from __future__ import annotations

import argparse

from .arguments import RIGHT, add_channels, add_engine, add_threads, positive, size, wrong_calls
from .printing import say, say_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", default="b0", metavar="NAME", help="b0 to b6, with random weights (default: b0)")
    add_engine(parser, "fast")
    parser.add_argument("--size", type=size, default=(224, 224), metavar="N", help="input pixels: N, or HxW (default: 224)")
    parser.add_argument("--batch", type=positive, default=1, metavar="N", help="images at once (default: 1)")
    add_channels(parser)
    add_threads(parser)
    parser.add_argument("--runs", type=positive, default=30, metavar="N", help="timed runs (default: 30)")
    parser.add_argument("--json", action="store_true", help="as one JSON object")
    parser.set_defaults(compiles=True)  # the matrix product that every engine is measured against


def run(args: argparse.Namespace) -> int:
    from dataclasses import replace

    from ..bench import measure
    from ..processors import budget
    from ..variants import canonical, title, unusual_channels, variant

    with wrong_calls():
        name, config = canonical(args.name), replace(variant(args.name), channels=args.channels)
        seen = measure(config, args.engine, args.size, args.batch, args.runs)
    if args.json:
        say_json({"variant": name, **seen._asdict()})
        return RIGHT
    say(f"{title(config)}{unusual_channels(config)}, {seen.height} x {seen.width}, batch {seen.batch}, engine {seen.engine}, "
          f"{seen.threads} of {budget().threads} threads, {args.runs} runs")  # fmt: skip
    say(f"  first call   {seen.first_ms:9.1f} ms  (compiling, or loading what was compiled)")
    say(f"  minimum      {seen.min_ms:9.2f} ms")
    say(f"  median       {seen.median_ms:9.2f} ms  {seen.images_per_second:.1f} images/s")
    say(f"  arithmetic   {seen.gflops:9.1f} GFLOP/s, {seen.share:.0%} of a matrix product's {seen.peak_gflops:.0f}")
    return RIGHT
