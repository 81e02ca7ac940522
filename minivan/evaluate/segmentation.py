"""A segmentation network asked about photos whose pixels are labelled, and perhaps another engine beside it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import __version__
from ..card import SegmentationCard
from ..errors import quote, reason
from ..image import Reading, read_indices
from ..segmentation import Segmentation, SegmentationVAN, identity
from ..segmentation.predict import Scaled, Side, make_ready, on, scaled_ahead, segmented, settled
from .journal import opened
from .overlap import Mask, Overlap, counted
from .scenes import Scene, Scenes
from .statistics import Share

if TYPE_CHECKING:
    from ..engines import Engine

NO_LABEL = 255  # the index that every kind of mask has for a pixel of no class
LISTED = 10  # pairs of classes that a summary names
DIGITS = 16  # of a SHA-256: as many as tell two apart
Line = dict[str, Any]


@dataclass(frozen=True)
class PhotoCount:
    """What was counted of one photo."""

    pixels: int  # that have a class
    right: int
    ignored: int  # that have none
    same: int | None = None  # of all pixels, those that another engine answers alike; None without one


@dataclass(frozen=True)
class SegmentationEvaluation:
    """A network's answers to the pixels of N photos, in the order of their names."""

    dataset: str
    card: SegmentationCard
    model: str  # as a person reads it
    engine: str
    made_by: Mapping[str, Any]  # `minivan.segmentation.identity`
    names: Sequence[str]  # (N,)
    overlap: Overlap
    photos: Mapping[int, PhotoCount]  # place -> what was counted of it
    faults: Mapping[int, str]  # place -> why that photo, or its mask, could not be used
    seconds: float  # that reading and the network took together
    ignore: Sequence[int]  # indices in masks that count for nothing
    notes: Sequence[str] = ()  # what a person should know of how photos and masks were paired
    remarks: Mapping[int, Sequence[str]] = field(default_factory=dict)  # place -> what to know of how a photo was read
    against: str | None = None  # the engine that was compared with

    @property
    def ignored(self) -> int:
        """Pixels of the masks that count for nothing."""
        return sum(each.ignored for each in self.photos.values())

    @property
    def agreement(self) -> Share | None:
        """The pixels of all photos to which the other engine gives the same class; None without one."""
        if self.against is None:
            return None
        return Share(sum(p.same or 0 for p in self.photos.values()), sum(p.pixels + p.ignored for p in self.photos.values()))

    @property
    def photos_per_second(self) -> float:
        """Photos read and judged in a second; 0 where no time was taken."""
        return len(self.photos) / self.seconds if self.seconds > 0 else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return what was counted as JSON knows it."""
        found, agreement, named = self.overlap, self.agreement, self.overlap.names
        return {
            "dataset": self.dataset, "model": self.card.name, **self.made_by, "engine": self.engine, "photos": len(self.photos),
            "miou": found.miou, "accuracy": found.accuracy.rate, "mean_accuracy": found.mean_accuracy,
            "pixels": found.accuracy.of, "right": found.accuracy.count, "ignored": self.ignored, "ignore": [*self.ignore],
            "classes": [each.as_dict() for each in found.per_class], "confusion": found.confusion.tolist(),
            "confused": [
                {"class": named[right], "taken_for": named[answer], "pixels": pixels}
                for right, answer, pixels in found.confused[:LISTED]
            ],
            "seconds": round(self.seconds, 3), "photos_per_second": round(self.photos_per_second, 1),
            "failed": [{"path": self.names[i], "fault": fault} for i, fault in sorted(self.faults.items())],
            "against": agreement and {"name": self.against, "same": agreement.as_dict()},
        }  # fmt: skip


def evaluate_segmentation(
    model: SegmentationVAN,
    scenes: Scenes,
    *,
    against: str | Engine | None = None,
    side: Side = None,
    journal: str | os.PathLike[str] | None = None,
    threads: int | None = None,
    how: Reading | None = None,
    advance: Callable[[int], object] = lambda photos: None,
) -> SegmentationEvaluation:
    """Ask a model about every pixel of photos that have masks, and count what is right.

    `scenes` is from `open_scenes`. A mask has the index of a class at each pixel, and the photo's own size. Pixels of the
    indices that `scenes` ignores count for nothing, nor do those of 255 where that is no class. A photo that cannot be used, or
    whose mask cannot, is counted among `faults`. `against` is another engine that is asked about the same photos. `journal` is
    a folder in which each photo is noted as it is done, so that the same call goes on where an interrupted one ended. The rest
    is that of `minivan.segmentation.segmentations`; `advance` is told how many more photos are done.

    Raises ValueError for a mask with an index that is no class and is not ignored, for a `journal` of another evaluation, and
    where no photo could be judged; OSError where a file cannot be read or written.
    """
    model = settled(model)
    other = None if against is None else settled(on(model, against))
    left_out = tuple(sorted({*scenes.ignore, *([NO_LABEL] if model.config.classes + scenes.from_one <= NO_LABEL else [])}))
    work = Work(model, scenes.scenes, left_out, scenes.from_one, other, side, how or Reading())
    with contextlib.ExitStack() as stack:
        kept = None
        if journal is not None:
            if os.path.lexists(journal) and not os.path.isdir(journal):
                raise ValueError(f"{os.fspath(journal)}: a folder is wanted here, and something else has this name")
            Path(journal).mkdir(parents=True, exist_ok=True)
            kept, done = stack.enter_context(opened(Path(journal), work.identity()))
            work.restore(done)
            advance(len(work.photos))
        for line in work.run(threads):
            if kept is not None:
                kept.add(line)
            advance(1)
    if not work.photos:
        why = next(f"{quote(work.names[place])}: {fault}" for place, fault in work.faults.items())
        raise ValueError(f"{scenes.name}: no photo could be judged: {why}")
    if not work.confusion.any():
        raise ValueError(f"{scenes.name}: no pixel of any mask has a class: all are of the indices that count for nothing")
    names = tuple(model.card.label(index) for index in range(model.config.classes))
    return SegmentationEvaluation(
        scenes.name, model.card, str(model), model.engine.name, identity(model), work.names, Overlap(work.confusion, names),
        work.photos, work.faults, work.seconds, left_out, scenes.notes, work.remarks, str(other.engine) if other else None,
    )  # fmt: skip


@dataclass
class Work:
    """The photos that are to be judged, and what is known of them so far."""

    model: SegmentationVAN
    scenes: Sequence[Scene]
    ignore: tuple[int, ...]
    from_one: bool
    other: SegmentationVAN | None
    side: Side
    how: Reading
    photos: dict[int, PhotoCount] = field(default_factory=dict)
    faults: dict[int, str] = field(default_factory=dict)
    remarks: dict[int, Sequence[str]] = field(default_factory=dict)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.names = [scene.name for scene in self.scenes]
        self.confusion = np.zeros((self.model.config.classes,) * 2, np.int64)

    def identity(self) -> dict[str, Any]:
        """Return what another evaluation differs in: what each part is called -> a value."""
        digest = hashlib.sha256()
        for scene in self.scenes:
            digest.update(f"{scene.name}\0{scene.photo.size}\0{scene.mask.size}\n".encode("utf-8", "surrogatepass"))
        return {
            "version_of_minivan": __version__,
            "dataset": f"{len(self.scenes)} photos and masks ({digest.hexdigest()[:DIGITS]})",
            **identity(self.model),
            "engine": self.model.engine.name,
            "side": self.side or self.model.card.side,
            "indices_that_count_for_nothing": [*self.ignore],
            "masks_from_one": self.from_one,
            "reading_of_photos": self.how._asdict(),
            "comparison": self.other and str(self.other.engine),
        }

    def restore(self, lines: Iterable[Line]) -> None:
        """Take over what a journal says; photos that could not be used are tried again. ValueError for a line of no photo."""
        for line in lines:
            try:
                if "fault" not in line:
                    self._take(line)
            except (KeyError, TypeError, IndexError, ValueError, OverflowError):
                foreign = f"the journal has a line of no photo here, {quote(str(line))}: remove its folder to begin anew"
                raise ValueError(foreign) from None

    def _take(self, line: Line) -> None:
        """Add one line of a journal to what is known; the first of a photo is its own."""
        place = range(len(self.scenes))[line["image"]]
        if place in self.photos or place in self.faults:
            return
        if "fault" in line:
            self.faults[place] = str(line["fault"])
            return
        matrix = np.zeros_like(self.confusion)
        for right, answer, pixels in line["pairs"]:
            if min(right, answer, pixels) < 0:
                raise ValueError
            matrix[right, answer] += pixels
        ignored, same, seconds = line["ignored"], line["same"], float(line["seconds"])
        if ignored < 0 or not 0 <= seconds < float("inf") or (same is None) != (self.other is None):
            raise ValueError
        self.photos[place] = PhotoCount(int(matrix.sum()), int(np.trace(matrix)), int(ignored), same)
        self.confusion += matrix
        self.seconds += seconds
        if line.get("notes"):
            self.remarks[place] = [str(remark) for remark in line["notes"]]

    def run(self, threads: int | None) -> Iterator[Line]:
        """Judge the photos that are not done; yield each one's line for the journal."""
        places = [place for place in range(len(self.scenes)) if place not in self.photos]
        if not places:
            return
        for model in filter(None, (self.model, self.other)):
            make_ready(model)
        photos = [self.scenes[place].photo for place in places]
        start = time.perf_counter()
        for place, seen in zip(places, scaled_ahead(self.model, photos, self.side, threads, self.how), strict=True):
            line = self._judged(place, seen, start)
            self._take(line)
            yield line
            start = time.perf_counter()

    def _judged(self, place: int, seen: Scaled, start: float) -> Line:
        """Return what is said of one photo as a line for the journal."""
        found = segmented(self.model, seen)
        if not isinstance(found, Segmentation):
            return {"image": place, "fault": found.fault}
        seconds = time.perf_counter() - start
        try:
            target = self._target(self.scenes[place], found.mask.shape)
        except (BadMask, OSError) as error:
            return {"image": place, "fault": f"its mask: {reason(error)}"}
        known = target >= 0
        matrix = counted(target[known], found.mask[known], len(self.confusion))
        pairs = [[int(i), int(j), int(matrix[i, j])] for i, j in zip(*np.nonzero(matrix), strict=True)]
        beside = segmented(self.other, seen) if self.other else None
        same = int((beside.mask == found.mask).sum()) if isinstance(beside, Segmentation) else None
        ignored = int(target.size - matrix.sum())
        return {"image": place, "pairs": pairs, "ignored": ignored, "same": same, "seconds": seconds, "notes": [*found.notes]}

    def _target(self, scene: Scene, shape: tuple[int, ...]) -> Mask:
        """Return a mask's classes, (H, W), -1 where a pixel counts for nothing."""
        if scene.mask.fault:
            raise BadMask(scene.mask.fault)
        try:
            values = read_indices(scene.mask.source())
        except ValueError as error:
            raise BadMask(reason(error)) from None
        if values.shape != shape:
            sizes = [f"{width} x {height}" for height, width in (values.shape, shape)]
            raise BadMask(f"{sizes[0]} pixels, and its photo has {sizes[1]}")
        target = values.astype(np.int64)
        nothing = np.isin(target, self.ignore)
        if self.from_one:
            nothing |= target == 0
            target -= 1
        target[nothing] = -1
        classes = len(self.confusion)
        if (most := int(target.max())) >= classes:
            index, pixels = most + self.from_one, int((target == most).sum())
            has = f"{self.model.card.name} has {classes} classes, {int(self.from_one)} to {classes - 1 + self.from_one}"
            raise ValueError(
                f"{scene.mask.name}: the index {index} in {pixels:,} pixels, and {has}: --ignore {index} leaves it out"
            )
        return target


class BadMask(Exception):
    """A mask that cannot be used; the message says why."""
