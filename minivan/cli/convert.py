"""python -m minivan convert: any VAN checkpoint in, minivan's own safetensors out, or an ONNX file."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import WrongCall
from ..output import check_ending, place
from .arguments import RIGHT, add_activation, add_reading, wrong_calls
from .printing import note, say_written

if TYPE_CHECKING:
    from ..card import Preprocessing

ENDINGS = (".safetensors", ".onnx")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", metavar="IN", help="a PyTorch or safetensors file in any layout, or a Hugging Face folder")
    parser.add_argument("output", metavar="OUT", type=Path, help="the file to write: .safetensors, or .onnx")
    parser.add_argument("--dtype", choices=("float32", "float16"), default="float32", help="of the numbers written (float32)")
    parser.add_argument("--to", choices=("minivan", "authors"), help=(
        "minivan: a file that describes itself; authors: tensors alone, for the authors' code (minivan)"))  # fmt: skip
    add_reading(parser)
    group = parser.add_argument_group("what the checkpoint does not say, or says wrongly")
    group.add_argument("--labels", metavar="FILE", type=Path, help="class names in order, one a line: [WordNet id, tab] names")
    group.add_argument("--eps", type=float, help="of every LayerNorm (1e-6; OpenMMLab's files 1e-5)")
    group.add_argument("--preset", choices=("official", "hf"), help="preprocessing (official; Hugging Face's files hf)")
    group.add_argument("--resize", metavar="PIXELS", type=int, help="length of a photo's shorter side, not the preset's")
    group.add_argument("--crop", metavar="PIXELS", type=int, help="side of the square the network sees, not the preset's")
    group.add_argument(
        "--interpolation", metavar="FILTER", help="what resizes: bicubic, bilinear, nearest, lanczos, box, hamming"
    )
    for name in ("mean", "std"):
        per_channel = "a number for each channel, or one for all; of 8-bit values on the scale 0..1"
        group.add_argument(f"--{name}", metavar="X", nargs="+", type=number, help=per_channel)
    add_activation(group, "as the file says; sigmoid for one class")
    group.add_argument("--weights-version", metavar="TEXT", help="which of several sets of the same name this is")
    group.add_argument("--not-sure", metavar="P", type=float, help=(
        "top probability, 0 to 1, below which answers are shown as not sure; measure it on photos held out"))  # fmt: skip


def number(text: str) -> float:
    """Read one of --mean or --std from the command line."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number; name IN and OUT before --mean and --std") from None


def target(args: argparse.Namespace) -> str:
    """Return what is to be written: what --to says, or ONNX where the name ends so; WrongCall where both say something."""
    if args.output.suffix.lower() != ".onnx":
        return args.to or "minivan"
    if args.to:
        raise WrongCall(f"--to {args.to} is for safetensors, and {args.output} is an ONNX file by its name: leave --to out")
    return "onnx"


def run(args: argparse.Namespace) -> int:
    """Convert one checkpoint; WrongCall for one that cannot be read, labels that do not fit, a file that cannot be written."""
    from .. import checkpoint
    from ..card import read_labels

    with wrong_calls():
        check_ending(args.output, ENDINGS, "weights are", bare=True)
        place(args.output)  # before an ONNX file's numbers are checked, for which kernels may be compiled
        found = checkpoint.find(args.input)
        weights = checkpoint.read(found, args.key, strict=args.strict, allow_nonfinite=args.allow_nonfinite)
        weights = checkpoint.with_source_sha256(weights)
        read = (weights.card.file, *weights.card.shards)
        if args.output.exists() and any(file is not None and args.output.samefile(file) for file in read):
            raise WrongCall(f"{args.output}: this is the file to be converted; give another name")
        prepared = preprocessing(args, weights.card.preprocessing)
        if args.crop or args.preset:
            weights = replace(weights, card=replace(weights.card, size_said=True))
        weights = checkpoint.revise(weights, None, args.eps, prepared, args.weights_version, args.not_sure, args.activation)
    if args.labels is not None:
        with wrong_calls():
            labels = read_labels(args.labels)
        with wrong_calls(args.labels):
            weights = checkpoint.revise(weights, labels)
    with wrong_calls():
        lost = checkpoint.write(weights, args.output, args.dtype, target(args))
        size, sha256 = args.output.stat().st_size, checkpoint.file_sha256(args.output)
    doubts = checkpoint.unsaid(weights.config, weights.card)
    for remark in (*weights.notes, *doubts, *lost):
        note(remark)
    say_written(f"{args.output}: {weights.summary}, {args.dtype}, {size:,} bytes")
    say_written(f"sha256 {sha256}")
    return RIGHT


def preprocessing(args: argparse.Namespace, given: Preprocessing) -> Preprocessing:
    """Return the file's preprocessing, or the preset's, with what else the command line says. ValueError out of range.

    A preset is for photos: ValueError where the network takes other channels.
    """
    from ..card import PRESETS
    from ..variants import counted

    names = "resize", "crop", "mean", "std", "interpolation"
    said = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    for name in ("mean", "std"):
        if len(said.get(name, ())) == 1:
            said[name] *= given.channels
    preset = PRESETS[args.preset] if args.preset else given
    if preset.channels != given.channels:
        raise ValueError(f"the preset {args.preset} is for photos, and the network takes {counted(given.channels)}: say --mean")
    return replace(preset, **said)
