"""Another library's file: the network in it, completed with what its layout and the files around it say."""

from __future__ import annotations

from dataclasses import replace

from ..card import Card, Preprocessing, default_preprocessing
from ..errors import printable, quote
from ..variants import COLOURS, counted, variant_of
from . import beside, class_names, downstream, semantic_fpn, sidecar, stated, stated_shape
from .folder import Place
from .formats import Held
from .library_metadata import huggingface_config
from .open_checkpoint import Checkpoint
from .search import Found, understand

AUTHORS, HUGGING_FACE = "authors", "huggingface"  # of layouts.LAYOUTS
MOST_CLASSES = 8  # whose objects are listed among what was passed over


def understood(place: Place, held: Held, key: str | None) -> Checkpoint:
    """Return the network that an open file holds under `key`; errors as for `search.understand`."""
    found = understand(held.contents, held.budget, key)
    objects = tuple(f"{_objects(count)} of the class {quote(name)}" for name, count in held.made.most_common(MOST_CLASSES))
    if len(held.made) > MOST_CLASSES:
        objects += (f"objects of {len(held.made) - MOST_CLASSES} more classes",)
    return _completed(place, held, replace(found, passed_over=(*found.passed_over, *objects)))


def _objects(count: int) -> str:
    return "1 object" if count == 1 else f"{count:,} objects"


def _completed(place: Place, held: Held, found: Found) -> Checkpoint:
    """Complete what was found in another library's file with what its layout implies: eps, preprocessing, class names."""
    layout, config = found.layout, found.config
    if held.epsilons:
        config = replace(config, layer_norm_eps=held.epsilons[0], batch_norm_eps=held.epsilons[1])
    notes = (*place.notes, *held.notes, *found.notes)
    kept, unused = sidecar.beside(place.path, place.name, config, held.budget)
    if kept:
        card = replace(kept[1], file=place.path, shards=held.files)
        return Checkpoint(held.format, held.size, kept[0], card, found.stored, notes, found.label, found.passed_over)
    notes += unused
    is_huggingface = layout.name == HUGGING_FACE
    folder = place.path.parent if is_huggingface else place.folder
    around = beside.gathered(held.contents, folder, is_huggingface, held.budget)
    other = "" if is_huggingface else stated_shape.is_of_another(around.config, config)
    if other:
        around = replace(around, config={}, processor={})
        notes += (f"{beside.CONFIG} is of another network, {other}: it was not used, nor was {beside.PROCESSOR}",)
    config, activation = huggingface_config(around.config, config, is_huggingface)
    shape_said, uncompared = stated_shape.compared(around, config, is_huggingface)
    names = class_names.said(around, config.classes, held.budget) if config.classes else class_names.Names()
    notes += (*around.notes, *uncompared, *((names.note,) if names.note else ()))
    said, preset = stated.of(around), layout.preset
    eps_said = is_huggingface or "layer_norm_eps" in around.config
    doubt = downstream.doubt(found.label, found.beside, held.contents, config.layer_norm_eps)
    if not config.classes and (
        found.around.title or downstream.is_downstream(found.label, layout.backbone, found.beside, held.contents)
    ):
        preset, said = downstream.PRESET, said.of_colours() or stated.of_tensors(found.around.colours)
        if not eps_said:
            config = replace(config, layer_norm_eps=downstream.layer_norm_eps(around.configuration))
        notes += (downstream.note(found.around.title, config.layer_norm_eps),)
    elif doubt and layout.name == AUTHORS and not eps_said:
        notes += (doubt,)
    if variant_of(config) is None and not (shape_said or held.is_whole):
        depths = " ".join(map(str, config.depths))
        guess = f"dims {config.dims} and depths {depths} are no published variant's: if blocks are missing from the file, it is"
        notes += (f"{guess} another network",)
    labels = names.labels
    if not labels and not names.note:
        labels = class_names.usual_labels(config)
    elif labels and len(labels) != config.classes:
        notes += (f"its {len(labels)} class names are left out: it has {config.classes} classes",)
        labels = ()
    preprocessing, left = said.applied(default_preprocessing(config.channels, preset))
    notes += left
    if config.channels != COLOURS and "mean" not in said.fields:
        notes += (unknown_preprocessing(preprocessing),)
    source = printable(place.name if place.is_distributed else place.path.name)
    card = Card(
        place.name,
        preprocessing,
        labels,
        layout.name,
        source,
        file=place.path,
        activation=held.activation or activation,
        shards=held.files,
        size_said="crop" in said.fields or class_names.is_published(config) or not config.classes,
    )
    head, no_head = semantic_fpn.foreign(found.around, around, card, held, left)
    label, passed_over = found.label, found.passed_over
    return Checkpoint(held.format, held.size, config, card, found.stored, notes, label, passed_over, head, no_head)


def unknown_preprocessing(taken: Preprocessing) -> str:
    """Say what is taken for the mean and std of a network whose images are no photos, and how to say it better."""
    unknown = f"how its images of {counted(taken.channels)} were prepared is not known"
    return f"{unknown}: mean {taken.mean[0]:g} and std {taken.std[0]:g} are taken (others: convert --mean and --std)"
