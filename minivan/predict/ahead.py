"""Images decoded and prepared in other threads, ahead of the network, and handed to it in batches."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

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
    from ..image import Bands, Examined, Reading, Source

Item = TypeVar("Item")
Ready = TypeVar("Ready")  # what is made of an image, or says why nothing is

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
    return decode_ahead(images, Squares(preprocessing, how, thumbnails), at_once(preprocessing, ahead), threads)


def decode_ahead(
    images: Iterable[Found | Given], work: Decoding[Ready], ahead: int, threads: int | None = None
) -> Iterator[Ready]:
    """Yield what `work` makes of the images, in order, as `prepare_ahead` does: at least one of them is on the way."""
    from ..image import LONGEST

    images = iter(images)
    pool = Threads(threads or processors.budget().threads, "decode")

    def begin(image: Found | Given) -> tuple[Found | Given, Job[Ready], int]:
        if not image.waits:
            return image, pool.submit(lambda job: work.prepared(image, job)), 0
        start = time.perf_counter()
        try:
            data = image.source()  # in this thread: only the main one wakes from its wait when Ctrl-C is pressed
        except (ValueError, OSError) as error:
            there = work.failed(image.name, reason(error), time.perf_counter() - start)
            return image, Job(lambda job: there).run(), 0
        size = len(data) if isinstance(data, bytes) else 0
        return image, pool.submit(lambda job: work.prepared(image, job, data)), size

    waiting: deque[tuple[Found | Given, Job[Ready], int]] = deque()

    def refill() -> None:
        while len(waiting) < ahead and sum(size for _, _, size in waiting) <= WAITING:
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
                done = work.failed(image.name, reason(error), float(LONGEST))
            del job  # which keeps what it has made
            refill()
            yield done
            del done  # before the next one is waited for
    finally:
        pool.close()


def at_once(preprocessing: Preprocessing, most: int) -> int:
    """Return how many prepared images may be held at once: `most`, or fewer where they are large, but one."""
    return max(1, min(most, WAITING // (4 * preprocessing.channels * preprocessing.crop**2)))


class Decoding(Generic[Ready]):
    """How images are decoded, and what all of them together may hold. What is made of one, a class derived from this says."""

    needed = 0  # pixels of a photo's shorter side that there is use for, where it may be decoded smaller; 0: all of them

    def __init__(self, channels: int, how: Reading | None = None) -> None:
        from ..image import LARGEST_HELD, LONGEST, Reading

        self.channels, self.how, self.budget = channels, how or Reading(), Budget(LARGEST_HELD, LONGEST)

    def ready(self, name: str, examined: Examined, start: float) -> Ready:
        """Decode one image, and return what is made of it; `start` is when its work began, by time.perf_counter."""
        raise NotImplementedError

    def failed(self, name: str, fault: str, seconds: float) -> Ready:
        """Return what stands in the place of an image that cannot be used."""
        raise NotImplementedError

    def held(self, examined: Examined) -> int:
        """Return the most bytes that `ready` holds once the picture is decoded, it among them."""
        raise NotImplementedError

    def prepared(self, image: Found | Given, job: Job[Ready], data: Source | None = None) -> Ready:
        """Read (unless `data` is what it holds), decode and prepare one image; what is wrong with it becomes its fault."""
        if image.fault:
            return self.failed(image.name, image.fault, 0.0)
        start = time.perf_counter()
        job.begin()
        try:
            return self._prepared(image, job, data, start)
        except (ValueError, OSError) as error:
            return self.failed(image.name, reason(error), time.perf_counter() - start)

    def _prepared(self, image: Found | Given, job: Job[Ready], data: Source | None, start: float) -> Ready:
        """What the walk holds is taken before the file is read. Where decoding takes more than is left, all is let go first."""
        from ..image import examine, walked

        shorter = self.needed if self.how.draft else 0
        amount = walked(len(data) if isinstance(data, bytes) else image.size)
        while True:
            with contextlib.ExitStack() as stack:
                with job.paused():
                    change = stack.enter_context(self.budget.of(amount))
                examined = examine(image.source() if data is None else data, self.channels, shorter)
                needed = max(examined.look.held, self.held(examined))
                if change(needed):
                    return self.ready(image.name, examined, start)
                del examined  # the file is read anew after the wait
            amount = max(amount, needed)


class Squares(Decoding[Prepared]):
    """Images as the square that a network sees of each."""

    def __init__(self, preprocessing: Preprocessing, how: Reading | None = None, thumbnails: bool = False) -> None:
        super().__init__(preprocessing.channels, how)
        self.preprocessing, self.thumbnails = preprocessing, thumbnails
        self.needed = preprocessing.resize

    def ready(self, name: str, examined: Examined, start: float) -> Prepared:
        from ..image import normalise, view

        settings = self.preprocessing
        seen = view(examined.decode(self.how), settings)
        x = normalise(seen, settings.mean, settings.std)
        small = _small(seen) if self.thumbnails else b""
        return Prepared(name, x, "", time.perf_counter() - start, tuple(examined.notes), small)

    def failed(self, name: str, fault: str, seconds: float) -> Prepared:
        return Prepared(name, None, fault, seconds)

    def held(self, examined: Examined) -> int:
        from ..image import viewed

        width, height, planes = examined.look.width, examined.look.height, examined.planes
        return max(viewed(*sides, self.preprocessing, planes) for sides in ((width, height), (height, width)))


def _small(seen: Image.Image | Bands) -> bytes:
    from .display import thumbnail  # nobody else needs it

    return thumbnail(seen)


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield lists of up to `size` items."""
    items = iter(items)
    while batch := list(itertools.islice(items, size)):
        yield batch
