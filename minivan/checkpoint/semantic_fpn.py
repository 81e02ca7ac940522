"""A Semantic FPN in a file: beside its backbone in a segmentation network's, or by itself in one of minivan's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from .. import fpn
from ..card import LONGEST_NAME, SCENES, Card, SegmentationCard
from ..errors import quote
from ..palette import MOST_CLASSES, Colour, own_palette
from ..variants import counted
from . import class_names, downstream, own_metadata, stated
from .beside import Beside
from .budget import Budget
from .error import CheckpointError
from .folder import Place
from .formats import Held
from .openmmlab_config import within
from .tensor import MARKS, StoredTensor

if TYPE_CHECKING:
    from .network import Network

PARTS = (f"{fpn.NECK}.", f"{fpn.HEAD}.")  # how the names of its tensors begin
TENSOR, TENSOR_MEMORY = 8, 300  # steps and bytes that it takes to look at a tensor's name
PALETTES = ("meta.PALETTE", "meta.dataset_meta.palette")
ALONE = "a segmentation head by itself, without its backbone"
USE = "python -m minivan segment --head FILE"


@dataclass(frozen=True)
class Head:
    """A neck and head that minivan computes: `stored` has the tensors by mmsegmentation's names, in their order."""

    config: fpn.FPNConfig
    stored: dict[str, StoredTensor]


@dataclass(frozen=True)
class Around:
    """The network that has a VAN as its backbone."""

    title: str = ""  # what it is, in words; '' where there is none that is known
    head: Head | None = None
    no_head: str = ""  # why there is none, where its tensors look like one
    colours: dict[str, StoredTensor] = field(default_factory=dict)  # 'mean' and 'std', where they lie among the tensors


@dataclass(frozen=True)
class SemanticFPN:
    """A neck and head in an open file, and what is said of them; `stored` tensors are read when asked."""

    config: fpn.FPNConfig
    card: SegmentationCard
    stored: dict[str, StoredTensor]
    size: int  # bytes of the file
    notes: tuple[str, ...] = ()  # what a person should know of how it was understood, a sentence each

    @property
    def left_out(self) -> str:
        """Say that a backbone was read without it."""
        return f"on it lies {title(self.config)}, which is left out here: minivan segment uses it"


def title(config: fpn.FPNConfig) -> str:
    """Say what a neck and head are: 'a Semantic FPN of 256 channels, 150 classes'."""
    return f"a Semantic FPN of {config.channels} channels, {counted(config.classes, 'class', 'classes')}"


def around(network: Network, dims: tuple[int, ...], entries: Mapping[Any, object], budget: Budget) -> Around:
    """Return what lies around a network that is a backbone with these numbers of channels, and take a head's tensors from it.

    What is taken is no more among what the network passes over.
    """
    if not network.is_backbone:
        return Around()
    budget.step(TENSOR * len(entries))
    parts = {key: part for key in entries if (part := network.part_around(key)).startswith(downstream.MODULES)}
    budget.hold(sum(TENSOR_MEMORY + len(part) for part in parts.values()))
    tensors = {part: entries[key] for key, part in parts.items()}
    what = downstream.title(tensors)
    named = {part: tensor for part, tensor in tensors.items() if part.startswith(PARTS)}
    colours = {
        name: tensor for name in ("mean", "std") if isinstance(tensor := tensors.get(f"data_preprocessor.{name}"), StoredTensor)
    }
    if not any(name.startswith(f"{fpn.HEAD}.scale_heads.") for name in named):
        return Around(what, no_head=f"{what or 'no network'}, not one with a Semantic FPN", colours=colours)
    try:
        head = complete(named, dims)
    except CheckpointError as error:
        return Around(what, no_head=f"its Semantic FPN cannot be used, {error.what}", colours=colours)
    network.forget_aside(key for key, part in parts.items() if part in named)
    return Around(f"a segmentation network with {title(head.config)}", head, colours=colours)


def complete(tensors: Mapping[str, object], dims: tuple[int, ...] | None = None) -> Head:
    """Return the head that these tensors are, of a backbone with these numbers of channels where they are known.

    Raises CheckpointError, naming them, for tensors that are missing, unknown or misshapen, for another backbone's, and for
    more classes than a mask can have.
    """
    stored = {name: tensor for name, tensor in tensors.items() if isinstance(tensor, StoredTensor) and not tensor.unreadable}
    strange = next((name for name in tensors if name not in stored), "")
    if strange:
        raise CheckpointError(f"{quote(strange)} is not a tensor that can be read")
    try:
        config = fpn.config_of(stored)
    except ValueError as error:
        raise CheckpointError(str(error)) from None
    if dims is not None and config.dims != dims:
        raise CheckpointError(f"a Semantic FPN for maps of {config.dims} channels on a backbone with {dims}")
    if not min(*config.dims, config.channels, config.head_channels):
        raise CheckpointError(f"a Semantic FPN of no channels: {config}")
    if not 1 <= config.classes <= MOST_CLASSES:
        raise CheckpointError(f"a Semantic FPN for {config.classes} classes: minivan's masks tell 1 to {MOST_CLASSES} apart")
    return Head(config, {name: stored[name] for name, _ in fpn.parameter_shapes(config)})


def foreign(
    found: Around, beside: Beside, backbone: Card, held: Held, colours: Sequence[str] = ()
) -> tuple[SemanticFPN | None, str]:
    """Return the head around a backbone in another library's file, with what is said of it beside, or why there is none.

    `colours` are the notes of how photos' colours were prepared in a way that minivan does not have: they are the head's, too.
    """
    if found.head is None:
        return None, found.no_head
    config = found.head.config
    classes, left_out = _class_names(beside, config.classes, held.budget)
    palette, unlike = _palette(beside, config.classes)
    side, otherwise = stated.side_of_scenes(beside.configuration)
    if side is None:
        otherwise = "it does not say to which size photos are scaled: as they are is taken (another: convert --resize)"
    try:
        card = SegmentationCard(
            backbone.name,
            classes,
            palette or own_palette(config.classes),
            side,
            replace(SCENES, mean=backbone.preprocessing.mean, std=backbone.preprocessing.std),
            source=backbone.source,
            file=backbone.file,
        )
    except ValueError as error:
        return None, f"its Semantic FPN cannot be used, {error}"
    notes = tuple(filter(None, (left_out, unlike, otherwise, *colours)))
    return SemanticFPN(config, card, found.head.stored, held.size, notes), ""


def own(place: Place, held: Held, tensors: Mapping[str, StoredTensor], dims: tuple[int, ...] | None = None) -> SemanticFPN:
    """Return the head that these tensors of a file of minivan's own are, of a backbone with `dims` channels where it has one.

    Raises CheckpointError where tensors or metadata are not what minivan writes.
    """
    card = own_metadata.understand_segmentation(place.name, held.metadata, held.budget)
    held.budget.step(TENSOR * len(tensors))
    head = complete(tensors, dims)
    check_counts(head.config, card)
    return SemanticFPN(head.config, replace(card, file=place.path), head.stored, held.size)


def check_counts(config: fpn.FPNConfig, card: SegmentationCard) -> None:
    """Raise CheckpointError for a card of another number of classes."""
    if len(card.palette) != config.classes or len(card.classes) not in (0, config.classes):
        said = f"{len(card.classes)} class names and {len(card.palette)} colours for {config.classes} classes"
        raise CheckpointError(f"the metadata's {own_metadata.SEGMENTATION}", said)


def _class_names(beside: Beside, classes: int, budget: Budget) -> tuple[tuple[str, ...], str]:
    """Return the names of so many classes, if they are said and understood, and else a sentence where something is said."""
    said = class_names.said(beside, classes, budget)
    names = tuple(label.name.strip() for label in said.labels)  # mmsegmentation's ADE20K has 'bed '
    if said.note or not names:
        return (), said.note
    if len(names) != classes:
        return (), f"its {len(names)} class names are left out: it has {classes} classes"
    if not all(0 < len(name) <= LONGEST_NAME for name in names):
        return (), f"its class names are left out: a name has 1 to {LONGEST_NAME} characters"
    return names, ""


def _palette(beside: Beside, classes: int) -> tuple[tuple[Colour, ...], str]:
    """Return the colours of so many classes, if they are said and understood, and else a sentence where something is said.

    They lie in OpenMMLab's `meta` (mmsegmentation 0.x) or its `dataset_meta` (1.x): lists of three numbers, or an array.
    """
    values = next((value for path in PALETTES if (value := within(beside.top, path)) is not None), None)
    if values is None:
        return (), ""
    if isinstance(values, StoredTensor) and values.shape == (classes, 3) and values.dtype in MARKS:
        with suppress(CheckpointError):
            values = values.read_marks().tolist()
    if isinstance(values, (list, tuple)) and len(values) == classes:
        colours = [tuple(value) if isinstance(value, (list, tuple)) else () for value in values]
        if all(len(colour) == 3 and all(type(v) is int and 0 <= v <= 255 for v in colour) for colour in colours):
            return tuple((red, green, blue) for red, green, blue in colours), ""
    return (), f"its palette is left out: it is not three numbers from 0 to 255 for each of {classes} classes"
