"""python -m minivan summary: a variant stage by stage."""

from __future__ import annotations

import argparse

from .arguments import RIGHT, add_channels, size, wrong_calls
from .printing import say, say_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", default="b0", metavar="NAME", help="b0 to b6, or tiny, small, base, large (b0)")
    parser.add_argument("--size", type=size, default=(224, 224), metavar="N", help="input pixels: N, or HxW (default: 224)")
    add_channels(parser)
    parser.add_argument("--json", action="store_true", help="as one JSON object")


def run(args: argparse.Namespace) -> int:
    from dataclasses import replace

    from ..summary import summarise, totals
    from ..variants import PRETRAINED, PUBLISHED_TOP1, canonical, title, variant

    with wrong_calls():
        name, config = canonical(args.name), replace(variant(args.name), channels=args.channels)
    rows = summarise(config, *args.size)
    parameters, multiply_adds = totals(rows)
    if args.json:
        stages = [vars(row) for row in rows]
        say_json({"variant": name, "input": [config.channels, *args.size], "stages": stages, "parameters": parameters,
                          "multiply_adds": multiply_adds, "published_top1": PUBLISHED_TOP1[name]})  # fmt: skip
        return RIGHT
    from rich.console import Console
    from rich.table import Table

    height, width = args.size
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("", "output", "blocks", "parameters", "multiply-adds"):
        table.add_column(heading, justify="left" if heading in ("", "output") else "right")
    for row in rows:
        shape = " x ".join(map(str, row.output))
        table.add_row(row.name, shape, str(row.blocks or ""), f"{row.parameters:,}", f"{row.multiply_adds:,}")
    table.add_row("total", "", "", f"{parameters:,}", f"{multiply_adds:,}", style="bold")
    console = Console(highlight=False)
    say(f"{title(config)}, input {config.channels} x {height} x {width}\n")
    console.print(table)
    pretrained = ", pretrained on ImageNet-22k" if name in PRETRAINED else ""
    say(f"\nPublished ImageNet top-1: {PUBLISHED_TOP1[name]} %{pretrained}")
    return RIGHT
