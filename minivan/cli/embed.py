"""python -m minivan embed: photos as vectors, in a file."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..output import place
from ..predict import find_images
from .arguments import (
    IMAGES,
    add_engine,
    add_photo,
    add_threads,
    add_weights,
    advised,
    load_model,
    positive,
    reading,
    status,
    wrong_calls,
)
from .classify import progress
from .printing import complain, note_all, say

if TYPE_CHECKING:
    from ..predict.embedding import Embedded


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", nargs="+", metavar="PATH", help=IMAGES)
    parser.add_argument("-o", "--output", metavar="FILE", required=True, help=(
        "the file to write: .npy, with the names in FILE.jsonl, or .parquet"))  # fmt: skip
    add_weights(parser)
    add_engine(parser)
    parser.add_argument("--batch-size", type=positive, metavar="N", help="images that the network takes at once")
    add_threads(parser)
    add_photo(parser)


def run(args: argparse.Namespace) -> int:
    from ..predict import index
    from ..predict.embedding import embed

    with wrong_calls():
        index.check(args.output)
        place(args.output)
    model = load_model(args, names=False)
    images = find_images(args.paths, model.config.channels)
    model, failed = model.settled(len(images)), 0

    def told(found: Iterator[Embedded]) -> Iterator[Embedded]:
        nonlocal failed
        with progress(len(images)) as advance:
            for image in found:
                if image.features is None:
                    complain(f"{image.image}: {advised(image.fault)}")
                    failed += 1
                note_all(image.image, image.notes)
                advance(1)
                yield image

    with wrong_calls():
        found = embed(model, images, batch_size=args.batch_size, threads=args.threads, how=reading(args))
        count = index.write(args.output, model, told(found))
    if others := images.said_of_others():
        complain(others)
    say(f"{args.output}: {count:,} x {model.config.dims[-1]} features of {model.card.name}, {failed:,} images without any")
    return status(failed, len(images))
