"""python -m minivan receptive-field: how far a position of each stage sees, in theory and in fact."""

from __future__ import annotations

import json

from ..errors import WrongCall
from ..predict.images import find_images
from .arguments import add_threads, add_weights, load_model, positive
from .classify import describe
from .explain import LARGEST_VIEW, scaled, write

IMAGES = 8  # of noise, where no photos are given
SIDE = 257  # pixels: 64 n + 1, so that every stage has a position in the very centre


def add_arguments(parser) -> None:
    add = parser.add_argument
    add("paths", nargs="*", metavar="IMAGE", help=f"photos to average over (default: {IMAGES} images of 1/f noise)")
    add("-o", "--output", metavar="FILE", help="a figure as well: .png, .pdf or .svg")
    add("--size", type=positive, default=SIDE, metavar="PIXELS", help=f"side of the images (default: {SIDE})")
    add("--json", action="store_true", help="one JSON object instead of a table")
    add_weights(parser)
    add_threads(parser)
    parser.set_defaults(engine="exact")


def run(args) -> int:
    try:
        return measure(args)
    except ValueError as error:
        raise WrongCall(str(error)) from None


def measure(args) -> int:
    """Measure the fields, print them, and draw them where a figure is asked for."""
    from minivan.explain import figure, receptive

    if args.output:
        figure.check_ending(args.output)
        figure.matplotlib_figure()  # missing? better said now than after the network has run
    model = load_model(args)
    x, averaged = images(args, model)
    theory = receptive.theoretical(model.config)
    effective = receptive.effective(model, x)
    ratios = {path: [receptive.area_ratio(field, share) for share in receptive.SHARES] for path, field in effective.items()}
    note = f"averaged over {averaged} of {args.size} x {args.size} pixels · {describe(model).partition(' · ')[0]}"
    if args.json:
        print(json.dumps(as_json(model, theory, effective, ratios, args.size, len(x))))
    else:
        print_table(theory, ratios, note)
    if args.output:
        responses = {path: receptive.impulse_response(model, path) for path in effective}
        drawn = figure.receptive_figure(theory, responses, effective, ratios, note)
        write(drawn, args.output)
        if not args.json:
            print(args.output)
    return 0


def images(args, model):
    """Return the images to average over, float32 (N, 3, side, side), and what they are."""
    import numpy as np

    from minivan.explain.receptive import noise_images
    from minivan.geometry import SMALLEST_SIDE
    from minivan.image import decode, normalise, view

    if not SMALLEST_SIDE <= args.size <= LARGEST_VIEW:
        raise WrongCall(f"--size lies in {SMALLEST_SIDE}..{LARGEST_VIEW} pixels; got {args.size}")
    if not args.paths:
        return noise_images(IMAGES, args.size), f"{IMAGES} images of 1/f noise"
    batch, as_trained = [], model.card.preprocessing
    for image in find_images(args.paths):
        try:
            if image.fault:
                raise ValueError(image.fault)
            photo = view(decode(image.source()), scaled(as_trained, args.size))
        except (ValueError, OSError) as error:
            raise WrongCall(f"{image.name}: {getattr(error, 'strerror', None) or error}") from None
        batch.append(normalise(photo, as_trained.mean, as_trained.std))
    return np.stack(batch), f"{len(batch)} photo{'s' if len(batch) > 1 else ''}"


def as_json(model, theory, effective, ratios, side: int, count: int) -> dict:
    from minivan.explain.receptive import SHARES, square

    return {
        "model": model.card.name,
        "images": count,
        "size": side,
        "theoretical": [field._asdict() for field in theory],
        "effective": {
            path: {
                f"{share:.0%}": {"side": square(field, share), "area_ratio": round(ratio, 6)}
                for share, ratio in zip(SHARES, ratios[path], strict=True)
            }
            for path, field in effective.items()
        },
    }


def print_table(theory, ratios: dict, note: str) -> None:
    """Print a line per block: stride and theoretical side; for a stage's last block also the effective field."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from minivan.explain.receptive import SHARES

    table = Table(box=None, padding=(0, 2), header_style="bold")
    for heading in ("after", "stride", "can see", *(f"{share:.0%}" for share in SHARES)):
        table.add_column(heading, justify="left" if heading == "after" else "right", no_wrap=True)
    for field in theory:
        shares = [f"{ratio:.1%}" for ratio in ratios.get(field.path, [])]
        table.add_row(field.path, str(field.stride), f"{field.side} x {field.side}", *shares)
    console = Console(highlight=False)
    console.print(table)
    console.print(Text("can see: the theoretical field in pixels. 20% to 99%: the part of the image's area that holds this "
                       "share of the centre position's derivative, the effective field.", style="dim"))  # fmt: skip
    console.print(Text(note, style="dim"))
