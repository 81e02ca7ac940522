"""What several commands have in common: the arguments that choose weights, threads and the kernel cache, and their meaning."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import WrongCall, sentence

if TYPE_CHECKING:
    from ..van import VAN

RIGHT, NO, WRONG, INTERRUPTED = 0, 1, 2, 130
"""Exit statuses, the same for every command: 0 right; 1 the answer is no (some images failed, layers differ or went
unchecked); 2 a wrong call, or nothing could be judged; 130 interrupted."""


def positive(text: str) -> int:
    """Read a whole number of at least 1 from the command line."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def add_weights(parser: argparse.ArgumentParser) -> None:
    """Add --model and --weights, of which one may be given."""
    weights = parser.add_mutually_exclusive_group()
    weights.add_argument("--model", metavar="NAME", help="which weights: b0, b1, ... (default: the best usable here)")
    weights.add_argument("--weights", metavar="FILE", help="weights from a file: minivan's own, or any VAN checkpoint")


def add_threads(parser: argparse.ArgumentParser) -> None:
    """Add --threads, and --cache: where kernels are kept, compiled."""
    parser.add_argument("--threads", type=positive, metavar="N", help="processor threads (default: all)")
    parser.add_argument(
        "--cache", metavar="DIR", help="where compiled kernels are kept (default: MINIVAN_CACHE, or the user's)"
    )


def add_exif(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--no-exif", action="store_true", help="do not turn the photo the way its EXIF data say")


def prepare_compiler(args: argparse.Namespace) -> None:
    """Do as --threads and --cache say; both are read when Numba and the kernels are first imported."""
    if getattr(args, "cache", None):
        os.environ["MINIVAN_CACHE"] = args.cache
    threads = getattr(args, "threads", None)
    if threads is None:
        return
    threads = min(threads, os.cpu_count() or 1)
    if "numba" not in sys.modules:
        os.environ["NUMBA_NUM_THREADS"] = str(threads)
    else:
        import numba

        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))


@contextlib.contextmanager
def wrong_calls(about: object = "") -> Iterator[None]:
    """Turn what the library says of arguments and files that cannot be used into a WrongCall of one line."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise WrongCall(sentence(error, about)) from None


def load_model(args: argparse.Namespace) -> VAN:
    """Return the model that --model, --weights and --engine ask for; WrongCall says what to do where there is none."""
    from .. import load

    with wrong_calls():
        return load(args.model if args.weights is None else Path(args.weights), engine=args.engine)
