"""python -m minivan explain: where the network looks, as a figure or as numbers."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import NamedTuple

from ..errors import WrongCall
from ..predict.images import find_images
from .arguments import add_threads, add_weights, load_model, positive
from .classify import describe

METHODS = ("gradcam", "cam", "hirescam", "layercam", "gradcam++", "smoothgrad", "occlusion")
DISPLAY = 384  # pixels a side at which a photo is drawn, or as many as the network sees
SMALLEST_VIEW = 128  # pixels: below, the last stage has fewer than 4 x 4 positions, too few for a picture

LARGEST_VIEW = 2048  # pixels: beyond, the exact engine's maps fill gigabytes


class Seen(NamedTuple):
    """An image as the network sees it, and as a person does."""

    name: str
    x: object  # (1, 3, H, W) float32
    photo: object  # the same square, uint8 (H, W, 3) with at least DISPLAY pixels a side
    probabilities: object  # (classes,) float32: what `classify` says, at the size the weights were trained for


def add_arguments(parser) -> None:
    add = parser.add_argument
    add("paths", nargs="+", metavar="IMAGE", help="image files, folders, patterns, or - for standard input")
    add("-o", "--output", metavar="FILE", help="the figure: .png, .pdf or .svg; not needed with --json")
    add("--method", choices=METHODS, default="gradcam", help="how (default: gradcam)")
    add("--class", dest="classes", action="append", default=[], metavar="CLASS",
        help="index, WordNet id or name; several side by side (default: the top class)")  # fmt: skip
    add("--layer", metavar="PATH", help="norm1 to norm4, block3.2 and so on, or all stages (default: the last)")
    add("--attention", action="store_true", help="instead, what large kernel attention multiplies by")
    add("--block", metavar="PATH", help="its blocks: block3.2, a stage's (block3) or all (default: each stage's last)")
    add("--size", type=positive, metavar="PIXELS",
        help=f"side of the square the network sees (default: as it was trained, at least {SMALLEST_VIEW})")  # fmt: skip
    add("--json", action="store_true", help="one JSON object per image and line, with the maps' values")
    add_weights(parser)
    add_threads(parser)
    add("--no-exif", action="store_true", help="do not turn the photo the way its EXIF data say")
    add("--engine", choices=["exact", "fast"], default="exact", help="what computes (default: exact); fast suits occlusion")
    parser.set_defaults(wrong_call=parser.error)


def run(args) -> int:
    if not (args.output or args.json):
        args.wrong_call("say where the figure goes: -o OUT.png (or print the maps with --json)")
    if args.block and not args.attention:
        args.wrong_call("--block belongs to --attention")
    if args.attention and (args.classes or args.layer or args.method != "gradcam"):
        args.wrong_call("--attention is the same for every class: it takes no --class, --layer or --method")
    try:
        return explain(args)
    except ValueError as error:
        raise WrongCall(str(error)) from None


def explain(args) -> int:
    """Look at each image and draw one figure of all; return 1 where an image could not be read."""
    from minivan.explain import figure

    if args.output:
        figure.check_ending(args.output)
        figure.matplotlib_figure()  # missing? better said now than after the network has run
    model = load_model(args)
    look, draw = (attention_rows, figure.attention_figure) if args.attention else (map_rows, figure.maps_figure)
    rows, failed = [], 0
    for image in find_images(args.paths):
        try:
            seen = see(image, model, args)
        except (ValueError, OSError) as error:
            print(f"minivan: {image.name}: {getattr(error, 'strerror', None) or error}", file=sys.stderr)
            failed += 1
            continue
        found, as_json = look(seen, model, args)
        rows += found
        if args.json:
            print(json.dumps(as_json, ensure_ascii=False), flush=True)
    if args.output and rows:
        write(draw(rows, footnote(model, args)), args.output)
        if not args.json:
            print(f"{args.output}: {footnote(model, args)}")
    return 1 if failed else 0


def write(drawn, path: str) -> None:
    """Write a figure; WrongCall where the file cannot be written."""
    from minivan.explain.figure import save

    try:
        save(drawn, path)
    except OSError as error:
        raise WrongCall(f"{path}: {error.strerror or error}") from None


def see(image, model, args) -> Seen:
    """Decode an image and prepare it as the weights want it, at the size the flags ask for."""
    import numpy as np

    from minivan.image import decode, normalise, view
    from minivan.ops import softmax

    if image.fault:
        raise ValueError(image.fault)
    photo = decode(image.source(), exif=not args.no_exif)
    side, trained = view_side(model, args), model.card.preprocessing
    x, usual = (normalise(view(photo, scaled(trained, s)), trained.mean, trained.std)[None] for s in (side, trained.crop))
    probabilities = None if args.attention else softmax(model(usual))[0]  # attention has no need of a class, nor of a head
    return Seen(image.name, x, np.asarray(view(photo, scaled(trained, max(side, DISPLAY)))), probabilities)


def scaled(preprocessing, side: int):
    """Return the preprocessing that shows the same part of a photo in `side` pixels."""
    return replace(preprocessing, crop=side, resize=round(preprocessing.resize * side / preprocessing.crop))


def view_side(model, args) -> int:
    """Return the side of the square that the network sees."""
    from minivan.geometry import SMALLEST_SIDE

    side = args.size or max(model.card.preprocessing.crop, SMALLEST_VIEW)
    if not SMALLEST_SIDE <= side <= LARGEST_VIEW:
        raise WrongCall(f"--size lies in {SMALLEST_SIDE}..{LARGEST_VIEW} pixels; got {side}")
    return side


def map_rows(seen: Seen, model, args):
    """Return the figure's rows for an image and what `--json` prints: a row, or with several layers one for each class."""
    from minivan import explain
    from minivan.explain.figure import Panel, Row

    layers = explain.stages(model) if args.layer == "all" else [args.layer] if args.layer else None
    classes = [explain.choose(text, model.card.labels, model.config.classes) for text in args.classes]
    classes = classes or [int(seen.probabilities.argmax())]
    panels, entries = [], []
    for target in classes:
        found = explain.maps(model, seen.x, target, args.method, layers)
        entry = class_entry(found, seen.probabilities, model)
        rank = f", rank {entry['rank']} of {model.config.classes}" if entry["rank"] > 1 else ""
        chance = f"{entry['probability']:.1%}{rank}" if entry["probability"] >= 0.001 else f"under 0.1%{rank}"
        name = model.card.label(entry["index"]).short
        where = [(path,) if layers else () for path in found.maps]
        panels.append([Panel((name, chance, *at), values[0], path, args.method in explain.SIGNED)
                       for (path, values), at in zip(found.maps.items(), where, strict=True)])  # fmt: skip
        entries.append(entry)
    if len(panels[0]) == 1:
        panels = [[panel for row in panels for panel in row]]
    as_json = {
        "image": seen.name,
        "model": model.card.name,
        "method": args.method,
        "input": list(seen.x.shape[2:]),
        "classes": entries,
    }
    return [Row(seen.name, seen.photo, zoom(seen), row) for row in panels], as_json


def zoom(seen: Seen) -> float:
    return seen.photo.shape[0] / seen.x.shape[2]


def class_entry(found, probabilities, model) -> dict:
    """Return what `--json` says of one class: its probability and rank, as `classify` gives them, its map at each layer."""
    from minivan.explain.figure import stride_of

    index = int(found.target[0])
    label = model.card.label(index)
    return {
        "index": index,
        "wnid": label.wnid,
        "label": label.name,
        "probability": round(float(probabilities[index]), 6),
        "rank": int((probabilities > probabilities[index]).sum()) + 1,
        "maps": {path: {"stride": stride_of(path), "values": digits(values[0])} for path, values in found.maps.items()},
    }


def attention_rows(seen: Seen, model, args):
    """Return the figure's rows for an image and what `--json` prints of its blocks."""
    from minivan import explain
    from minivan.explain.figure import SELECTIVE, Factors, stride_of

    factors = explain.attention_maps(model, seen.x)
    blocks = [(path, factors[path][0]) for path in explain.choose_blocks(model.config, args.block)]
    as_json = {
        "image": seen.name,
        "model": model.card.name,
        "input": list(seen.x.shape[2:]),
        "blocks": {
            path: {
                "stride": stride_of(path),
                "lowest": digits(values.min()),
                "highest": digits(values.max()),
                "mean": digits(values.mean(axis=0)),
                "most_selective": {int(c): digits(values[c]) for c in explain.most_selective(values, SELECTIVE)},
            }
            for path, values in blocks
        },
    }
    return [Factors(seen.name, seen.photo, zoom(seen), blocks)], as_json


def digits(values):
    """Return an array as nested lists of numbers with six significant digits."""
    import numpy as np

    return np.vectorize(lambda value: float(f"{value:.6g}"), otypes=[float])(values).tolist()


def footnote(model, args) -> str:
    """Say what the figure shows, how it was made and at which size the network saw the photo."""
    side, trained = view_side(model, args), model.card.preprocessing.crop
    seen = f"seen at {side} x {side} pixels"
    if side != trained and not args.attention:
        seen += f", class and probability at {trained} x {trained} as trained"
    if args.attention:
        what = "factors that large kernel attention multiplies its input by (signed, unbounded; each scale centred on zero)"
    else:
        what = f"{args.method} at {PLACES.get(args.method, args.layer or f'norm{model.config.stages}')}"
        what = what.replace(" at all", " at each stage's output")
    return f"{what} · {seen} · {describe(model).partition(' · ')[0]}"


PLACES = {"smoothgrad": "the input", "occlusion": "the input"}
