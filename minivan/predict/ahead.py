"""Images decoded and prepared in other threads, ahead of the network, and handed to it in batches."""

from __future__ import annotations

import itertools
import os
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from .images import Found

if TYPE_CHECKING:
    import numpy as np


class Prepared(NamedTuple):
    """One image as the network takes it, or the reason why it cannot be used."""

    name: str
    x: np.ndarray | None  # float32 (3, crop, crop)
    fault: str
    seconds: float  # spent on reading, decoding and preparing


def prepare_ahead(images: Iterable[Found], preprocessing, exif: bool, ahead: int, threads=None) -> Iterator[Prepared]:
    """Yield the images in order, prepared, with up to `ahead` more of them on the way in `threads` threads."""
    images = iter(images)
    with ThreadPoolExecutor(threads or os.cpu_count(), thread_name_prefix="decode") as pool:
        try:
            waiting = deque(pool.submit(prepared, image, preprocessing, exif) for image in itertools.islice(images, ahead))
            while waiting:
                done = waiting.popleft().result()
                waiting.extend(pool.submit(prepared, image, preprocessing, exif) for image in itertools.islice(images, 1))
                yield done
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def prepared(image: Found, preprocessing, exif: bool) -> Prepared:
    """Read, decode and prepare one image; what is wrong with it becomes its fault."""
    from minivan.image import prepare

    if image.fault:
        return Prepared(image.name, None, image.fault, 0.0)
    start = time.perf_counter()
    x, fault = None, ""
    try:
        x = prepare(image.source(), preprocessing, exif=exif)
    except (ValueError, OSError) as error:
        fault = getattr(error, "strerror", None) or str(error)
    return Prepared(image.name, x, fault, time.perf_counter() - start)


def batches(items: Iterable[Prepared], size: int) -> Iterator[list[Prepared]]:
    """Yield lists of up to `size` items."""
    items = iter(items)
    while batch := list(itertools.islice(items, size)):
        yield batch
