"""python -m minivan evaluate: how many of a labelled dataset's images a network gets right."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias

from ..errors import printable, shortened
from ..predict.storage import bare
from . import evaluate_segmentation as segmentation
from .arguments import (
    RIGHT,
    add_activation,
    add_draft,
    add_engine,
    add_input_size,
    add_photo,
    add_threads,
    add_weights,
    advised,
    load_model,
    reading,
    status,
    wrong_calls,
)
from .classify import progress
from .cluster import add_cluster
from .evaluate_segmentation import FEW, SHOWN, check_folder
from .printing import columns, complain, console, counted, note, note_all, say_json, say_rows, say_written, utf8

if TYPE_CHECKING:
    from ..evaluate import Evaluation, Share

DATASET = (
    "a folder of class folders, or a .zip or .tar of them; a .csv or .tsv of paths and labels; WebDataset shards, "
    "'shard-{000..009}.tar'"
)
AGAINST = "an engine, weights, an ONNX file or a file of logits (.npy, .npz, .jsonl) to compare the answers with"
WIDEST, SHORTEST = 64, 8  # characters of the names in a row, and of one where there is hardly room
NUMBERS, PARTED = 12, 5  # columns of the numbers in such a row, and what parts names or stands for a name's middle


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", nargs="+", metavar="DATASET", help=DATASET)
    add_weights(parser)
    add_engine(parser)
    segmentation.add_arguments(parser)
    parser.add_argument("--against", metavar="OTHER", help=AGAINST)
    parser.add_argument("--skip-unknown", action="store_true", help="leave out images of classes that the weights lack")
    kept = "a folder for the results; the same command goes on there where it was interrupted"
    parser.add_argument("-o", "--output", metavar="FOLDER", help=kept)
    parser.add_argument("--json", action="store_true", help="the results as one JSON object")
    add_activation(parser, "as the weights say")
    add_threads(parser)
    add_input_size(parser)
    add_photo(parser)
    add_draft(parser)
    add_cluster(parser)


def run(args: argparse.Namespace) -> int:
    segmentation.check(args)
    if args.segmentation:
        return segmentation.run(args)
    if args.cluster:
        from .cluster import evaluate as evaluate_there

        found, remarks = evaluate_there(args)
    else:
        found, remarks = evaluate_here(args)
    for place, fault in sorted(found.faults.items()):
        complain(f"{found.paths[place]}: {advised(fault)}")
    for place, said in sorted(found.remarks.items()):
        note_all(found.paths[place], said)
    for remark in remarks:
        note(remark)
    if args.json:
        say_json(found.as_dict())
    else:
        print_text(found)
        if args.output:
            say_written(f"\nwritten to {bare(args.output)}")
    return status(len(found.faults), len(found.paths)) if found.faults else RIGHT


def evaluate_here(args: argparse.Namespace) -> tuple[Evaluation, list[str]]:
    """Evaluate in this process; return what was found out, and what to know of the files that say so."""
    from ..evaluate import evaluate, open_dataset, write

    check_folder(args.output)
    model = load_model(args)
    with wrong_calls():
        dataset = open_dataset(args.dataset)
    for remark in dataset.notes:
        note(remark)
    done = 0
    try:
        with wrong_calls(), progress(len(dataset.examples)) as advance:

            def count(images: int) -> None:
                nonlocal done
                done += images
                advance(images)

            found = evaluate(
                model, dataset, against=args.against, skip_unknown=args.skip_unknown, journal=args.output, threads=args.threads,
                how=reading(args), advance=count,
            )  # fmt: skip
            remarks = write(found, args.output) if args.output else []
    except BaseException as error:
        if args.output and done and not isinstance(error, Exception):  # Ctrl-C or another signal
            note(f"{counted(done, 'image')} kept in {args.output}: the same command goes on from there")
        raise
    return found, remarks


def print_text(found: Evaluation) -> None:
    """What was counted, the classes or the weakest of them, what was confused, and what another network says."""
    from rich.text import Text

    screen = console()
    dot = "·" if utf8() else "-"
    said = f"{counted(found.top1.of, 'image')} of {counted(len(found.per_class), 'class', 'classes')}"
    screen.print(Text(printable(f"{found.dataset} {dot} {said}"), "bold"))
    screen.print(Text(printable(f"{found.model} {dot} engine {found.engine}"), "dim"))
    screen.print()
    say_rows(("", "right", "95 %", "images"), total_rows(found))
    for title, headings, rows in (class_rows(found), confused_rows(found)):
        if rows:
            screen.print(Text(f"\n{title}", "bold"))
            say_rows(headings, rows, left=range(headings.index("class"), len(headings)))
    if found.against:
        screen.print()
        screen.print(Text(printable(f"Against {found.against.name}"), "bold"))
        for line in _comparison(found):
            screen.print(Text(printable(line)))
    if found.skipped:
        left = f"{counted(sum(found.skipped.values()), 'image')} of {counted(len(found.skipped), 'class', 'classes')}"
        screen.print(Text(f"\nleft out, because these weights lack the class: {left}"))


Rows: TypeAlias = list[tuple[str, ...]]


def total_rows(found: Evaluation) -> Rows:
    """Return what was counted of all images, each with its interval where it has one."""
    shares = (("top-1", found.top1), ("top-5", found.top5))
    rows: Rows = [(name, f"{s.rate:.1%}", interval(s), f"{s.count:,}") for name, s in shares if s is not None]
    totals = {"class mean": f"{found.balanced:.1%}", "ECE, 15 bins": f"{found.calibration.error:.1%}"}
    totals["images/s"] = f"{found.images_per_second:.0f}"
    return rows + [(name, value, "", "") for name, value in totals.items()]


def interval(share: Share) -> str:
    low, high = share.interval
    return f"{100 * low:.1f}-{100 * high:.1f}"


def class_rows(found: Evaluation) -> tuple[str, tuple[str, ...], Rows]:
    """Return all classes, or the weakest where there are many."""
    weakest = sorted(found.per_class, key=lambda each: (each.top1.rate, -each.top1.of, each.index))
    shown = found.per_class if len(weakest) <= FEW else weakest[:SHOWN]
    rows: Rows = [(str(each.top1.count), str(each.top1.of), named(found, each.index, 1)) for each in shown]
    return "Classes" if len(weakest) <= FEW else "Weakest classes", ("right", "of", "class"), rows


def confused_rows(found: Evaluation) -> tuple[str, tuple[str, ...], Rows]:
    """Return the pairs of classes of which one was most often taken for the other."""
    pairs = found.confused[:SHOWN]
    rows: Rows = [(str(pair.images), named(found, pair.target, 2), named(found, pair.top, 2)) for pair in pairs]
    return "Most often confused", ("images", "class", "taken for"), rows


def named(found: Evaluation, index: int, names: int) -> str:
    """Return a class's name as long as a row with so many of them has room for, at most WIDEST characters."""
    room = (columns() - NUMBERS) // names - PARTED
    return printable(shortened(found.label(index), max(SHORTEST, min(WIDEST // names, room))))


def _comparison(found: Evaluation) -> Iterator[str]:
    """Yield lines on how often another network, engine or port says the same, and where it does not."""
    said, told = found.agreement, found.as_dict()["against"]
    if not said.same.of:
        yield " nothing to compare: it says nothing of the images that were judged"
        return
    yield f" same first class {said.same.rate:.1%} ({interval(said.same)}), {said.same.count:,} of {said.same.of:,}"
    yield f" top-1 there {told['top1']['rate']:.1%}"
    yield f" right: both {said.both:,}, only here {said.first:,}, only there {said.second:,}, neither {said.neither:,}"
    largest = told["largest_difference"]
    yield f" largest difference of a logit {largest['logit']:.3g}, {largest['path']}"
    if found.differing:
        yield " images with another first class, here and there:"
    assert found.against is not None
    for place in found.differing[:SHOWN]:
        here, there = (found.label(int(each.top[place])) for each in (found.answers, found.against.answers))
        yield f"  {found.paths[place]}: {here} / {there}"
    if len(found.differing) > SHOWN:
        yield f"  and {len(found.differing) - SHOWN:,} more"
