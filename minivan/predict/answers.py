"""From images to answers: the likeliest classes of each, with their labels and probabilities."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import printable
from .ahead import Prepared, at_once, batches, prepare_ahead
from .images import Found, find_images
from .sources import Given

if TYPE_CHECKING:
    import numpy.typing as npt

    from ..card import Card
    from ..image import Reading
    from ..van import VAN

BATCH = 8  # images that a network compiled as a whole is given at once; operators one by one answer image by image


@dataclass(frozen=True)
class Guess:
    """One class that an image may show."""

    index: int  # among the network's classes
    wnid: str  # WordNet id, 'n07920052'; empty where it is not known
    label: str  # the class's names, 'espresso'
    probability: float


@dataclass(frozen=True, repr=False)
class Answer:
    """What a network says of one image."""

    image: str  # as it was named
    model: str  # the weights' name
    engine: str
    milliseconds: float  # of reading and preparing the image, and its share of the network's time for the batch
    top: tuple[Guess, ...]  # the likeliest first
    sure: bool | None = None  # whether the first is likely enough to rely on; None where the weights do not say
    version: str = ""  # of the weights; empty where they do not say
    activation: str = "softmax"  # what made probabilities: of one class among all, or by 'sigmoid' of each for itself
    notes: tuple[str, ...] = ()  # what a person should know of how the image was read, a phrase each
    thumbnail: bytes = field(default=b"", compare=False)  # a small JPEG of what the network saw, for notebooks; may be empty
    fault: ClassVar[str] = ""  # an `Unusable` has one

    @property
    def label(self) -> str:
        """The names of the likeliest class."""
        return self.top[0].label

    @property
    def probability(self) -> float:
        """The probability of the likeliest class."""
        return self.top[0].probability

    def __repr__(self) -> str:
        from . import display

        return f"<Answer {display.line(self)}>"

    def __str__(self) -> str:
        from . import display

        return display.text(self)

    def _repr_html_(self) -> str:
        from . import display

        return display.page(self)

    def as_dict(self) -> dict[str, Any]:
        """Return the answer as JSON knows it, probabilities rounded to six digits and the time to one.

        >>> Answer("cup.jpg", "van_b0", "fast", 6.25, (Guess(7, "n07920052", "espresso", 0.92912345),)).as_dict()["top"]
        [{'index': 7, 'wnid': 'n07920052', 'label': 'espresso', 'probability': 0.929123}]
        """
        top = [{**vars(guess), "probability": round(guess.probability, 6)} for guess in self.top]
        said = {**vars(self), "milliseconds": round(self.milliseconds, 1), "top": top, "notes": [*self.notes]}
        del said["thumbnail"]
        return said


@dataclass(frozen=True, repr=False)
class Unusable:
    """An image that could not be read or decoded, and why: a phrase without the image's name."""

    image: str
    fault: str
    top: ClassVar[tuple[Guess, ...]] = ()  # no class is likely

    def __repr__(self) -> str:
        return f"<Unusable {self}>"

    def __str__(self) -> str:
        return printable(f"{self.image}: {self.fault}")

    def _repr_html_(self) -> str:
        from . import display

        return display.fault_page(self)


def classify(
    model: VAN,
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    top_k: int = 5,
    exif: bool = True,
    threads: int | None = None,
    icc: bool = True,
    truncated: bool = False,
    draft: bool = False,
) -> Iterator[Answer | Unusable]:
    """Yield, for every image that the paths name, the `top_k` likeliest classes, or why it cannot be used.

    `paths` is one path or several, as for `find_images`. Images come in its order, each as soon as its batch is done, and
    are decoded by `threads` threads (all) while the network computes. `exif`, `icc`, `truncated` and `draft` are as for
    `minivan.image.Reading`. Raises ValueError for weights without classes, for a `top_k` below 1, and for logits that are no
    numbers.
    """
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    from ..image import Reading

    images, how = find_images(paths, model.config.channels), Reading(exif, icc, truncated, draft)
    return answers(model, images, top_k, threads=threads, how=how)


def answers(
    model: VAN,
    images: Iterable[Found | Given],
    top_k: int = 5,
    *,
    threads: int | None = None,
    how: Reading | None = None,
    batch_size: int | None = None,
    thumbnails: bool = False,
) -> Iterator[Answer | Unusable]:
    """Yield what `classify` does for images that are found already. What is wrong with the call is raised at once.

    The network is given `batch_size` images at once, or fewer where they are large; by default as many as suit its engine.
    `thumbnails` has each answer keep a small picture of what the network saw.
    """
    if not model.config.classes:
        raise ValueError(f"the weights {model.card.name} are a backbone without a head: they give features, not classes")
    _check_top_k(top_k)
    model = model.settled(len(images) if isinstance(images, Sized) else None)
    size = at_once(model.card.preprocessing, batch_size or (BATCH if model.engine.batches else 1))
    ready = prepare_ahead(images, model.card.preprocessing, ahead=2 * size, threads=threads, how=how, thumbnails=thumbnails)
    return (answer for batch in batches(ready, size) for answer in _answer(model, batch, top_k))


def _answer(model: VAN, batch: list[Prepared], top_k: int) -> list[Answer | Unusable]:
    import numpy as np

    start = time.perf_counter()
    usable = [image.x for image in batch if image.x is not None]
    tops = iter([guesses(model.card, row, top_k) for row in model(np.stack(usable))] if usable else [])
    share = (time.perf_counter() - start) / max(1, len(usable))

    def one(image: Prepared) -> Answer | Unusable:
        if image.x is None:
            return Unusable(image.name, image.fault)
        top = next(tops)
        sure = model.card.is_sure(top[0].probability)
        milliseconds, card, engine = 1000 * (image.seconds + share), model.card, model.engine.name
        said = sure, card.version, card.activation, image.notes, image.thumbnail
        return Answer(image.name, card.name, engine, milliseconds, top, *said)

    return [one(image) for image in batch]


def guesses(card: Card, logits: npt.ArrayLike, top_k: int = 5) -> tuple[Guess, ...]:
    """Return the `top_k` likeliest classes of one image, or all where there are fewer, from its logits (classes,).

    Probabilities are those of the card's activation: softmax, or sigmoid of each class for itself, where they need not add up
    to 1. Of equal logits the one of the lower index comes first. Raises ValueError for another shape, for logits that
    are not finite, and for a `top_k` below 1.

    >>> from minivan.card import Card, Label
    >>> card = Card("two cups", labels=(Label("n07920052", "espresso"), Label("n07930864", "cup")))
    >>> for guess in guesses(card, [1.0, 3.0]):
    ...     print(guess.index, guess.label, f"{guess.probability:.3f}")
    1 cup 0.881
    0 espresso 0.119
    """
    import numpy as np

    from .. import reference  # float64 and nothing to compile

    _check_top_k(top_k)
    logits = np.asarray(logits)
    if logits.ndim != 1:
        raise ValueError(f"one image's logits have the shape (classes,), got {logits.shape}")
    if not np.isfinite(logits).all():
        raise ValueError(f"the weights {card.name} give logits that are no numbers: they are damaged")
    probabilities = reference.sigmoid(logits) if card.activation == "sigmoid" else reference.softmax(logits)
    best = np.argsort(-logits, kind="stable")[:top_k]
    return tuple(Guess(int(i), *card.label(int(i)), float(probabilities[i])) for i in best)


def _check_top_k(top_k: int) -> None:
    if top_k < 1:
        raise ValueError(f"top_k is a number of classes, at least 1; got {top_k}")


def make_ready(model: VAN) -> None:
    """Compile, or load, the kernels of a model by one pass over a black image of the least size.

    Whoever shows the time of the first image calls it before, so that the time is the image's own. A model on 'auto' is made
    ready when it is settled.
    """
    if model.engine.choose is not None:
        return
    import numpy as np

    from ..geometry import SMALLEST_SIDE

    black = np.zeros((1, model.config.channels, *(model.engine.size or (SMALLEST_SIDE, SMALLEST_SIDE))), np.float32)
    if model.config.classes:
        model(black)
    else:
        model.features(black)
