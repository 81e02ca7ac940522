"""python -m minivan convert: any VAN checkpoint in, minivan's own safetensors out, or an ONNX file."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import WrongCall
from ..output import check_ending, place
from .arguments import RIGHT, add_activation, add_reading, wrong_calls
from .printing import note, say_written

if TYPE_CHECKING:
    from ..card import Preprocessing
    from ..checkpoint import Weights
    from ..checkpoint.segmentation import HeadWeights

ENDINGS = (".safetensors", ".onnx")
OF_NETWORKS = (
    "eps",
    "preset",
    "crop",
    "activation",
    "weights_version",
    "not_sure",
)  # options that a head by itself has no use for


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", metavar="IN", help="a PyTorch or safetensors file in any layout, or a Hugging Face folder")
    parser.add_argument("output", metavar="OUT", type=Path, help="the file to write: .safetensors, or .onnx")
    parser.add_argument("--dtype", choices=("float32", "float16"), default="float32", help="of the numbers written (float32)")
    parser.add_argument("--to", choices=("minivan", "authors"), help=(
        "minivan: a file that describes itself; authors: tensors alone, for the authors' code (minivan)"))  # fmt: skip
    add_reading(parser)
    group = parser.add_argument_group("of a segmentation network, whose head is kept on its backbone")
    parts = group.add_mutually_exclusive_group()
    parts.add_argument("--backbone-only", action="store_true", help="write the backbone, which gives features")
    parts.add_argument("--head-only", action="store_true", help="write the head by itself, for this backbone and no other")
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
    from ..checkpoint import segmentation

    with wrong_calls():
        check_ending(args.output, ENDINGS, "weights are", bare=True)
        place(args.output)  # before an ONNX file's numbers are checked, for which kernels may be compiled
        network, head = read(args)
        read_from = [*((network.card.file, *network.card.shards) if network else ()), *((head.card.file,) if head else ())]
        if args.output.exists() and any(file is not None and args.output.samefile(file) for file in read_from):
            raise WrongCall(f"{args.output}: this is the file to be converted; give another name")
        if network:
            network = revised(args, network, resize=head is None)
        if head:
            head = revised_head(args, head)
    if args.labels is not None:
        with wrong_calls():
            labels = read_labels(args.labels)
        with wrong_calls(args.labels):
            if head:
                head = segmentation.named(head, labels)
            elif network:
                network = checkpoint.revise(network, labels)
    with wrong_calls():
        what, lost = write(args, network, head)
        size, sha256 = args.output.stat().st_size, checkpoint.file_sha256(args.output)
    doubts = [*(checkpoint.unsaid(network.config, network.card) if network else ()), *(head.unsaid if head else ())]
    for remark in dict.fromkeys((*(network.notes if network else ()), *(head.notes if head else ()), *doubts, *lost)):
        note(remark)
    say_written(f"{args.output}: {what}, {args.dtype}, {size:,} bytes")
    say_written(f"sha256 {sha256}")
    return RIGHT


def read(args: argparse.Namespace) -> tuple[Weights | None, HeadWeights | None]:
    """Return what of a file is kept: a network, the segmentation head on it, or a head by itself."""
    from .. import checkpoint
    from ..checkpoint import segmentation

    if args.head_only and target(args) != "minivan":
        raise WrongCall("--head-only writes a file of minivan's own: leave out --to, and .onnx")
    alone = args.backbone_only or target(args) != "minivan"
    how = checkpoint.read if alone else segmentation.read_head if args.head_only else segmentation.read_any
    found = how(checkpoint.find(args.input), args.key, strict=args.strict, allow_nonfinite=args.allow_nonfinite)
    network, head = found if isinstance(found, tuple) else (found, None)
    given = next((name for name in OF_NETWORKS if getattr(args, name) is not None), "")
    if network is None and given:
        raise WrongCall(f"--{given.replace('_', '-')} is for a network, and this is a segmentation head by itself")
    return network and checkpoint.with_source_sha256(network), head and segmentation.with_source_sha256(head)


def revised(args: argparse.Namespace, network: Weights, resize: bool) -> Weights:
    """Return a network with what the command line knows better than its file; --resize is not for it where it has a head."""
    from .. import checkpoint

    prepared = preprocessing(args, network.card.preprocessing, resize)
    if args.crop or args.preset:
        network = replace(network, card=replace(network.card, size_said=True))
    return checkpoint.revise(network, None, args.eps, prepared, args.weights_version, args.not_sure, args.activation)


def revised_head(args: argparse.Namespace, head: HeadWeights) -> HeadWeights:
    """Return a segmentation head with what the command line knows better than its file. ValueError out of range."""
    said = said_of(args, ("mean", "std", "interpolation"), head.card.preprocessing.channels)
    side = head.card.side if args.resize is None else args.resize
    return replace(head, card=replace(head.card, side=side, preprocessing=replace(head.card.preprocessing, **said)))


def write(args: argparse.Namespace, network: Weights | None, head: HeadWeights | None) -> tuple[str, tuple[str, ...]]:
    """Write what was asked for; return what it is, in words, and what whoever uses the file cannot read in it."""
    from .. import checkpoint
    from ..checkpoint import segmentation

    if head is None:
        assert network, "a file holds one of the two"
        return network.summary, checkpoint.write(network, args.output, args.dtype, target(args))
    if args.head_only and network:
        from ..segmentation.files import naming

        head = naming(head, network)
    kept = None if args.head_only else network
    segmentation.write(args.output, head, kept, args.dtype)
    by_itself = f"a segmentation head for {head.card.backbone} alone, {head.summary}"
    return (f"{kept.summary}, with {head.summary}" if kept else by_itself), ()


def said_of(args: argparse.Namespace, names: Sequence[str], channels: int) -> dict[str, Any]:
    """Return what the command line says of preprocessing, a single mean or std for all channels."""
    said = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    for name in ("mean", "std"):
        if len(said.get(name, ())) == 1:
            said[name] *= channels
    return said


def preprocessing(args: argparse.Namespace, given: Preprocessing, resize: bool = True) -> Preprocessing:
    """Return the file's preprocessing, or the preset's, with what else the command line says. ValueError out of range.

    A preset is for photos: ValueError where the network takes other channels.
    """
    from ..card import PRESETS
    from ..variants import counted

    preset = PRESETS[args.preset] if args.preset else given
    if preset.channels != given.channels:
        raise ValueError(f"the preset {args.preset} is for photos, and the network takes {counted(given.channels)}: say --mean")
    names = ("crop", "mean", "std", "interpolation", *(("resize",) if resize else ()))
    return replace(preset, **said_of(args, names, given.channels))
