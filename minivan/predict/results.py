"""A run over many images whose answers go into a file, and which may be interrupted and resumed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from .. import __version__
from . import table
from .answers import Answer, Unusable, answers
from .identity import identity, plain
from .images import Found
from .resumable import Resumable

if TYPE_CHECKING:
    from types import TracebackType

    from ..image import Reading
    from ..van import VAN

MOST = 1e15  # of a number in a row: milliseconds, say


class Results:
    """What a network says of images, on its way into the file `output` (.csv, .jsonl or .parquet).

    Until `write` has written it, all answers lie in `output`.partial, which a later run of the same weights and options takes
    up with `resume`. `todo` are the images to be answered, `kept` is how many had been. Raises ValueError for another ending,
    and as `Resumable` does for what an interrupted run has left; OSError.

    >>> with Results(minivan.load(), find_images(["photos"]), "results.csv") as results:  # doctest: +SKIP
    ...     for answer in results.answers():
    ...         print(answer)
    ...     results.write()
    """

    def __init__(
        self,
        model: VAN,
        images: Iterable[Found],
        output: str | os.PathLike[str],
        top_k: int = 5,
        how: Reading | None = None,
        resume: bool = False,
    ) -> None:
        table.check(output)
        self.output, self.top_k, self.how = output, top_k, how
        self.about = about(model, top_k, how)
        self.run = Resumable(output, self.about, images, is_row, resume)
        self.todo, self.kept = self.run.todo, self.run.kept
        self.model = self.run.settled(model)

    def answers(self, batch_size: int | None = None, threads: int | None = None) -> Iterator[Answer | Unusable]:
        """Yield what `minivan.predict.answers` does for the images to be answered, each as soon as its row is kept."""

        def work(images: Iterator[Found]) -> Iterator[Answer | Unusable]:
            return answers(self.model, images, self.top_k, threads=threads, how=self.how, batch_size=batch_size)

        return self.run.each(work, lambda answer: row(answer, self.model))

    def write(self) -> None:
        """Write the file, whole; nothing else is left then. Raises OSError where that cannot be: then all answers stay."""
        table.write(self.output, self.run.rows(), min(self.top_k, self.model.config.classes), self.about)
        self.run.end()

    def __enter__(self) -> Results:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.run.close()


def row(answer: Answer | Unusable, model: VAN) -> dict[str, Any]:
    """Return an answer as JSON knows it, with the fault that it has not; for an image without one, the fault alone."""
    if isinstance(answer, Answer):
        return {**answer.as_dict(), "fault": None}
    card = model.card
    return {
        "image": answer.image, "model": card.name, "engine": model.engine.name, "milliseconds": None, "top": [], "sure": None,
        "version": card.version, "activation": card.activation, "notes": [], "fault": answer.fault,
    }  # fmt: skip


def is_row(said: dict[str, Any]) -> bool:
    """Tell whether what a journal says is an answer as `row` returns it, whatever else wrote that line."""
    texts = all(isinstance(said.get(name), str) for name in ("model", "version", "engine", "activation"))
    top, notes = said.get("top"), said.get("notes")
    listed = isinstance(top, list) and isinstance(notes, list) and all(isinstance(note, str) for note in notes)
    sure = said.get("sure") is None or isinstance(said["sure"], bool)
    return texts and listed and sure and _is_number(said.get("milliseconds")) and all(map(_is_guess, top or ()))


def _is_guess(said: object) -> bool:
    named = isinstance(said, dict) and all(isinstance(said.get(name), str) for name in ("wnid", "label"))
    return isinstance(said, dict) and named and type(said.get("index")) is int and _is_number(said.get("probability"))


def _is_number(said: object) -> bool:
    return isinstance(said, (int, float)) and abs(said) < MOST


def about(model: VAN, top_k: int, how: Reading | None) -> dict[str, Any]:
    """Return all that decides what an answer is, but for the image."""
    from ..image import Reading

    card = model.card
    labels = hashlib.sha256(json.dumps(card.labels).encode()).hexdigest()
    options = {
        "engine": model.engine.name, "top_k": top_k, "activation": card.activation, "not_sure": card.not_sure,
        "labels": labels, "reading": (how or Reading())._asdict(),
    }  # fmt: skip
    return plain({"minivan": "answers", "version_of_minivan": __version__, **identity(model), **options})
