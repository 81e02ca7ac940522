"""A run over many images whose features go into an index, and which may be interrupted and resumed."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import __version__
from . import index
from .embedding import Embedded, embed
from .identity import identity
from .images import Found
from .resumable import Resumable

if TYPE_CHECKING:
    from types import TracebackType

    from ..image import Reading
    from ..van import VAN


class Embeddings:
    """The pooled features of images, on their way into the file `output` (.npy or .parquet).

    Until `write` has written it, they lie in `output`.partial, which a later run of the same weights and options takes up with
    `resume`, as `Results` does. Raises ValueError for another ending, and as `Resumable` does for what an interrupted run has
    left; OSError.
    """

    def __init__(
        self,
        model: VAN,
        images: Iterable[Found],
        output: str | os.PathLike[str],
        how: Reading | None = None,
        resume: bool = False,
    ) -> None:
        from ..image import Reading

        index.check(output)
        self.output, self.how = output, how
        about = {"minivan": "embeddings", "version_of_minivan": __version__, **identity(model), "engine": model.engine.name}
        width = model.config.dims[-1]
        self.run = Resumable(
            output, {**about, "reading": (how or Reading())._asdict()}, images, lambda row: _is_row(row, width), resume
        )
        self.todo, self.kept = self.run.todo, self.run.kept
        self.model = self.run.settled(model)

    def embedded(self, batch_size: int | None = None, threads: int | None = None) -> Iterator[Embedded]:
        """Yield what `minivan.predict.embedding.embed` does for the images that have no features yet, as soon as it is kept."""

        def work(images: Iterator[Found]) -> Iterator[Embedded]:
            return embed(self.model, images, batch_size=batch_size, threads=threads, how=self.how)

        return self.run.each(work, lambda image: {**_row(image), "engine": self.model.engine.name})

    def write(self) -> int:
        """Write the file, whole, and return how many rows it has; nothing else is left then.

        Raises ValueError where no image has features, and OSError.
        """
        count = index.write(self.output, self.model, map(_embedded, self.run.rows()))
        self.run.end()
        return count

    def __enter__(self) -> Embeddings:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.run.close()


def _row(image: Embedded) -> dict[str, Any]:
    features = None if image.features is None else base64.b64encode(image.features.astype("<f4").tobytes()).decode()
    return {"image": image.image, "fault": image.fault or None, "features": features}


def _is_row(row: dict[str, Any], width: int) -> bool:
    """Tell whether what a journal says has so many features of an image, whatever else wrote that line."""
    try:
        return isinstance(row.get("engine"), str) and len(base64.b64decode(row["features"], validate=True)) == 4 * width
    except (KeyError, TypeError, ValueError):
        return False


def _embedded(row: dict[str, Any]) -> Embedded:
    features = row["features"]
    numbers = None if features is None else np.frombuffer(base64.b64decode(features), "<f4")
    return Embedded(row["image"], numbers, row["fault"] or "")
