"""A run over many images that may be interrupted: each image's row lies in a journal beside the file that all will become."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import quote
from ..output import place
from .identity import differing
from .images import Found
from .journal import Journal, Stamp, otherwise, stamp

if TYPE_CHECKING:
    from ..van import VAN

ENDING = ".partial"
STAMP = "stamp"  # the key of a row's image's size and time of change
NONE = -1  # where the row of an image lies that has none
Row = dict[str, Any]
Answered = TypeVar("Answered")


class Resumable:
    """Rows of images on their way into the file `target`, of which `about` says what makes them.

    With `resume` the rows of an interrupted run count for images that are here and still have the size and the time of change
    that they had; those of images that could not be used do not, nor does what `is_row` says to be none. `todo` are the images
    without a row, `kept` is how many have theirs from before, and `unused` how many rows are of images that are not here, or
    were changed. A row has `fault` where there is no answer.

    Raises ValueError where an interrupted run's rows lie here and are not to be resumed, where something else made them, or
    where all of them are unused; where another run writes them, or the journal's file is none; and OSError.
    """

    def __init__(
        self,
        target: str | os.PathLike[str],
        about: Mapping[str, Any],
        images: Iterable[Found],
        is_row: Callable[[Row], bool],
        resume: bool = False,
    ) -> None:
        end = place(target)
        self._is_row = is_row
        self.images = list(images)
        self.journal = Journal(end.with_name(end.name + ENDING), about)
        self._starts = array("q", [NONE]) * len(self.images)  # where each image's row lies in the journal
        self._worth = 0  # rows there that a later run could use
        try:
            self._take_up(resume)
        except BaseException:
            self.journal.close()
            raise
        self._left = array("q", (i for i, start in enumerate(self._starts) if start == NONE))
        self.kept = len(self.images) - len(self._left)
        self.unused = self._worth - self.kept

    def _take_up(self, resume: bool) -> None:
        """Find the images' rows in the journal."""
        usable = ((start, row) for start, row in self.journal.lines() if self._is_usable(row))
        if (first := next(usable, None)) is None:
            self.journal.restart()
            return
        path = self.journal.path
        if not resume:
            raise ValueError(f"{path} is what an interrupted run has done: --resume goes on with it, or delete it")
        if wrong := differing(self.journal.said, self.journal.about):
            how = otherwise(self.journal.said, self.journal.about, wrong)
            raise ValueError(f"{path} was begun {how}; delete it to begin anew")
        places = {_key(image.name, stamp(image)): i for i, image in enumerate(self.images)}
        for start, row in itertools.chain([first], usable):
            self._worth += 1
            if (i := places.get(_key(row.get("image"), row[STAMP]))) is not None:
                self._starts[i] = start
        if all(start == NONE for start in self._starts):
            name = quote(first[1].get("image"))
            raise ValueError(
                f"{path} has {self._worth:,} rows, none of an image that is here as it was ({name}): delete it to begin anew"
            )

    def _is_usable(self, row: Row) -> bool:
        return bool(row.get(STAMP)) and isinstance(row.get("image"), str) and not row.get("fault") and self._is_row(row)

    @property
    def todo(self) -> list[Found]:
        """The images that had no row at the beginning."""
        return [self.images[i] for i in self._left]

    def settled(self, model: VAN) -> VAN:
        """Return a model on the engine that 'auto' takes for all the images; where there are rows, on the `engine` of those.

        Where that was 'fast' and cannot be had any more, it is 'numpy'.
        """
        if model.engine.choose is None:
            return model
        from ..engines import WHOLE_NUMPY

        before = next(self.rows(), {}).get("engine")
        return model.on(WHOLE_NUMPY) if before == "numpy" else model.settled(None if before else len(self.images))

    @property
    def done(self) -> int:
        """How many images have a row by now that a later run would not make again."""
        return self._worth - self.unused

    def each(self, work: Callable[[Iterator[Found]], Iterator[Answered]], row: Callable[[Answered], Row]) -> Iterator[Answered]:
        """Yield what `work` makes of the images of `todo`, one for each in their order, as soon as its row is in the journal.

        Raises OSError where the disk is full.
        """
        begun = deque[tuple[int, Stamp | None]]()

        def stamped() -> Iterator[Found]:
            for i in self._left:
                begun.append((i, stamp(self.images[i])))  # before it is read: who changes it later makes it another
                yield self.images[i]

        for found in work(stamped()):
            i, when = begun.popleft()
            made = row(found)
            self._starts[i] = self.journal.add({**made, STAMP: when})
            self._worth += when is not None and not made["fault"]
            yield found

    def rows(self) -> Iterator[Row]:
        """Yield the rows in the images' order."""
        for row in self.journal.at(start for start in self._starts if start != NONE):
            del row[STAMP]
            yield row

    def end(self) -> None:
        """Remove the journal: what it was for is written."""
        self.journal.remove()

    def close(self) -> None:
        """Close the journal; one that no run could use is removed."""
        (self.journal.close if self._worth else self.journal.remove)()


def _key(name: object, stamp: object) -> bytes:
    """Return what an image is known by, in few bytes, so that a million of them take little memory."""
    return hashlib.blake2b(json.dumps([name, stamp]).encode("ascii"), digest_size=16).digest()
