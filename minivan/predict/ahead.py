"""Images decoded and prepared in other threads, ahead of the network, and handed to it in batches."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from .. import processors
from ..errors import reason
from .images import Found
from .sources import Given
from .threads import Budget, Job, Threads

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL import Image

    from ..card import Preprocessing
    from ..image import Bands, Reading, Source

Item = TypeVar("Item")

WAITING = 256 << 20  # bytes of images that wait for the network, or make up a batch


class Prepared(NamedTuple):
    """One image as the network takes it, or the reason why it cannot be used."""

    name: str
    x: npt.NDArray[np.float32] | None  # (C, crop, crop); None where there is a fault
    fault: str
    seconds: float  # spent on reading, decoding and preparing
    notes: tuple[str, ...] = ()  # what a person should know of how it was read
    thumbnail: bytes = b""  # a small JPEG of what the network sees, where that was asked for


def prepare_ahead(
    images: Iterable[Found | Given],
    preprocessing: Preprocessing,
    *,
    ahead: int = 16,
    threads: int | None = None,
    how: Reading | None = None,
    thumbnails: bool = False,
) -> Iterator[Prepared]:
    """Yield the images in order, prepared, with up to `ahead` more of them on the way in `threads` threads (all).

    They are read as `how` says, by default as `minivan.image.decode` does. `thumbnails` has each keep a small picture.

    What is wrong with an image becomes its fault; nothing is raised for it. That it takes longer than minivan.image.LONGEST
    seconds to read and decode is such a fault too: its thread is left alone, and another one does the rest. Fewer images than
    `ahead` are on the way where they would hold more than 256 MiB. All that are being read and decoded hold at most
    minivan.image.LARGEST_HELD bytes: an image waits until its share is there, without the clock, and becomes a fault where
    none was given back for LONGEST seconds.
    """
    from ..image import LARGEST_HELD, LONGEST, Reading

    images = iter(images)
    work = Decoding(preprocessing, how or Reading(), Budget(LARGEST_HELD, LONGEST), thumbnails)
    pool = Threads(threads or processors.budget().threads, "decode")

    def begin(image: Found | Given) -> tuple[Found | Given, Job[Prepared], int]:
        if not image.waits:
            return image, pool.submit(lambda job: work.prepared(image, job)), 0
        start = time.perf_counter()
        try:
            data = image.source()  # in this thread: only the main one wakes from its wait when Ctrl-C is pressed
        except (ValueError, OSError) as error:
            there = Prepared(image.name, None, reason(error), time.perf_counter() - start)
            return image, Job(lambda job: there).run(), 0
        size = len(data) if isinstance(data, bytes) else 0
        return image, pool.submit(lambda job: work.prepared(image, job, data)), size

    waiting: deque[tuple[Found | Given, Job[Prepared], int]] = deque()
    most = at_once(preprocessing, ahead)

    def refill() -> None:
        while len(waiting) < most and sum(size for _, _, size in waiting) <= WAITING:
            if (image := next(images, None)) is None:
                return
            waiting.append(begin(image))

    try:
        refill()
        while waiting:
            image, job, _ = waiting.popleft()
            try:
                done = pool.result(job, LONGEST)
            except TimeoutError as error:
                done = Prepared(image.name, None, reason(error), float(LONGEST))
            refill()
            yield done
    finally:
        pool.close()


def at_once(preprocessing: Preprocessing, most: int) -> int:
    """Return how many prepared images may be held at once: `most`, or fewer where they are large, but one."""
    return max(1, min(most, WAITING // (4 * preprocessing.channels * preprocessing.crop**2)))


class Decoding:
    """How images are decoded and prepared, and what all of them together may hold."""

    def __init__(self, preprocessing: Preprocessing, how: Reading, budget: Budget, thumbnails: bool = False) -> None:
        self.preprocessing, self.how, self.budget, self.thumbnails = preprocessing, how, budget, thumbnails

    def prepared(self, image: Found | Given, job: Job[Prepared], data: Source | None = None) -> Prepared:
        """Read (unless `data` is what it holds), decode and prepare one image; what is wrong with it becomes its fault."""
        if image.fault:
            return Prepared(image.name, None, image.fault, 0.0)
        start = time.perf_counter()
        x, fault, notes, small = None, "", tuple[str, ...](), b""
        job.begin()
        try:
            x, notes, small = self._prepared(image, job, data)
        except (ValueError, OSError) as error:
            fault = reason(error)
        return Prepared(image.name, x, fault, time.perf_counter() - start, notes, small)

    def _prepared(
        self, image: Found | Given, job: Job[Prepared], data: Source | None
    ) -> tuple[npt.NDArray[np.float32], tuple[str, ...], bytes]:
        """What the walk holds is taken before the file is read. Where decoding takes more than is left, all is let go first."""
        from ..image import examine, normalise, view, viewed, walked

        settings = self.preprocessing
        shorter = settings.resize if self.how.draft else 0
        amount = walked(len(data) if isinstance(data, bytes) else image.size)
        while True:
            with contextlib.ExitStack() as stack:
                with job.paused():
                    change = stack.enter_context(self.budget.of(amount))
                examined = examine(image.source() if data is None else data, settings.channels, shorter)
                width, height, planes = examined.look.width, examined.look.height, examined.planes
                both = max(viewed(width, height, settings, planes), viewed(height, width, settings, planes))
                needed = max(examined.look.held, both)
                if change(needed):
                    seen = view(examined.decode(self.how), settings)
                    x = normalise(seen, settings.mean, settings.std)
                    return x, tuple(examined.notes), _small(seen) if self.thumbnails else b""
                del examined  # the file is read anew after the wait
            amount = max(amount, needed)


def _small(seen: Image.Image | Bands) -> bytes:
    from .display import thumbnail  # nobody else needs it

    return thumbnail(seen)


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield lists of up to `size` items."""
    items = iter(items)
    while batch := list(itertools.islice(items, size)):
        yield batch
