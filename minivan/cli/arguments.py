"""What several commands have in common: the arguments that choose weights, threads and the kernel cache, and their meaning."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ..errors import WrongCall, quote, sentence
from ..geometry import SMALLEST_SIDE
from ..processors import MOST_THREADS, budget
from .printing import note

if TYPE_CHECKING:
    from ..image import Reading
    from ..van import VAN

Result = TypeVar("Result")

IMAGES = "image files, folders, .zip or .tar archives, patterns, or - for standard input"

RIGHT, NO, WRONG, SIGNALLED, INTERRUPTED = 0, 1, 2, 128, 130
"""Exit statuses, the same for every command: 0 right; 1 the answer is no (some images failed, layers differ or went
unchecked); 2 a wrong call, or nothing could be judged, be it for want of memory or by a fault of minivan itself; 130
interrupted, and 128 more than its number for another signal that ended it (143 for SIGTERM, 129 for SIGHUP)."""

ENGINES = ("auto", "fast", "exact", "numpy")  # minivan.engines.ENGINES by name: importing them costs NumPy; help needs none
PRECISIONS = ("auto", "float32", "bfloat16")  # minivan.engines.PRECISIONS, likewise
ACTIVATIONS = ("softmax", "sigmoid")  # minivan.card.ACTIVATIONS, likewise
COMPILED = ("fast", "exact")  # those of them whose kernels Numba compiles
BFLOAT16 = "fast-bfloat16"  # what --precision bfloat16 makes of fast and auto
LARGEST_SIDE = 100_000  # pixels of an input that --size takes: far beyond any memory, short of any overflow


def whole(largest: int | None = None) -> Callable[[str], int]:
    """Return what reads a whole number of at least 1, and at most `largest`, from the command line."""

    def read(text: str) -> int:
        value = int(text) if text.isdecimal() else 0
        if value < 1 or (largest is not None and value > largest):
            wanted = "of at least 1" if largest is None else f"from 1 to {largest}"
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number {wanted}")
        return value

    return read


positive = whole()


def status(failed: int, total: int) -> int:
    """Return the exit status of a command where `failed` of `total` things could not be judged."""
    if not failed:
        return RIGHT
    return NO if failed < total else WRONG


def size(text: str) -> tuple[int, int]:
    """Read '224' or '480x640' from the command line as (height, width)."""
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(p.isdecimal() and SMALLEST_SIDE <= int(p) <= LARGEST_SIDE for p in parts):
        wanted = f"a number of pixels from {SMALLEST_SIDE} on, such as 224 or 480x640"
        raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")
    return int(parts[0]), int(parts[-1])


def add_weights(parser: argparse.ArgumentParser) -> None:
    """Add --model and --weights, of which one may be given."""
    weights = parser.add_mutually_exclusive_group()
    weights.add_argument("--model", metavar="NAME", help="which weights: b0, b1, ... (default: the best usable here)")
    weights.add_argument(
        "--weights", metavar="FILE", help="a file, minivan's own or any VAN checkpoint, or a name that weights lists"
    )
    add_reading(parser)


def add_reading(parser: argparse.ArgumentParser, also: str = "") -> None:
    """Add --key, --strict and --allow-nonfinite, which say how weights are read; `also` is what else may hold such numbers."""
    add_key(parser)
    add_strict(parser)
    taken = f"take weights with NaN, infinities or negative variances in them{also}"
    parser.add_argument("--allow-nonfinite", action="store_true", help=taken)


def add_key(parser: argparse.ArgumentParser) -> None:
    """Add --key."""
    parser.add_argument("--key", metavar="NAME", help=(
        "which of a checkpoint's networks: the keys it lies under, such as ema.module or student; . for the top"))  # fmt: skip


def add_strict(parser: argparse.ArgumentParser) -> None:
    """Add --strict."""
    parser.add_argument("--strict", action="store_true", help="refuse a file with objects of classes that are not known")


def add_engine(parser: argparse.ArgumentParser, default: str = "auto", advice: str = "", precision: bool = True) -> None:
    """Add --engine, with every built-in engine to choose from, and --precision unless the command has another one.

    Without auto where the engine matters and auto is no default.
    """
    engines = ENGINES if default == "auto" else tuple(name for name in ENGINES if name != "auto")
    said = f"what computes (default: {default}){'; ' if advice else ''}{advice}"
    parser.add_argument("--engine", choices=engines, default=default, help=said)
    if precision:
        halves = "what fast's matrix products read: float32, or bfloat16 (default: auto, which is float32)"
        parser.add_argument("--precision", dest="products", choices=PRECISIONS, default="auto", help=halves)


def settle_precision(args: argparse.Namespace) -> None:
    """Put the engine that computes in the precision of --precision in the place of that of --engine; WrongCall if none does."""
    if getattr(args, "products", "auto") != "auto":
        from ..engines import find

        with wrong_calls("--precision"):
            args.engine = find(args.engine, args.products).name


def add_threads(parser: argparse.ArgumentParser) -> None:
    """Add --threads, and --cache."""
    parser.add_argument(
        "--threads",
        type=whole(MOST_THREADS),
        metavar="N",
        help="threads that compute (default: as many as this process may use)",
    )
    add_cache(parser)


def add_cache(parser: argparse.ArgumentParser) -> None:
    """Add --cache alone, for a command that leaves the threads as they are."""
    parser.add_argument(
        "--cache", metavar="DIR", help="where compiled kernels are kept (default: MINIVAN_CACHE, or the user's)"
    )


def add_photo(parser: argparse.ArgumentParser) -> None:
    """Add --no-exif, --no-icc and --truncated, which say how a photo is read."""
    parser.add_argument("--no-exif", action="store_true", help="do not turn the photo the way its EXIF data say")
    parser.add_argument("--no-icc", action="store_true", help="take its colours for sRGB, whatever it says that they are")
    parser.add_argument("--truncated", action="store_true", help="answer for a JPEG file that ends early, with what is there")


def add_draft(parser: argparse.ArgumentParser) -> None:
    """Add --draft, for `reading`: for commands that show photos to the network alone."""
    parser.add_argument("--draft", action="store_true", help=(
        "decode large JPEG photos smaller, as far as the network has no use for more: quicker, answers differ a little"
    ))  # fmt: skip


def add_input_size(parser: argparse.ArgumentParser) -> None:
    """Add --size, for `load_model`: the command asks the network at that size."""
    parser.add_argument("--size", dest="input_size", type=positive, metavar="PIXELS", help=(
        "side of the square the network sees (default: as the weights were trained)"))  # fmt: skip


def reading(args: argparse.Namespace) -> Reading:
    """Return how those options say that a photo is read."""
    from ..image import Reading

    return Reading(not args.no_exif, not args.no_icc, args.truncated, getattr(args, "draft", False))


def advised(fault: str) -> str:
    """Return why a photo cannot be used, and which of those options would take it all the same."""
    from ..image.bounds import ENDS_EARLY, HIGH_RANGE

    if fault.startswith(ENDS_EARLY):
        return f"{fault}; --truncated takes it as it is"
    return f"{fault}; --no-icc takes its numbers for sRGB" if fault.startswith(HIGH_RANGE) else fault


@contextlib.contextmanager
def advising() -> Iterator[None]:
    """Have what is wrong with a photo say which of those options would take it all the same."""
    from ..image import ImageError

    try:
        yield
    except ImageError as error:
        raise ImageError(advised(str(error))) from None


def add_channels(parser: argparse.ArgumentParser) -> None:
    """Add --channels."""
    parser.add_argument("--channels", type=positive, default=3, metavar="N", help="of an image (default: 3)")


def add_activation(parser: argparse._ActionsContainer, default: str) -> None:
    """Add --activation."""
    said = f"probabilities: softmax, of one class among all, or sigmoid, of each for itself (default: {default})"
    parser.add_argument("--activation", choices=ACTIVATIONS, help=said)


def compiles(args: argparse.Namespace) -> bool:
    """Tell whether a command runs Numba's kernels, or may: whatever it is asked for, or with the engine that was asked for."""
    return bool(getattr(args, "compiles", getattr(args, "engine", None) in (*COMPILED, BFLOAT16, "auto")))


def must_compile(args: argparse.Namespace) -> bool:
    """Tell whether there is no answer without them: auto has one, unless the command needs more than the network's answer."""
    return compiles(args) and (getattr(args, "engine", None) != "auto" or getattr(args, "derives", False))


def prepare_compiler(args: argparse.Namespace) -> None:
    """Do as --threads and --cache say; Numba and the kernels read both when they are first imported, so it comes before.

    WrongCall where the command could not compute, whatever it was asked for.
    """
    if getattr(args, "cache", None):
        os.environ["MINIVAN_CACHE"] = args.cache
    asked = os.environ.get("NUMBA_NUM_THREADS")
    if asked and not (asked.isdecimal() and int(asked)) and compiles(args):
        raise WrongCall(f"NUMBA_NUM_THREADS is {quote(asked)}, not a whole number of at least 1: unset it, or use --threads")
    threads = getattr(args, "threads", None)
    if threads is None:
        return
    threads = min(threads, budget().threads)
    if asked and asked.isdecimal() and int(asked):  # both limit them
        threads = min(threads, int(asked))
    if "numba" not in sys.modules:
        os.environ["NUMBA_NUM_THREADS"] = str(threads)
    else:
        import numba

        most: int = vars(numba.config)["NUMBA_NUM_THREADS"]  # that it was started with; set at import, unknown to mypy
        numba.set_num_threads(min(threads, most))


@contextlib.contextmanager
def wrong_calls(about: object = "") -> Iterator[None]:
    """Turn what the library says of arguments and files that cannot be used into a WrongCall of one line."""
    try:
        yield
    except BrokenPipeError:  # nobody reads on: the call was right
        raise
    except (ValueError, OSError) as error:
        raise WrongCall(sentence(error, about)) from None


def in_time(work: Callable[[], Result], about: object = "") -> Result:
    """Do what decodes an image, for at most minivan.image.LONGEST seconds; then TimeoutError says so, or Ctrl-C ends it."""
    from ..image import LONGEST
    from ..predict.threads import alone

    try:
        return alone(work, LONGEST)
    except TimeoutError as error:
        raise TimeoutError(f"{about}: {error}" if about else str(error)) from None


def named_weights(args: argparse.Namespace) -> str | Path | None:
    """Return the weights that --model or --weights name: a file that is there before weights of the same name."""
    if args.weights is None:
        name: str | None = args.model
        return name
    return Path(args.weights) if os.path.lexists(args.weights) else str(args.weights)


def load_model(args: argparse.Namespace, names: bool = True) -> VAN:
    """Return the model that --model, --weights and --engine ask for; WrongCall says what to do where there is none.

    `names` is whether the command names classes.
    """
    from ..checkpoint import load, unsaid

    with wrong_calls():
        name = named_weights(args)
        model = load(name, args.engine, key=args.key, strict=args.strict, allow_nonfinite=args.allow_nonfinite)
    if getattr(args, "input_size", None):
        with wrong_calls("--size"):
            model = model.with_size(args.input_size)
    for remark in (*model.card.notes, *unsaid(model.config, model.card, names)):
        note(remark)
    if getattr(args, "activation", None):
        from dataclasses import replace

        model.card = replace(model.card, activation=args.activation)
    return model
