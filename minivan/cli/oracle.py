"""python -m minivan oracle: record what every layer gives, compare a port with it, write test vectors."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

from ..errors import WrongCall

BEYOND, UNUSABLE = 1, 2  # exit statuses of `compare`, as diff has them
SHOWN = 3  # names of layers in one message


def add_arguments(parser) -> None:
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = dict(allow_abbrev=False)

    record = commands.add_parser("record", help="run a network and keep every operator's output", **add)
    record.add_argument("input", metavar="INPUT", help="an image, or a normalised tensor (3, H, W) or (N, 3, H, W) as .npy")
    record.add_argument("-o", "--output", metavar="FILE", help="the trace to write, safetensors")
    record.add_argument("--model", metavar="NAME", help="a name (b0, ...) or a file of weights (default: the best usable here)")
    record.add_argument("--engine", default="exact", help="what computes (default: exact)")
    record.add_argument(
        "--layers", action="append", metavar="GLOB", help="keep only layers whose path matches, 'block1.*' say; may be repeated"
    )
    record.add_argument("--hashes", action="store_true", help="print a SHA-256 per layer; -o is then not needed")

    compare = commands.add_parser(
        "compare",
        help="name the first layer of a port that differs from a trace",
        epilog="Exit status: 0 within tolerance, 1 beyond it, 2 for an input that cannot be used.",
        **add,
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

    vectors = commands.add_parser("vectors", help="write small test vectors for every operator", **add)
    vectors.add_argument("-o", "--output", metavar="DIR", required=True, help="the folder to write them to")
    vectors.add_argument("--op", metavar="NAME", action="append", help="only this operator's; may be repeated")


def tolerance(text: str) -> float:
    """Read a number of at least 0 from the command line."""
    import argparse

    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 0")
    return value


def run(args) -> int:
    return {"record": run_record, "compare": run_compare, "vectors": run_vectors}[args.action](args)


def run_record(args) -> int:
    from .. import load
    from ..oracle import trace as traces

    if not args.output and not args.hashes:
        raise WrongCall("say where the trace goes with -o FILE, or ask for its digests with --hashes")
    try:
        model = load(args.model, engine=args.engine)
        trace = traces.record(model, read_input(args.input, model), args.layers or ["*"], args.model or "")
        if args.output:
            traces.write(trace, args.output)
    except (ValueError, OSError) as error:
        raise WrongCall(described(error)) from None
    if args.hashes:
        print(traces.hashes(trace), end="")
    else:
        size = Path(args.output).stat().st_size
        print(f"{args.output}: {len(trace.layers)} layers, {size:,} bytes, {model.card.name} on engine {model.engine}")
    return 0


def read_input(name: str, model):
    """Return the network's input for an image file or a .npy tensor, float32 (N, 3, H, W). ValueError, OSError."""
    import numpy as np

    from ..image import prepare

    if not name.lower().endswith(".npy"):
        try:
            return prepare(Path(name), model.card.preprocessing)[None]
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    try:
        x = np.load(name, allow_pickle=False)
    except (ValueError, EOFError):
        raise ValueError(f"{name}: not an .npy file of numbers, or a damaged one") from None
    return x[None] if x.ndim == 3 else x


def described(error: Exception) -> str:
    """Return an error's text in one line, an OSError's with the file it is about."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(str(error).split())


def run_compare(args) -> int:
    from ..oracle import hints, recorded
    from ..oracle.baseline import open_subject
    from ..oracle.compare import Tolerance, compare

    allowed = None
    if args.max_ulp is not None or args.rtol is not None or args.atol is not None:
        allowed = Tolerance(args.rtol or 0.0, args.atol or 0.0, args.max_ulp)
    try:
        subject = open_subject(args.trace, args.model)
        names = recorded.read_names(args.map) if args.map else []
        report = compare(subject.trace, recorded.read(args.other), allowed, names, args.layout)
    except (ValueError, OSError) as error:
        print(f"minivan: {described(error)}", file=sys.stderr)
        return UNUSABLE
    hint = ""
    if report.first_divergence is not None:
        subject_run, reason = subject.run()
        hint = hints.explain(report, subject.trace, subject_run) or reason
    if args.json:
        print_json(report, hint)
    else:
        print_report(report, hint)
    return BEYOND if report.first_divergence else 0


def print_json(report, hint: str) -> None:
    from dataclasses import asdict

    first = report.first_divergence
    result = {
        "within": first is None,
        "layout": report.layout,
        "first_divergence": None if first is None else {**asdict(first), "hint": hint},
        "rows": [asdict(row) for row in report.rows],
        "missing": report.missing,
        "unknown": report.unknown,
    }
    print(json.dumps(finite(result)))


def finite(value):
    """Return a structure with None in place of the numbers that JSON does not know."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_report(report, hint: str) -> None:
    from ..oracle.trace import shape_text

    width = max([5, *(len(row.path) for row in report.rows)])
    print(f"    {'#':>4} {'layer':{width}} {'shape':>15} {'bits':>7} {'max abs':>9} {'max rel':>9} "
          f"{'max ULP':>9} {'99.9%':>8} {'SNR dB':>7} {'cosine':>11}")  # fmt: skip
    for row in report.rows:
        mark = "   " if row.within else ">>>"
        head = f"{mark} {row.number:4} {row.path:{width}} {shape_text(row.shape):>15}"
        if row.fault:
            print(f"{head} {row.fault}")
        else:
            print(f"{head} {share(row.bit_equal):>7} {row.max_abs:9.2e} {row.max_rel:9.2e} {count(row.max_ulp):>9} "
                  f"{count(row.ulp_999):>8} {row.snr_db:7.1f} {row.cosine:11.8f}")  # fmt: skip
    if report.missing:
        print(f"not in the port: {len(report.missing)} layers ({some(report.missing)})")
    if report.unknown:
        print(f"not in the trace: {len(report.unknown)} names of the port ({some(report.unknown)})")
    first = report.first_divergence
    if first is None:
        equal = all(row.bit_equal == 1 for row in report.rows)
        print(f"{len(report.rows)} layers compared, layout {report.layout}: {'bit-equal' if equal else 'within tolerance'}")
        return
    print(f"first divergence: {first.path} (layer {first.number})")
    if first.first is not None:
        print(f"  first beyond tolerance {at(first.first)}")
        print(f"  largest error          {at(first.worst)}")
    print(f"  hint: {hint or 'no known fault gives these numbers'}")


def share(value: float) -> str:
    """A share in per cent that says 100% only of all."""
    return "100%" if value == 1 else f"{min(value, 0.9999):.2%}"


def count(ulps: float) -> str:
    """A number of ULP: whole while it is short, then as a power of ten."""
    return f"{ulps:.0f}" if ulps < 1e7 else f"{ulps:.1e}"


def at(difference) -> str:
    """An index and both values, with the nine digits that tell any two float32 numbers apart."""
    return f"at {difference.index}: {difference.ours:.9g} in the trace, {difference.theirs:.9g} in the port"


def some(names) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def run_vectors(args) -> int:
    from ..oracle import vectors

    try:
        count = vectors.write(args.output, args.op)
    except (ValueError, OSError) as error:
        raise WrongCall(described(error)) from None
    print(f"{args.output}: {count} test vectors; manifest.json says what they are, FORMAT.md how to read them")
    return 0
