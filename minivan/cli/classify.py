"""python -m minivan classify: name what photos show."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ..errors import WrongCall, printable
from ..output import place
from ..predict import Answer, Images, Results, Unusable, answers, find_images, make_ready, table
from .arguments import (
    IMAGES,
    add_activation,
    add_engine,
    add_photo,
    add_threads,
    add_weights,
    advised,
    load_model,
    positive,
    reading,
    status,
    wrong_calls,
)
from .cluster import add_cluster
from .printing import complain, console, note, note_all, say, say_json, utf8

if TYPE_CHECKING:
    from rich.progress import Task

    from ..van import VAN

PROGRESS_FROM = 4  # images: fewer are done before a progress bar could be read
BAR = 24  # characters of a bar at probability 1
LABEL = 32  # columns of a class's name on a terminal
NARROWEST = 72  # columns that rank, label, percentage and bar need


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help=IMAGES,
    )
    add_weights(parser)
    add_engine(parser)
    parser.add_argument("--top-k", type=positive, default=5, metavar="K", help="how many classes to show (default: 5)")
    parser.add_argument("--json", action="store_true", help="one JSON object per image and line")
    add_results(parser)
    add_activation(parser, "as the weights say")
    add_threads(parser)
    add_photo(parser)
    add_cluster(parser)


def add_results(parser: argparse.ArgumentParser) -> None:
    """Add --output, --resume and --batch-size."""
    parser.add_argument("-o", "--output", metavar="FILE", help="a row per image: .csv, .jsonl or .parquet; nothing is printed")
    parser.add_argument("--resume", action="store_true", help="go on where an interrupted run to the same FILE stopped")
    parser.add_argument(
        "--batch-size",
        type=positive,
        metavar="N",
        help="images that the network takes at once (default: as suits the engine)",
    )


def run(args: argparse.Namespace) -> int:
    if args.cluster:
        from .cluster import classify

        return classify(args)
    if args.output:
        with wrong_calls():
            table.check(args.output)
            place(args.output)
    elif args.resume:
        raise WrongCall("--resume goes on with a file of rows: say which with -o FILE")
    model = load_model(args)
    images = find_images(args.paths, model.config.channels)
    if args.output:
        return record(model, images, args)
    show = print_json if args.json else print_text
    failed = 0
    with wrong_calls(), progress(len(images)) as advance:
        found = answers(model, images, args.top_k, threads=args.threads, how=reading(args), batch_size=args.batch_size)
        make_ready(model)
        for answer in found:
            if isinstance(answer, Unusable):
                complain(f"{answer.image}: {advised(answer.fault)}")
                failed += 1
            else:
                show(answer, model)
                note_all(answer.image, answer.notes)
            advance(1)
    if others := images.said_of_others():
        complain(others)
    return status(failed, len(images))


def record(model: VAN, images: Images, args: argparse.Namespace) -> int:
    """Write a row for each image into the file of --output; what an interrupted run has done lies beside it."""
    failed = 0
    with wrong_calls(), Results(model, images, args.output, args.top_k, reading(args), args.resume) as results:
        try:
            make_ready(model)
            with progress(len(results.todo)) as advance:
                for answer in results.answers(args.batch_size, args.threads):
                    if isinstance(answer, Unusable):
                        complain(f"{answer.image}: {advised(answer.fault)}")
                        failed += 1
                    elif args.json:
                        print_json(answer, model)
                    advance(1)
            results.write()
        except BaseException:
            if done := results.journal.rows_added:
                note(f"{results.journal.path} keeps the rows of {done:,} images: --resume goes on with them")
            raise
    if others := images.said_of_others():
        complain(others)
    if not args.json:
        before = f", {results.kept:,} of them from the run before" if args.resume else ""
        say(f"{args.output}: {len(images):,} images{before}, {failed:,} without an answer")
    return status(failed, len(images))


def print_json(answer: Answer, model: VAN) -> None:
    say_json(answer.as_dict(), flush=True)


def print_text(answer: Answer, model: VAN) -> None:
    """A table with a bar per class, then which weights answered and how long they took."""
    from rich.table import Table
    from rich.text import Text

    block, dot = ("█", "·") if utf8() else ("#", "-")
    table = Table(box=None, show_header=False, padding=(0, 1))
    table.add_column(justify="right")
    table.add_column(overflow="ellipsis", no_wrap=True, min_width=LABEL, max_width=LABEL if sys.stdout.isatty() else None)
    table.add_column(justify="right", width=6)
    table.add_column(no_wrap=True, min_width=BAR)
    for rank, guess in enumerate(answer.top, 1):
        bar = Text(block * round(guess.probability * BAR), style="cyan")
        table.add_row(str(rank), Text(printable(guess.label)), f"{guess.probability:.1%}", bar)
    screen = console(NARROWEST)  # below it the terminal wraps lines, where rich would drop columns
    screen.print(Text(printable(answer.image), style="bold"))
    screen.print(table)
    if answer.sure is False:
        screen.print(
            Text(f"  not sure: below {model.card.not_sure:.0%}, the limit that the card of these weights sets", style="yellow")
        )
    itself = f" {dot} each class for itself (sigmoid)" if answer.activation == "sigmoid" else ""
    said = f"{model}{itself} {dot} engine {answer.engine} {dot} {answer.milliseconds:.0f} ms"
    screen.print(Text(f"  {printable(said)}\n", style="dim"))


@contextlib.contextmanager
def progress(total: int, what: str = "images") -> Iterator[Callable[[int], None]]:
    """Give a function that counts finished images, and show them with images per second on standard error.

    `what` are they where they are no images. Only where there are more than a few images and someone is watching.
    """
    if total < PROGRESS_FROM or not sys.stderr.isatty():
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Speed(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:.{0 if speed >= 10 else 1}f} {what}/s" if speed else "")

    columns = TextColumn("classifying"), BarColumn(), MofNCompleteColumn(), TextColumn(what), Speed(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda count: bar.advance(task, count)
