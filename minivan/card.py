"""What a set of weights says about itself: its name, its origin, how it wants a photo prepared, what its classes are called."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from .errors import is_line, quote
from .geometry import SMALLEST_SIDE
from .input import named, opened, read_text
from .palette import MOST_CLASSES, Colour, own_palette
from .shipped import PACKAGE

MOST_BYTES_OF_LABELS = 8 << 20


def file_sha256(*paths: str | Path) -> str:
    """Return the SHA-256 of a regular file, or of several one after the other, 64 hex digits. Raises OSError."""
    import hashlib  # OpenSSL's, which one photo has no use for

    digest = hashlib.sha256()
    for path in paths:
        with opened(path) as file, named(path):
            hashlib.file_digest(file, lambda: digest)
    return digest.hexdigest()


class Label(NamedTuple):
    """One class: `wnid` is its WordNet id ('n07920052'), `name` its names, the usual one first ('espresso')."""

    wnid: str
    name: str

    @property
    def short(self) -> str:
        """The first of its names: 'tabby' of 'tabby, tabby cat'."""
        return self.name.split(",")[0].strip()


def read_labels(path: str | Path) -> tuple[Label, ...]:
    """Read class names in index order, one line a class: 'wnid<TAB>names', or names alone.

    Raises ValueError for a file that is not UTF-8 text or has an empty line, with the line's number, and OSError for one that
    cannot be read or holds more than 8 MiB.
    """
    try:
        lines = read_text(path, MOST_BYTES_OF_LABELS, "utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{path}: class names must be UTF-8 text, one class a line") from None
    labels = []
    for number, line in enumerate(lines, start=1):
        wnid, tab, name = line.partition("\t")
        wnid, name = (wnid.strip(), name.strip()) if tab else ("", wnid.strip())
        if not name:
            raise ValueError(f"{path}, line {number}: no class name")
        labels.append(Label(wnid, name))
    return tuple(labels)


def imagenet1k() -> tuple[Label, ...]:
    """The 1,000 classes of ImageNet-1k (ILSVRC 2012) in index order."""
    return read_labels(PACKAGE / "imagenet1k.tsv")


LARGEST_VIEW = 8192  # pixels a side
LARGEST_SIZE = 2048  # pixels a side of an input that a caller chooses: beyond, the maps between operators fill gigabytes
INTERPOLATIONS = ("bicubic", "bilinear", "nearest", "lanczos", "box", "hamming")  # Pillow's, antialiased but for nearest


@dataclass(frozen=True)
class Preprocessing:
    """How a photo becomes the tensor a network was trained on."""

    crop: int = 224  # side of the square the network sees
    resize: int = 248  # length the photo's shorter side is scaled to first
    mean: Sequence[float] = (0.5, 0.5, 0.5)  # per channel; of 8-bit values on the scale 0..1, of others as they are
    std: Sequence[float] = (0.5, 0.5, 0.5)
    interpolation: str = "bicubic"  # one of INTERPOLATIONS

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", tuple(float(v) for v in self.mean))
        object.__setattr__(self, "std", tuple(float(v) for v in self.std))
        if not (1 <= self.crop <= LARGEST_VIEW and 1 <= self.resize <= LARGEST_VIEW):
            raise ValueError(f"crop and resize lie in 1..{LARGEST_VIEW} pixels; got crop {self.crop}, resize {self.resize}")
        if self.interpolation not in INTERPOLATIONS:
            raise ValueError(f"the interpolation is {', '.join(INTERPOLATIONS)}; got {quote(self.interpolation)}")
        even = len(self.mean) == len(self.std) and self.mean
        if not even or not all(map(math.isfinite, (*self.mean, *self.std))) or min(self.std) <= 0:
            wanted = "mean and std have a number for each channel, three for photos, std positive"
            raise ValueError(f"{wanted}; got mean {self.mean}, std {self.std}")

    @property
    def channels(self) -> int:
        """How many channels the network's images have."""
        return len(self.mean)

    def at(self, size: int) -> Preprocessing:
        """Return the preprocessing that shows the same part of a photo in a square of `size` pixels a side.

        The crop stays the same share of the shorter side: `resize` becomes round(resize * size / crop), timm's `crop_pct`.
        """
        return replace(self, crop=size, resize=round(self.resize * size / self.crop))


def input_size(size: object) -> int:
    """Return the side in pixels of a square that a caller wants a network to see. Raises ValueError for what is none."""
    try:
        side = operator.index(size)  # type: ignore[arg-type]
    except TypeError:
        side = 0
    if isinstance(size, bool) or not SMALLEST_SIDE <= side <= LARGEST_SIZE:
        wanted = f"a whole number of pixels from {SMALLEST_SIDE} to {LARGEST_SIZE}, of a square's side"
        raise ValueError(f"the input size is {wanted}; got {quote(size)}")
    return side


PRESETS = {
    # timm 0.4.12's default for a vision transformer, which the authors trained with: floor(224 / 0.9) = 248.
    "official": Preprocessing(224, 248, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    # Hugging Face's image processor: it differs from the training, but their published logits need it.
    "hf": Preprocessing(224, 256, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


def default_preprocessing(channels: int, preset: str = "official") -> Preprocessing:
    """Return how images are prepared where nobody says it: for photos a preset, for one channel mean 0.5 and std 0.5.

    That is what the official preset has for every colour. Of other channels nothing is known: mean 0 and std 1 leave the
    values as they are.
    """
    if channels == len(PRESETS[preset].mean):
        return PRESETS[preset]
    mean, std = (0.5, 0.5) if channels == 1 else (0.0, 1.0)
    return replace(PRESETS[preset], mean=(mean,) * channels, std=(std,) * channels)


ACTIVATIONS = ("softmax", "sigmoid")  # what makes probabilities of logits: one class of all, or each class for itself


def usual_activation(classes: int) -> str:
    """Return what makes probabilities where nobody says it: softmax, and sigmoid of a single logit, whose softmax is 1.

    transformers/pipelines/image_classification.py has the same rule.
    """
    return "sigmoid" if classes == 1 else "softmax"


def is_commit(text: str) -> bool:
    """Tell whether a text is a commit's whole name, as git writes it: 40 hex digits, or 64 of a repository with SHA-256."""
    return re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", text) is not None


@dataclass(frozen=True)
class Card:
    """Everything about a model's weights that is neither a shape nor a tensor."""

    name: str  # short, as the user sees it: 'van_b0_tiny_imagenet200'
    preprocessing: Preprocessing = PRESETS["official"]
    labels: tuple[Label, ...] = ()  # in index order; empty where the class names are not known
    layout: str = "authors"  # the layout the checkpoint came in: a key of checkpoint/layouts.py's table
    source: str = ""  # the file the weights were converted from
    source_sha256: str = ""  # and its SHA-256, 64 hex digits
    version: str = ""  # of the weights, where several sets bore the same name: '2'
    not_sure: float | None = None  # a top probability below this is no answer to rely on; None where nobody measured it
    file: Path | None = field(default=None, compare=False)  # where these weights were read from, if from a file
    activation: str = "softmax"  # one of ACTIVATIONS
    commit: str = ""  # of the source, as its host reported it: 40 hex digits, or 64
    shards: tuple[Path, ...] = field(default=(), compare=False)  # and where that is an index: the files that it names
    size_said: bool = field(default=True, compare=False)  # whether the input size is known, and none that is usual elsewhere
    notes: tuple[str, ...] = field(default=(), compare=False)  # what a person should know of how they were read
    figures: tuple[tuple[str, str], ...] = ()  # what was measured of them: what -> words, in the order to show them in

    def __post_init__(self) -> None:
        for what, text in (("the weights' version", self.version), ("the name of the weights' source", self.source)):
            if not is_line(text):
                raise ValueError(f"{what} is a text on one line, got {text!r}")
        for index, label in enumerate(self.labels):
            if not (is_line(label.wnid) and is_line(label.name)):
                raise ValueError(f"the name of class {index} is a text on one line, got {quote(f'{label.wnid} {label.name}')}")
        if not all(is_line(text) for figure in self.figures for text in figure):
            raise ValueError("what was measured of the weights is said in texts on one line each")
        if self.commit and not is_commit(self.commit):
            raise ValueError(f"a commit has 40 or 64 hex digits, got {quote(self.commit)}")
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"the activation is {' or '.join(ACTIVATIONS)}, got {quote(self.activation)}")
        if self.not_sure is not None and not 0 < self.not_sure < 1:
            raise ValueError(f"not_sure is a probability between 0 and 1, got {self.not_sure}")

    def is_sure(self, probability: float) -> bool | None:
        """Tell whether a top class of this probability is an answer to rely on; None where the weights do not say."""
        return None if self.not_sure is None else probability >= self.not_sure

    @property
    def sha256(self) -> str:
        """The SHA-256 of `file`, or of its shards one after the other, as they are when this is first asked for, 64 hex
        digits; '' for weights from no file.

        It takes as long as reading the whole file, which is why nobody asks who does not show it. Raises OSError where the
        file has gone.
        """
        kept = vars(self)  # not a cached_property: until Python 3.12, one card that is asked keeps all others waiting
        if "_sha256" not in kept:
            kept["_sha256"] = file_sha256(*self.shards or (self.file,)) if self.file else ""
        return str(kept["_sha256"])

    def label(self, index: int) -> Label:
        """Return the class at `index`, or a stand-in such as 'class 17' where names are not known."""
        return self.labels[index] if self.labels else Label("", f"class {index}")


LONGEST_NAME = 200  # characters of a class's name in a mask
# mmsegmentation's: the means and deviations of ImageNet's colours, photos scaled bilinearly. There is no crop.
SCENES = Preprocessing(mean=PRESETS["hf"].mean, std=PRESETS["hf"].std, interpolation="bilinear")


@dataclass(frozen=True)
class SegmentationCard:
    """Everything about a segmentation network that is neither a shape nor a tensor. ValueError for what cannot be meant.

    Where there are classes and no palette, the palette is minivan's own: `own_palette`.
    """

    name: str  # as the user sees it: 'van_b0_camvid_fpn'
    classes: tuple[str, ...] = ()  # in index order, one line each; empty where the names are not known: see `label`
    palette: tuple[Colour, ...] = ()  # by class; empty where neither names nor colours are known: see `colours`
    side: int | None = None  # pixels to which a photo's shorter side is scaled first; None: as it is
    preprocessing: Preprocessing = SCENES  # its mean and std alone, and the interpolation where there is a `side`
    backbone_sha256: str = ""  # of a head by itself: predict.identity's of the backbone that it was trained on
    backbone: str = ""  # and that backbone's name
    source: str = ""  # the file the weights were converted from
    source_sha256: str = ""  # and its SHA-256, 64 hex digits
    figures: tuple[tuple[str, str], ...] = ()  # what was measured: what -> words, in the order to show them in
    notes: tuple[str, ...] = field(default=(), compare=False)  # what a person should know of how it was read
    file: Path | None = field(default=None, compare=False)  # where it was read from, if from a file

    def __post_init__(self) -> None:
        if len(self.classes) > MOST_CLASSES or len(self.palette) > MOST_CLASSES:
            most = max(len(self.classes), len(self.palette))
            raise ValueError(f"a mask has a byte for each pixel: it tells {MOST_CLASSES} classes apart, not {most}")
        for index, name in enumerate(self.classes):
            if not (isinstance(name, str) and name and is_line(name) and len(name) <= LONGEST_NAME):
                wanted = f"the name of class {index} is a text on one line of at most {LONGEST_NAME} characters"
                raise ValueError(f"{wanted}, got {quote(name)}")
        for index, colour in enumerate(self.palette):
            if len(colour) != 3 or not all(type(value) is int and 0 <= value <= 255 for value in colour):
                raise ValueError(f"the colour of class {index} is three whole numbers from 0 to 255, got {quote(str(colour))}")
        if self.classes and not self.palette:
            object.__setattr__(self, "palette", own_palette(len(self.classes)))
        if self.classes and len(self.palette) != len(self.classes):
            raise ValueError(f"a palette of {len(self.palette)} colours for {len(self.classes)} classes")
        if self.side is not None and not (type(self.side) is int and SMALLEST_SIDE <= self.side <= LARGEST_VIEW):
            wanted = f"a photo's shorter side is scaled to {SMALLEST_SIDE} to {LARGEST_VIEW} pixels"
            raise ValueError(f"{wanted}, got {quote(self.side)}")
        if self.preprocessing.channels != 3:
            raise ValueError(f"mean and std of photos are three numbers each, got {self.preprocessing.channels}")
        for what, digest in (("backbone", self.backbone_sha256), ("source", self.source_sha256)):
            if digest and not re.fullmatch("[0-9a-f]{64}", digest):
                raise ValueError(f"the SHA-256 of the {what} has 64 hex digits, got {quote(digest)}")
        texts = (self.backbone, self.source, *(text for figure in self.figures for text in figure))
        if not all(is_line(text) for text in texts):
            raise ValueError("backbone, source and what was measured are said in texts on one line each")

    @property
    def sha256(self) -> str:
        """The SHA-256 of `file` as it is now, 64 hex digits; '' for a head from no file. Raises OSError where it has gone."""
        return file_sha256(self.file) if self.file else ""

    def label(self, index: int) -> str:
        """Return the name of the class at `index`, or a stand-in such as 'class 17' where names are not known."""
        return self.classes[index] if self.classes else f"class {index}"

    def colours(self, classes: int) -> tuple[Colour, ...]:
        """Return the colours of a network of so many classes: the palette, or minivan's own where nobody gave one."""
        return self.palette or own_palette(classes)
