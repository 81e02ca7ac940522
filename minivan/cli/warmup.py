"""python -m minivan warmup: compile everything now, so that later commands only load it; status 1 where nothing can be kept."""

from __future__ import annotations

import argparse

from .arguments import BFLOAT16, COMPILED, NO, RIGHT, add_cache, wrong_calls
from .printing import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    said = f"what to compile (default: all; {BFLOAT16} is compiled only where it is asked for)"
    parser.add_argument("--engine", choices=["all", *COMPILED, BFLOAT16], default="all", help=said)
    add_cache(parser)
    parser.set_defaults(compiles=True)


def run(args: argparse.Namespace) -> int:
    from .. import kernel_cache
    from ..bench import warm_up

    chosen = {"all": COMPILED}.get(args.engine, (args.engine,))
    with wrong_calls():
        for name, seconds in warm_up(chosen):
            say(f"{name}: {seconds:.1f} s", flush=True)
    return NO if kernel_cache.state().problem else RIGHT
