"""python -m minivan explain: where the network looks, as a figure or as numbers."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from ..errors import WrongCall, sentence
from ..explain.choices import DEFAULT, METHODS, SMALLEST_VIEW
from ..predict.images import Found, find_images
from .arguments import (
    IMAGES,
    add_activation,
    add_engine,
    add_photo,
    add_threads,
    add_weights,
    advising,
    in_time,
    load_model,
    positive,
    reading,
    status,
    wrong_calls,
)
from .figures import check_folder, is_folder, names
from .printing import complain, note_all, say_json, say_written

if TYPE_CHECKING:
    from ..explain import PhotoAttention, PhotoMaps, Seen
    from ..van import VAN

    Look: TypeAlias = Callable[[Found], Seen]
    Answer: TypeAlias = Callable[[Seen], PhotoMaps | PhotoAttention]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "paths",
        nargs="+",
        metavar="IMAGE",
        help=IMAGES,
    )
    add("-o", "--output", metavar="FILE", help=(
        "the figure: .png, .pdf or .svg; or a folder, FIGURES/, for one each; not needed with --json"))  # fmt: skip
    add("--method", choices=METHODS, default=DEFAULT, help=f"how (default: {DEFAULT})")
    add("--class", dest="classes", action="append", default=[], metavar="CLASS",
        help="index, WordNet id or name; several side by side (default: the top class)")  # fmt: skip
    add("--layer", metavar="PATH", help="norm1 to norm4, block3.2 and so on, or all stages (default: the last)")
    add("--attention", action="store_true", help="instead, what large kernel attention multiplies by")
    add("--block", metavar="PATH", help="its blocks: block3.2, a stage's (block3) or all (default: each stage's last)")
    add("--size", type=positive, metavar="PIXELS",
        help=f"side of the square the network sees (default: as it was trained, at least {SMALLEST_VIEW})")  # fmt: skip
    add("--smooth", action="store_true", help="blend the map's squares, which makes up what lies between its places")
    add("--json", action="store_true", help="one JSON object per image and line, with the maps' values")
    add_weights(parser)
    add_activation(parser, "as the weights say")
    add_threads(parser)
    add_photo(parser)
    add_engine(parser, advice="derivatives, and what lies deeper than the last stage, are computed by exact")
    parser.set_defaults(derives=True)


def run(args: argparse.Namespace) -> int:
    """Look at each image, print what was found, and draw one figure of all, or one for each into a folder."""
    check_flags(args)
    apart = bool(args.output) and is_folder(args.output)
    with wrong_calls():
        if args.output:
            check_output(args.output, apart)
    model = load_model(args)
    with wrong_calls():
        images = find_images(args.paths, model.config.channels)
    # What is wrong with a flag is said here, before any image is looked at.
    look, answer = looking(model, args), answering(model, args, len(images))
    places = names(args.output, images, "attention" if args.attention else args.method) if apart else [None] * len(images)
    shown: list[PhotoMaps | PhotoAttention] = []  # in one figure, at the end
    told: dict[str, None] = {}  # of figures apart, each once
    failed = 0
    for image, place in zip(images, places, strict=True):
        try:
            with advising():
                seen = look(image)
        except (ValueError, OSError) as error:
            complain(sentence(error, image.name))
            failed += 1
            continue
        note_all(image.name, seen.notes)
        with wrong_calls():
            found = answer(seen)
        if place:
            write_apart(found, place, args)
            told |= dict.fromkeys((found.footnote(), found.sentence()))
        if args.json:
            say_json(found.as_dict() | ({"figure": place} if place else {}), flush=True)
        if args.output and not place:
            shown.append(found)
    if told and not args.json:
        say_written("\n".join(told))
    if shown:
        write(shown, args)
    if others := images.said_of_others():
        complain(others)
    return status(failed, len(images))


def check_output(output: str, apart: bool) -> None:
    """Say before the network runs what would be wrong with the figure's file, or with the folder for one each, after it."""
    from ..explain import figure

    if apart:
        figure.matplotlib_figure(check_folder(output))
    else:
        figure.check_output(output)


def check_flags(args: argparse.Namespace) -> None:
    """Raise WrongCall for flags that do not go together."""
    if not (args.output or args.json):
        raise WrongCall("say where the figure goes: -o OUT.png, or -o FOLDER/ for one each (or print the maps with --json)")
    if args.block and not args.attention:
        raise WrongCall("--block belongs to --attention")
    if args.attention and (args.classes or args.layer or args.method != DEFAULT):
        raise WrongCall("--attention is the same for every class: it takes no --class, --layer or --method")


def looking(model: VAN, args: argparse.Namespace) -> Look:
    """Return the function that reads an image as the flags say; WrongCall for a size that cannot be."""
    from .. import explain

    with wrong_calls("--size"):
        explain.view_side(model.card.preprocessing, args.size)
    how = reading(args)

    def look(image: Found) -> Seen:
        if image.fault:
            raise ValueError(image.fault)
        source = image.source()  # a pipe is read here, where Ctrl-C is heard
        told = {"exif": how.exif, "icc": how.icc, "truncated": how.truncated}
        return in_time(lambda: explain.look(model, source, args.size, name=image.name, **told))

    return look


def answering(model: VAN, args: argparse.Namespace, images: int) -> Answer:
    """Return the function that answers for each of so many images; WrongCall for a class, layer or block that is not known."""
    from .. import explain

    with wrong_calls():
        if args.attention:
            blocks = explain.choose_blocks(model.config, args.block)
            return lambda seen: explain.photo_attention(model, seen, blocks)
        layers = explain.choose_layers(model.config, args.method, args.layer)
        classes = explain.choose_classes(args.classes, model.card.labels, model.config.classes)
        side = explain.view_side(model.card.preprocessing, args.size)
        one = explain.on_one_engine(model, args.method, layers, images, side, side)
        return lambda seen: explain.photo_maps(one, seen, classes, args.method, layers)


def write(shown: list[PhotoMaps | PhotoAttention], args: argparse.Namespace) -> None:
    """Write the figure and, where nothing else is printed, say what it shows."""
    from ..explain import figure, photo

    first, *others = photo.told(shown)
    with wrong_calls(args.output):
        figure.save(figure.draw(shown, args.smooth), args.output)
    if not args.json:
        say_written("\n".join([f"{args.output}: {first}", *others]))


def write_apart(found: PhotoMaps | PhotoAttention, place: str, args: argparse.Namespace) -> None:
    """Write one photo's figure into the folder, which is made for the first, and say what it shows of which photo."""
    from ..explain import PhotoMaps, figure

    with wrong_calls(place):
        os.makedirs(args.output, exist_ok=True)
        figure.save(figure.draw([found], args.smooth), place)
    if not args.json:
        classes = found.classes if isinstance(found, PhotoMaps) else []
        said = [f"{each.label.short} {figure.chance(each, found.model.config.classes)}" for each in classes]
        say_written(f"{place}: {', '.join([found.seen.name, *said])}", flush=True)
        if found.caution():
            say_written(f"  {found.caution()}", flush=True)
