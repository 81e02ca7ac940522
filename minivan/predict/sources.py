"""From what a program hands over to images: paths, bytes, open files, pictures of Pillow's and arrays, one or many."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from .. import input
from .images import STANDARD_INPUT, Found

if TYPE_CHECKING:
    from ..image import Source

NO_FOLDER = "; minivan.predict.classify(model, path) goes through folders"
NO_DOWNLOAD = "an address, and minivan downloads no photos: hand over what it gives, as bytes"


class Given(NamedTuple):
    """One image that is no path: what holds it, and what answers call it."""

    name: str
    image: Source
    fault: str = ""
    size: int = 0  # bytes of a file that would be read

    @property
    def waits(self) -> bool:
        """Whether it is an open file, which is read by the thread that hands it over."""
        return hasattr(self.image, "read")

    def source(self) -> Source:
        """Return the image; what an open file holds, at most minivan.image.LARGEST_FILE bytes. Raises OSError."""
        from ..image import read_source

        return read_source(self.image) if self.waits else self.image


def given(sources: Iterable[Source]) -> list[Found | Given]:
    """Return the images that `sources` are, in order. Raises TypeError for what is none: see `minivan.image.Source`."""
    from ..image import check_source

    sources = list(sources)
    for source in sources:
        check_source(source)
    _loaded_once(sources)
    return [_given(source, number if len(sources) > 1 else None) for number, source in enumerate(sources)]


def _loaded_once(sources: list[Source]) -> None:
    """Have pictures decoded that are there several times: no two threads may decode one."""
    seen = set[int]()
    for source in sources:
        if id(source) in seen and hasattr(source, "load"):
            try:
                source.load()
            except Exception:
                continue
        seen.add(id(source))


def _given(source: Source, number: int | None) -> Found | Given:
    if isinstance(source, (str, os.PathLike)):
        path = os.fsdecode(source)
        if path == STANDARD_INPUT:  # a program that means it hands over sys.stdin.buffer
            path = os.path.join(os.curdir, path)
        return Found(path, _fault(path))
    for name in (getattr(source, attribute, "") for attribute in ("filename", "name")):
        if name and isinstance(name, str):
            return Given(name, source)
    return Given("photo" if number is None else f"photo[{number}]", source)


def _fault(path: str) -> str:
    fault = input.fault(path, pipe=True)
    if fault and "://" in path:
        return NO_DOWNLOAD
    return fault + (NO_FOLDER if fault and os.path.isdir(path) else "")
