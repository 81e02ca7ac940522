"""python -m minivan similar: the photos of an index that are nearest to one."""

from __future__ import annotations

import argparse

from ..errors import WrongCall
from ..predict import find_images
from .arguments import (
    RIGHT,
    add_engine,
    add_input_size,
    add_photo,
    add_threads,
    add_weights,
    advised,
    load_model,
    positive,
    reading,
    wrong_calls,
)
from .printing import note_all, say, say_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("query", metavar="QUERY", help="an image, or - for standard input")
    parser.add_argument("index", metavar="INDEX", help="a file that embed wrote with the same weights")
    parser.add_argument("-k", "--top-k", type=positive, default=10, metavar="K", help="how many photos (default: 10)")
    parser.add_argument("--json", action="store_true", help="one JSON object per photo and line")
    add_weights(parser)
    add_engine(parser)
    add_threads(parser)
    add_input_size(parser)
    add_photo(parser)


def run(args: argparse.Namespace) -> int:
    from ..predict.embedding import embed
    from ..predict.index import Index

    model = load_model(args, names=False)
    images = find_images([args.query], model.config.channels)
    if len(images) != 1:
        raise WrongCall(f"{args.query} holds {len(images)} images: name one of them")
    with wrong_calls(), Index.opened(args.index) as index:
        index.check(model)  # before anything is compiled
        (query,) = embed(model, images, threads=args.threads, how=reading(args))
        if query.features is None:
            raise WrongCall(f"{query.image}: {advised(query.fault)}")
        note_all(query.image, query.notes)
        near = index.nearest(query.features, args.top_k)
    for found in near:
        if args.json:
            say_json({"image": found.image, "similarity": round(found.similarity, 6), "row": found.row}, flush=True)
        else:
            say(f"{found.similarity:7.4f}  {found.image}", flush=True)
    return RIGHT
