"""Photographs whose class is known, as a model's inputs: a folder of class folders, or a zip of one.

>>> from minivan import labelled
>>> x, targets = labelled.inputs("photos", model.card)          # photos/n07920052/cup.jpg, ...
>>> labelled.right(model(x), targets), len(x)                   # top-1; here of one photo
(1, 1)

A class folder has its class's WordNet id as its name. minivan comes with no labelled photographs: those that its recorded
figures are about belong to their authors. Its own tests and benchmarks look for them where MINIVAN_LABELLED says.
"""

from __future__ import annotations

import contextlib
import os
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from . import image, input
from .card import Card
from .errors import quote
from .places import Places

VARIABLE = "MINIVAN_LABELLED"
MISSING = (
    f"{VARIABLE} names no labelled photographs: download http://cs231n.stanford.edu/tiny-imagenet-200.zip, then in a clone "
    f"`python benchmarks/make_labelled.py tiny-imagenet-200.zip labelled.zip`, and set {VARIABLE}=labelled.zip"
)


def given() -> Path:
    """Return the zip or folder that MINIVAN_LABELLED names; ValueError, which says how to make one, where it is not set."""
    if not os.environ.get(VARIABLE):
        raise ValueError(MISSING)
    return Path(os.environ[VARIABLE])


def names(source: str | Path) -> list[str]:
    """Return the paths of the photographs in a folder of class folders, or in a zip of one, sorted: 'n07920052/cup.jpg'.

    Raises OSError where it cannot be read, ValueError where it is neither or has no photographs.
    """
    if Path(source).is_dir():
        places = Places()
        inside = [Path(path).relative_to(source).as_posix() for path in places.files(str(source)) if not input.fault(path)]
        if places.faults:
            raise places.faults[0][1]
    else:
        with _zip(source) as archive:
            inside = archive.namelist()
    found = sorted(name for name in inside if "/" in name and name.lower().endswith(image.SUFFIXES))
    if not found:
        raise ValueError(f"{source}: no photographs in class folders, such as n07920052/cup.jpg")
    return found


def wnid(name: str) -> str:
    """Return the class of a photograph: the name of the folder that it lies in."""
    return PurePosixPath(name).parent.name


def files(source: str | Path, wanted: Iterable[str]) -> Iterator[bytes]:
    """Yield the photographs of these names as they are, undecoded, each read when it is asked for. Raises as `names` does."""
    with _opened(source) as read:
        for name in wanted:
            yield read(name)


def inputs(
    source: str | Path, card: Card, wanted: Iterable[str] | None = None
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return photographs prepared as a model's card says, float32 (N, C, crop, crop), and their classes' indices, int64 (N,).

    `wanted` are names that `names` gave, all of them unless said. All N are held in memory: take many in parts. Raises as
    `names` does, minivan.image.ImageError for a photograph that cannot be used, and ValueError for a class that the card does
    not name.
    """
    wanted = names(source) if wanted is None else list(wanted)
    index = {label.wnid: i for i, label in enumerate(card.labels)}
    for name in wanted:
        if wnid(name) not in index:
            raise ValueError(f"{source}: {quote(wnid(name))} is none of the {len(index)} classes of {card.name}")
    side = card.preprocessing.crop
    prepared = np.empty((len(wanted), card.preprocessing.channels, side, side), np.float32)
    for i, file in enumerate(files(source, wanted)):
        try:
            prepared[i] = image.prepare(file, card.preprocessing)
        except image.ImageError as error:
            raise image.ImageError(f"{source}: {quote(wanted[i])}: {error}") from None
    return prepared, np.array([index[wnid(name)] for name in wanted], np.int64)


def right(logits: npt.ArrayLike, targets: npt.ArrayLike, k: int = 1) -> int:
    """Count the photographs, of logits (N, classes), whose class, of targets (N,), is among the k likeliest.

    Of equal logits the one with the lower index counts as the likelier.
    """
    likeliest = np.argsort(-np.asarray(logits), axis=1, kind="stable")[:, :k]
    return int((likeliest == np.asarray(targets)[:, None]).any(axis=1).sum())


@contextlib.contextmanager
def _opened(source: str | Path) -> Iterator[Callable[[str], bytes]]:
    """Open a source; give a function from a photograph's name to its bytes."""
    if Path(source).is_dir():
        yield lambda name: input.read(Path(source) / name, image.LARGEST_FILE, pipe=False)
        return
    with _zip(source) as archive:

        def read(name: str) -> bytes:
            try:
                with archive.open(name) as file:
                    return input.drained(file, image.LARGEST_FILE, name)
            except EOFError:
                raise ValueError(f"{source}: {quote(name)}: the zip file ends too early") from None
            except (
                zipfile.BadZipFile,
                zlib.error,
                KeyError,
                RuntimeError,
                NotImplementedError,
            ) as error:  # damaged, not there, encrypted
                raise ValueError(f"{source}: {quote(name)}: {error.args[0]}") from None

        yield read


@contextlib.contextmanager
def _zip(source: str | Path) -> Iterator[zipfile.ZipFile]:
    with input.opened(source) as file:
        try:
            archive = zipfile.ZipFile(file)
        except zipfile.BadZipFile:
            raise ValueError(f"{source}: neither a folder of class folders nor a zip of one") from None
        with archive:
            yield archive
