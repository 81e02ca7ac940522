"""python -m minivan convert: any VAN checkpoint in, minivan's own safetensors out."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import WrongCall
from .arguments import RIGHT, add_reading, add_strict, wrong_calls
from .printing import note, say

if TYPE_CHECKING:
    from ..card import Preprocessing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", metavar="IN", help="a PyTorch or safetensors file in any layout, or a Hugging Face folder")
    parser.add_argument("output", metavar="OUT", type=Path, help="the safetensors file to write")
    parser.add_argument("--dtype", choices=("float32", "float16"), default="float32", help="of the numbers written (float32)")
    parser.add_argument("--to", choices=("minivan", "authors"), default="minivan", help=(
        "minivan: a file that describes itself; authors: tensors alone, for the authors' code (minivan)"))  # fmt: skip
    add_reading(parser)
    add_strict(parser)
    group = parser.add_argument_group("what the checkpoint does not say, or says wrongly")
    group.add_argument("--labels", metavar="FILE", type=Path, help="class names in order, one a line: [WordNet id, tab] names")
    group.add_argument("--eps", type=float, help="of every LayerNorm (1e-6; OpenMMLab's files 1e-5)")
    group.add_argument("--preset", choices=("official", "hf"), help="preprocessing (official; Hugging Face's files hf)")
    group.add_argument("--resize", metavar="PIXELS", type=int, help="length of a photo's shorter side, not the preset's")
    group.add_argument("--crop", metavar="PIXELS", type=int, help="side of the square the network sees, not the preset's")
    for name in ("mean", "std"):
        per_channel = "on the scale 0..1, not the preset's"
        group.add_argument(f"--{name}", metavar=("R", "G", "B"), nargs=3, type=float, help=per_channel)
    group.add_argument("--weights-version", metavar="TEXT", help="which of several sets of the same name this is")
    group.add_argument("--not-sure", metavar="P", type=float, help=(
        "top probability, 0 to 1, below which answers are shown as not sure; measure it on photos held out"))  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Convert one checkpoint; WrongCall for one that cannot be read, labels that do not fit, a file that cannot be written."""
    from .. import checkpoint
    from ..card import read_labels

    with wrong_calls():
        found = checkpoint.find(args.input)
        weights = checkpoint.read(found, args.key, strict=args.strict, allow_nonfinite=args.allow_nonfinite)
        weights = checkpoint.with_source_sha256(weights)
        read = (weights.card.file, *weights.card.shards)
        if args.output.exists() and any(file is not None and args.output.samefile(file) for file in read):
            raise WrongCall(f"{args.output}: this is the file to be converted; give another name")
        prepared = preprocessing(args, weights.card.preprocessing)
        weights = checkpoint.revise(weights, None, args.eps, prepared, args.weights_version, args.not_sure)
    if args.labels is not None:
        with wrong_calls():
            labels = read_labels(args.labels)
        with wrong_calls(args.labels):
            weights = checkpoint.revise(weights, labels)
    with wrong_calls():
        unsaid = checkpoint.write(weights, args.output, args.dtype, args.to)
        size, sha256 = args.output.stat().st_size, checkpoint.file_sha256(args.output)
    for remark in (*weights.notes, *unsaid):
        note(remark)
    say(f"{args.output}: {weights.summary}, {args.dtype}, {size:,} bytes")
    say(f"sha256 {sha256}")
    return RIGHT


def preprocessing(args: argparse.Namespace, given: Preprocessing) -> Preprocessing:
    """Return the file's preprocessing, or the preset's, with what else the command line says. ValueError out of range."""
    from ..card import PRESETS

    said = {name: getattr(args, name) for name in ("resize", "crop", "mean", "std") if getattr(args, name) is not None}
    return replace(PRESETS[args.preset] if args.preset else given, **said)
