"""python -m minivan fetch: a published checkpoint, downloaded, checked and converted; the one command that uses the network."""

from __future__ import annotations

import argparse
import re

from ..input import amount
from .arguments import RIGHT, wrong_calls
from .printing import note, say_written, watched

CONNECTING = "connecting"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "Afterwards these weights are the default. MINIVAN_HOME says where they are kept, HF_ENDPOINT names a mirror of "
        "Hugging Face. What was interrupted goes on when it is asked for again."
    )
    parser.add_argument("name", metavar="NAME", help="b0, b1, b2, b3 or b4; with --url any name")
    parser.add_argument("--from", dest="library", choices=("authors", "huggingface", "openmmlab"), help=(
        "whose checkpoint (the authors', where they published one)"))  # fmt: skip
    parser.add_argument(
        "--url", help="another address of a checkpoint of up to 4 GiB that convert can read; https is safer than http"
    )
    parser.add_argument("--revision", metavar="REV", help=(
        "a branch, a tag or a commit of the repository on Hugging Face (main)"))  # fmt: skip
    parser.add_argument("--sha256", metavar="HEX", type=sha256, help="what the download's SHA-256 has to be")


def sha256(text: str) -> str:
    """Read a SHA-256 from the command line."""
    if not re.fullmatch("[0-9a-fA-F]{64}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not 64 hex digits; a beginning of them proves nothing")
    return text.lower()


def run(args: argparse.Namespace) -> int:
    """Fetch one checkpoint; WrongCall where the address, the download or the file is at fault."""
    from ..checkpoint import fetch

    with wrong_calls(), ProgressBar() as bar:
        fetched = fetch(args.name, args.library, args.url, args.sha256, bar, revision=args.revision)
    card = fetched.weights.card
    if fetched.before:
        note(f"{amount(fetched.before)} of it had come before, and the rest now")
    if args.revision and not card.commit:
        note(f"the host does not say which commit {args.revision} is")
    for remark in fetched.weights.notes:
        note(remark)
    say_written(f"{card.source}: {fetched.checked}")
    if card.commit:
        say_written(f"{card.source}: commit {card.commit}, says the host")
    say_written(f"{card.name}: {fetched.weights.summary}, now the default; kept as {fetched.path}")
    return RIGHT


class ProgressBar:
    """A bar on standard error with the interface of `minivan.checkpoint.transfer.Progress`."""

    def __enter__(self) -> ProgressBar:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

        columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
        screen = Console(stderr=True)
        self.shown = screen.is_terminal and watched()
        self.progress = Progress(*columns, console=screen, transient=True, disable=not self.shown)
        self.task = self.progress.add_task(CONNECTING, total=None)
        if self.shown:
            self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.shown:  # an older rich ends a bar that nobody sees with an empty line
            self.progress.stop()

    @property
    def total(self) -> int | None:
        total = self.progress.tasks[0].total
        return None if total is None else int(total)

    @total.setter
    def total(self, size: int | None) -> None:
        self.progress.update(self.task, total=size or None, description="downloading")

    def update(self, size: int) -> None:
        self.progress.advance(self.task, size)

    def close(self) -> None:
        self.progress.update(self.task, description="converting")
