"""python -m minivan lka: the lesson on large kernel attention, in the terminal."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from minivan.errors import WrongCall

FIGURES = (".png", ".svg", ".pdf")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-K", type=_whole(999), default=21, help="side of the large kernel (default 21, as in VAN)")
    parser.add_argument("-d", type=_whole(999), help="dilation (default: the cheapest for K, so 3 for 21)")
    parser.add_argument("-C", type=_whole(65536), default=64, help="channels of the map (default 64)")
    parser.add_argument("--size", type=_whole(4096), default=56, help="side of the map (default 56)")
    parser.add_argument("--image", type=Path, metavar="PHOTO", help="photo of the last chapter (default: a cup of coffee)")
    parser.add_argument("--plot", type=Path, metavar="OUT.png", help="draw the pictures with Matplotlib as well")
    parser.add_argument("--json", action="store_true", help="print every number of the lesson as one JSON object")


def run(args: argparse.Namespace) -> int:
    from minivan import lka
    from minivan.lesson.numbers import numbers

    d = lka.best_dilation(args.K) if args.d is None else args.d
    if d > args.K:
        print(f"minivan lka: error: -d {d} is larger than -K {args.K}", file=sys.stderr)
        return 2
    n = numbers(args.K, d, args.C, args.size)
    walked = follow(args.image)
    if args.plot is not None:
        plot(n, args.plot)
    if args.json:
        import json

        print(json.dumps(n | {"photo": {key: value for key, value in walked.items() if key != "maps"}}))
        return 0
    from minivan.lesson import chapters, photo

    lines = [*chapters.lesson(n), *chapters.heading(10, "The same on a photo"), *photo.chapter(walked)]
    print("\n".join(lines))
    if args.plot is not None:
        print(f"\nThe pictures are in {args.plot}.")
    return 0


def follow(path: Path | None) -> dict:
    """Follow a photo through the bundled weights, on the NumPy engine: it compiles nothing."""
    import minivan
    from minivan.checkpoint.hub import bundled
    from minivan.lesson import photo

    path = photo.example() if path is None else path
    try:
        return photo.walk(minivan.load(bundled()[0], engine="numpy"), path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise WrongCall(f"{path}: {reason}") from None


def plot(n: dict, path: Path) -> None:
    """Write the figure, or say in one line why not."""
    if path.suffix.lower() not in FIGURES:
        raise WrongCall(f"--plot writes {', '.join(FIGURES)} files; got {str(path)!r}")
    try:
        from minivan.lesson.figure import draw

        figure = draw(n)
    except ImportError:
        raise WrongCall("--plot needs Matplotlib: pip install 'minivan[plots]'") from None
    try:
        figure.savefig(path)
    except OSError as error:
        raise WrongCall(f"{path}: {error.strerror or error}") from None


def _whole(largest):
    """Return an argparse type: a whole number from 1 to `largest`."""

    def parse(text):
        try:
            value = int(text)
        except ValueError:
            value = 0
        if not 1 <= value <= largest:
            raise argparse.ArgumentTypeError(f"a whole number from 1 to {largest}, not {text!r}")
        return value

    return parse
