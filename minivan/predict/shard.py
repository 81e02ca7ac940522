"""A long run in pieces that many processes share: what a piece is, and what one process does with it.

Nothing here knows who hands the pieces out. `Answering` is a function that travels by `pickle`: a pool of processes, Ray, Dask
or Spark may call it for each shard, in any order, and again where a process was lost. A shard's rows are one Parquet file,
which is there whole or not at all and says what made it: a shard that is done is not done again.
"""

from __future__ import annotations

import contextlib
import fnmatch
import glob
import hashlib
import importlib
import itertools
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from ..errors import reason
from ..places import Places, expand, has_magic
from . import storage, table
from .ahead import batches
from .answers import answers
from .identity import plain
from .images import Found, find_images
from .journal import stamp
from .results import about, row

if TYPE_CHECKING:
    from ..image import Reading
    from ..van import VAN

IMAGES_PER_SHARD = 1000  # of those that lie in no .tar
NAMED = 5  # images of a shard that could not be used, which its outcome names
Write = Callable[[BinaryIO, Mapping[str, Any]], None]


class Item(NamedTuple):
    """One image of a shard."""

    name: str  # as rows call it: as the user does
    image: Found  # as any process of any machine that has the file finds it
    label: str = ""  # what its dataset calls its class


@dataclass(frozen=True)
class Shard:
    """A piece of a run: the images of a .tar, or some that lie elsewhere."""

    name: str  # as rows and messages call it
    tar: str = ""  # its path or address; '' where `items` says what the shard holds
    items: tuple[Item, ...] = ()

    @property
    def file(self) -> str:
        """The name of its rows' file: its own, made harmless, and what tells it from others of that name."""
        stem = re.sub(r"[^\w.-]+", "-", PurePosixPath(self.name).name).strip("-.")[:80] or "shard"
        return f"{stem}-{hashlib.sha256(os.fsencode(self.name)).hexdigest()[:8]}.parquet"

    def stamp(self) -> list[int] | str | None:
        """Return what changes where its images do: a .tar's size and time of change, or a digest of those of all its images."""
        if self.tar:
            return storage.status(self.tar)
        digest = hashlib.sha256()
        for name, image, label in self.items:
            stored = image.member if isinstance(image.member, storage.Stored) else None
            known = [stored.size, stored.changed] if stored else stamp(image)
            digest.update(json.dumps([name, label, known]).encode())
        return digest.hexdigest()

    @contextlib.contextmanager
    def opened(self, list_tar: Callable[[str], Sequence[Item]]) -> Iterator[Sequence[Item]]:
        """Give its images; `list_tar` lists those of a .tar on this machine. One that cannot be fetched is an image's fault."""
        if not self.tar:
            yield self.items
            return
        with contextlib.ExitStack() as stack:
            try:
                path = stack.enter_context(storage.local(self.tar))
            except (OSError, ValueError) as error:
                yield [Item(self.name, Found(self.name, f"the archive cannot be read: {reason(error)}"))]
                return
            yield list_tar(path)


@dataclass(frozen=True)
class Outcome:
    """What became of a shard."""

    shard: str
    file: str  # of its rows
    images: int
    failed: int  # of them
    faults: tuple[tuple[str, str], ...]  # images and why they cannot be used, the first of them
    kept: bool  # whether its rows were there already
    seconds: float


def find_shards(
    paths: Iterable[str | os.PathLike[str]], channels: int = 3, images_per_shard: int = IMAGES_PER_SHARD
) -> list[Shard]:
    """Return the pieces that paths and addresses make, in their order.

    Each .tar is a shard, be it a path, an address ('s3://bucket/000.tar'), or one of those that '{000..099}' or `*` in the last
    part of its name stands for. All other images, those that `find_images` finds and those below the address of a folder, are
    cut, in their order, into shards of `images_per_shard`. No image is read, and no .tar opened. Raises ValueError for standard
    input and for addresses where no image is, OSError where one cannot be listed.
    """
    found: list[Shard] = []
    loose: list[str] = []

    def cut() -> None:
        for number, group in enumerate(batches(_loose(loose, channels), images_per_shard), start=1):
            found.append(Shard(f"{storage.bare(loose[0])}, part {number}", items=tuple(group)))
        loose.clear()

    for path in dict.fromkeys(part for given in paths for source in _expanded(os.fspath(given)) for part in matching(source)):
        if path.lower().partition("?")[0].endswith(".tar") and (storage.is_address(path) or os.path.isfile(path)):
            cut()
            found.append(Shard(storage.bare(path), storage.absolute(path)))
        else:
            loose.append(path)
    cut()
    return found


def _expanded(path: str) -> list[str]:
    return [path] if os.path.lexists(path) else expand(path)


def matching(source: str) -> list[str]:
    """Return the .tar files that a pattern stands for; any other path or address by itself. Raises ValueError, OSError."""
    if storage.is_address(source):
        address, mark, settings = source.partition("?")
        folder, _, name = address.rpartition("/")
        if "*" not in name:
            return [source]
        wanted = re.compile(fnmatch.translate("*".join(map(glob.escape, name.split("*")))))  # many stars cost it no more
        names = (each for each, _ in storage.listed(folder + mark + settings) if "/" not in each)
        there = [each for each in names if wanted.match(each)]
        if not there:
            raise ValueError(f"{storage.bare(source)}: nothing there has such a name")
        return [storage.within(folder + mark + settings, each) for each in there]
    if not os.path.lexists(source) and source.lower().endswith(".tar") and has_magic(source):
        return Places().matching(source) or [source]
    return [source]


def _loose(paths: Iterable[str], channels: int) -> Iterator[Item]:
    """Yield the images that paths and addresses name, none of which is a .tar."""
    for stored, group in itertools.groupby(paths, storage.is_address):
        if stored:
            for address in group:
                yield from (Item(image.name, image) for _, image in stored_images(address))
            continue
        for image in find_images(group, channels):
            if image.waits:
                raise ValueError(f"{image.name}: other processes cannot read it: give files, folders or archives")
            yield Item(image.name, elsewhere(image))


def stored_images(address: str) -> Iterator[tuple[str, Found]]:
    """Yield the images below a folder's address, each with its path from there. ValueError where there are none, OSError."""
    from ..image import SUFFIXES

    inside = [(name, file) for name, file in storage.listed(address) if name.lower().endswith(SUFFIXES)]
    if not inside:
        raise ValueError(f"{storage.bare(address)}: no images there (looked for {' '.join(SUFFIXES)})")
    for name, file in inside:
        shown = storage.bare(storage.within(address, name))
        yield name, Found(shown, "", file)


def elsewhere(image: Found) -> Found:
    """Return an image as a process finds it whose current folder is another."""
    if image.member is None:
        return image._replace(name=os.path.abspath(image.name))
    return image._replace(member=replace(image.member, archive=storage.absolute(image.member.archive)))


class Answering:
    """What one process does with a shard: it answers its images, and writes their rows into a file of the folder `output`.

    It is a function that pickles: the model travels as its numbers, and is made ready once where it arrives. Raises
    ValueError for weights without classes and a `top_k` below 1; arguments are those of `minivan.predict.answers`.

    >>> work = Answering(minivan.load(), "rows")  # doctest: +SKIP
    >>> with multiprocessing.get_context("spawn").Pool(2) as pool:  # doctest: +SKIP
    ...     print(pool.map(work, find_shards(["photos"])))
    """

    def __init__(
        self,
        model: VAN,
        output: str | os.PathLike[str],
        top_k: int = 5,
        *,
        how: Reading | None = None,
        batch_size: int | None = None,
        threads: int | None = None,
    ) -> None:
        answers(model, [], top_k)  # which says what is wrong with the call
        self.model, self.top_k, self.how = model, top_k, how
        self.batch_size, self.threads = batch_size, threads
        self.folder = storage.Folder(output)
        self.about = about(model, top_k, how)

    def __call__(self, shard: Shard) -> Outcome:
        """Answer a shard's images; nothing is done where its rows are there. OSError where they cannot be written."""

        def write(file: BinaryIO, said: Mapping[str, Any]) -> None:
            with shard.opened(lambda path: self._listed(shard, path)) as items:
                found = answers(
                    self.model, (item.image for item in items), self.top_k, threads=self.threads, how=self.how,
                    batch_size=self.batch_size,
                )  # fmt: skip
                rows = ({**row(answer, self.model), "image": item.name} for item, answer in zip(items, found, strict=True))
                table.write_rows(file, rows, min(self.top_k, self.model.config.classes), said)

        return fill(self.folder, shard, self.about, write)

    def _listed(self, shard: Shard, path: str) -> list[Item]:
        """Return what `classify` finds in a .tar; names begin with the shard's."""
        images = find_images([path], self.model.config.channels)
        return [Item(shard.name + image.name.removeprefix(path), image) for image in images]


def fill(folder: storage.Folder, shard: Shard, said: Mapping[str, Any], write: Write) -> Outcome:
    """Have `write` write a shard's rows into its file of a folder, with all that `said` says, and return what became of it.

    It is not called where they are there already, made by the same and of the same images; a shard of which no image could be
    used is tried again. Raises what `write` does, and OSError.
    """
    start = time.perf_counter()
    wanted = plain({**said, "shard": shard.name, "stamp": shard.stamp()})
    before = read(folder, shard.file)
    if before and before.said.items() >= wanted.items() and not 0 < before.images == len(before.faults):
        return _outcome(shard, before, True, start)
    with folder.replacing(shard.file) as file:
        write(file, wanted)
    written = read(folder, shard.file)
    if written is None:
        raise OSError(f"{folder}: what was written there, {shard.file}, is gone")
    return _outcome(shard, written, False, start)


class Written(NamedTuple):
    """A shard's file, as it lies there."""

    said: dict[str, Any]
    images: int
    faults: list[tuple[str, str]]


def read(folder: storage.Folder, name: str) -> Written | None:
    """Return what a shard's file says; None where there is none, or something else has its name."""
    parquet = importlib.import_module("pyarrow.parquet")
    try:
        with folder.opened(name) as file:
            opened = parquet.ParquetFile(file)
            said = json.loads(opened.schema_arrow.metadata[b"minivan"])
            faults = [
                (each["image"] or "", each["fault"])
                for batch in table.stored_batches(opened, ["image", "fault"])
                for each in batch.filter(batch.column("fault").is_valid()).to_pylist()
            ]
            return Written(said, opened.metadata.num_rows, faults)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):  # damaged, or none of minivan's: it is written anew
        return None


def _outcome(shard: Shard, found: Written, kept: bool, start: float) -> Outcome:
    seconds, faults = time.perf_counter() - start, found.faults
    return Outcome(shard.name, shard.file, found.images, len(faults), tuple(faults[:NAMED]), kept, seconds)
