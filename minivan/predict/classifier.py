"""Photos in, answers out: `classify` in one line, and a `Classifier` that keeps its network and can be sent to processes.

>>> import minivan
>>> minivan.classify("examples/coffee.jpg", top_k=2)
<Answer examples/coffee.jpg: espresso 97.6%, pill bottle 1.0%>
>>> classifier = minivan.Classifier(top_k=1)
>>> [answer.label for answer in classifier(["cat.jpg", "cup.jpg"])]
['Egyptian cat', 'espresso']
"""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from ..errors import printable
from .answers import Answer, Unusable, answers
from .embedding import embed
from .sources import given

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from ..engines import Engine
    from ..image import Reading, Source
    from ..van import VAN


class Answers(list[Answer | Unusable]):
    """The answers for a list of images, in its order; of an image that cannot be used an `Unusable` says why."""

    def __repr__(self) -> str:
        return "\n".join(map(repr, self)) or "[]"

    def __str__(self) -> str:
        return "\n\n".join(map(str, self))

    def _repr_html_(self) -> str:
        from .display import pages

        return pages(self)


class Classifier:
    """A network that answers for photos, one or many at a time.

    `model` is a VAN, a name ('b0') or a file of weights, by default those of `minivan.load()`; `engine` is as for that. Answers
    have the `top_k` likeliest classes. `size` is the side in pixels of the square that the network is to see, by default that
    of its training. The network is given `batch_size` images at once, by default as many as suit its engine; they are decoded
    by `threads` threads (all), and read as `how` says. Raises ValueError for what cannot be, and what `minivan.load` raises.

    A classifier can be pickled and copied: what travels is the tensors, and what it was told.
    """

    def __init__(
        self,
        model: VAN | str | Path | None = None,
        *,
        engine: str | Engine | None = None,
        top_k: int = 5,
        size: int | None = None,
        batch_size: int | None = None,
        threads: int | None = None,
        how: Reading | None = None,
    ) -> None:
        for name, value in (("top_k", top_k), ("batch_size", batch_size), ("threads", threads)):
            if value is not None and value < 1:
                raise ValueError(f"{name} is a whole number of at least 1, got {value}")
        loaded = _model(model, engine)
        self.model = loaded if size is None else loaded.with_size(size)
        self.top_k, self.batch_size, self.threads, self.how = top_k, batch_size, threads, how

    @overload
    def __call__(self, source: Source, top_k: int | None = None) -> Answer: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, source: Iterable[Source], top_k: int | None = None) -> Answers: ...
    def __call__(self, source: Source | Iterable[Source], top_k: int | None = None) -> Answer | Answers:
        """Return the answer for an image, or those for a list of them.

        An image is a file's path or its bytes, an open file, a picture of Pillow's, or an array, uint8 (H, W, 3). What is wrong
        with a single one is raised: FileNotFoundError, or ImageError (a ValueError); in a list it is an `Unusable` in its
        place. Raises ValueError for weights without classes or that give no numbers, TypeError for what is no image.
        """
        images, one = _images(source)
        found = answers(
            self.model, images, self.top_k if top_k is None else top_k, threads=self.threads, how=self.how,
            batch_size=self.batch_size, thumbnails=True,
        )  # fmt: skip
        told = Answers(found)
        if not one:
            return told
        return told[0] if isinstance(told[0], Answer) else _raised(told[0].image, told[0].fault)

    def embed(self, source: Source | Iterable[Source]) -> npt.NDArray[np.float32]:
        """Return an image's pooled features (C,), or those of a list of them (N, C): see `minivan.VAN.embed`.

        Arguments and errors as for a call, but what is wrong with any image is raised.
        """
        import numpy as np

        images, one = _images(source)
        rows = []
        for each in embed(self.model, images, batch_size=self.batch_size, threads=self.threads, how=self.how):
            rows.append(_raised(each.image, each.fault) if each.features is None else each.features)
        return rows[0] if one else np.array(rows, np.float32).reshape(len(rows), self.model.config.dims[-1])

    def __repr__(self) -> str:
        side = self.model.card.preprocessing.crop
        return f"<Classifier {self.model}, {side} pixels, engine {self.model.engine}, top_k {self.top_k}>"


@overload
def classify(source: Source, top_k: int = 5, **settings: Any) -> Answer: ...
@overload
def classify(source: Iterable[Source], top_k: int = 5, **settings: Any) -> Answers: ...
def classify(source: Source | Iterable[Source], top_k: int = 5, **settings: Any) -> Answer | Answers:
    """Return the `top_k` likeliest classes of an image, or of each of a list of images.

    An image is a file's path or its bytes, an open file, a picture of Pillow's, or an array, uint8 (H, W, 3). `settings` are
    those of `Classifier`: `model` (a VAN, a name or a file of weights), `engine`, `size`, `batch_size`, `threads`, `how`;
    errors as for a call of it. The weights that were asked for last stay loaded.
    """
    return Classifier(top_k=top_k, **settings)(source)


def _images(source: Source | Iterable[Source]) -> tuple[list[Any], bool]:
    """Return the images that are handed over, and whether it is a single one."""
    from ..image import is_source

    one = is_source(source) or not isinstance(source, Iterable)
    return given([source] if one else source), one  # type: ignore[list-item, arg-type]


def _raised(image: str, fault: str) -> Any:
    """Raise what is wrong with an image."""
    from ..image import ImageError

    if fault == "no such file or folder":
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), image)
    raise ImageError(printable(f"{image}: {fault}"))


def _model(model: VAN | str | Path | None, engine: str | Engine | None) -> VAN:
    from ..checkpoint import find
    from ..van import VAN

    if isinstance(model, VAN):
        return model if engine is None else VAN(model.config, model.tensors, engine, model.card)
    path = find(model)
    try:
        status = os.stat(path)
    except OSError:  # within the zip that minivan is imported from, or gone: reading it says so
        return _kept(path, None, engine)
    return _kept(path, (status.st_mtime_ns, status.st_size, status.st_ino), engine)


@functools.lru_cache(maxsize=1)
def _kept(path: Path, stamp: tuple[int, ...] | None, engine: str | Engine | None) -> VAN:
    """Return the model of a file as it was at a time: whoever classifies one photo after the other reads it once."""
    from ..checkpoint import load

    return load(path) if engine is None else load(path, engine)
