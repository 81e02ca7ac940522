"""How images were prepared, as files say it: Hugging Face's preprocessor_config.json, timm's arguments, OpenMMLab's pipelines.

Each reader returns what is said of `Preprocessing`, and in words what is said that minivan does not do. Sources:
transformers/models/convnext/image_processing_convnext.py; timm/data/config.py and transforms_factory.py;
mmpretrain/datasets/transforms/processing.py and mmcls/datasets/pipelines/transforms.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..card import INTERPOLATIONS, LARGEST_VIEW, Preprocessing
from ..geometry import SMALLEST_SIDE
from ..variants import MOST_CHANNELS
from .beside import CONFIG, PROCESSOR, Beside
from .error import CheckpointError
from .openmmlab_config import within
from .tensor import StoredTensor

PILLOWS = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")  # Image.Resampling by number
WARPED = 384  # pixels from which ConvNextImageProcessor resizes both sides at will and crops nothing
CONVNEXT_SHARE = 224 / 256  # of the resized shorter side that it crops, unless said
TIMM_SIDE, TIMM_SHARE = 224, 0.9  # the authors' models' own, unless their training's arguments say others
PIPELINES = ("test_dataloader.dataset.pipeline", "test_pipeline", "data.test.pipeline", "val_dataloader.dataset.pipeline")
NORMALISED = ("data_preprocessor", "model.data_preprocessor")  # where MMEngine's models have mean and std
FLIPPED = "MultiScaleFlipAug"  # mmsegmentation 0.x has the other steps of a test pipeline inside of it
RESIZES = ("Resize", "AlignResize")
SQUEEZED = "both sides are resized to the same length"
BGR = "colours are in the order BGR"


@dataclass(frozen=True)
class Stated:
    """What a file says of how images are prepared."""

    where: str  # it says so: 'preprocessor_config.json'
    fields: dict[str, Any] = field(default_factory=dict)  # of `Preprocessing`
    beyond: tuple[str, ...] = ()  # what it says besides, which minivan does not do: a phrase each

    def __bool__(self) -> bool:
        return bool(self.fields or self.beyond)

    def of_colours(self) -> Stated:
        """Return what is said of colours alone: sizes are those of whole scenes where a network does more than classify."""
        fields = {name: value for name, value in self.fields.items() if name in ("mean", "std")}
        return Stated(self.where, fields, tuple(phrase for phrase in self.beyond if phrase == BGR))

    def applied(self, given: Preprocessing) -> tuple[Preprocessing, tuple[str, ...]]:
        """Return `given` with what is said in its place, and notes of what cannot be done, a sentence each."""
        notes = tuple(f"{self.where} says that {phrase}: minivan does not" for phrase in self.beyond)
        fields = dict(self.fields)
        for name in ("mean", "std"):
            if len(fields.get(name, ())) == 1:  # one number for all channels, as timm takes it
                fields[name] = fields[name] * given.channels
        try:
            made = replace(given, **fields)
        except ValueError as error:
            return given, (*notes, f"what {self.where} says of preprocessing is left out ({error})")
        if made.channels != given.channels:
            return given, (*notes, f"what {self.where} says of preprocessing is left out: it is for {made.channels} channels")
        return made, notes


def of(beside: Beside) -> Stated:
    """Return the first that is said, by a processor, timm's config.json, OpenMMLab's configuration or a script's arguments."""
    if beside.processor:
        return of_processor(beside.processor)
    timm = beside.config.get("pretrained_cfg")
    return (
        (of_arguments(timm, f"{CONFIG}'s pretrained_cfg") if isinstance(timm, dict) else Stated(""))
        or of_openmmlab(beside.configuration, beside.configuration_at)
        or of_arguments(beside.arguments)
    )


def of_processor(fields: Mapping[str, Any], where: str = PROCESSOR) -> Stated:
    """Read the fields of a Hugging Face image processor."""
    said: dict[str, Any] = {}
    beyond: list[str] = []
    kind = str(fields.get("image_processor_type") or fields.get("feature_extractor_type") or "ConvNext")
    shorter, square = _size(fields.get("size")), False
    if fields.get("do_resize", True) is False:
        beyond.append("images are not resized")
    elif shorter and kind.startswith("ConvNext"):
        share = _share(fields.get("crop_pct")) or CONVNEXT_SHARE
        square = shorter >= WARPED
        said |= {"crop": shorter, "resize": shorter if square else int(shorter / share)}
    elif shorter:
        cropped = fields.get("do_center_crop") is True
        square = not cropped or not _is_shorter_side(fields.get("size"))
        said |= {"resize": shorter, "crop": (_size(fields.get("crop_size")) if cropped else 0) or shorter}
    if square:
        beyond.append(SQUEEZED)
    resample = fields.get("resample")
    if type(resample) is int and 0 <= resample < len(PILLOWS):
        said["interpolation"] = PILLOWS[resample]
    if fields.get("do_normalize", True) is False:
        said |= {"mean": (0.0,), "std": (1.0,)}
    else:
        said |= _means(fields.get("image_mean"), fields.get("image_std"), 1.0)
    factor = fields.get("rescale_factor", 1 / 255)
    usual = isinstance(factor, float) and math.isclose(factor, 1 / 255, rel_tol=1e-4)
    if fields.get("do_rescale", True) is False or not usual:
        beyond.append("values are not divided by 255")
    return Stated(where, said, tuple(beyond))


def of_arguments(fields: Mapping[str, Any], where: str = "args") -> Stated:
    """Read the arguments of a timm training script: img_size, input_size, crop_pct, mean, std, interpolation."""
    said: dict[str, Any] = _means(fields.get("mean"), fields.get("std"), 1.0)
    beyond: list[str] = []
    sides = fields.get("input_size") or fields.get("img_size")
    if isinstance(sides, (list, tuple)):
        sides = list(sides)[-2:]
        if len(set(map(str, sides))) > 1:
            beyond.append("images are not square")
            sides = None
    side, share = _size(sides), _share(fields.get("crop_pct"))
    if side or share:
        side = side or TIMM_SIDE
        said |= {"crop": side, "resize": math.floor(side / (share or TIMM_SHARE))}
    interpolation = fields.get("interpolation")
    if isinstance(interpolation, str) and interpolation in INTERPOLATIONS:
        said["interpolation"] = interpolation
    return Stated(where, said, tuple(beyond))


def of_openmmlab(config: Mapping[str, Any], where: str = "meta.cfg") -> Stated:
    """Read the test pipeline of a configuration that `openmmlab_config.read` gave."""
    said: dict[str, Any] = {}
    beyond: list[str] = []
    settings = [found for path in NORMALISED if isinstance(found := within(config, path), dict)]
    for step in _pipeline(config):
        kind = _kind(step)
        if kind in ("Resize", "ResizeEdge"):
            length = step.get("scale", step.get("size"))
            said["resize"] = _size(length)
            if kind == "Resize" and not (isinstance(length, list) and length[1:] == [-1]):
                beyond.append(SQUEEZED)
            if step.get("interpolation") in INTERPOLATIONS:
                said["interpolation"] = step["interpolation"]
            if step.get("backend", "cv2") != "pillow":
                beyond.append("OpenCV resizes, which averages no pixels where an image becomes smaller")
            beyond = list(dict.fromkeys(beyond))  # two such steps say no more than one
        elif kind == "CenterCrop":
            said["crop"] = _size(step.get("crop_size"))
        elif kind == "Normalize":
            settings.insert(0, step)
        elif kind == FLIPPED:
            settings[:0] = [inner for inner in _steps(step.get("transforms")) if _kind(inner) == "Normalize"]
    said = {name: value for name, value in said.items() if value}
    if settings:
        said |= _means(settings[0].get("mean"), settings[0].get("std"), 255.0)
        if said.get("mean") and settings[0].get("to_rgb", settings[0].get("bgr_to_rgb", True)) is False:
            beyond.append(BGR)
    if "resize" in said and "crop" not in said:
        said["crop"] = said["resize"]
    return Stated(where, said, tuple(beyond))


def side_of_scenes(config: Mapping[str, Any]) -> tuple[int | None, str]:
    """Return to which length a segmentation network's test pipeline scales a photo's shorter side; None where it does not say.

    And a sentence where it does something else besides, '' where it does not. mmsegmentation makes a photo as large as fits
    into (2048, 512) or (512, 2048) where it keeps the ratio of its sides: but for the longest, that decides the shorter one.
    """
    for step in _pipeline(config):
        flipped = _kind(step) == FLIPPED
        resize = next((each for each in _steps(step.get("transforms")) if _kind(each) in RESIZES), {}) if flipped else step
        scale = step.get("img_scale", None if flipped else step.get("scale"))
        if _kind(resize) in RESIZES and isinstance(scale, list) and len(scale) == 2 and min(map(_size, scale)) >= SMALLEST_SIDE:
            squeezed = f"its photos were scaled to {scale[0]} x {scale[1]} pixels, and minivan keeps the ratio of their sides"
            return min(scale), "" if resize.get("keep_ratio", flipped) else squeezed
    return None, ""


def of_tensors(tensors: Mapping[str, StoredTensor]) -> Stated:
    """Read the mean and std of a data preprocessor that lie among a network's tensors, (channels, 1, 1)."""
    found = {}
    for name, tensor in tensors.items():
        if 1 <= tensor.count <= MOST_CHANNELS:
            try:
                found[name] = tensor.read().ravel().tolist()
            except CheckpointError:  # whatever it is, it is not said in numbers
                continue
    return Stated("data_preprocessor", dict(_means(found.get("mean"), found.get("std"), 255.0)))


def _pipeline(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the steps of the first test pipeline that a configuration has."""
    return _steps(next((found for path in PIPELINES if isinstance(found := within(config, path), list)), None))


def _steps(value: object) -> list[dict[str, Any]]:
    return [step for step in value if isinstance(step, dict)] if isinstance(value, list) else []


def _kind(step: Mapping[str, Any]) -> str:
    return str(step.get("type")).rpartition(".")[2]


def _size(value: object) -> int:
    """Return a side in pixels of what files write for it; 0 for anything else."""
    if isinstance(value, Mapping):
        value = next((value[key] for key in ("shortest_edge", "height") if key in value), None)
    if isinstance(value, (list, tuple)) and value:
        value = value[0]
    return value if type(value) is int and 1 <= value <= LARGEST_VIEW else 0


def _is_shorter_side(value: object) -> bool:
    return type(value) is int or (isinstance(value, Mapping) and "shortest_edge" in value)


def _share(value: object) -> float:
    return value if isinstance(value, float) and 0.05 <= value <= 1 else 1.0 if value == 1 else 0.0


def _means(mean: object, std: object, scale: float) -> dict[str, tuple[float, ...]]:
    """Return mean and std, where both are lists of numbers, on the scale 0..1."""
    found = {}
    for name, values in (("mean", mean), ("std", std)):
        if not isinstance(values, Sequence) or isinstance(values, str) or not 1 <= len(values) <= MOST_CHANNELS:
            return {}
        if not all(type(value) in (int, float) and abs(value) < 1e9 for value in values):
            return {}
        found[name] = tuple(float(value) / scale for value in values)
    return found
