"""All that is to be said of one photo: its classes with their maps, or its attention; as JSON, and in a line of text."""

from __future__ import annotations

from collections.abc import Iterable
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
from .choices import DEFAULT
from .classes import choose_classes
from .methods import choose_layers, maps_of_classes, on_one_engine, stages
from .probability import probabilities, rank
from .view import Seen


@dataclass(frozen=True, eq=False)
class ClassMaps:
    """One class in one photo: how sure the network is of it, and where it sees it."""

    index: int
    label: Label
    probability: float  # at the size the weights were trained for: what `classify` says
    rank: int  # among all classes, 1 for the likeliest
    maps: dict[str, Floating] = field(repr=False)  # path of the layer, or 'input' -> (h, w)


@dataclass(frozen=True, eq=False)
class PhotoMaps:
    """Where a network looks in a photo, for one class or several."""

    model: VAN = field(repr=False)
    seen: Seen = field(repr=False)
    method: str
    classes: list[ClassMaps]

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
        what = "factors that large kernel attention multiplies its input by (signed, unbounded; each scale centred on zero)"
        side = self.seen.x.shape[2]
        return f"{what} · seen at {side} x {side} pixels · {self.model}"


def photo_maps(
    model: VAN,
    seen: Seen,
    classes: Iterable[int | str] = (),
    method: str = DEFAULT,
    layers: str | Iterable[str] | None = None,
) -> PhotoMaps:
    """Return where the network looks in a photo for the given classes, by default for its top class.

    A class is an index, a WordNet id or a name; `method` and `layers` are as for `maps`. One forward pass serves all classes,
    and a second one tells their probabilities where the weights were trained at another size. Raises ValueError, before
    anything is computed, for a class, a method or a layer that is not known; and for weights that give no numbers.
    """
    places = choose_layers(model.config, method, layers)
    indices = choose_classes(classes, model.card.labels, model.config.classes)
    model = on_one_engine(model, method, places, 2 - (seen.as_trained is seen.x), *seen.x.shape[2:])
    if seen.as_trained is seen.x:
        found = maps_of_classes(model, seen.x, indices or [None], method, places)
        logits = found[0].logits
    else:
        logits = model(seen.as_trained)
        found = maps_of_classes(model, seen.x, indices or [int(logits[0].argmax())], method, places)
    chances = probabilities(logits, model.card.activation)[0]
    if not np.isfinite(chances).all():
        raise ValueError(f"the weights {model.card.name} give logits that are no numbers: they are damaged")
    about = []
    for maps in found:
        index = int(maps.target[0])
        pictures = {path: values[0] for path, values in maps.maps.items()}
        about.append(ClassMaps(index, model.card.label(index), float(chances[index]), rank(logits[0], index), pictures))
    return PhotoMaps(model, seen, method, about)


def photo_attention(model: VAN, seen: Seen, block: str | Iterable[str] | None = None) -> PhotoAttention:
    """Return what large kernel attention multiplies by in the blocks that `choose_blocks` finds for `block`.

    Raises ValueError, before anything is computed, for a block that is not known.
    """
    blocks = choose_blocks(model.config, block)
    model = model if model.engine.choose is None else model.on(EXACT)  # whose operators the hook sees
    factors = attention_maps(model, seen.x)
    return PhotoAttention(model, seen, {path: factors[path][0] for path in blocks})


def digits(values: npt.ArrayLike) -> Any:
    """Return an array as nested lists of numbers with six significant digits."""
    return np.vectorize(lambda value: float(f"{value:.6g}"), otypes=[float])(values).tolist()
