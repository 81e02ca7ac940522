"""All that is to be said of one photo: its classes with their maps, or its attention; as JSON, and in a line of text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import paths
from ..card import Label
from ..checks import Floating
from ..engines import EXACT
from ..van import VAN
from .attention import SELECTIVE, attention_maps, choose_blocks, most_selective
from .choices import DEFAULT, PIXELS, find
from .classes import choose_classes
from .methods import Maps, choose_layers, maps_of_classes, on_one_engine, stages
from .probability import probabilities, rank
from .view import Seen

FEW = 6  # positions a side: a map of fewer says little


@dataclass(frozen=True, eq=False)
class ClassMaps:
    """One class in one photo: how sure the network is of it, and where it sees it."""

    index: int
    label: Label
    probability: float  # at the size the weights were trained for: what `classify` says
    rank: int  # among all classes, 1 for the likeliest
    seen_probability: float  # and so at the size at which its maps were made
    seen_rank: int
    maps: dict[str, Floating] = field(repr=False)  # path of the layer, or 'input' -> (h, w)


@dataclass(frozen=True, eq=False)
class PhotoMaps:
    """Where a network looks in a photo, for one class or several."""

    model: VAN = field(repr=False)
    seen: Seen = field(repr=False)
    method: str
    classes: list[ClassMaps]
    answer: Label  # the top class at the size of the training
    seen_answer: Label  # and at the size at which the maps were made
    shrunk: bool = False  # whether that is smaller than the usual one, since only so the two are the same

    def as_dict(self) -> dict[str, Any]:
        """Return what `python -m minivan explain --json` prints."""
        return {
            "image": self.seen.name,
            "model": self.model.card.name,
            "engine": self.model.engine.name,
            "method": self.method,
            "input": list(self.seen.x.shape[2:]),
            "notes": [*self.seen.notes],
            "classes": [
                {
                    "index": found.index,
                    "wnid": found.label.wnid,
                    "label": found.label.name,
                    "probability": round(found.probability, 6),
                    "rank": found.rank,
                    "as_seen": {"probability": round(found.seen_probability, 6), "rank": found.seen_rank},
                    "maps": {
                        path: {"stride": paths.stride_of(path), "values": digits(values)} for path, values in found.maps.items()
                    },
                }
                for found in self.classes
            ],
        }

    def footnote(self) -> str:
        """Say what a figure shows, how it was made and at which size the network saw the photo."""
        places = list(self.classes[0].maps)
        several = len(places) > 1 and places == stages(self.model)
        place = "each stage's output" if several else ", ".join("the input" if p == paths.INPUT else p for p in places)
        side, trained = self.seen.x.shape[2], self.model.card.preprocessing.crop
        as_trained = f", class and probability at {trained} x {trained} as trained" if side != trained else ""
        return f"{self.method} at {place} · seen at {side} x {side} pixels{as_trained} · {self.model}"

    def sentence(self) -> str:
        """Say how a figure of the maps is read."""
        return find(self.method).shows

    def caution(self) -> str:
        """Say what to beware of: a size at which the network's answer is another, a map of few places; '' for nothing."""
        said = []
        trained = self.model.card.preprocessing.crop
        if self.answer != self.seen_answer:
            said.append(f"At this size the network's answer is {self.seen_answer.short}, not {self.answer.short}: "
                        f"take the map with care, or look at --size {trained}.")  # fmt: skip
        places = min(min(values.shape) for each in self.classes for values in each.maps.values())
        if places < FEW:
            why = "shown larger, the network takes the photo for something else; " if self.shrunk else ""
            more = "weights trained on larger photos have more (python -m minivan fetch b0)"
            said.append(f"Few places, {places} x {places}: {why}{more}.")
        return " ".join(said)


@dataclass(frozen=True, eq=False)
class PhotoAttention:
    """What large kernel attention multiplies by, for a photo: the same whatever the class."""

    model: VAN = field(repr=False)
    seen: Seen = field(repr=False)
    factors: dict[str, Floating]  # path of the block -> (C, h, w)

    def as_dict(self) -> dict[str, Any]:
        """Return what `python -m minivan explain --attention --json` prints."""
        return {
            "image": self.seen.name,
            "model": self.model.card.name,
            "engine": self.model.engine.name,
            "input": list(self.seen.x.shape[2:]),
            "notes": [*self.seen.notes],
            "blocks": {
                path: {
                    "stride": paths.stride_of(path),
                    "lowest": digits(values.min()),
                    "highest": digits(values.max()),
                    "mean": digits(values.mean(axis=0)),
                    "most_selective": {int(c): digits(values[c]) for c in most_selective(values, SELECTIVE)},
                }
                for path, values in self.factors.items()
            },
        }

    def footnote(self) -> str:
        """Say what a figure shows and at which size the network saw the photo."""
        side = self.seen.x.shape[2]
        return f"what large kernel attention multiplies its input by · seen at {side} x {side} pixels · {self.model}"

    def caution(self) -> str:
        """Say what to beware of: nothing."""
        return ""

    def sentence(self) -> str:
        """Say how a figure of it is read, and why these channels are shown."""
        return (
            "Orange: multiplied by a number above zero, so let through; purple: below zero, so turned over; white: shut. "
            f"Each map has its own scale. Beside the mean stand the {SELECTIVE} channels that differ most from place to place, "
            "chosen for that: all others are flatter."
        )


def photo_maps(
    model: VAN,
    seen: Seen,
    classes: Iterable[int | str] = (),
    method: str = DEFAULT,
    layers: str | Iterable[str] | None = None,
) -> PhotoMaps:
    """Return where the network looks in a photo for the given classes, by default for its top class.

    A class is an index, a WordNet id or a name; `method` and `layers` are as for `maps`. One forward pass serves all classes,
    and a second one tells their probabilities where the weights were trained at another size. Where `seen` has smaller sizes,
    the largest is taken at which the top class is that of the size of the training: a pass for each tried. Raises ValueError,
    before anything is computed, for a class, a method or a layer that is not known; and for weights that give no numbers.
    """
    places = choose_layers(model.config, method, layers)
    indices = choose_classes(classes, model.card.labels, model.config.classes)
    model = on_one_engine(model, method, places, 2 - (seen.as_trained is seen.x), *seen.x.shape[2:])
    if seen.as_trained is seen.x:
        found = maps_of_classes(model, seen.x, indices or [None], method, places)
        logits, usual = found[0].logits, seen.x
    else:
        logits, usual = model(seen.as_trained), seen.x
        seen, found = _recognised(model, seen, int(logits[0].argmax()), indices, method, places)
    chances, here = (probabilities(each, model.card.activation)[0] for each in (logits, found[0].logits))
    if not np.isfinite(chances).all():
        raise ValueError(f"the weights {model.card.name} give logits that are no numbers: they are damaged")
    about = []
    for maps in found:
        index = int(maps.target[0])
        pictures = {path: values[0] for path, values in maps.maps.items()}
        as_seen = float(here[index]), rank(found[0].logits[0], index)
        sure = float(chances[index]), rank(logits[0], index)
        about.append(ClassMaps(index, model.card.label(index), *sure, *as_seen, pictures))
    answer, seen_answer = (model.card.label(int(each[0].argmax())) for each in (logits, found[0].logits))
    return PhotoMaps(model, seen, method, about, answer, seen_answer, shrunk=seen.x is not usual)


def _recognised(
    model: VAN, seen: Seen, answer: int, indices: list[int], method: str, places: list[str]
) -> tuple[Seen, list[Maps]]:
    """Return the maps at the largest of a photo's sizes at which the answer is this one; at the only one where there is one."""
    for x in (seen.x, *seen.smaller):
        dear = find(method).place == PIXELS and len(seen.smaller) > 0  # then one pass tells first whether it is worth while
        if dear and x is not seen.as_trained and int(model(x)[0].argmax()) != answer:
            continue
        found = maps_of_classes(model, x, indices or [answer], method, places)
        if int(found[0].logits[0].argmax()) == answer:
            break
    return seen._replace(x=x, smaller=()), found


def photo_attention(model: VAN, seen: Seen, block: str | Iterable[str] | None = None) -> PhotoAttention:
    """Return what large kernel attention multiplies by in the blocks that `choose_blocks` finds for `block`.

    Raises ValueError, before anything is computed, for a block that is not known.
    """
    blocks = choose_blocks(model.config, block)
    model = model if model.engine.choose is None else model.on(EXACT)  # whose operators the hook sees
    factors = attention_maps(model, seen.x)
    return PhotoAttention(model, seen, {path: factors[path][0] for path in blocks})


def told(found: Sequence[PhotoMaps | PhotoAttention]) -> list[str]:
    """Return what is to be said of a figure of photos, all of one kind: how it is read, what to beware of, how it was made."""
    named = ((f"{each.seen.name}: " if len(found) > 1 else "", each.caution()) for each in found)
    cautions = [name + caution for name, caution in named if caution]
    return [found[0].sentence(), *cautions, *dict.fromkeys(each.footnote() for each in found)]


def digits(values: npt.ArrayLike) -> Any:
    """Return an array as nested lists of numbers with six significant digits."""
    return np.vectorize(lambda value: float(f"{value:.6g}"), otypes=[float])(values).tolist()
