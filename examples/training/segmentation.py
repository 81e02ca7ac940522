"""Train a Semantic FPN on a frozen VAN, on scenes and their masks, and write it as a file that minivan segments with.

    python examples/training/segmentation.py camvid.zip -o mine.safetensors
    python examples/training/segmentation.py scenes/ -o mine.safetensors --classes sky,road,else --side 512

SCENES is a folder or a .zip with train/ and val/: photos NAME.jpg, each with its mask NAME.png beside it, whose pixels are
numbers of classes; other numbers are void. What val/ shows is not learned from: it chooses the best epoch.

The backbone's maps are computed once, of several views of each scene, and read from a file after that. A stopped training
goes on where it stood when the same command is given again; what it needs for that is kept beside the output until it is done.
It needs the extra `torch`.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

sys.path[:0] = [str(Path(__file__).parents[2])]

import minivan  # noqa: E402
from minivan import checkpoint, fpn, image, initial  # noqa: E402
from minivan.card import SCENES, SegmentationCard  # noqa: E402
from minivan.errors import printable, sentence  # noqa: E402
from minivan.output import check_ending, place, replacing  # noqa: E402
from minivan.predict.identity import identity  # noqa: E402
from minivan.segmentation import SegmentationVAN, files  # noqa: E402

if TYPE_CHECKING:
    from judging import Judged, Seen
    from scenes import Scene, Stored, Views

    from minivan.van import VAN


CAMVID = "sky,building,pole,road,pavement,tree,sign,fence,car,pedestrian,bicyclist"
WEIGHTS = ("none", "median", "root")  # how classes are weighed in the loss: see `class_weights`
Tensors = Mapping[str, npt.NDArray[np.float32]]


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse_args(argv)
    try:
        run(args)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except (OSError, ValueError, image.ImageError, checkpoint.CheckpointError, ModuleNotFoundError) as error:
        raise SystemExit(printable(sentence(error))) from None


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    made.add_argument("scenes", type=Path, help="a folder or a .zip with train/ and val/: NAME.jpg and its mask NAME.png")
    made.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="the head to write, .safetensors")
    made.add_argument("--weights", metavar="WEIGHTS", help="the backbone, which is not trained (default: the bundled one)")
    made.add_argument(
        "--classes", type=names, default=names(CAMVID), metavar="NAME,...", help="in index order (default: CamVid's eleven)"
    )
    made.add_argument("--side", type=int, default=360, metavar="PIXELS", help="a photo's shorter side as seen (default: 360)")
    made.add_argument("--channels", type=int, default=64, metavar="N", help="of the neck's maps (default: 64)")
    made.add_argument("--head-channels", type=int, default=64, metavar="N", help="of the head's maps (default: 64)")
    made.add_argument("--views", type=int, default=8, metavar="N", help="views of each scene to compute maps of (default: 8)")
    made.add_argument("--crop", type=int, metavar="PIXELS", help="a side of the part of a view that a step sees (default: all)")
    made.add_argument("--class-weights", choices=WEIGHTS, default="none", help="in the loss (default: none)")
    made.add_argument("--dropout", type=float, default=0.1, metavar="P", help="of the channels read last (default: 0.1)")
    made.add_argument("--maps", type=Path, metavar="FOLDER", help="keep the maps here, for other trainings on the same views")
    made.add_argument(
        "--test", action="append", default=[], metavar="PART", help="judge the chosen epoch once on PART/, test say, as well"
    )
    made.add_argument("--knows", default="", metavar="TEXT", help="what the file is to say that it knows")
    made.add_argument("--engine", default="fast", help="that computes the maps (default: fast)")
    made.add_argument("--threads", type=int, metavar="N", help="of PyTorch's (default: all)")
    for name, kind, default, text in recipe_options():
        made.add_argument(f"--{name.replace('_', '-')}", type=kind, default=default, help=f"{text} (default: {default})")
    return made


def recipe_options() -> list[tuple[str, type, Any, str]]:
    """The options that make a recipe, by the names of its fields: `loop`, which needs PyTorch, is not imported for --help."""
    return [
        ("epochs", int, 30, "times that each scene is seen"),
        ("batch", int, 8, "scenes in a step"),
        ("learning_rate", float, 1e-3, "at its highest"),
        ("weight_decay", float, 0.05, "of kernels"),
        ("warm_up", float, 1.0, "epochs in which the learning rate rises"),
        ("average", float, 0.99, "of the averaged weights, what a step leaves as it is"),
        ("seed", int, 0, "another one is another training"),
    ]


def run(args: argparse.Namespace) -> None:
    """Do what a command line says. Raises ValueError, or what reading and writing raise, where it cannot be done."""
    import torch
    from judging import Judge, Seen
    from loop import Recipe, train
    from network import PixelCrossEntropy, Segmenter
    from scenes import VOID, scenes

    check_ending(args.output, (".safetensors",), "weights are")
    place(args.output)
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    if args.crop is not None and (args.crop < 64 or args.crop % 32):
        raise ValueError(f"a crop is a multiple of 32 pixels from 64 on, not {args.crop}")
    recipe = Recipe(**{field.name: getattr(args, field.name) for field in fields(Recipe) if hasattr(args, field.name)})
    backbone = minivan.load(args.weights, engine=args.engine)
    config = fpn.FPNConfig(backbone.config.dims, args.channels, args.head_channels, len(args.classes))
    forward, card = Segmenter(config, args.dropout), first_card(args, backbone)
    learned, chosen_by = scenes(args.scenes, "train"), Seen(scenes(args.scenes, "val"), backbone, args.side, SCENES)
    judged = {part: Seen(scenes(args.scenes, part), backbone, args.side, SCENES) for part in args.test}
    recipe = replace(recipe, subject=subject(args, learned, card))
    print(f"{len(learned)} scenes of {len(args.classes)} classes to learn from, {len(chosen_by)} to choose by", flush=True)
    views, stored = views_and_maps(args, learned, chosen_by)
    judge = Judge(chosen_by.scenes, stored, forward, args.side)
    keep = args.output.with_name(f"{args.output.name}.training")
    best = Best(args.output.with_name(f"{args.output.name}.best"), anew=not keep.exists())

    def say(epoch: int, loss: float, average: Tensors) -> None:
        found = judge(average)
        best.offer(found.mean_iou, average)
        print(f"epoch {epoch:3} of {recipe.epochs}: loss {loss:.4f}, mIoU {found.mean_iou:.1%}", flush=True)

    loss = PixelCrossEntropy(VOID, class_weights(learned, len(args.classes), args.class_weights))
    train(forward, initial.fpn_tensors(config, args.seed), views, loss, recipe, keep, say)
    found = {"val": judge(best.tensors)}
    found |= {part: Judge(seen.scenes, seen, forward, args.side)(best.tensors) for part, seen in judged.items()}
    write(args, SegmentationVAN(backbone, best.tensors, card), found)
    for path in (keep, best.path, *(() if args.maps else (views.stored.path, stored.path))):
        path.unlink(missing_ok=True)


class Best:
    """The tensors that judged best so far, rounded to float16 as the file will have them, kept beside the training."""

    def __init__(self, path: Path, anew: bool) -> None:
        self.path, self.mean_iou, self.tensors = path, -1.0, dict[str, npt.NDArray[np.float16]]()
        if anew:
            path.unlink(missing_ok=True)
        elif path.exists():
            with np.load(path, allow_pickle=False) as held:
                self.tensors = {name: held[name] for name in held if name}
                self.mean_iou = float(held[""])

    def offer(self, mean_iou: float, tensors: Tensors) -> None:
        """Keep tensors if they are better."""
        from network import narrowed

        if mean_iou > self.mean_iou:
            self.mean_iou = mean_iou
            self.tensors = narrowed(tensors)
            with replacing(self.path) as file:
                np.savez(file, **self.tensors, **{"": mean_iou})


def first_card(args: argparse.Namespace, backbone: VAN) -> SegmentationCard:
    """Return what the file will say of itself, but for what is measured at the end."""
    return SegmentationCard(
        args.output.stem,
        args.classes,
        side=args.side,
        backbone_sha256=identity(backbone)["sha256"],
        backbone=backbone.card.name,
        source=f"trained on {args.scenes.name}",
    )


def subject(args: argparse.Namespace, learned: Sequence[Scene], card: SegmentationCard) -> str:
    """Say in words what is trained on what: a kept training that says anything else is another one."""
    return (
        f"{len(learned)} scenes ({digest(learned)}) of {', '.join(card.classes)} at {args.side} pixels in {args.views} views "
        f"cropped to {args.crop}, {args.channels} and {args.head_channels} channels on {card.backbone} "
        f"({card.backbone_sha256[:8]}), class weights {args.class_weights}, dropout {args.dropout:g}"
    )


def digest(scenes: Sequence[Scene], *said: object) -> str:
    """Return eight hex digits that stand for scenes, and for whatever else is said."""
    seen = hashlib.sha256(repr(said).encode())
    for scene in scenes:
        for part in (scene.name.encode("utf-8", "surrogateescape"), scene.photo, scene.mask):
            seen.update(hashlib.sha256(part).digest())
    return seen.hexdigest()[:8]


def views_and_maps(args: argparse.Namespace, learned: Sequence[Scene], chosen_by: Seen) -> tuple[Views, Stored]:
    """Return what is learned from with the backbone's maps of it, and those of the scenes to choose by, computed or kept."""
    from scenes import Stored, Views, frame_of

    backbone, folder = chosen_by.backbone, args.maps or args.output.parent
    about = identity(backbone)["sha256"], args.side

    def stored(name: str, sizes: Sequence[tuple[int, int]], inputs: Iterator[npt.NDArray[np.float32]]) -> Stored:
        path = folder / f"maps-{name}.npy"
        kept = Stored.at(path, backbone.config.dims, sizes)
        if kept is None:
            print(f"the backbone's maps of {len(sizes):,} views: {path}", flush=True)
            kept = Stored.computed(path, backbone, sizes, inputs)
        return kept

    views = Views(learned, len(args.classes), args.side, frame_of(learned, args.side), args.views, args.seed, args.crop)
    name = digest(learned, *about, views.frame, args.views, args.seed)
    views = replace(views, stored=stored(name, views.sizes, views.inputs(SCENES)))
    inputs = (chosen_by.input(i) for i in range(len(chosen_by)))
    return views, stored(digest(chosen_by.scenes, *about), chosen_by.sizes, inputs)


def class_weights(learned: Sequence[Scene], classes: int, how: str) -> npt.NDArray[np.float64] | None:
    """Return how much a pixel of each class counts: None for all the same.

    'median': the median of the classes' frequencies by that of the class, a class's frequency being its share of the pixels of
    the scenes that show it (Eigen and Fergus 2015, arXiv 1411.4734). 'root': the square roots of these.
    """
    if how == "none":
        return None
    pixels, shown = np.zeros(classes), np.zeros(classes)
    for scene in learned:
        counts = np.bincount(np.asarray(scene.classes(classes)).ravel(), minlength=classes)[:classes]
        pixels += counts
        shown += (counts > 0) * counts.sum()
    frequencies = pixels / np.maximum(shown, 1)
    weights = np.median(frequencies[pixels > 0]) / np.where(pixels > 0, frequencies, np.inf)
    return np.sqrt(weights) if how == "root" else weights


def write(args: argparse.Namespace, model: SegmentationVAN, judged: Mapping[str, Judged]) -> None:
    """Write the head with what was measured of it, by the parts of the scenes it was measured on."""
    figures = {"knows": args.knows} if args.knows else {}
    for part, found in judged.items():
        figures[f"mIoU, {part}"] = f"{found.mean_iou:.1%} of {found.scenes} scenes"
        figures[f"pixels right, {part}"] = f"{found.accuracy:.1%}"
        shares = zip(model.card.classes, found.iou, strict=True)
        figures[f"IoU by class, {part}"] = ", ".join(
            f"{name} {'none' if np.isnan(iou) else f'{iou:.0%}'}" for name, iou in shares
        )
    model.card = replace(model.card, figures=tuple(figures.items()))
    files.write(args.output, model, "float16")
    print("\n".join([f"{args.output}: {model}", *(f"{what}: {said}" for what, said in figures.items())]))


def names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


if __name__ == "__main__":
    main()
