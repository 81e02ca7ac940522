"""python -m minivan lka: the lesson on large kernel attention, in the terminal."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ..geometry import CONV_SPATIAL, LARGE_KERNEL
from ..typesetting import joined, wrapped
from .arguments import RIGHT, in_time, whole, wrong_calls
from .printing import columns, note_all, say, say_json, say_written, takes

if TYPE_CHECKING:
    from ..lesson.language import Language


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-K", type=whole(999), default=LARGE_KERNEL, help=f"side of the large kernel (default {LARGE_KERNEL}, as in VAN)"
    )
    cheapest = f"the cheapest for K, so {CONV_SPATIAL.dilation} for {LARGE_KERNEL}"
    parser.add_argument("-d", type=whole(999), help=f"dilation (default: {cheapest})")
    parser.add_argument("-C", type=whole(65536), default=64, help="channels of the map (default 64)")
    parser.add_argument("--size", type=whole(4096), default=56, help="side of the map (default 56)")
    parser.add_argument("--image", type=Path, metavar="PHOTO", help="photo of the last chapters (default: a cup of coffee)")
    parser.add_argument("--plot", type=Path, metavar="OUT.png", help="draw the pictures with Matplotlib as well")
    parser.add_argument(
        "--lang", choices=("en", "zh"), default="en", help="language of the lesson: English or Chinese (default en)"
    )
    told = parser.add_mutually_exclusive_group()
    told.add_argument("--chapter", type=whole(), metavar="N", help="tell this chapter alone")
    told.add_argument("--json", action="store_true", help="print every number of the lesson as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Tell the lesson; a photo or a figure that cannot be had is said before anything is computed."""
    from ..image import decode
    from ..lesson import chapters, photo
    from ..lesson.language import Language
    from ..lesson.numbers import numbers
    from ..lka import best_dilation, check

    language = Language(args.lang)
    d = best_dilation(args.K) if args.d is None else args.d
    with wrong_calls():
        if not (args.json or takes(language.characters())):
            raise ValueError(
                f"standard output is {sys.stdout.encoding}, which has no characters for --lang {args.lang}: "
                "set PYTHONIOENCODING=utf-8 where the terminal shows UTF-8"
            )
        check(args.K, d)
        if args.chapter is not None and args.chapter > len(chapters.CHAPTERS):
            raise ValueError(f"the lesson has {len(chapters.CHAPTERS)} chapters; got --chapter {args.chapter}")
        if args.plot is not None:
            from ..explain.figure import check_output

            check_output(args.plot)
        model = photo.bundled_model()
    path = photo.example() if args.image is None else args.image
    with wrong_calls(path):
        remarks: list[str] = []
        walked = photo.walk(model, path, lambda path: in_time(lambda: decode(path, notes=remarks)))
    note_all(path, remarks)
    n = numbers(args.K, d, args.C, args.size)
    if args.plot is not None:
        from ..explain.figure import save
        from ..lesson import figure

        with wrong_calls():
            save(figure.draw(n, walked), args.plot)
    if args.json:
        say_json(n | {"photo": photo.plain(walked)})
        return RIGHT
    tell(chapters.parts(n, walked, args.chapter, language), language, alone=args.chapter is not None)
    if args.plot is not None:
        say_written("\n" + language("plotted", path=str(args.plot)))
    return RIGHT


def tell(parts: Iterable[tuple[list[str], list[str]]], language: Language, alone: bool) -> None:
    """Print chapters, what is asked and what is answered; `alone` without the air above the heading."""
    from ..lesson.pictures import WIDTH

    for asked, answered in parts:
        for lines in (asked[2:] if alone else asked, answered):
            say("\n".join(narrowed(lines, columns()) if columns() < WIDTH else lines), hang=0)
            if lines is not answered and not goes_on(language("pause")):
                return


def goes_on(prompt: str) -> bool:
    """Wait, where somebody sits at a terminal, until the question has been thought about; False where they have had enough."""
    if sys.stdin is None or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return True
    try:
        return input(f"  {prompt} ").strip().lower() not in ("q", "quit", "exit")
    except EOFError:
        say()
        return False


def narrowed(lines: Iterable[str], columns: int) -> list[str]:
    """Return the lesson with its paragraphs broken anew, for a terminal narrower than its page; pictures stay as they are."""
    told, goes_on = list[str](), False
    for line in lines:
        prose = bool(line.strip("=-")) and not line.startswith(" ")
        if prose and goes_on:
            told[-1] = joined([told[-1], line])
        else:
            told.append(line)
        goes_on = prose
    return [piece for line in told for piece in (wrapped(line, columns) if line[:1].strip() else [line])]
