"""python -m minivan: arguments in, text or JSON out.

Each command is a module with `add_arguments(parser)` and `run(args) -> exit status`. A command's module is imported
only when it is called, and imports what it computes with inside `run`: `--help` stays quick.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import warnings
from collections.abc import Collection, Iterator
from typing import TextIO

from .arguments import RIGHT, WRONG, must_compile, prepare_compiler, settle_precision
from .ending import none_lost, signals, status_of
from .parser import Parser
from .printing import complain, complain_of_all, hushed, say
from .space import check as check_space
from .waiting import compiling_noted

COMMANDS = {  # name -> what `--help` says of it
    "classify": "name what a photo shows",
    "segment": "a class for every pixel of a photo: masks, overlays, shares of the area",
    "evaluate": "how many of a labelled dataset's images are answered rightly",
    "finetune": "your own classes, from a folder of photos for each",
    "embed": "turn photos into vectors, in a file",
    "similar": "find the photos of such a file that are nearest to one",
    "summary": "a variant stage by stage: shapes, parameters, multiply-adds",
    "lka": "a lesson: large kernel attention, step by step",
    "explore": "a page that takes the network apart in a browser",
    "explain": "where the network looks, as a picture",
    "receptive-field": "how far the network sees, in theory and in fact",
    "convert": "turn a checkpoint into minivan's safetensors",
    "fetch": "download a published checkpoint",
    "weights": "list the weights that are here, or show one file",
    "oracle": "check a port: record every layer, compare, write test vectors",
    "bench": "how fast this machine runs a network",
    "warmup": "compile everything now, so that later commands start at once",
    "doctor": "what a report of a fault needs to say, and what is wrong here",
    "completion": "let the shell complete what is typed",
}


def parser(*called: str | None) -> Parser:
    """Build the command line; only the commands that are called get their arguments, the others their line of help."""
    top = Parser(prog="minivan", description="The Visual Attention Network in NumPy and Numba.")
    top.add_argument("-V", "--version", action="store_true", help="print the version and exit")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary)
        if name in called:
            module = importlib.import_module(f"minivan.cli.{name.replace('-', '_')}")
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    return top


def main(argv: list[str] | None = None) -> int:
    """Run one command; return its exit status, one of those in `arguments`."""
    prepare_streams()
    try:
        with own_warnings() as shown, none_lost(), signals():
            status = run(sys.argv[1:] if argv is None else argv, shown)
        try:
            sys.stdout.flush()
        except BrokenPipeError:  # nobody reads on, and what was found out stays so
            discard_output()
        return status
    except BaseException as error:
        status = status_of(error)
        discard_output()
        return status


def run(argv: list[str], shown: Collection[type[Warning]]) -> int:
    """Parse the command line and do what it says; return the exit status. `shown` are the warnings printed so far."""
    called = next((word for word in argv if not word.startswith("-")), None)
    top = parser(called)
    args = top.parse_args(argv)
    if args.version:
        from minivan import __version__

        say(f"minivan {__version__}")
        return RIGHT
    if args.command is None:
        top.print_help(sys.stderr)
        return WRONG
    # OpenMP's threads spin while they wait unless told to sleep: on a busy machine that costs up to ten times the work.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # OpenBLAS's threads wait likewise, and the products of the engine numpy are too small for more than one.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    settle_precision(args)
    check_space(must_compile(args))
    prepare_compiler(args)
    with hushed(getattr(args, "quiet", False)), compiling_noted(getattr(args, "engine", None), shown):
        status: int = args.run(args)
    return status


@contextlib.contextmanager
def own_warnings() -> Iterator[Collection[type[Warning]]]:
    """Print warnings as errors are printed, one line each, minivan's own without where they were warned.

    Pillow's about a picture's size are left out: whether one is too large is settled before it warns. Give the categories
    of those that were printed.
    """
    before, shown = warnings.showwarning, set[type[Warning]]()

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if category.__module__.partition(".")[0] == "minivan":
            complain(message)
            shown.add(category)
        elif category.__module__.partition(".")[0] != "PIL":
            first = str(message).strip().partition("\n")[0]  # Numba's go on with tracebacks
            complain_of_all([f"{filename}:{lineno}: {category.__name__}: {first}"])

    warnings.showwarning = show
    try:
        yield shown
    finally:
        warnings.showwarning = before


def prepare_streams() -> None:
    """Make printing safe: a closed stream swallows what is written, a character it cannot encode is written as its code."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - it stays open as long as the process
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def discard_output() -> None:
    """Write what can still be written and send the rest nowhere, so that Python does not complain a second time as it ends."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
