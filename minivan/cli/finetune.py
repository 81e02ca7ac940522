"""python -m minivan finetune: a network that knows your own classes, from a folder of photos for each."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import WrongCall, printable, quote
from ..output import check_ending, place
from .arguments import (
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
from .cluster import add_cluster, features
from .evaluate import class_rows, confused_rows, interval, total_rows
from .printing import complain, console, counted, note, note_all, say, say_json, say_rows, say_written, utf8

if TYPE_CHECKING:
    from ..evaluate import Dataset
    from ..learn import Featured, Learned, Report
    from ..van import VAN

ENDINGS = (".safetensors",)
FOLDER = "a folder with a folder of photos for each class, or what else evaluate takes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", nargs="?", metavar="FOLDER", help=FOLDER)
    parser.add_argument("-o", "--output", metavar="FILE", required=True, help="the file of weights to write: .safetensors")
    added = "add a class to those of the network, from a folder of its photos; may be said again"
    parser.add_argument("--new-class", metavar="NAME=FOLDER", action="append", default=[], help=added)
    old = "with --new-class: photos of classes that the network knows, in folders of their names"
    parser.add_argument("--old", metavar="FOLDER", help=old)
    add_weights(parser)
    add_engine(parser, "fast")
    parser.add_argument("--json", action="store_true", help="what was found out as one JSON object")
    add_threads(parser)
    add_input_size(parser)
    add_photo(parser)
    add_cluster(parser, "-o a file as without it")


def run(args: argparse.Namespace) -> int:
    from .. import learn

    check(args)
    with wrong_calls():
        learn.check()
        check_ending(args.output, ENDINGS, "weights are")
        place(args.output)
    model = load_model(args, names=bool(args.new_class))
    if any(os.path.exists(args.output) and os.path.samefile(args.output, file) for file in read_from(model)):
        raise WrongCall(f"{args.output}: these are the weights to learn from; give another name")
    learned = add_classes(model, args) if args.new_class else new_head(model, args)
    report, photos = learned.report, learned.photos
    for path, fault in photos.faults:
        complain(f"{path}: {advised(fault)}")
    for path, remark in photos.notes:
        note_all(path, [remark])
    for remark in report.remarks:
        complain(remark)
    if args.json:
        say_json({**report.as_dict(), "advice": report.advice(model.config), "failed": [list(each) for each in photos.faults]})
    else:
        print_text(report, model)
    write(learned, args)
    return status(len(photos.faults), len(photos.faults) + len(photos.paths))


def check(args: argparse.Namespace) -> None:
    """Raise WrongCall where what is asked for does not go together."""
    if args.dataset and args.new_class:
        raise WrongCall(f"FOLDER replaces the network's classes, --new-class keeps them: leave out {quote(args.dataset)}")
    if not args.dataset and not args.new_class:
        raise WrongCall("say from which FOLDER to learn, one folder a class in it; or --new-class NAME=FOLDER")
    if args.new_class and not args.old:
        raise WrongCall("--new-class needs photos of old classes, without which new ones have no scale: say --old FOLDER")
    if args.old and not args.new_class:
        raise WrongCall("--old is for --new-class: FOLDER alone replaces the network's classes")
    if args.new_class and args.cluster:
        raise WrongCall("--cluster is for FOLDER: leave it out with --new-class, whose photos are few")


def read_from(model: VAN) -> list[Path]:
    """Return the files that a model was read from."""
    return [file for file in (model.card.file, *model.card.shards) if file is not None and file.exists()]


def new_head(model: VAN, args: argparse.Namespace) -> Learned:
    """Learn the classes of FOLDER in the place of the network's own."""
    from .. import learn
    from ..evaluate import open_dataset

    if args.cluster:
        found, notes = features(args, model)
        for remark in notes:
            note(remark)
        with wrong_calls():
            return learn.learned(model, found, args.dataset)
    with wrong_calls():
        dataset = open_dataset(args.dataset)
        learn.check_classes(example.label for example in dataset.examples if example.label)
    found = featured(model, dataset, args)
    with wrong_calls():
        return learn.learned(model, found, args.dataset, dataset.examples)


def add_classes(model: VAN, args: argparse.Namespace) -> Learned:
    """Learn the classes of --new-class beside the network's own."""
    from .. import learn
    from ..evaluate import Dataset, open_dataset
    from ..evaluate.dataset import Example
    from ..predict import find_images

    named = list(map(name_and_folder, args.new_class))
    folders = dict(named)
    if len(folders) < len(named):
        raise WrongCall("--new-class names a class twice: put its photos into one folder")
    with wrong_calls():
        old = open_dataset(args.old)
        learn.check_extension(model, list(folders), [example.label for example in old.examples if example.label])
    new: dict[str, Sequence[Featured]] = {}
    for name, folder in folders.items():
        images = find_images([folder], model.config.channels)
        if len(images) == 1 and images[0].fault and images[0].name == folder:
            raise WrongCall(f"{folder}: {images[0].fault}")
        examples = [Example(image.name, name, image) for image in images]
        new[name] = featured(model, Dataset(folder, examples, list(filter(None, [images.said_of_others()]))), args)
    kept = featured(model, old, args)
    with wrong_calls():
        return learn.extended(model, new, kept)


def name_and_folder(text: str) -> tuple[str, str]:
    """Read NAME=FOLDER; WrongCall for anything else."""
    name, equals, folder = text.partition("=")
    if not (name.strip() and equals and folder):
        raise WrongCall(f"--new-class takes NAME=FOLDER, as in --new-class 'barn owl=photos/owls'; got {quote(text)}")
    return name.strip(), folder


def featured(model: VAN, dataset: Dataset, args: argparse.Namespace) -> list[Featured]:
    """Return the features of a dataset's photos, and show how far it is."""
    from .. import learn

    for remark in dataset.notes:
        note(remark)
    found = []
    with wrong_calls(), progress(len(dataset.examples)) as advance:
        for photo in learn.featured(model, dataset.examples, threads=args.threads, how=reading(args)):
            found.append(photo)
            advance(1)
    return found


def print_text(report: Report, model: VAN) -> None:
    """How well photos held out were answered, what was confused, what may be mislabelled, and what to do next."""
    from rich.text import Text

    screen, found = console(), report.held_out
    dot = "·" if utf8() else "-"

    def title(text: str) -> None:
        screen.print(Text(f"\n{text}", "bold"))

    photos = counted(int(report.counts.sum()), "photo")
    screen.print(
        Text(
            printable(f"{found.dataset} {dot} {photos} of {counted(int((report.counts > 0).sum()), 'class', 'classes')}"),
            "bold",
        )
    )
    screen.print(Text(printable(f"features of {model} {dot} engine {found.engine}"), "dim"))
    if not found.judged.any():
        say("\nnothing was held out: no class has a second photo, and how well they are told apart is not known")
    else:
        title("Held out, each photo once (cross-validation)")
        guess, old = report.guessing, report.old
        rows = [row for row in total_rows(found) if row[0] != "images/s"]
        rows[1:1] = [("largest class", f"{guess.rate:.1%}", "", f"{guess.count:,}")]
        if old is not None:
            rows[1:2] = [
                (name, f"{share.rate:.1%}", interval(share), f"{share.count:,}")
                for name, share in (("old, before", old.before), ("old, after", old.after))
            ]
        say_rows(("", "right", "95 %", "photos"), rows)
        for heading, headings, lines in (class_rows(found), confused_rows(found)):
            if lines:
                title(heading)
                say_rows(headings, lines, left=range(headings.index("class"), len(headings)))
    if report.doubtful:
        title("Wrong, and most surely so")
        wrong = [(f"{each.probability:.1%}", printable(each.said), printable(each.path)) for each in report.doubtful]
        say_rows(("sure", "taken for", "photo"), wrong, left=(1, 2))
    if advice := report.advice(model.config):
        title("What to do next")
        for line in advice:
            say(f"- {line}")
    say()


def write(learned: Learned, args: argparse.Namespace) -> None:
    """Write the file, and say so."""
    from ..card import file_sha256

    with wrong_calls():
        weights = learned.write(args.output)
        size, sha256 = os.stat(args.output).st_size, file_sha256(args.output)
    if not args.json:
        say_written(f"{args.output}: {weights.summary}, {size:,} bytes")
        say_written(f"sha256 {sha256}")
