"""Images decoded and prepared in other threads, ahead of the network, and handed to it in batches."""

from __future__ import annotations

import itertools
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from ..errors import reason
from .images import Found

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from ..card import Preprocessing

Item = TypeVar("Item")


class Prepared(NamedTuple):
    """One image as the network takes it, or the reason why it cannot be used."""

    name: str
    x: npt.NDArray[np.float32] | None  # (3, crop, crop); None where there is a fault
    fault: str
    seconds: float  # spent on reading, decoding and preparing


def prepare_ahead(
    images: Iterable[Found], preprocessing: Preprocessing, exif: bool = True, ahead: int = 16, threads: int | None = None
) -> Iterator[Prepared]:
    """Yield the images in order, prepared, with up to `ahead` more of them on the way in `threads` threads (all).

    What is wrong with an image becomes its fault; nothing is raised for it.
    """
    from concurrent.futures import ThreadPoolExecutor  # it imports `logging`, which help must not wait for

    images = iter(images)
    with ThreadPoolExecutor(threads or os.cpu_count(), thread_name_prefix="decode") as pool:

        def begin(image: Found) -> Callable[[], Prepared]:
            if image.waits:  # read in this thread: only the main one wakes from its wait when Ctrl-C is pressed
                here = prepared(image, preprocessing, exif)
                return lambda: here
            return pool.submit(prepared, image, preprocessing, exif).result

        try:
            waiting = deque(map(begin, itertools.islice(images, max(1, ahead))))
            while waiting:
                done = waiting.popleft()()
                waiting.extend(map(begin, itertools.islice(images, 1)))
                yield done
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def prepared(image: Found, preprocessing: Preprocessing, exif: bool = True) -> Prepared:
    """Read, decode and prepare one image; what is wrong with it becomes its fault."""
    from ..image import prepare

    if image.fault:
        return Prepared(image.name, None, image.fault, 0.0)
    start = time.perf_counter()
    x, fault = None, ""
    try:
        x = prepare(image.source(), preprocessing, exif=exif)
    except (ValueError, OSError) as error:
        fault = reason(error)
    return Prepared(image.name, x, fault, time.perf_counter() - start)


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield lists of up to `size` items."""
    items = iter(items)
    while batch := list(itertools.islice(items, size)):
        yield batch
