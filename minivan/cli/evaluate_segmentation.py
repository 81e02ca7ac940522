"""python -m minivan evaluate --segmentation: how well masks fit those of a labelled dataset."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from ..errors import WrongCall, printable
from ..predict.storage import bare
from .arguments import RIGHT, advised, reading, status, wrong_calls
from .classify import progress
from .cluster import names_file
from .printing import complain, console, counted, note, note_all, say_json, say_rows, say_written, utf8
from .segment import load_network, side

if TYPE_CHECKING:
    from ..evaluate.segmentation import SegmentationEvaluation

FEW = 12  # classes: as many are shown, of more the weakest
SHOWN = 10  # pairs of classes, and images that are answered differently
LARGEST_INDEX = 65_535  # in a mask of 16 bits
OWN = ("head", "side", "ignore", "from_one")  # options of masks alone
OTHERS = ("model", "cluster", "skip_unknown", "activation", "input_size", "draft", "workers")  # of classes alone


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("for masks")
    group.add_argument("--segmentation", action="store_true", help=(
        "DATASET is IMAGES MASKS: folders, archives or folders in these, whose files are paired by name"))  # fmt: skip
    group.add_argument("--head", metavar="FILE", help="as for segment (default: the bundled one, of street scenes)")
    group.add_argument("--side", type=side, metavar="PIXELS", help="as for segment (default: as the head was trained)")
    group.add_argument("--ignore", type=index, nargs="+", metavar="INDEX", help=(
        "indices in masks whose pixels count for nothing, beside 255"))  # fmt: skip
    group.add_argument("--from-one", action="store_true", help="masks number the classes from 1, and 0 is none (ADE20K's)")


def index(text: str) -> int:
    """Read the index of a class from the command line."""
    if not text.isdecimal() or int(text) > LARGEST_INDEX:
        raise argparse.ArgumentTypeError(f"{text!r} is not an index from 0 to {LARGEST_INDEX}")
    return int(text)


def check(args: argparse.Namespace) -> None:
    """Raise WrongCall for options that mean nothing with --segmentation, or without."""
    wrong = [name for name in (OTHERS if args.segmentation else OWN) if getattr(args, name) not in (None, False)]
    if wrong:
        option = {"input_size": "size"}.get(wrong[0], wrong[0]).replace("_", "-")
        raise WrongCall(f"--{option} {'does not go with' if args.segmentation else 'needs'} --segmentation")
    if args.segmentation and len(args.dataset) != 2:
        raise WrongCall(
            f"--segmentation takes IMAGES and MASKS, got {len(args.dataset)} of them; one place that has both is named twice"
        )


def check_folder(output: str | None) -> None:
    """Raise WrongCall where what was to be a folder has the name of a file."""
    if output and names_file(output) and not os.path.isdir(output):
        raise WrongCall(f"{output}: evaluate writes its files into a folder: -o FOLDER")


def run(args: argparse.Namespace) -> int:
    from ..evaluate.scenes import open_scenes
    from ..evaluate.segmentation import evaluate_segmentation
    from ..evaluate.segmentation_report import write_segmentation

    check_folder(args.output)
    if args.against:
        check_engine(args.against)
    model = load_network(args)
    with wrong_calls():
        images, masks = args.dataset
        scenes = open_scenes(images, masks, args.ignore or (), args.from_one)
    for remark in scenes.notes:
        note(remark)
    with wrong_calls(), progress(len(scenes.scenes), "photos", "segmenting") as advance:
        found = evaluate_segmentation(
            model, scenes, against=args.against, side=args.side,
            journal=args.output, threads=args.threads, how=reading(args), advance=advance,
        )  # fmt: skip
        if args.output:
            write_segmentation(found, args.output)
    for place, fault in sorted(found.faults.items()):
        complain(f"{found.names[place]}: {advised(fault)}")
    for place, said in sorted(found.remarks.items()):
        note_all(found.names[place], said)
    if args.json:
        say_json(found.as_dict())
    else:
        print_text(found)
        if args.output:
            say_written(f"\nwritten to {bare(args.output)}")
    return status(len(found.faults), len(found.names)) if found.faults else RIGHT


def check_engine(name: str) -> None:
    """Raise WrongCall for what masks are not compared with."""
    from ..engines import NAMED

    if name not in NAMED:
        raise WrongCall(f"--segmentation compares with another engine, {', '.join(NAMED)}; got {printable(name)}")


def print_text(found: SegmentationEvaluation) -> None:
    """What was counted, the classes or the weakest of them, what was confused, and how often another engine says the same."""
    from rich.text import Text

    screen, dot, overlap = console(), "·" if utf8() else "-", found.overlap
    per_class = [each for each in overlap.per_class if each.iou is not None]
    said = f"{counted(len(found.photos), 'photo')} of {counted(len(per_class), 'class', 'classes')}"
    screen.print(Text(printable(f"{found.dataset} {dot} {said}"), "bold"))
    screen.print(Text(printable(f"{found.model} {dot} engine {found.engine}"), "dim"))
    screen.print()
    totals = {"mIoU": f"{overlap.miou:.1%}", "pixel accuracy": f"{overlap.accuracy.rate:.1%}"}
    totals |= {"class accuracy": f"{overlap.mean_accuracy:.1%}", "pixels": f"{overlap.accuracy.of:,}"}
    totals |= {"ignored": f"{found.ignored:,}", "photos/s": f"{found.photos_per_second:.1f}"}
    say_rows(("", ""), [*totals.items()])
    weakest = sorted(per_class, key=lambda each: (each.iou or 0.0, each.index))[:SHOWN]
    few = len(per_class) <= FEW
    screen.print(Text("\nClasses" if few else "\nWeakest classes", "bold"))
    rows = [
        (f"{each.iou:.1%}", "-" if each.accuracy is None else f"{each.accuracy:.1%}", f"{each.pixels:,}", printable(each.name))
        for each in (per_class if few else weakest)
    ]
    say_rows(("IoU", "found", "pixels", "class"), rows, left=(3,))
    if pairs := overlap.confused[:SHOWN]:
        screen.print(Text("\nMost often confused", "bold"))
        names = overlap.names
        confused = [(f"{pixels:,}", printable(names[right]), printable(names[answer])) for right, answer, pixels in pairs]
        say_rows(("pixels", "class", "taken for"), confused, left=(1, 2))
    if agreement := found.agreement:
        screen.print()
        screen.print(Text(printable(f"Against engine {found.against}"), "bold"))
        differing = agreement.of - agreement.count
        screen.print(Text(f" same class {agreement.rate:.3%} of {agreement.of:,} pixels, another in {differing:,}"))
