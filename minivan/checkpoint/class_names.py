"""The names of a network's classes, in the many places where training scripts and libraries leave them.

There are three outcomes: nothing is said of them; they are there; something is said that is not understood. Only where nothing
is said may a published variant's thousand classes be ImageNet's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..card import Label, imagenet1k
from ..errors import is_line, printable, quote
from ..variants import COLOURS, Config, variant_of
from .beside import CONFIG, Beside
from .budget import Budget
from .error import CheckpointError
from .inert import Inert
from .numpy_array import Array
from .standin import StandIn
from .tensor import MARKS, StoredTensor

LONGEST_INDEX = 9  # digits
WORDNET = re.compile("n[0-9]{8}")
KEYS = (
    "class_to_idx", "idx_to_class", "id2label", "label2id", "classes", "CLASSES", "class_names", "label_names",
)  # fmt: skip
READ = 10  # steps that it takes to read the number in a tensor


@dataclass(frozen=True)
class Names:
    """What is said of the classes' names: `labels`, or in `note` what is not understood of it, or neither."""

    labels: tuple[Label, ...] = ()
    note: str = ""


class _Strange(Exception):
    """Something that is no list of names; it says what it is instead."""


def said(beside: Beside, classes: int, budget: Budget) -> Names:
    """Return what is said of the class names beside the weights, the first place that is understood.

    They lie in config.json, at a pickle's top, among Lightning's `hyper_parameters`, in OpenMMLab's `meta` (mmcls) and its
    `dataset_meta` (MMEngine), or in `args`: a list or an array, or a dictionary from index to name or from name to index.
    Where none has as many as `classes`, only the first's number means something: its labels have no names.
    """
    notes, others = [], list[Names]()
    for where, place in _places(beside):
        for key in KEYS:
            try:
                names = in_order(place.get(key), budget) if isinstance(place, Mapping) else []
                if names:
                    found = Names(labels_of(names, classes, budget))
                    if len(names) == classes:
                        return found
                    others.append(found)
            except _Strange as error:
                notes.append(f"the class names under {quote(f'{where}{key}')} are not understood ({error}): none were taken")
    return others[0] if others else Names(note=notes[0] if notes else "")


def usual_labels(config: Config) -> tuple[Label, ...]:
    """Return ImageNet-1k's classes for a published variant with a thousand of them; for any other network none."""
    return imagenet1k() if is_published(config) else ()


def is_published(config: Config) -> bool:
    """Tell whether a network has the shape of a published variant's for photos, with ImageNet's thousand classes."""
    return variant_of(config) is not None and config.channels == COLOURS and config.classes == 1000


def _places(beside: Beside) -> Iterator[tuple[str, object]]:
    """Yield every place where names may lie, and how it is called before a key."""
    meta = beside.top.get("meta")
    yield f"{CONFIG}: ", beside.config
    yield f"{CONFIG}: pretrained_cfg.", beside.config.get("pretrained_cfg")
    yield "", beside.top
    yield "hyper_parameters.", beside.top.get("hyper_parameters")
    yield "meta.dataset_meta.", meta.get("dataset_meta") if isinstance(meta, Mapping) else None
    yield "meta.", meta
    yield "args.", beside.arguments


def in_order(names: object, budget: Budget) -> list[str]:
    """Return the names in their indices' order, [] where nothing is said of any.

    LABEL_0, LABEL_1 and so on, which transformers writes where nobody gave any, say nothing, nor does a number, which counts
    the classes. Raises _Strange for what is no name for each of the indices 0, 1, 2 and so on.
    """
    if names is None or isinstance(names, (bool, int, float)):
        return []
    found: Sequence[object]
    if isinstance(names, Array) and names.texts is not None:
        found = names.texts.read(budget)
    elif isinstance(names, (list, tuple)):
        found = names
    elif isinstance(names, dict):
        found = _by_index(names, budget)
    else:
        raise _Strange(_kind(names))
    budget.step(len(found))
    budget.hold(8 * len(found))
    texts = [name for name in found if isinstance(name, str) and name]
    if len(texts) != len(found):
        index = next(i for i, name in enumerate(found) if not (isinstance(name, str) and name))
        raise _Strange(f"number {index} is {'empty' if found[index] == '' else _kind(found[index])}")
    return [] if all(name == f"LABEL_{i}" for i, name in enumerate(texts)) else texts


def _by_index(names: Mapping[object, object], budget: Budget) -> list[object]:
    """Return the names of a dictionary from them to indices, if its values are numbers, or else from indices to them."""
    budget.step(2 * len(names))
    budget.hold(120 * len(names))
    values = [_number(value, budget) for value in names.values()]
    if None in values and not any(_index(key) >= 0 for key in names):
        values = [_index(value) if number is None else number for value, number in zip(names.values(), values, strict=True)]
    if None in values:
        places = {_index(key): name for key, name in names.items()}
    else:
        places = {-1 if i is None else i: name for name, i in zip(names, values, strict=True)}
    if len(places) != len(names) or not all(i in places for i in range(len(names))):
        raise _Strange(f"its {len(names)} indices are not 0 to {len(names) - 1}")
    return [places[i] for i in range(len(names))]


def _number(value: object, budget: Budget) -> int | None:
    """Return a number that is one, also one that is kept as a tensor; None for anything else."""
    if isinstance(value, StoredTensor) and value.count == 1 and value.dtype in MARKS and value.dtype != "bool":
        budget.step(READ)
        try:
            return int(value.read_marks().item())
        except CheckpointError:
            return None
    return value if type(value) is int else None


def _index(key: object) -> int:
    """Return an index that is a number or, as every key of JSON is, a text; -1 for anything else."""
    if isinstance(key, str):
        return int(key) if key.isdecimal() and len(key) < LONGEST_INDEX else -1
    return key if type(key) is int else -1


def _kind(value: object) -> str:
    """Say what something is that is no name."""
    if isinstance(value, (StandIn, Inert)):
        return f"an object of the class {quote(value.path)}"
    return f"a tensor of {value.dtype}" if isinstance(value, StoredTensor) and not value.unreadable else quote(value)


def labels_of(names: Sequence[str], classes: int, budget: Budget) -> tuple[Label, ...]:
    """Return labels for class names in index order, with the WordNet ids of ImageNet-1k where the names are its own.

    Where all are WordNet ids, those of ImageNet-1k get their names. Where there are not as many as `classes`, only their number
    means something: the labels have no names.
    """
    budget.step(len(names))
    if len(names) != classes:
        return (Label("", ""),) * len(names)
    labels = []
    for text in names:
        budget.step(1 + len(text) // 16)
        budget.hold(200)
        if not text.isprintable():
            budget.step(len(text) // 4)
            budget.hold(10 * len(text))  # each character may be shown as its code
        labels.append(Label("", text if is_line(text) else printable(text)))
    if all(WORDNET.fullmatch(text) for text in names):  # torchvision's folders of ImageNet are named so
        named = {known.wnid: known.name for known in imagenet1k()}
        return tuple(Label(text, named.get(text, text)) for text in names)
    for index, known in enumerate(imagenet1k() if len(labels) == 1000 else ()):
        if known.name.lower() == labels[index].name.lower():
            labels[index] = known
    return tuple(labels)
