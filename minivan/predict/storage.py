"""Folders of this machine and of object storage: what lies there is listed, read, and written whole.

An address has a scheme that pyarrow knows, such as s3://bucket/photos or gs://bucket/photos; everything else is a path.
Passwords and settings in an address (s3://key:secret@bucket, ?region=...) are used, and appear in no row and no message.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO

from .. import input
from ..errors import reason
from ..output import replacing
from ..places import Places
from .archives import Member
from .table import pyarrow

ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)  # a scheme of one letter is a drive
SECRET = re.compile(r"(?<=://)[^/?]*@|\?.*$")  # a user and his password, settings


def is_address(path: str) -> bool:
    """Tell whether a text is an address on storage, and no path."""
    return ADDRESS.match(path) is not None


def bare(address: str) -> str:
    """Return an address without passwords and settings, or a path as it is.

    >>> bare("s3://key:secret@photos/2024/a.tar?region=eu"), bare("photos/why?.jpg")
    ('s3://photos/2024/a.tar', 'photos/why?.jpg')
    """
    return SECRET.sub("", address) if is_address(address) else address


def absolute(path: str) -> str:
    """Return a path as every process of this machine may use it, or an address as it is."""
    return path if is_address(path) else os.path.abspath(path)


def within(folder: str, name: str) -> str:
    """Return the path or address of a name in a folder."""
    if not is_address(folder):
        return os.path.join(folder, name)
    address, settings, rest = folder.partition("?")
    return f"{address.rstrip('/')}/{name}{settings}{rest}"


@functools.lru_cache(maxsize=64)
def _system(address: str) -> tuple[Any, str]:
    """Return pyarrow's file system of an address, and the path there. Raises ValueError where it knows none."""
    pyarrow()
    fs = importlib.import_module("pyarrow.fs")
    try:
        system, path = fs.FileSystem.from_uri(address)
    except Exception as error:  # pyarrow's own kinds, of several bases
        raise ValueError(f"{bare(address)}: no storage that pyarrow opens: {_said(error, address)}") from None
    return system, str(path)


@contextlib.contextmanager
def _named(address: str) -> Iterator[None]:
    """Have an OSError of pyarrow's name the address, and none of its secrets."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno or 5, _said(error, address), bare(address)) from None


def _said(error: BaseException, address: str) -> str:
    return reason(error).replace(address, bare(address))


@dataclass(frozen=True)
class Stored(Member):
    """A file on storage, read as one in an archive is: `archive` is the address of a folder, `name` the path on its system."""

    changed: int = 0  # ns

    def first(self, count: int) -> bytes:
        """Return its first bytes, so many or all."""
        system, _ = _system(self.archive)
        with _named(self.archive), system.open_input_stream(self.name) as file:
            found = io.BytesIO()
            while (left := count - found.tell()) > 0 and (part := file.read(min(left, input.CHUNK))):
                found.write(part)
            return found.getvalue()


def listed(address: str) -> list[tuple[str, Stored]]:
    """Return the files below a folder's address, sorted, each with its path from there; OSError where it cannot be read."""
    system, path = _system(address)
    fs = importlib.import_module("pyarrow.fs")
    with _named(address):
        found = system.get_file_info(_below(path) if system.type_name == "local" else fs.FileSelector(path, recursive=True))
    files = (each for each in found if each.is_file)
    named = [(str(PurePosixPath(each.path).relative_to(path)), each) for each in files]
    return sorted(
        (name, Stored(address, each.path, 0, each.size, each.size, changed=each.mtime_ns or 0)) for name, each in named
    )


def _below(folder: str) -> list[str]:
    """Return the files below a folder of this machine, file:///photos: pyarrow would follow links that lead back, for ever."""
    places = Places()
    found = list(places.files(folder))
    for _, error in places.faults:
        raise error
    return found


def status(path: str) -> list[int] | None:
    """Return a file's size in bytes and when it was changed, in ns; None where it cannot be asked for."""
    try:
        if not is_address(path):
            found = os.stat(path)
            return [found.st_size, found.st_mtime_ns]
        system, place = _system(path)
        there = system.get_file_info(place)
        return [there.size, there.mtime_ns or 0] if there.is_file else None
    except (OSError, ValueError):
        return None


@contextlib.contextmanager
def local(path: str) -> Iterator[str]:
    """Give the path of a file on this machine: its own, or that of a copy which is gone when the block ends. Raises OSError."""
    if not is_address(path):
        yield path
        return
    system, place = _system(path)
    with tempfile.TemporaryDirectory(prefix="minivan-") as folder:
        copy = os.path.join(folder, PurePosixPath(place).name)
        with _named(path), system.open_input_stream(place) as source, open(copy, "wb") as target:
            shutil.copyfileobj(source, target, input.CHUNK)
        yield copy


class Folder:
    """A folder for files that appear whole or not at all, on this machine or on storage."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = absolute(os.fspath(path))

    def __str__(self) -> str:
        return bare(self.path)

    def names(self) -> list[str]:
        """Return what it holds, sorted; nothing where it is not there. Raises OSError where something else is."""
        if not is_address(self.path):
            return sorted(os.listdir(self.path)) if os.path.lexists(self.path) else []
        system, place = _system(self.path)
        fs = importlib.import_module("pyarrow.fs")
        with _named(self.path):
            found = system.get_file_info(fs.FileSelector(place, allow_not_found=True))
        return sorted(each.base_name for each in found)

    @contextlib.contextmanager
    def opened(self, name: str) -> Iterator[IO[bytes]]:
        """Give a file of it, open for reading; OSError where there is none."""
        if is_address(self.path):
            system, place = _system(self.path)
            with _named(within(self.path, name)):
                file = system.open_input_file(f"{place}/{name}")
        else:
            file = input.opened(os.path.join(self.path, name))
        with file:
            yield file

    @contextlib.contextmanager
    def replacing(self, name: str) -> Iterator[BinaryIO]:
        """Give a file that takes the name when the block ends well, as `minivan.output.replacing` does."""
        if not is_address(self.path):
            Path(self.path).mkdir(parents=True, exist_ok=True)
            with replacing(os.path.join(self.path, name)) as whole:
                yield whole
            return
        with tempfile.TemporaryFile() as file:
            yield file
            file.seek(0)
            system, place = _system(self.path)
            unfinished = f"{place}/.{name}.{os.urandom(4).hex()}.part"  # what fails midway would else be taken for the whole
            with _named(within(self.path, name)):
                system.create_dir(place, recursive=True)
                with system.open_output_stream(unfinished) as target:
                    shutil.copyfileobj(file, target, input.CHUNK)
                system.move(unfinished, f"{place}/{name}")
