"""From photos to a network that knows their classes: a new head, or rows for new classes in the head that is there."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .. import __version__, checkpoint
from ..card import Card, Label, imagenet1k
from ..checkpoint import Weights
from ..errors import printable, quote
from ..evaluate import Evaluation, Example, indices, open_dataset
from ..evaluate.answers import Answers, said
from ..evaluate.statistics import Indices, Reals
from ..predict import classifier
from ..van import VAN
from . import library
from .features import Featured, featured
from .heads import Head, beside, whole
from .photos import (
    Photos,
    check_classes,
    check_names,
    class_names,
    collected,
    few_said,
    scattered_said,
    uneven_said,
    without_photos,
)
from .report import OldClasses, Report, compared, top1_of
from .validation import Validated, cross_validated, with_half

if TYPE_CHECKING:
    from ..engines import Engine
    from ..image import Reading

Source = str | os.PathLike[str]


@dataclass(frozen=True)
class Learned:
    """A network that has learned classes, and what was found out of it."""

    model: VAN
    report: Report
    photos: Photos

    def write(self, path: Source) -> Weights:
        """Write the network as a file of minivan's own, whole or not at all; equal networks give equal bytes.

        Raises OSError where it cannot be written.
        """
        weights = Weights(self.model.config, self.model.tensors, self.model.card)
        checkpoint.write(weights, Path(path))
        return weights


def finetune(
    source: Source,
    *,
    model: VAN | str | Path | None = None,
    engine: str | Engine | None = None,
    size: int | None = None,
    output: Source | None = None,
    threads: int | None = None,
    how: Reading | None = None,
) -> classifier.Classifier:
    """Return a classifier of your own classes: `source` is a folder that has a folder of photos for each.

    It may be anything that `minivan.evaluate.open_dataset` takes. `model` is a VAN, a name ('b0') or a file of weights, whose
    features a new head is fitted to; `engine` (fast, unless `model` is a VAN) and `size` are as for `minivan.load`. `output` is
    a file to write, .safetensors. How well it answers is on its card, `model.card.figures`; `minivan.learn.learned` has all of
    the report. Raises ValueError where nothing can be learned or scikit-learn is missing, OSError.
    """
    library.check()
    wanted = engine or (None if isinstance(model, VAN) else "fast")
    base = classifier.Classifier(model, engine=wanted, size=size, threads=threads, how=how)
    dataset = open_dataset(source)
    check_classes(example.label for example in dataset.examples if example.label)
    found = featured(base.model, dataset.examples, threads=threads, how=how)
    made = learned(base.model, found, dataset.name, dataset.examples)
    if output is not None:
        made.write(output)
    return classifier.Classifier(made.model, threads=threads, how=how)


def learned(model: VAN, found: Iterable[Featured], source: Source, examples: Sequence[Example] = ()) -> Learned:
    """Fit a head for the classes of photos to a model's features, and say how well it answers.

    `source` is what the photos' dataset is called; where it is a folder, classes without photos are looked for there, and among
    `examples`. Raises ValueError for fewer than two classes with photos, and where scikit-learn is missing.
    """
    known = list(found)
    names = class_names(known)
    photos = collected(known, {name: index for index, name in enumerate(names)})
    counts = photos.counts(len(names))
    lost = [f"the class {quote(name)} has no photo left" for name, count in zip(names, counts, strict=True) if not count]
    if lost:  # all its photos are in another class, too
        names = [name for name, count in zip(names, counts, strict=True) if count]
        photos = replace(photos, targets=(np.cumsum(counts > 0) - 1)[photos.targets])
        counts = counts[counts > 0]
    check_classes(names)
    doubts = few_said(counts.tolist(), names) + uneven_said(counts.tolist(), names)
    empty = without_photos(source, examples, {photo.label for photo in known if photo.features is not None})
    remarks = (*photos.remarks, *scattered_said(known), *empty, *lost, *doubts)

    def fitting(places: Indices) -> Callable[[float], Head]:
        return whole(photos.features[places], photos.targets[places])

    found_out = cross_validated(photos, len(names), np.ones(len(photos.targets)), fitting)
    by_half = with_half(photos, len(names), found_out.strength, fitting)
    half, paired = top1_of(photos.targets, by_half), compared(photos.targets, found_out.logits, by_half)
    head = whole(photos.features, photos.targets)(found_out.strength)
    made = with_head(model, head, labelled(names, model.card))
    answers = _evaluation(made, os.fspath(source), photos, found_out)
    report = Report(answers, counts, found_out.strength, found_out.loss, remarks, half=half, paired=paired)
    return Learned(_with_figures(made, report), report, photos)


def extended(model: VAN, new: Mapping[str, Sequence[Featured]], old: Iterable[Featured]) -> Learned:
    """Add classes to those of a model, name -> photos; `old` are photos of classes that it knows, in folders of their names.

    The rows of the old classes stay as they are, bit for bit. All old photos together count as much as all new ones together,
    however many there are of each (`half_for_new`). Raises ValueError for a name that the network has already, for old photos
    of a class that it has not, for weights without a head or with sigmoid, and as `learned` does.
    """
    known, kept = model.config.classes, list(old)
    meant = check_extension(model, list(new), [photo.label for photo in kept if photo.features is not None])
    several = [photo._replace(label=_new(name)) for name, photos in new.items() for photo in photos]
    places = {**meant, **{_new(name): known + place for place, name in enumerate(new)}}
    photos = collected([*kept, *several], places)
    counts = photos.counts(known + len(new))
    for place, name in enumerate(new):
        if not counts[known + place]:
            raise ValueError(f"the new class {quote(name)} has no photo that can be used")
    if not counts[:known].any():
        raise ValueError("no photo of an old class is left: without them new classes have no scale")
    doubts = few_said(counts[known:].tolist(), list(new))
    old_head = Head(model.tensors["head.weight"].astype(np.float64), model.tensors["head.bias"].astype(np.float64))
    shares = half_for_new(photos.targets, known)

    def fitting(chosen: Indices) -> Callable[[float], Head]:
        weights = shares[chosen] / shares[chosen].mean()
        return beside(old_head, photos.features[chosen], photos.targets[chosen], weights, len(new))

    found_out = cross_validated(photos, known + len(new), alike(photos.targets, known), fitting)
    head = fitting(np.arange(len(photos.targets)))(found_out.strength)
    names = model.card.labels or tuple(model.card.label(index) for index in range(known))
    made = with_head(model, head, [*names, *(Label("", name) for name in new)])
    answers = _evaluation(made, "old and new classes", photos, found_out)
    lost, remarks = _old_classes(photos, known, old_head, found_out), (*photos.remarks, *doubts)
    report = Report(answers, counts, found_out.strength, found_out.loss, remarks, known=known, old=lost)
    return Learned(_with_figures(made, report), report, photos)


def with_head(model: VAN, head: Head, labels: Sequence[Label]) -> VAN:
    """Return a model with another head, for classes of these names; its card says of which weights it is."""
    tensors = {name: tensor for name, tensor in model.tensors.items() if not name.startswith("head.")}
    tensors |= {"head.weight": head.weight.astype(np.float32), "head.bias": head.bias.astype(np.float32)}
    card = model.card
    source = printable(card.file.name) if card.file is not None else card.source
    mine = Card(
        card.name, card.preprocessing, tuple(labels), card.layout, source, card.sha256 or card.source_sha256,
        commit=card.commit if card.file is None else "",
    )  # fmt: skip
    return VAN(replace(model.config, classes=len(labels)), tensors, model.engine, mine)


def labelled(names: Sequence[str], card: Card) -> list[Label]:
    """Return the classes that folders' names mean: where one is a WordNet id, with the names that go with it.

    They are those of the card, or ImageNet's.
    """
    ids = [name for name in names if re.fullmatch("n[0-9]{8}", name)]
    known = {label.wnid: label for label in (*imagenet1k(), *card.labels)} if ids else {}
    return [known.get(name, Label("", name)) if name in ids else Label("", name) for name in names]


def _new(name: str) -> str:
    """Return the label of a new class as no dataset has it."""
    return f"new/{name}"


def check_extension(model: VAN, names: Sequence[str], labels: Sequence[str]) -> dict[str, int]:
    """Return which of a network's classes the labels of old photos mean. ValueError where it cannot learn the new names."""
    if not model.config.classes:
        raise ValueError(f"the weights {model.card.name} are a backbone without a head: finetune FOLDER gives them one")
    if model.card.activation != "softmax":
        raise ValueError(f"{model.card.name} answers for each class by itself (sigmoid): new rows are fitted to softmax alone")
    if not labels:
        raise ValueError("no photo of an old class can be used: without them new classes have no scale")
    check_names(names)
    for name in names:
        wanted = name.strip().casefold()
        for index in range(model.config.classes):
            label = model.card.label(index)
            if wanted in (label.wnid.casefold(), *(each.strip().casefold() for each in label.name.split(","))):
                raise ValueError(f"the network has a class {quote(name)} already, {index}: choose another name")
    return indices(labels, model.card, model.config.classes)


def half_for_new(targets: Indices, known: int) -> Reals:
    """Return how much each photo counts for in a fit, (N,), mean 1: half is for the old ones, half for the new classes alike.

    Were all classes to count the same, a few photos of a new one would be nothing beside hundreds of classes that the network
    learned from hundreds of photos each: it would hardly ever be named.
    """
    return _relative(targets, known, old=1.0, new=1 / len(np.unique(targets[targets >= known])))


def alike(targets: Indices, known: int) -> Reals:
    """Return how much each photo counts for where all classes count the same, (N,), mean 1.

    The strength of regularisation is chosen so: with the weights of `half_for_new` it would be so strong that new classes took
    what belongs to old ones.
    """
    return _relative(targets, known, old=known, new=1.0)


def _relative(targets: Indices, known: int, old: float, new: float) -> Reals:
    """Return weights (N,), mean 1, of which old photos share `old`, and those of each new class `new`."""
    is_old = targets < known
    each = np.where(is_old, old / is_old.sum(), new / np.bincount(targets)[targets])
    shares: Reals = each / each.mean()
    return shares


def _old_classes(photos: Photos, known: int, head: Head, found: Validated) -> OldClasses:
    """Return what the old classes lose, of their photos that were held out."""
    held = found.judged & (photos.targets < known)
    targets = photos.targets[held]
    before = top1_of(targets, head.logits(photos.features[held, 0]))
    taken = int((found.logits[held].argmax(axis=1) >= known).sum())
    return OldClasses(before, top1_of(targets, found.logits[held]), taken)


def _evaluation(model: VAN, source: str, photos: Photos, found: Validated) -> Evaluation:
    """Return the answers to photos held out as an evaluation has them."""
    answers = Answers.of_none(len(photos.paths))
    for place in np.flatnonzero(found.judged):
        answers.put(int(place), said(model.card, found.logits[place], int(photos.targets[place])))
    return Evaluation(
        source, model.card, model.config.classes, str(model), model.engine.name, photos.paths, photos.targets, answers, {}, 0.0
    )


def _with_figures(model: VAN, report: Report) -> VAN:
    made_by = f"minivan {__version__}, features by {model.engine}, scikit-learn {library.imported('sklearn').__version__}"
    model.card = replace(model.card, figures=(*report.figures(), ("made by", made_by)))
    return model
