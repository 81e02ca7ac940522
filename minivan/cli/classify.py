"""python -m minivan classify: name what photos show."""

from __future__ import annotations

import contextlib
import json
import sys
import time

from ..errors import WrongCall, printable
from ..predict.ahead import batches, prepare_ahead
from ..predict.images import find_images
from .arguments import add_exif, add_threads, add_weights, load_model, positive

PROGRESS_FROM = 4  # images: fewer are done before a progress bar could be read
BATCH = 8  # images that the engine `fast` is given at once; the others answer image by image
BAR = 24  # characters of a bar at probability 1
NARROWEST = 72  # columns that rank, label, percentage and bar need


def add_arguments(parser) -> None:
    parser.add_argument("paths", nargs="+", metavar="PATH", help="image files, folders, patterns, or - for standard input")
    add_weights(parser)
    parser.add_argument("--engine", choices=["fast", "exact", "numpy"], default="fast", help="what computes (default: fast)")
    parser.add_argument("--top-k", type=positive, default=5, metavar="K", help="how many classes to show (default: 5)")
    parser.add_argument("--json", action="store_true", help="one JSON object per image and line")
    add_threads(parser)
    add_exif(parser)


def run(args) -> int:
    images = find_images(args.paths)
    model = load_model(args)
    show = print_json if args.json else print_text
    size = BATCH if args.engine == "fast" else 1
    failed = 0
    with progress(len(images)) as advance:
        ready = prepare_ahead(images, model.card.preprocessing, not args.no_exif, 2 * size, args.threads)
        for batch in batches(ready, size):
            for image, answer in classify(model, batch, args.top_k):
                if image.fault:
                    print(f"minivan: {printable(image.name)}: {printable(image.fault)}", file=sys.stderr)
                    failed += 1
                else:
                    show(answer, model)
            advance(len(batch))
    return 1 if failed else 0


def classify(model, batch, top_k: int):
    """Yield every image of a batch of `Prepared` with what `--json` prints for it, None for one that cannot be used.

    The time is that of decoding and preparing the image, and its share of the network's time for the batch.
    """
    import numpy as np

    from minivan.reference import softmax  # float64 and nothing to compile

    start = time.perf_counter()
    usable = [image.x for image in batch if not image.fault]
    probabilities = softmax(model(np.stack(usable))) if usable else np.empty((0, model.config.classes))
    share = (time.perf_counter() - start) / max(1, len(usable))
    if not np.isfinite(probabilities).all():
        raise WrongCall(f"the weights {model.card.name} give logits that are no numbers: they are damaged")
    answers = iter(probabilities)
    for image in batch:
        yield image, None if image.fault else describe_answer(model, image, next(answers), image.seconds + share, top_k)


def describe_answer(model, image, probabilities, seconds: float, top_k: int) -> dict:
    """Return what `--json` prints for one image."""
    import numpy as np

    top = []
    for index in np.argsort(-probabilities, kind="stable")[:top_k]:
        label = model.card.label(int(index))
        probability = round(float(probabilities[index]), 6)
        top.append({"index": int(index), "wnid": label.wnid, "label": label.name, "probability": probability})
    return {
        "image": image.name,
        "model": model.card.name,
        "engine": model.engine.name,
        "milliseconds": round(seconds * 1000, 1),
        "top": top,
    }


def print_json(result: dict, model) -> None:
    print(json.dumps(result, ensure_ascii=not utf8(), allow_nan=False), flush=True)


def utf8() -> bool:
    """Whether standard output takes every character."""
    return (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")


def print_text(result: dict, model) -> None:
    """A table with a bar per class, then which weights answered and how long they took."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    block, dot = ("█", "·") if utf8() else ("#", "-")
    table = Table(box=None, show_header=False, padding=(0, 1))
    table.add_column(justify="right")
    table.add_column(overflow="ellipsis", no_wrap=True, width=32)
    table.add_column(justify="right", width=6)
    table.add_column(no_wrap=True, min_width=BAR)
    for rank, entry in enumerate(result["top"], 1):
        bar = block * round(entry["probability"] * BAR)
        table.add_row(str(rank), Text(printable(entry["label"])), f"{entry['probability']:.1%}", Text(bar, style="cyan"))
    console = Console(highlight=False)
    console.width = max(console.width, NARROWEST)  # below it the terminal wraps lines, where rich would drop columns
    console.print(Text(printable(result["image"]), style="bold"))
    console.print(table)
    said = f"{describe(model)} {dot} engine {model.engine} {dot} {result['milliseconds']:.0f} ms"
    console.print(Text(f"  {printable(said)}\n", style="dim"))


def describe(model) -> str:
    """Say which weights answered, and for how many classes."""
    from minivan.variants import variant_of

    variant = variant_of(model.config)
    shape = f"VAN-{variant.upper()}" if variant else "VAN"
    return f"{model.card.name} ({shape}, {model.config.classes} classes)"


@contextlib.contextmanager
def progress(total: int):
    """Give a function that counts finished images, and show them with images per second on standard error.

    Only where there are more than a few images and someone is watching.
    """
    if total < PROGRESS_FROM or not sys.stderr.isatty():
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Speed(ProgressColumn):
        def render(self, task):
            speed = task.finished_speed or task.speed
            return Text(f"{speed:.0f} images/s" if speed else "")

    columns = TextColumn("classifying"), BarColumn(), MofNCompleteColumn(), TextColumn("images"), Speed(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda count: bar.advance(task, count)
