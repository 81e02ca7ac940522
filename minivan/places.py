"""Folders walked through, each once, links to folders included: their files, and those that a pattern matches.

A folder is known by its device and inode. So links that lead back end there, and a pattern costs no more than its number of
parts times the folders that there are.
"""

from __future__ import annotations

import fnmatch
import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator

ANY_DEPTH = "**"
MAGIC = re.compile(r"[*?[]")
RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
MOST_SHARDS = 100_000

Identity = tuple[int, int]  # device and inode


def has_magic(path: str) -> bool:
    """Tell whether a path is a pattern."""
    return bool(MAGIC.search(path))


def expand(pattern: str) -> list[str]:
    """Return the paths that a pattern of WebDataset's stands for; a path without braces by itself.

    >>> expand("shard-{08..10}.tar")
    ['shard-08.tar', 'shard-09.tar', 'shard-10.tar']

    ValueError for a range that counts down, and for more than 100,000 paths.
    """
    parts = RANGE.split(pattern)  # text, first, last, text, first, last, ..., text
    ranges, count = list[list[str]](), 1
    for first, last in zip(parts[1::3], parts[2::3], strict=True):
        count *= int(last) - int(first) + 1
        if int(last) < int(first) or count > MOST_SHARDS:
            raise ValueError(f"{pattern}: {{{first}..{last}}} is no range of 1 to {MOST_SHARDS:,} shards")
        ranges.append([str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)])
    texts = parts[0::3]
    return [texts[0] + "".join(map("".join, zip(each, texts[1:], strict=True))) for each in itertools.product(*ranges)]


class Places:
    """One search: what it walked through, and which folders could not be read.

    Names begin as the path did that the search was given.
    """

    def __init__(self) -> None:
        self.seen: set[Identity] = set()
        self.faults: list[tuple[str, OSError]] = []

    def searched(self, folder: str) -> bool:
        """Tell whether a folder was walked through already."""
        return _identity(folder) in self.seen

    def files(self, folder: str) -> Iterator[str]:
        """Yield the paths in a folder, and in those within that are not hidden, that are no folders; links come last."""
        yield from (name for name, is_folder in self._below(folder, self.seen) if not is_folder)

    def matching(self, pattern: str) -> list[str]:
        """Return the paths that a pattern matches, sorted.

        It is as of Python's glob: `**` stands for folders of any depth, and a name that begins with a dot is matched by a dot.
        """
        start, rest = _fixed(pattern)
        parts = [part for part in rest.split("/") if part]
        found: Iterable[str] = [start]
        for number, part in enumerate(parts):
            last = number == len(parts) - 1 and not pattern.endswith("/")  # behind a name that ends so lies a folder
            found = dict.fromkeys(name for folder in found for name in self._step(folder, part, last))
            if not last:
                found = self._each_once(found)
        return sorted(found)

    def _step(self, folder: str, part: str, last: bool) -> Iterator[str]:
        if part == ANY_DEPTH:
            yield folder or "."
            for name, is_folder in self._below(folder or ".", set(), hidden=False):
                if is_folder or last:
                    yield name if folder else name.removeprefix("./")
        elif not MAGIC.search(part):
            name = folder + part if folder.endswith("/") or not folder else f"{folder}/{part}"
            if os.path.lexists(name) if last else os.path.isdir(name):
                yield name
        else:
            matches: Callable[[str], object] = re.compile(fnmatch.translate(part)).match
            for entry in self._entries(folder or "."):
                wanted = matches(entry.name) and (part.startswith(".") or not entry.name.startswith("."))
                if wanted and (last or _is_folder(entry)):
                    yield entry.path if folder else entry.name

    def _each_once(self, folders: Iterable[str]) -> list[str]:
        """Return one name for each folder: of several the first that is no link."""
        names = sorted(folders, key=lambda name: (os.path.islink(name), name))
        return sorted({_identity(name): name for name in reversed(names)}.values())

    def _below(self, start: str, seen: set[Identity], hidden: bool = True) -> Iterator[tuple[str, bool]]:
        """Yield all paths below a folder, and whether each is a folder that was not seen: real folders first, then links.

        A folder whose name begins with a dot is left out, and without `hidden` a file too.
        """
        folders, links = [start], list[str]()
        while folders or links:
            folder = folders.pop() if folders else links.pop(0)
            identity = _identity(folder)
            if identity is None or identity in seen:
                continue
            seen.add(identity)
            if folder != start:
                yield folder, True
            for entry in self._entries(folder):
                is_hidden = entry.name.startswith(".")
                if is_hidden and not hidden:
                    continue
                if not _is_folder(entry):
                    yield entry.path, False
                elif is_hidden:
                    continue
                else:
                    (links if entry.is_symlink() else folders).append(entry.path)

    def _entries(self, folder: str) -> list[os.DirEntry[str]]:
        """Return what a folder holds, sorted by name; a folder that cannot be read is noted among the faults."""
        try:
            with os.scandir(folder) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            self.faults.append((folder, error))
            return []


def _fixed(pattern: str) -> tuple[str, str]:
    """Return the folders that a pattern names before its first part with something to match, and the rest."""
    place = MAGIC.search(pattern)
    cut = pattern.rfind("/", 0, place.start() if place else None) + 1
    return pattern[:cut], pattern[cut:]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _identity(folder: str) -> Identity | None:
    try:
        status = os.stat(folder or ".")
    except OSError:
        return None
    return status.st_dev, status.st_ino
