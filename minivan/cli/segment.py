"""python -m minivan segment: a class for every pixel of photos."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import WrongCall, printable
from ..predict import Unusable, find_images
from .arguments import (
    IMAGES,
    add_engine,
    add_photo,
    add_reading,
    add_threads,
    advised,
    reading,
    status,
    wrong_calls,
)
from .classify import NARROWEST, progress, widths
from .printing import complain, console, counted, note, note_all, say_json, say_written, utf8

if TYPE_CHECKING:
    from ..segmentation import Segmentation, SegmentationVAN
    from ..segmentation.writing import Files

FULL = "full"  # the side of a photo that is not scaled
KNOWS = "knows"  # the figure of a card that says which photos its network can be asked about
SHOWN = 12  # classes of a photo, the largest; the others are summed up


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", nargs="+", metavar="PATH", help=IMAGES)
    parser.add_argument("-o", "--output", metavar="OUT", help=(
        "where masks go: a file, MASK.png, for one photo, or a folder (default: nothing is written)"))  # fmt: skip
    parser.add_argument("--overlay", action="store_true", help=(
        "write beside each mask the photo with the classes' colours over it and a legend, NAME-overlay.png"))  # fmt: skip
    parser.add_argument(
        "--resume", action="store_true", help="leave out photos whose masks are in OUT already, by the same head"
    )
    add_head(parser)
    add_engine(parser)
    add_side(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object per image and line")
    add_threads(parser)
    add_photo(parser)


def add_head(parser: argparse.ArgumentParser) -> None:
    """Add --head and --weights, and how they are read."""
    parser.add_argument("--head", metavar="FILE", help=(
        "a Semantic FPN, alone or with its backbone, minivan's own file or a checkpoint (default: the bundled one, of street "
        "scenes)"))  # fmt: skip
    parser.add_argument("--weights", metavar="FILE", help="the backbone of a head that is alone (default: the bundled weights)")
    add_reading(parser)


def add_side(parser: argparse.ArgumentParser) -> None:
    """Add --side."""
    parser.add_argument("--side", type=side, metavar="PIXELS", help=(
        f"of photos' shorter sides as the network sees them, or {FULL}: not scaled (default: as the head says)"))  # fmt: skip


def side(text: str) -> int | str:
    """Read '360' or 'full' from the command line."""
    if text.lower() == FULL:
        return FULL
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of pixels nor {FULL}")
    return int(text)


def load_network(args: argparse.Namespace) -> SegmentationVAN:
    """Return the network that --head, --weights and --engine ask for; WrongCall says what to do where there is none."""
    from ..segmentation.files import load

    with wrong_calls():
        files = _file(args.head), _file(args.weights)
        model = load(*files, args.engine, key=args.key, strict=args.strict, allow_nonfinite=args.allow_nonfinite)
    for figure, words in model.card.figures:
        if figure == KNOWS:
            note(f"{model.card.name} knows {words}")
    for remark in model.card.notes:
        note(remark)
    return model


def _file(name: str | None) -> str | Path | None:
    """Return weights as they were named: a file that is there before weights of the same name."""
    return Path(name) if name is not None and Path(name).exists() else name


def run(args: argparse.Namespace) -> int:
    if args.output == "":  # of a variable that is not set, say
        raise WrongCall("-o with an empty name: name a file or a folder, or leave it out")
    if args.overlay and not args.output:
        raise WrongCall("--overlay writes files: say where with -o")
    if args.resume and not args.output:
        raise WrongCall("--resume goes on with a folder of masks: say which with -o FOLDER")
    from ..segmentation import identity, segmentations
    from ..segmentation.predict import make_ready, settled
    from ..segmentation.writing import about, about_photo, files

    images, how = find_images(args.paths), reading(args)
    with wrong_calls():
        planned = files(images, args.output, args.overlay) if args.output else [None] * len(images)
    model = load_network(args)
    todo = list(zip(images, planned, strict=True))
    failed = kept = 0
    with wrong_calls():
        model = settled(model)
        said = about(model, args.side, how) if args.output else ""
        if args.resume:
            todo = [(image, there) for image, there in todo if image.fault or not (there and there.are_of(image, said))]
            kept = len(images) - len(todo)
    with wrong_calls(), progress(len(todo), doing="segmenting") as advance:
        found = segmentations(
            model, [image for image, _ in todo], side=args.side, threads=args.threads, how=how, keep_photo=args.overlay
        )
        make_ready(model)
        made_by = identity(model) if args.json else {}
        for answer, (image, there) in zip(found, todo, strict=True):
            if isinstance(answer, Unusable):
                complain(f"{answer.image}: {advised(answer.fault)}")
                failed += 1
            else:
                if there:
                    there.write(answer, about_photo(said, image))
                print_json(answer, there, made_by) if args.json else print_text(answer, model, there)
                note_all(answer.image, answer.notes)
            advance(1)
    if others := images.said_of_others():
        complain(others)
    if args.output and not args.json and len(images) > 1:
        before = f", {kept:,} of them from the run before" if args.resume else ""
        say_written(f"{args.output}: {counted(len(images) - failed, 'mask')}{before}, {counted(failed, 'photo')} without one")
    return status(failed, len(images))


def print_json(found: Segmentation, there: Files | None, made_by: dict[str, Any]) -> None:
    """A photo's shares of the area, which files were written of it, and which weights made them."""
    names = {"mask": there and there.mask, "overlay": there and there.overlay}
    written = {what: None if path is None else str(path) for what, path in names.items()}
    say_json({**found.as_dict(), **written, **made_by}, flush=True)


def print_text(found: Segmentation, model: SegmentationVAN, there: Files | None) -> None:
    """A table of the classes that a photo shows, with a bar in each one's colour, then which weights answered."""
    from rich.table import Table
    from rich.text import Text

    block, dot = ("█", "·") if utf8() else ("#", "-")
    label, bar = widths()
    table = Table(box=None, show_header=False, padding=(0, 1))
    table.add_column(overflow="ellipsis", no_wrap=True, min_width=label, max_width=label if sys.stdout.isatty() else None)
    table.add_column(justify="right", width=6)
    if bar:
        table.add_column(no_wrap=True, min_width=bar)
    for area in found.areas[:SHOWN]:
        red, green, blue = found.palette[area.index]
        drawn = [Text(block * round(area.share * bar), style=f"rgb({red},{green},{blue})")] if bar else []
        table.add_row(Text(printable(area.name)), f"{area.share:.1%}", *drawn)
    if rest := found.areas[SHOWN:]:
        table.add_row(Text(f"and {len(rest)} more", style="dim"), f"{sum(area.share for area in rest):.1%}")
    screen = console(NARROWEST)
    screen.print(Text(printable(found.image), style="bold"))
    screen.print(table)
    size = f"{found.width} x {found.height} pixels, seen at {found.scaled[0]} x {found.scaled[1]}"
    said = f"{model} {dot} engine {found.engine} {dot} {size} {dot} {found.milliseconds:.0f} ms"
    screen.print(Text(f"  {printable(said)}", style="dim"))
    for path in filter(None, there or ()):
        say_written(f"  {path}")
    screen.print()
