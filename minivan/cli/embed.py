"""python -m minivan embed: photos as vectors, in a file."""

from __future__ import annotations

import argparse

from ..output import place
from ..predict import find_images
from .arguments import (
    IMAGES,
    add_draft,
    add_engine,
    add_input_size,
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
from .classify import note_kept, note_unused, progress
from .printing import complain, note_all, say_written


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", nargs="+", metavar="PATH", help=IMAGES)
    parser.add_argument("-o", "--output", metavar="FILE", required=True, help=(
        "the file to write: .npy, with the names in FILE.jsonl, or .parquet"))  # fmt: skip
    parser.add_argument("--resume", action="store_true", help="go on where an interrupted run to the same FILE stopped")
    add_weights(parser)
    add_engine(parser)
    parser.add_argument("--batch-size", type=positive, metavar="N", help="images that the network takes at once")
    add_threads(parser)
    add_input_size(parser)
    add_photo(parser)
    add_draft(parser)


def run(args: argparse.Namespace) -> int:
    from ..predict import index
    from ..predict.embeddings import Embeddings

    with wrong_calls():
        index.check(args.output)
        place(args.output)
    model = load_model(args, names=False)
    images = find_images(args.paths, model.config.channels)
    failed = 0
    with wrong_calls(), Embeddings(model, images, args.output, reading(args), args.resume) as embeddings:
        note_unused(embeddings.run)
        try:
            with progress(len(embeddings.run.todo)) as advance:
                for image in embeddings.embedded(args.batch_size, args.threads):
                    if image.features is None:
                        complain(f"{image.image}: {advised(image.fault)}")
                        failed += 1
                    note_all(image.image, image.notes)
                    advance(1)
            count = embeddings.write()
        except BaseException:
            note_kept(embeddings.run)
            raise
    if others := images.said_of_others():
        complain(others)
    before = f", {embeddings.run.kept:,} of them from the run before" if args.resume else ""
    features = f"{count:,} x {model.config.dims[-1]} features of {model.card.name}"
    say_written(f"{args.output}: {features}{before}, {failed:,} images without any")
    return status(failed, len(images))
