"""python -m minivan explore: one HTML file that takes the network apart in a browser."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..input import amount
from .arguments import (
    RIGHT,
    add_engine,
    add_photo,
    add_threads,
    add_weights,
    advising,
    in_time,
    load_model,
    reading,
    wrong_calls,
)
from .printing import note_all, say_written

if TYPE_CHECKING:
    from ..page import Photo
    from ..van import VAN

GALLERY = {  # what comes with minivan -> a key of the page's texts: why it works, or why it does not
    "coffee": "works_coffee",
    "cat": "works_cat",
    "rocket": "fails_rocket",
    "astronaut": "fails_astronaut",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("photo", nargs="?", metavar="PHOTO", help="a photo that the page opens with (default: a cup of coffee)")
    add("-o", "--output", metavar="FILE", default="explore.html", help="the page to write (default: explore.html)")
    add("--light", action="store_true", help="less than 2 MB: one photo computed beforehand, and no network in the page")
    add_weights(parser)
    add_threads(parser)
    add_photo(parser)
    add_engine(parser, "exact", "of the logits that the page compares its own with")


def run(args: argparse.Namespace) -> int:
    """Write the page; what cannot be written or read is said before anything is computed."""
    from .. import output, page

    with wrong_calls():
        output.place(args.output)
    model = load_model(args)
    with wrong_calls():
        page.check(model)
    with wrong_calls(args.photo or ""):
        photos = [own(model, args)] if args.photo else []
    with wrong_calls():
        if not (photos and args.light):
            photos += gallery(model, 1 if args.light else len(GALLERY))
        size = page.write(args.output, model, photos, args.light)
    say_written(f"{args.output}: {amount(size)}, opens in a browser without a network connection")
    return RIGHT


def own(model: VAN, args: argparse.Namespace) -> Photo:
    """Return the photo of the command line; it goes by its file's name."""
    from .. import image, page

    remarks: list[str] = []
    how = reading(args)
    with advising():
        picture = in_time(lambda: image.decode(args.photo, how.exif, how.icc, how.truncated, remarks), args.photo)
    note_all(args.photo, remarks)
    return page.look(model, Path(args.photo).name, picture)


def gallery(model: VAN, count: int) -> list[Photo]:
    """Return the first of the photos that come with minivan, of which the last two show none of the classes."""
    from .. import image, page, shipped
    from ..checkpoint import bundled

    told = model.card.file in bundled()  # other weights have other classes
    names = list(GALLERY)[:count]
    return [page.look(model, name, image.decode(shipped.photo(f"{name}.jpg")), GALLERY[name] if told else "") for name in names]
