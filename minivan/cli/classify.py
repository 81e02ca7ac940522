"""python -m minivan classify: name what photos show."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ..errors import WrongCall, printable
from ..output import place
from ..predict import Answer, Images, Unusable, answers, find_images, make_ready
from .arguments import (
    IMAGES,
    add_activation,
    add_draft,
    add_engine,
    add_input_size,
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
from .printing import columns, complain, console, note, note_all, say_json, say_written, utf8, watched

if TYPE_CHECKING:
    from rich.progress import Task

    from ..predict.resumable import Resumable
    from ..van import VAN

PROGRESS_FROM = 4  # images: fewer are done before a progress bar could be read
BAR = 24  # characters of a bar at probability 1
SHORTEST_BAR = 6  # of a smaller one nothing can be read
LABEL = 32  # columns of a class's name on a terminal
NUMBERS = 17  # columns of rank and percentage, and what parts all four
NARROWEST = 32  # columns of a terminal on which a name can still be read


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help=IMAGES,
    )
    add_weights(parser)
    add_engine(parser)
    parser.add_argument("-k", "--top-k", type=positive, default=5, metavar="K", help="how many classes to show (default: 5)")
    parser.add_argument("--json", action="store_true", help="one JSON object per image and line")
    add_results(parser)
    add_activation(parser, "as the weights say")
    add_threads(parser)
    add_input_size(parser)
    add_photo(parser)
    add_draft(parser)
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
        from ..predict import table

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
    failed = unsure = 0
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
                unsure += answer.sure is False
            advance(1)
    if others := images.said_of_others():
        complain(others)
    if unsure and not args.json:
        point_at_fetch(model, unsure)
    return status(failed, len(images))


def point_at_fetch(model: VAN, unsure: int) -> None:
    """Say where weights of more classes come from, if the bundled ones are not sure of some images."""
    from ..checkpoint import bundled

    if model.card.file in bundled():
        of = "1 image" if unsure == 1 else f"{unsure:,} images"
        more = "python -m minivan fetch b0 gets weights that know 1,000"
        note(f"not sure of {of}: the bundled weights know {model.config.classes} classes, {more}")


def record(model: VAN, images: Images, args: argparse.Namespace) -> int:
    """Write a row for each image into the file of --output; what an interrupted run has done lies beside it."""
    from ..predict import Results

    failed = 0
    with wrong_calls(), Results(model, images, args.output, args.top_k, reading(args), args.resume) as results:
        note_unused(results.run)
        try:
            make_ready(results.model)
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
            note_kept(results.run)
            raise
    if others := images.said_of_others():
        complain(others)
    if not args.json:
        before = f", {results.kept:,} of them from the run before" if args.resume else ""
        say_written(f"{args.output}: {len(images):,} images{before}, {failed:,} without an answer")
    return status(failed, len(images))


def note_unused(run: Resumable) -> None:
    """Say that some of an interrupted run's rows are of no use."""
    if run.unused:
        note(f"{run.unused:,} rows of the run before are left out: of images that are not here, or were changed")


def note_kept(run: Resumable) -> None:
    """Say what an interrupted run has left."""
    if done := run.done:
        note(f"{run.journal.path} keeps what {done:,} images gave: --resume goes on with it")


def print_json(answer: Answer, model: VAN) -> None:
    say_json(answer.as_dict(), flush=True)


def print_text(answer: Answer, model: VAN) -> None:
    """A table with a bar per class, then which weights answered and how long they took."""
    from rich.table import Table
    from rich.text import Text

    block, dot = ("█", "·") if utf8() else ("#", "-")
    label, bar = widths()
    table = Table(box=None, show_header=False, padding=(0, 1))
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="ellipsis", no_wrap=True, min_width=label, max_width=label if sys.stdout.isatty() else None)
    table.add_column(justify="right", width=6)
    if bar:
        table.add_column(no_wrap=True, min_width=bar)
    for rank, guess in enumerate(answer.top, 1):
        drawn = [Text(block * round(guess.probability * bar), style="cyan")] if bar else []
        table.add_row(str(rank), Text(printable(guess.label)), f"{guess.probability:.1%}", *drawn)
    screen = console(NARROWEST)  # below it the terminal wraps lines, where rich would cut numbers
    screen.print(Text(printable(answer.image), style="bold"))
    screen.print(table)
    if answer.sure is False:
        screen.print(
            Text(f"  not sure: below {model.card.not_sure:.0%}, the limit that the card of these weights sets", style="yellow")
        )
    itself = f" {dot} each class for itself (sigmoid)" if answer.activation == "sigmoid" else ""
    said = f"{model}{itself} {dot} engine {answer.engine} {dot} {answer.milliseconds:.0f} ms"
    screen.print(Text(f"  {printable(said)}\n", style="dim"))


def widths() -> tuple[int, int]:
    """Return the columns of a class's name and of a bar: on a narrow terminal the bar gives way first, then the name."""
    room = max(columns(), NARROWEST) - NUMBERS
    bar = min(BAR, room - LABEL)
    return min(LABEL, room), bar if bar >= SHORTEST_BAR else 0


@contextlib.contextmanager
def progress(total: int, what: str = "images", doing: str = "classifying") -> Iterator[Callable[[int], None]]:
    """Give a function that counts finished images, and show them with images per second on standard error.

    `what` are they where they are no images, `doing` is what is done to them.
    Only where there are more than a few images and someone is watching.
    """
    if total < PROGRESS_FROM or not watched():
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Speed(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:.{0 if speed >= 10 else 1}f} {what}/s" if speed else "")

    columns = TextColumn(doing), BarColumn(), MofNCompleteColumn(), TextColumn(what), Speed(), TimeRemainingColumn()
    one = sys.stdout.isatty()  # answers go above the bar, where they are on a terminal too, and else where they were sent
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=one) as bar:
        task = bar.add_task("", total=total)
        yield lambda count: bar.advance(task, count)
