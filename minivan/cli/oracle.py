"""python -m minivan oracle: record what every layer gives, compare a port with it, write test vectors."""

from __future__ import annotations

import argparse
import contextlib
import functools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import WrongCall, reason
from ..output import check_ending, replacing
from .arguments import NO, RIGHT, add_engine, add_key, add_reading, add_threads, in_time, wrong_calls
from .oracle_report import layers, print_answers, print_beside, print_report
from .printing import note, note_all, say, say_json, say_written

if TYPE_CHECKING:
    from ..oracle import Asked, Trace
    from ..oracle.arithmetic import Arithmetic
    from ..oracle.gradients import Loss

REFERENCES = ("float16", "bfloat16", "tf32", "int8")
PRECISIONS = ("float32", "tf32", "float16", "bfloat16", "int8")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    record = commands.add_parser("record", help="run a network and keep every operator's output")
    record.add_argument("input", metavar="INPUT", help="an image, or a normalised tensor (C, H, W) or (N, C, H, W) as .npy")
    record.add_argument("-o", "--output", metavar="FILE", help="the trace to write, safetensors")
    record.add_argument("--model", metavar="NAME", help="a name (b0, ...) or a file of weights (default: the best usable here)")
    add_reading(record, also=", and such an input")
    add_engine(record, default="exact", precision=False)
    record.add_argument(
        "--layers", action="append", metavar="GLOB", help="keep only layers whose path matches, 'block1.*' say; may be repeated"
    )
    record.add_argument("--hashes", action="store_true", help="print a SHA-256 per layer; -o is then not needed")
    record.add_argument(
        "--precision", choices=REFERENCES, help="a reference in a port's own precision: every operator's output rounded to it"
    )
    record.add_argument(
        "--round-everything", action="store_true", help="with --precision: round the input and all weights, too"
    )
    record.add_argument(
        "--scales", metavar="FILE", help="for --precision int8: where and with which scales numbers are rounded"
    )

    record.add_argument(
        "--gradients",
        nargs="?",
        const="training",
        choices=("training", "inference"),
        help="record the gradients of the cross-entropy, too, by every array and parameter; in training form, the default "
        "(BatchNorm by the statistics of the batch; the running ones after it are recorded, too), or in inference form",
    )
    record.add_argument(
        "--target",
        metavar="N",
        type=int,
        nargs="+",
        help="for --gradients: the class, one or one an image (default: the top class)",
    )
    record.add_argument(
        "--reduction", choices=("sum", "mean"), help="for --gradients: the loss summed over the images (default), or its mean"
    )

    compare = commands.add_parser(
        "compare",
        help="name the first layer of a port that differs from a trace",
        epilog="Exit status: 0 every layer of the trace (or of those asked for with --layers) is there and right, 1 layers "
        "differ or went unchecked, 2 a wrong call, or nothing could be judged.",
    )
    compare.add_argument("trace", metavar="TRACE", help="a trace, a test vector's folder, or that of all of them")
    compare.add_argument("other", metavar="OTHER", help="a trace or other safetensors, an .npz, or a folder of .npy")
    compare.add_argument("--rtol", type=tolerance, help="allowed error, relative to max(|value|, the layer's RMS)")
    compare.add_argument("--atol", type=tolerance, help="allowed absolute error (default 0)")
    compare.add_argument("--max-ulp", type=tolerance, metavar="N", help="or allow N units in the last place; alone, only that")
    compare.add_argument(
        "--bit-equal", action="store_true", help="ask for equal bits, the sign of zero included; any NaN will do"
    )
    compare.add_argument(
        "--precision",
        choices=PRECISIONS,
        help="what OTHER computes in, which decides what is allowed (default: what its files say)",
    )
    compare.add_argument(
        "--layers", action="append", metavar="GLOB", help="judge, and ask for, these layers alone; may be repeated"
    )
    compare.add_argument("--require-all", action="store_true", help="ask for every layer of the trace, --layers or not")
    compare.add_argument("--map", metavar="FILE", help="lines 'checkpoint path = name in OTHER'; or huggingface, openmmlab")
    compare.add_argument("--scales", metavar="FILE", help="what OTHER's numbers of eight bits stand for, as record takes it")
    compare.add_argument("--layout", choices=["auto", "nchw", "nhwc"], default="auto", help="of OTHER (default: detected)")
    compare.add_argument("--model", metavar="NAME", help="the trace's weights, for hints (default: what the trace says)")
    add_key(compare)
    compare.add_argument("--report", metavar="FILE", help="write a page of HTML, too: where in each layer the error lies")
    compare.add_argument("--beside", metavar="OTHER", help="a second port, shown beside the first on the page of --report")
    compare.add_argument("--json", action="store_true", help="print one JSON object; infinities and NaN are null in it")

    vectors = commands.add_parser("vectors", help="write small test vectors for every operator")
    vectors.add_argument("-o", "--output", metavar="DIR", required=True, help="the folder to write them to")
    vectors.add_argument("--precision", choices=REFERENCES[:-1], help="vectors whose outputs are rounded to a shorter format")
    vectors.add_argument("--round-everything", action="store_true", help="with --precision: round inputs and parameters, too")
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
    from ..oracle.aside import put_aside
    from ..oracle.trace import hashes

    if not args.output and not args.hashes:
        raise WrongCall("say where the trace goes with -o FILE, or ask for its digests with --hashes")
    with wrong_calls():
        if args.output:
            check_ending(args.output, (".safetensors",), "traces are", bare=True)
        arithmetic = reference(args)
        model = load(args.model, args.engine, key=args.key, strict=args.strict, allow_nonfinite=args.allow_nonfinite)
        for remark in model.card.notes:
            note(remark)
        remarks: list[str] = []
        read = functools.partial(oracle.read_input, args.input, model.card.preprocessing, remarks)
        x = read() if oracle.is_tensor(args.input) else in_time(read, args.input)
        note_all(args.input, remarks)
        globs, source = args.layers or ["*"], args.model or ""
        how: Any = {"finite": not args.allow_nonfinite, "arithmetic": arithmetic, "loss": loss_of(args)}
        with oracle.Spool() as spool, oracle.Spool() as weights:
            model = put_aside(model, weights)
            if args.output:
                trace = oracle.record_to(args.output, model, x, globs, source, **how)
            else:
                trace = oracle.record(model, x, globs, source, **how, spool=spool)
            if args.hashes:
                say(hashes(trace).rstrip("\n"))
    if not args.hashes:
        size = Path(args.output).stat().st_size
        said = f"{model.card.name} on engine {trace.metadata['engine']}"
        say_written(f"{args.output}: {held(trace)}, {size:,} bytes, {said}")
    return RIGHT


def held(trace: Trace) -> str:
    """Say what a trace holds: '94 layers', or '94 layers and 179 gradients of the cross-entropy's sum, training form'."""
    from ..oracle.gradients import is_gradient, said_in

    number, loss = sum(is_gradient(path) for path in trace.layers), said_in(trace.metadata)
    if loss is None:
        return layers(len(trace.layers))
    of = f"of the cross-entropy's {loss.reduction}, {loss.form} form"
    return f"{layers(len(trace.layers) - number)} and {number} gradients {of}"


def loss_of(args: argparse.Namespace) -> Loss | None:
    """Return the loss whose gradients a command line asks for, None for none."""
    from ..oracle.gradients import Loss

    if args.gradients is None:
        if args.target is not None or args.reduction is not None:
            raise WrongCall("--target and --reduction say what --gradients are of: say --gradients, too")
        return None
    return Loss(None if args.target is None else tuple(args.target), args.reduction or "sum", args.gradients)


def reference(args: argparse.Namespace) -> Arithmetic | None:
    """Return the precision that a command line asks `exact` to be rounded to, None for none."""
    from ..oracle.arithmetic import Arithmetic
    from ..oracle.scales import read_scales

    scales = getattr(args, "scales", None)
    if args.precision is None:
        if args.round_everything or scales:
            raise WrongCall("--round-everything and --scales say how --precision rounds: say to what")
        return None
    if getattr(args, "engine", "exact") != "exact":
        raise WrongCall(f"--precision rounds what exact computes, not {args.engine}: leave --engine out")
    return Arithmetic(args.precision, args.round_everything, read_scales(scales) if scales else None)


def run_compare(args: argparse.Namespace) -> int:
    from .. import oracle
    from ..oracle import every
    from ..oracle.page import Shown, page
    from ..oracle.scales import read_scales

    if args.beside and not args.report:
        raise WrongCall("--beside shows a second port on the page of --report: say where that goes")
    with wrong_calls(), nothing_judged():
        if every.is_vectors(args.trace):
            if args.report:
                raise WrongCall("--report is about one trace or test vector: name one of them")
            if args.scales:
                raise WrongCall("--scales is about the layers of one trace: name one, not all test vectors")
            return print_answers(every.judge_all(args.trace, args.other, asked(args)), args.json)
        baseline = oracle.open_baseline(args.trace, args.model, args.key)
        scales = read_scales(args.scales) if args.scales else None
        first, *second = [oracle.read(path, scales) for path in (args.other, args.beside) if path]
        if scales is not None:
            baseline.check_scales(scales, first, *second)
        judged = baseline.judge(first, asked(args))
        report, said = judged.report, judged.plain()
        right = report.within and not report.missing
        beside = []
        for other in second:
            beside.append(Shown(args.beside, baseline.judge(other, asked(args))))
            said["beside"] = beside[0].judged.plain()
            right = right and beside[0].right
        if args.report:
            with replacing(args.report) as file:
                file.write(page(args.trace, [Shown(args.other, judged), *beside]).encode())
    with contextlib.suppress(BrokenPipeError):  # nobody reads on: the status is the verdict all the same
        if args.json:
            say_json(said, flush=True)
        else:
            print_report(judged, said)
            for port in beside:
                print_beside(port.name, port.judged)
    return RIGHT if right else NO


def asked(args: argparse.Namespace) -> Asked:
    """Return what the command line asks a comparison for. Raises ValueError for a map that is none."""
    from .. import oracle

    allowed = None
    if args.bit_equal:
        if not args.rtol == args.atol == args.max_ulp is None:
            raise WrongCall("--bit-equal allows nothing: leave --rtol, --atol and --max-ulp out")
        allowed = oracle.Tolerance(bits=True)
    elif args.max_ulp is not None or args.rtol is not None or args.atol is not None:
        allowed = oracle.Tolerance(args.rtol or 0.0, args.atol or 0.0, args.max_ulp)
    names = oracle.read_names(args.map) if args.map else []
    return oracle.Asked(
        allowed, names, args.layout, args.precision, tuple(args.layers or ()), args.require_all, bool(args.report)
    )


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


def run_vectors(args: argparse.Namespace) -> int:
    from ..oracle import vectors

    with wrong_calls():
        number = vectors.write(args.output, args.op, reference(args))
    say_written(f"{args.output}: {number} test vectors; manifest.json says what they are, FORMAT.md how to read them")
    return RIGHT
