"""What does each stage add to a mask, and why is the finest not enough? Measured on CamVid's street scenes.

    python examples/ablations/which_stage.py                 every third scene, some minutes
    python examples/ablations/which_stage.py --scenes 10     a quick look at the first of them

It reads the scenes that MINIVAN_CAMVID names: a zip of train/NAME.jpg with the mask train/NAME.png, and the same in test/. With
--write it writes which_stage.json beside this file, which lesson 12 quotes.

A part is taken away by making its last weights zero: nothing is trained again, and what is left was not trained to do without.
The second question is asked fairly: to each stage's maps, alone and together, a linear classifier is fitted by least squares.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from minivan import fpn
from minivan.ops import upsample_bilinear
from minivan.segmentation import SegmentationVAN
from minivan.segmentation.files import load
from minivan.segmentation.windows import bands, cut, padded, paint, scaled_size

FIGURES = Path(__file__).resolve().with_name("which_stage.json")
VARIABLE = "MINIVAN_CAMVID"
STEP = 3  # every third scene: two that follow one another were a second apart
FEW = 6  # test scenes whose figures are kept too, so that a test can measure them again
VOID = 11  # the class of CamVid's masks that is none
STRIDE = 4  # of the finest map: a linear classifier answers for every fourth pixel
RIDGE = 1e-3  # of the mean square of a feature: keeps the equations solvable

Mask: TypeAlias = npt.NDArray[np.uint8]
Scene: TypeAlias = tuple[Image.Image, Mask]
Tensors: TypeAlias = Mapping[str, npt.NDArray[np.float32]]
Counts: TypeAlias = npt.NDArray[np.int64]  # (classes, classes): row the truth, column the answer


def read() -> dict[str, Any]:
    """Return the figures that were measured."""
    kept: dict[str, Any] = json.loads(FIGURES.read_text(encoding="utf-8"))
    return kept


def scenes(part: str, most: int | None = None) -> Iterator[Scene]:
    """Yield photos of 'train' or 'test' with their masks, every third one."""
    with zipfile.ZipFile(os.environ[VARIABLE]) as archive:
        names = sorted(name for name in archive.namelist() if name.startswith(f"{part}/") and name.endswith(".jpg"))
        for name in names[::STEP][:most]:
            with archive.open(name) as file, archive.open(f"{name[:-4]}.png") as mask:
                yield Image.open(file).convert("RGB"), np.asarray(Image.open(mask))


def without_lateral(tensors: Tensors, i: int) -> dict[str, Any]:
    """Return the tensors of a neck that reads nothing of stage i + 1: neither for its own map nor for the finer ones."""
    parts = [f"{fpn.NECK}.lateral_convs.{i}.conv.{part}" for part in ("weight", "bias")]
    return {**tensors, **{name: np.zeros_like(tensors[name]) for name in parts}}


def without_branch(tensors: Tensors, i: int) -> dict[str, Any]:
    """Return the tensors of a head that adds nothing of its branch i + 1: its last BatchNorm gives 0."""
    parts = [f"{fpn.step_of(i, fpn.step_count(i) - 1)}.bn.{part}" for part in ("weight", "bias")]
    return {**tensors, **{name: np.zeros_like(tensors[name]) for name in parts}}


def variants(model: SegmentationVAN) -> dict[str, SegmentationVAN]:
    """Return the network as it was trained, without each lateral, and without each branch of the head."""
    every = range(fpn.MAPS)
    changed = {
        "as trained": model.tensors,
        **{f"without lateral {i + 1}": without_lateral(model.tensors, i) for i in every},
        **{f"without branch {i + 1}": without_branch(model.tensors, i) for i in every},
    }
    return {name: SegmentationVAN(model.backbone, tensors, model.card) for name, tensors in changed.items()}


def mask_of(model: SegmentationVAN, photo: Image.Image) -> Mask:
    """Return the likeliest class of each pixel, as `minivan.segment` has it."""
    width, height = scaled_size(*photo.size, model.card.side)
    mask = np.empty((photo.height, photo.width), np.uint8)
    paint(mask, (height, width), bands(model, scaled(model, photo), model.card.preprocessing))
    return mask


def scaled(model: SegmentationVAN, photo: Image.Image) -> Image.Image:
    """Return a photo of the size at which the network sees it."""
    return photo.resize(scaled_size(*photo.size, model.card.side), Image.Resampling.BILINEAR)


def counts(answers: npt.NDArray[Any], truth: Mask) -> Counts:
    """Return how many pixels of each class got each answer."""
    known = truth < VOID
    pairs = truth[known].astype(np.int64) * VOID + answers[known]
    return np.bincount(pairs, minlength=VOID * VOID).reshape(VOID, VOID)


def figures(found: Counts) -> dict[str, Any]:
    """Return the mean over classes of intersection over union, the share of right pixels, and each class's IoU; per cent."""
    both, either = np.diag(found), found.sum(axis=0) + found.sum(axis=1) - np.diag(found)
    iou = both / np.maximum(either, 1)
    return {
        "miou": round(100 * float(iou[either > 0].mean()), 2),
        "pixels": round(100 * float(both.sum() / found.sum()), 2),
        "iou": [round(100 * float(value), 1) for value in iou],
    }


def taken_away(model: SegmentationVAN, test: Iterable[Scene]) -> Iterator[dict[str, Any]]:
    """Yield the figures of every variant, after each scene those of the scenes so far."""
    changed = variants(model)
    found = {name: np.zeros((VOID, VOID), np.int64) for name in changed}
    for photo, truth in test:
        for name, variant in changed.items():
            found[name] += counts(mask_of(variant, photo), truth)
        yield {name: figures(each) for name, each in found.items()}


def features(model: SegmentationVAN, photo: Image.Image) -> npt.NDArray[np.float32]:
    """Return the backbone's four maps at the places of the finest one, and a 1: (places, channels + 1)."""
    photo = scaled(model, photo)
    x = cut(photo, (0, 0, padded(photo.width), padded(photo.height)), model.card.preprocessing)
    maps = model.backbone.features(x[None])
    wide = [upsample_bilinear(each, maps[0].shape[2:])[0] for each in maps]
    rows, columns = -(-photo.height // STRIDE), -(-photo.width // STRIDE)
    flat = np.concatenate([each[:, :rows, :columns] for each in wide]).reshape(-1, rows * columns).T
    return np.concatenate([flat, np.ones((len(flat), 1), np.float32)], axis=1)


def linear(model: SegmentationVAN, train: Iterable[Scene], test: Iterable[Scene]) -> dict[str, Any]:
    """Return the figures of linear classifiers of a place's features: of each stage alone, and of several together."""
    dims = model.backbone.config.dims
    width = sum(dims) + 1
    squares, products = np.zeros((width, width)), np.zeros((width, VOID))
    for photo, truth in train:
        x, y = features(model, photo), at_places(model, truth)
        x, y = x[y < VOID], y[y < VOID]
        squares += x.T @ x
        products += x.T @ np.eye(VOID, dtype=np.float32)[y]
    ends = np.cumsum([0, *dims])
    chosen = {f"stage {i + 1} alone": range(ends[i], ends[i + 1]) for i in range(fpn.MAPS)}
    chosen |= {f"stages 1 to {i + 1}": range(ends[i + 1]) for i in range(1, fpn.MAPS)}
    weights = {name: solved(squares, products, [*columns, width - 1]) for name, columns in chosen.items()}
    found = {name: np.zeros((VOID, VOID), np.int64) for name in chosen}
    for photo, truth in test:
        x, y = features(model, photo), at_places(model, truth)
        for name, weight in weights.items():
            found[name] += counts((x @ weight).argmax(axis=1), y)
    return {name: figures(each) for name, each in found.items()}


def at_places(model: SegmentationVAN, mask: Mask) -> Mask:
    """Return the classes in the middle of the squares that the finest map's places stand for, flat."""
    height, width = mask.shape
    wide, high = scaled_size(width, height, model.card.side)
    rows, columns = (
        np.minimum((np.arange(-(-seen // STRIDE)) + 0.5) * STRIDE * side // seen, side - 1).astype(np.intp)
        for side, seen in ((height, high), (width, wide))
    )
    return mask[np.ix_(rows, columns)].reshape(-1)


def solved(squares: npt.NDArray[Any], products: npt.NDArray[Any], columns: Sequence[int]) -> npt.NDArray[np.float32]:
    """Return the weights of least squares that read some features alone: zeros for the others."""
    part = squares[np.ix_(columns, columns)]
    ridge = RIDGE * np.trace(part) / len(part)
    weights = np.zeros((len(squares), VOID), np.float32)
    weights[columns] = np.linalg.solve(part + ridge * np.eye(len(part)), products[columns])
    return weights


def measured(model: SegmentationVAN, most: int | None = None) -> dict[str, Any]:
    """Return everything that the lesson quotes."""
    after = list(taken_away(model, scenes("test", most)))
    return {
        "head": model.card.name,
        "scenes": len(after),
        "classes": list(model.card.classes[:VOID]),
        "taken away": after[-1],
        "after the first few": after[min(FEW, len(after)) - 1],
        "linear": linear(model, scenes("train", most), scenes("test", most)),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, metavar="N", help="N scenes of each part alone")
    parser.add_argument("--write", action="store_true", help=f"write {FIGURES.name}")
    args = parser.parse_args()
    if not os.environ.get(VARIABLE):
        parser.error(f"{VARIABLE} names no zip of CamVid's scenes: train/NAME.jpg, its mask train/NAME.png, test/...")
    if args.write and args.scenes:
        parser.error("--write is of all scenes: leave --scenes out")
    found = measured(load(engine="fast"), args.scenes)
    for part in ("taken away", "linear"):
        for name, each in found[part].items():
            print(f"{name:20} mIoU {each['miou']:5.1f} %   pixels right {each['pixels']:5.1f} %")
    if args.write:
        FIGURES.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
