"""python -m minivan receptive-field: how far a position of each stage sees, in theory and in fact."""

from __future__ import annotations

import argparse
import functools
from typing import TYPE_CHECKING

from ..explain.choices import FIELD_SIDE, NOISE_IMAGES
from ..predict.images import find_images
from .arguments import RIGHT, add_threads, add_weights, in_time, load_model, positive, wrong_calls
from .printing import complain, note_all, say, say_json, say_rows, say_written

if TYPE_CHECKING:
    from ..card import Preprocessing
    from ..checks import Float32
    from ..explain.receptive import Fields


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("paths", nargs="*", metavar="IMAGE", help=f"photos to average over (default: {NOISE_IMAGES} images of 1/f noise)")
    add("-o", "--output", metavar="FILE", help="a figure as well: .png, .pdf or .svg")
    add("--size", type=positive, default=FIELD_SIDE, metavar="PIXELS", help=f"side of the images (default: {FIELD_SIDE})")
    add("--json", action="store_true", help="one JSON object instead of a table")
    add_weights(parser)
    add_threads(parser)
    parser.set_defaults(engine="exact")


def run(args: argparse.Namespace) -> int:
    """Measure the fields, print them, and draw them where a figure is asked for."""
    from ..explain import figure, receptive, view

    with wrong_calls():
        if args.output:
            figure.check_output(args.output)
    model = load_model(args)
    with wrong_calls("--size"):
        view.view_side(model.card.preprocessing, args.size)
    photos = read(args, model.card.preprocessing) if args.paths else None
    with wrong_calls():
        found = receptive.fields(model, photos, args.size)
    if args.json:
        say_json(found.as_dict())
    else:
        print_table(found)
    if args.output:
        with wrong_calls(args.output):
            figure.save(figure.receptive_figure(found), args.output)
        if not args.json:
            say_written(f"{args.output}: {found.sentence()}")
    return RIGHT


def read(args: argparse.Namespace, preprocessing: Preprocessing) -> Float32:
    """Return the photos to average over, float32 (N, C, side, side); WrongCall where one of them cannot be read."""
    import numpy as np

    from ..explain import batch

    photos = []
    images = find_images(args.paths, preprocessing.channels)
    if others := images.said_of_others():
        complain(others)
    for image in images:
        with wrong_calls(image.name):
            if image.fault:
                raise ValueError(image.fault)
            source = image.source()  # a pipe is read here, where Ctrl-C is heard
            remarks: list[str] = []
            photos.append(in_time(functools.partial(batch, preprocessing, [source], args.size, remarks)))
            note_all(image.name, remarks)
    return np.concatenate(photos)


def print_table(found: Fields) -> None:
    """Print a line per block: stride and theoretical side; for a stage's last block also the effective field."""
    from ..explain.receptive import SHARES

    headings = ("after", "stride", "can see", *(f"{share:.0%}" for share in SHARES))
    rows = []
    for field in found.theory:
        shares = [f"{ratio:.1%}" for ratio in found.ratios.get(field.path, [])] or [""] * len(SHARES)
        rows.append((field.path, str(field.stride), f"{field.side} x {field.side}", *shares))
    say_rows(headings, rows)
    say("can see: the theoretical field in pixels. 20% to 99%: the part of the image's area that holds this share of the "
        "centre position's derivative, the effective field.", hang=0)  # fmt: skip
    say(found.footnote(), hang=0)
