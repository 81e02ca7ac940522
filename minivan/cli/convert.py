"""python -m minivan convert: any VAN checkpoint in, minivan's own safetensors out."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from ..errors import WrongCall


def add_arguments(parser):
    parser.add_argument("input", metavar="IN", help="a PyTorch or safetensors file in any layout, or a Hugging Face folder")
    parser.add_argument("output", metavar="OUT", type=Path, help="the safetensors file to write")
    parser.add_argument("--dtype", choices=("float32", "float16"), default="float32", help="of the numbers written (float32)")
    parser.add_argument("--to", choices=("minivan", "authors"), default="minivan", help=(
        "minivan: a file that describes itself; authors: tensors alone, for the authors' code (minivan)"))  # fmt: skip
    parser.add_argument("--key", help=(
        "where the network lies in a training checkpoint (state_dict_ema, model_ema, state_dict or model)"))  # fmt: skip
    group = parser.add_argument_group("what the checkpoint does not say, or says wrongly")
    group.add_argument("--labels", metavar="FILE", type=Path, help="class names in order, one a line: [WordNet id, tab] names")
    group.add_argument("--eps", type=float, help="of every LayerNorm (1e-6; OpenMMLab's files 1e-5)")
    group.add_argument("--preset", choices=("official", "hf"), help="preprocessing (official; Hugging Face's files hf)")
    group.add_argument("--resize", metavar="PIXELS", type=int, help="length of a photo's shorter side, not the preset's")
    group.add_argument("--crop", metavar="PIXELS", type=int, help="side of the square the network sees, not the preset's")
    for name in ("mean", "std"):
        per_channel = "on the scale 0..1, not the preset's"
        group.add_argument(f"--{name}", metavar=("R", "G", "B"), nargs=3, type=float, help=per_channel)


def run(args) -> int:
    """Convert one checkpoint; WrongCall for one that cannot be read, labels that do not fit, a file that cannot be written."""
    from minivan import checkpoint
    from minivan.checkpoint.layouts import LAYOUTS

    try:
        source = checkpoint.resolve_folder(checkpoint.find(args.input))
        if args.output.exists() and args.output.samefile(source):
            raise WrongCall(f"{args.output}: this is the file to be converted; give another name")
        weights = revise(read(source, args.key), args)
        checkpoint.write(weights, args.output, args.dtype, args.to)
    except ValueError as error:
        raise WrongCall(str(error)) from None
    except OSError as error:
        raise WrongCall(f"{error.filename or args.output}: {error.strerror or error}") from None
    notes = list(weights.notes)
    theirs, ours = LAYOUTS["authors"].layer_norm_eps, weights.config.layer_norm_eps
    if args.to == "authors" and ours != theirs:  # a file of tensors alone cannot say so
        notes.append(f"the authors' code has LayerNorm eps {theirs:g}, these weights {ours:g}")
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    print(f"{args.output}: {weights.summary}, {args.dtype}, {args.output.stat().st_size:,} bytes")
    print(f"sha256 {checkpoint.digest(args.output)}")
    return 0


def read(source, key):
    """Return a file's weights with its SHA-256; an error of the disk names the file."""
    from minivan import checkpoint

    try:
        return checkpoint.with_digest(checkpoint.read(source, key), source)
    except OSError as error:
        raise WrongCall(f"{source}: {error.strerror or error}") from None


def revise(weights, args):
    """Return the weights with what the user knows better than the file: labels, eps, preprocessing."""
    from minivan.card import PRESETS, read_labels

    card, config = weights.card, weights.config
    preprocessing = PRESETS[args.preset] if args.preset else card.preprocessing
    given = {name: getattr(args, name) for name in ("resize", "crop", "mean", "std") if getattr(args, name) is not None}
    card = replace(card, preprocessing=replace(preprocessing, **given))
    if args.labels:
        labels = read_labels(args.labels)
        if len(labels) != config.classes:
            raise WrongCall(f"{args.labels}: {len(labels)} labels for {config.classes} classes")
        card = replace(card, labels=labels)
    if args.eps is not None:
        if not 0 < args.eps < 1:
            raise WrongCall(f"--eps {args.eps:g}: it lies between 0 and 1")
        config = replace(config, layer_norm_eps=args.eps)
    return replace(weights, card=card, config=config)
