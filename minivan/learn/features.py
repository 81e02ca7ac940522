"""Photos as what a head learns from: the pooled features of each, and of its mirror image."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from ..evaluate import Example
from ..evaluate.sharded import labelled_items
from ..predict import Prepared, batches, prepare_ahead
from ..predict.ahead import at_once
from ..predict.answers import BATCH
from ..predict.embedding import pooled

if TYPE_CHECKING:
    from ..checks import Float32
    from ..image import Reading
    from ..predict.shard import Shard
    from ..van import VAN


class Featured(NamedTuple):
    """One photo of a class, as a head learns from it."""

    path: str  # within its dataset
    label: str  # what the dataset calls its class
    features: Float32 | None  # (2, C): of the photo, and of its mirror image; None where there is a fault
    content: str = ""  # 64 hex digits, the same for photos of which the network sees the same, or its mirror image
    fault: str = ""
    notes: tuple[str, ...] = ()  # what a person should know of how it was read


def featured(
    model: VAN,
    examples: Sequence[Example],
    *,
    threads: int | None = None,
    how: Reading | None = None,
) -> Iterator[Featured]:
    """Yield each photo with its features, in order; each is decoded once, by `threads` threads (all), read as `how` says.

    Raises ValueError for features that are not finite: the weights are damaged.
    """
    model = model.settled(2 * len(examples))
    size = at_once(model.card.preprocessing, BATCH if model.engine.batches else 1)
    images = [example.image for example in examples]
    ready = prepare_ahead(images, model.card.preprocessing, ahead=2 * size, threads=threads, how=how)
    for batch in batches(zip(examples, ready, strict=True), max(1, size // 2)):
        yield from _featured(model, batch)


def _featured(model: VAN, batch: list[tuple[Example, Prepared]]) -> Iterator[Featured]:
    usable = [image.x for _, image in batch if image.x is not None]
    rows: Iterator[Float32] = iter(())
    if usable:
        x = np.stack(usable)
        made = pooled(model, np.concatenate([x, x[..., ::-1]]))
        if not np.isfinite(made).all():
            raise ValueError(f"the weights {model.card.name} give features that are no numbers: they are damaged")
        rows = iter(made.reshape(2, len(usable), -1).swapaxes(0, 1))
    for example, image in batch:
        if image.x is None:
            yield Featured(example.path, example.label, None, fault=image.fault)
        else:
            yield Featured(example.path, example.label, next(rows), content(image.x), notes=image.notes)


def content(x: npt.NDArray[np.float32]) -> str:
    """Return the SHA-256 of what the network sees of a photo, (C, H, W); its mirror image has the same.

    >>> x = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
    >>> content(x) == content(x[..., ::-1]), content(x) == content(x[:, ::-1])
    (True, False)
    """
    mirrored = x[..., ::-1]
    first = np.unravel_index(int((x != mirrored).argmax()), x.shape)  # of a photo that is its own mirror image, any place
    seen = mirrored if mirrored[first] < x[first] else x
    return hashlib.sha256(seen.tobytes()).hexdigest()


class Featuring:
    """What one process does with a shard of a labelled dataset: it returns the shard's name, and its photos' features.

    It is a function that pickles, as `minivan.predict.shard.Answering`. Features are few bytes: they come back as what it
    returns. `alone` is whether the dataset is one .tar.
    """

    def __init__(self, model: VAN, *, how: Reading | None = None, threads: int | None = None, alone: bool = False) -> None:
        self.model, self.how, self.threads, self.alone = model, how, threads, alone

    def __call__(self, shard: Shard) -> tuple[str, list[Featured]]:
        with shard.opened(lambda path: labelled_items(shard, path, self.alone)) as items:
            examples = [Example(item.name, item.label, item.image) for item in items]
            return shard.name, list(featured(self.model, examples, threads=self.threads, how=self.how))
