"""python -m minivan oracle: record what every layer gives, compare a port with it, write test vectors."""

from __future__ import annotations

import argparse
import contextlib
import functools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import WrongCall, printable, reason
from .arguments import NO, RIGHT, add_engine, add_reading, add_threads, in_time, wrong_calls
from .printing import note, say, say_json

if TYPE_CHECKING:
    from ..oracle.compare import Difference, Report

SHOWN = 3  # names of layers in one message
WIDEST = 80  # characters of the column of names: a longer one moves its own line to the right, not all


def add_arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    record = commands.add_parser("record", help="run a network and keep every operator's output", allow_abbrev=False)
    record.add_argument("input", metavar="INPUT", help="an image, or a normalised tensor (C, H, W) or (N, C, H, W) as .npy")
    record.add_argument("-o", "--output", metavar="FILE", help="the trace to write, safetensors")
    record.add_argument("--model", metavar="NAME", help="a name (b0, ...) or a file of weights (default: the best usable here)")
    add_reading(record)
    add_engine(record, default="exact")
    record.add_argument(
        "--layers", action="append", metavar="GLOB", help="keep only layers whose path matches, 'block1.*' say; may be repeated"
    )
    record.add_argument("--hashes", action="store_true", help="print a SHA-256 per layer; -o is then not needed")

    compare = commands.add_parser(
        "compare",
        help="name the first layer of a port that differs from a trace",
        epilog="Exit status: 0 every layer of the trace is within tolerance, 1 layers differ or went unchecked, 2 a wrong "
        "call, or nothing could be judged.",
        allow_abbrev=False,
    )
    compare.add_argument("trace", metavar="TRACE", help="a trace, or a test vector's folder")
    compare.add_argument("other", metavar="OTHER", help="a trace or other safetensors, an .npz, or a folder of .npy")
    compare.add_argument("--rtol", type=tolerance, help="allowed error, relative to max(|value|, the layer's RMS)")
    compare.add_argument("--atol", type=tolerance, help="allowed absolute error (default 0)")
    compare.add_argument("--max-ulp", type=tolerance, metavar="N", help="or allow N units in the last place; alone, only that")
    compare.add_argument("--map", metavar="FILE", help="lines 'checkpoint path = name in OTHER'; '*' is one part of a path")
    compare.add_argument("--layout", choices=["auto", "nchw", "nhwc"], default="auto", help="of OTHER (default: detected)")
    compare.add_argument("--model", metavar="NAME", help="the trace's weights, for hints (default: what the trace says)")
    compare.add_argument("--json", action="store_true", help="print one JSON object; infinities and NaN are null in it")

    vectors = commands.add_parser("vectors", help="write small test vectors for every operator", allow_abbrev=False)
    vectors.add_argument("-o", "--output", metavar="DIR", required=True, help="the folder to write them to")
    vectors.add_argument("--op", metavar="NAME", action="append", help="only this operator's; may be repeated")
    for command in (record, compare, vectors):
        add_threads(command)
    for command in (compare, vectors):  # whatever computes the port, hints and vectors come from the engine exact
        command.set_defaults(compiles=True)


def tolerance(text: str) -> float:
    """Read a number of at least 0 from the command line."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 0")
    return value


def run(args: argparse.Namespace) -> int:
    status: int = {"record": run_record, "compare": run_compare, "vectors": run_vectors}[args.action](args)
    return status


def run_record(args: argparse.Namespace) -> int:
    from .. import load, oracle
    from ..oracle.trace import hashes

    if not args.output and not args.hashes:
        raise WrongCall("say where the trace goes with -o FILE, or ask for its digests with --hashes")
    with wrong_calls():
        model = load(args.model, args.engine, key=args.key, strict=args.strict, allow_nonfinite=args.allow_nonfinite)
        for remark in model.card.notes:
            note(remark)
        read = functools.partial(oracle.read_input, args.input, model.card.preprocessing)
        x = read() if oracle.is_tensor(args.input) else in_time(read, args.input)
        trace = oracle.record(model, x, args.layers or ["*"], args.model or "")
        if args.output:
            oracle.write(trace, args.output)
    if args.hashes:
        say(hashes(trace).rstrip("\n"))
    else:
        size = Path(args.output).stat().st_size
        say(f"{args.output}: {layers(len(trace.layers))}, {size:,} bytes, {model.card.name} on engine {model.engine.name}")
    return RIGHT


def run_compare(args: argparse.Namespace) -> int:
    from .. import oracle

    allowed = None
    if args.max_ulp is not None or args.rtol is not None or args.atol is not None:
        allowed = oracle.Tolerance(args.rtol or 0.0, args.atol or 0.0, args.max_ulp)
    with wrong_calls(), nothing_judged():
        baseline = oracle.open_baseline(args.trace, args.model)
        names = oracle.read_names(args.map) if args.map else []
        report = oracle.compare(baseline.trace, oracle.read(args.other), allowed, names, args.layout)
        hint = baseline.hint(report)
    with contextlib.suppress(BrokenPipeError):  # nobody reads on: the status is the verdict all the same
        if args.json:
            say_json(report.plain(hint), flush=True)
        else:
            print_report(report, hint)
    return RIGHT if report.within and not report.missing else NO


@contextlib.contextmanager
def nothing_judged() -> Iterator[None]:
    """Turn a fault of minivan's own into a WrongCall: Python would end with 1, which means that layers differ."""
    try:
        yield
    except (ValueError, OSError, MemoryError):
        raise
    except Exception as error:
        kind = type(error).__name__
        raise WrongCall(
            f"nothing was judged, by a fault of minivan's own: please report it ({kind}: {reason(error)})"
        ) from error


def print_report(report: Report, hint: str) -> None:
    from ..oracle.trace import shape_text

    width = max([5, *(len(printable(row.path)) for row in report.rows)])
    width = min(width, WIDEST)
    say(f"    {'#':>4} {'layer':{width}} {'shape':>15} {'bits':>7} {'max abs':>9} {'max rel':>9} "
          f"{'max ULP':>9} {'99.9%':>8} {'SNR dB':>7} {'cosine':>11}")  # fmt: skip
    for row in report.rows:
        mark = "   " if row.within else ">>>"
        head = f"{mark} {row.number:4} {printable(row.path):{width}} {shape_text(row.shape):>15}"
        if row.fault:
            say(f"{head} {row.fault}")
        else:
            say(f"{head} {share(row.bit_equal):>7} {row.max_abs:9.2e} {row.max_rel:9.2e} {count(row.max_ulp):>9} "
                  f"{count(row.ulp_999):>8} {row.snr_db:7.1f} {row.cosine:11.8f}")  # fmt: skip
    if report.missing:
        say(f"not in the port: {layers(len(report.missing))} ({some(report.missing)})")
    if report.unknown:
        say(f"not in the trace: {len(report.unknown)} names of the port ({some(report.unknown)})")
    first = report.first_divergence
    if first is None:
        compared = f"{layers(len(report.rows))} compared, layout {report.layout}"
        if report.missing:  # "bit-equal" would be read as the whole port's verdict
            say(f"{compared}: within tolerance, but {layers(len(report.missing))} of the trace went unchecked")
        else:
            say(f"{compared}: {'bit-equal' if report.bit_equal else 'within tolerance'}")
        return
    say(f"first divergence: {first.path} (layer {first.number})")
    if first.first is not None and first.worst is not None:
        say(f"  first beyond tolerance {at(first.first)}")
        say(f"  largest error          {at(first.worst)}")
    say(f"  hint: {hint or 'no known fault gives these numbers'}")
    if report.missing:
        say(f"{layers(len(report.missing))} of the trace went unchecked")


def layers(number: int) -> str:
    """A number of layers, in words."""
    return "1 layer" if number == 1 else f"{number} layers"


def share(value: float) -> str:
    """A share in per cent that says 100% only of all."""
    return "100%" if value == 1 else f"{min(value, 0.9999):.2%}"


def count(ulps: float) -> str:
    """A number of ULP: whole while it is short, then as a power of ten."""
    return f"{ulps:.0f}" if ulps < 1e7 else f"{ulps:.1e}"


def at(difference: Difference) -> str:
    """An index and both values, with the nine digits that tell any two float32 numbers apart."""
    return f"at {difference.index}: {difference.ours:.9g} in the trace, {difference.theirs:.9g} in the port"


def some(names: list[str]) -> str:
    return ", ".join(printable(name) for name in names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def run_vectors(args: argparse.Namespace) -> int:
    from ..oracle import vectors

    with wrong_calls():
        number = vectors.write(args.output, args.op)
    say(f"{args.output}: {number} test vectors; manifest.json says what they are, FORMAT.md how to read them")
    return RIGHT
