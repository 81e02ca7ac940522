"""From paths to the images they name: files, folders, archives, patterns and standard input."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from .. import input
from ..errors import reason
from ..places import Places, has_magic
from .archives import ENDINGS, LINK, ArchiveError, Member, members

STANDARD_INPUT = "-"
NAMED = 3  # of the files that are no images, how many are named
LEFT_BY_SYSTEMS = ("thumbs.db", ".ds_store", "desktop.ini", "__macosx")  # by whatever shows folders, beside photos


class Found(NamedTuple):
    """One image to read, or the reason why a path names none."""

    name: str  # as the user knows it
    fault: str = ""
    member: Member | None = None  # where it lies in an archive

    @property
    def waits(self) -> bool:
        """Whether reading it may wait for another process: standard input, and what `classify <(command)` hands over."""
        return self.name == STANDARD_INPUT or (not self.fault and not self.member and input.is_pipe(self.name))

    @property
    def place(self) -> tuple[str, str]:
        """Where it lies, however the user wrote it: a path, and a name in the archive there."""
        if self.member is not None:
            return os.path.normpath(self.member.archive), self.member.name
        return os.path.normpath(self.name), ""

    @property
    def size(self) -> int:
        """How many bytes it says that it has; 0 where that is not known."""
        if self.member is not None:
            return self.member.size
        try:
            return os.stat(self.name).st_size
        except OSError:
            return 0

    def source(self) -> bytes:
        """Return what the file holds, what standard input gives, or another pipe: at most minivan.image.LARGEST_FILE bytes.

        Raises OSError where there is no standard input, where a file or a pipe cannot be read, and where there is more;
        ValueError for a damaged file in an archive.
        """
        from ..image import LARGEST_FILE

        if self.member is not None:
            return self.member.read(LARGEST_FILE)
        if self.name != STANDARD_INPUT:
            return input.read(self.name, LARGEST_FILE, pipe=self.waits)
        if sys.stdin is None:
            raise OSError("standard input is closed")
        return input.drained(sys.stdin.buffer, LARGEST_FILE, "standard input")


class Images(list[Found]):
    """The images that paths name, and the files in folders and archives that are none."""

    def __init__(self, found: Iterable[Found] = (), left_out: Iterable[str] = ()) -> None:
        super().__init__(found)
        self.left_out = list(left_out)

    def said_of_others(self) -> str:
        """Return a line that counts the files that are no images, and names some; nothing where there is none."""
        names = [os.path.basename(name) for name in self.left_out]
        if not names:
            return ""
        count = "1 file is no image" if len(names) == 1 else f"{len(names)} files are no images"
        return f"{count}: {', '.join(names[:NAMED])}{', ...' if len(names) > NAMED else ''}"


def find_images(paths: Iterable[str | os.PathLike[str]], channels: int = 3) -> Images:
    """Return the images that paths name, in order, each once: folders are searched through and through, sorted by name.

    A path may be a file, a folder, an archive (.zip or .tar), a pattern as of `glob` ('photos/**/*.jpg') or '-' for standard
    input. Links to folders are followed, each folder being searched once; those whose names begin with a dot are not searched
    unless a path names them. A path that names nothing is returned with its
    fault, as is a folder or an archive that cannot be read: the others can still be used. Only a pipe that a path names itself
    is an image. In folders and archives a file is an image by the ending of its name, or, where that has none, by its first
    bytes; what is none, a link in a tar among it, is in `left_out`, but for what systems leave there themselves. `.npy` files
    are images for a network of other `channels` than a photo's three, which takes few others. A pattern that matches nothing is
    tried with its brackets as they are.
    """
    found: dict[tuple[tuple[str, str], str], Found] = {}
    search = _Search(channels != 3)
    for path in paths:
        for image in search.expand(os.fspath(path)):
            found.setdefault((image.place, image.fault), image)
    images = {place for place, _ in found}
    return Images(found.values(), {each.place: each.name for each in search.left_out if each.place not in images}.values())


class _Search:
    """One search for images, and what it left out."""

    def __init__(self, arrays: bool) -> None:
        self.arrays = arrays
        self.left_out: list[Found] = []

    def expand(self, path: str) -> Iterator[Found]:
        if path == STANDARD_INPUT:
            yield Found(path)
        elif os.path.isdir(path):
            yield from self._folder(path, Places())
        elif path.lower().endswith(ENDINGS) and os.path.isfile(path):
            yield from self._archive(path)
        elif os.path.lexists(path) or not has_magic(path):
            yield Found(path, input.fault(path, pipe=True))
        else:
            yield from self._pattern(path)

    def _pattern(self, path: str) -> Iterator[Found]:
        places = Places()
        matches = places.matching(path)
        if not matches and "[" in path:
            matches = places.matching(path.replace("[", "[[]"))
        for match in matches:
            if os.path.isdir(match):
                yield from self._folder(match, places)
            elif match.lower().endswith(ENDINGS) and os.path.isfile(match):
                yield from self._archive(match)
            else:
                yield Found(match, input.fault(match))
        yield from _faults(places)
        if not matches and not places.faults:
            yield Found(path, "no such file or folder")

    def _folder(self, path: str, places: Places) -> Iterator[Found]:
        """Yield the images in a folder that was not searched yet, and what of it cannot be read."""
        if not places.searched(path):
            names = [name for name in places.files(path) if self._is_image(Found(name), os.path.relpath(name, path))]
            inside = [Found(name, input.fault(name)) for name in names]
            yield from self._sorted(path, inside + _faults(places), "folder")

    def _archive(self, path: str) -> Iterator[Found]:
        """Yield the images in an archive."""
        try:
            listed = members(path)
        except (ArchiveError, OSError) as error:
            photo = _begins_as_image(Found(path))
            yield Found(path, "" if photo else f"the archive cannot be read: {reason(error)}")
            return
        files = [(Found(f"{path}/{member.name}", "", member), member.name) for member in listed]
        inside = [found for found, name in files if self._is_image(found, name)]
        faults = [Found(path, listed.fault)] if listed.fault else []
        yield from self._sorted(path, faults + inside, "archive")

    def _sorted(self, path: str, inside: list[Found], kind: str) -> Iterator[Found]:
        yield from sorted(inside, key=lambda found: found[:2])
        if not inside:
            yield Found(path, f"no images in this {kind} (looked for {' '.join(self._endings())})")

    def _endings(self) -> tuple[str, ...]:
        from ..image import SUFFIXES  # a folder alone needs it, and it brings Pillow

        return (*SUFFIXES, ".npy") if self.arrays else SUFFIXES

    def _is_image(self, found: Found, inside: str) -> bool:
        """Tell whether a file is an image, by its name within the folder or by its first bytes; note one that is none."""
        parts = inside.replace(os.sep, "/").lower().split("/")
        name = parts[-1]
        hidden = any(part.startswith(".") and part not in (".", "..") for part in parts[:-1])
        if hidden or name.startswith("._") or any(part in LEFT_BY_SYSTEMS for part in parts):
            return False
        link = found.member is not None and found.member.method == LINK
        if not link and (name.endswith(self._endings()) or (not os.path.splitext(name)[1] and _begins_as_image(found))):
            return True
        self.left_out.append(found)
        return False


def _begins_as_image(found: Found) -> bool:
    """Tell whether a file's first bytes are those of an image."""
    from ..image import ImageError
    from ..image.kinds import FIRST, Unread, recognise

    if found.member is None and input.fault(found.name):
        return False
    try:
        if found.member is not None:
            recognise(found.member.first(FIRST))
        else:
            with input.opened(found.name) as file:
                recognise(file.read(FIRST))
    except Unread:  # which is said where it is read
        return True
    except (ImageError, ValueError, OSError):
        return False
    return True


def _faults(places: Places) -> list[Found]:
    """Return the folders that could not be read since this was asked last."""
    faults, places.faults = places.faults, []
    return [Found(name, f"the folder cannot be read: {reason(error)}") for name, error in faults]
