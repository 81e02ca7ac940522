"""python -m minivan summary: a variant stage by stage."""

from __future__ import annotations

import argparse

from .arguments import RIGHT, add_channels, size, wrong_calls
from .printing import say, say_json, say_rows


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
    height, width = args.size
    table = [
        (row.name, " x ".join(map(str, row.output)), str(row.blocks or ""), f"{row.parameters:,}", f"{row.multiply_adds:,}")
        for row in rows
    ]
    table.append(("total", "", "", f"{parameters:,}", f"{multiply_adds:,}"))
    known_as = "" if args.name.lower() == name else f" ({args.name})"
    say(f"{title(config)}{known_as}, input {config.channels} x {height} x {width}\n")
    say_rows(("", "output", "blocks", "parameters", "multiply-adds"), table, left=(0, 1))
    pretrained = ", pretrained on ImageNet-22k" if name in PRETRAINED else ""
    say(f"\nPublished ImageNet top-1: {PUBLISHED_TOP1[name]} %{pretrained}")
    return RIGHT
