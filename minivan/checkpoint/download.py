"""Published checkpoints, downloaded, checked and converted: what `minivan fetch` does."""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from ..card import file_sha256
from ..errors import quote
from ..output import place
from ..variants import variant_of
from .error import CheckpointError
from .hub import home_folder, variant_named
from .published import Source, published
from .transfer import Progress, is_address, shown, transfer
from .weights import Weights, read, write

ABANDONED = 24 * 3600  # seconds after which a download's folder belongs to nobody any more
OWN, MARK = "minivan-download-", "made-by-minivan"  # how a download's folder is called, and the file in it that says so
NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"


@dataclass(frozen=True)
class Fetched:
    """What `fetch` brought: the file in the cache, its weights, the download's SHA-256 and how far that was checked."""

    path: Path
    weights: Weights
    sha256: str
    checked: str  # a sentence


def fetch(
    name: str, library: str | None = None, url: str | None = None, sha256: str | None = None, progress: Progress | None = None
) -> Fetched:
    """Download a checkpoint, check it, convert it, and put the result into the user's cache.

    `name` is a variant with a published checkpoint, or, with `url`, any name; `library` chooses among those who publish
    it. `sha256`, 64 hex digits, takes the place of what is known. `progress` is told how far the download is. A published
    file must have about its known size; any other has at most 4 GiB. It comes over https, unless `url` says http, and at
    10,000 bytes a second or more.
    The download is removed; the converted file appears complete or not at all, so that an interrupted call leaves
    nothing behind that is used, and two calls at once end with the file of one of them. Raises CheckpointError for an
    address that cannot be read, a download that is not what it should be, or a file that is no VAN, and OSError where the
    cache cannot be written.
    """
    if sha256 and not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise CheckpointError(f"the SHA-256 {quote(sha256)}", "all of its 64 hex digits are wanted: fewer prove nothing")
    stem, source = _plan(name, library, url)
    address, known = source.url, sha256 or source.sha256
    path = _home() / "weights" / f"{stem}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    place(path)  # raises where no file can be, before anything is downloaded
    with _scratch() as folder:
        download = folder / (re.sub(r"[^A-Za-z0-9_.-]", "_", Path(urlsplit(address).path).name)[-64:] or "download")
        transfer(address, download, source.sizes, progress)
        seen = file_sha256(download)
        checked = _verify(seen, known, "given" if sha256 else "known", address)
        try:
            weights = read(download)
        except CheckpointError as error:
            inside = error.where.removeprefix(str(download))
            raise CheckpointError(error.what, error.why, shown(address) + inside) from None
        notes = weights.notes
        if variant_named(name) not in (None, variant_of(weights.config)):
            notes += (f"these weights have another shape than the published {variant_named(name)}",)
        card = replace(weights.card, name=stem, source=shown(address), source_sha256=seen, file=path)
        weights = replace(weights, card=card, notes=notes)
        converted = folder / "converted"
        write(weights, converted)
        read(converted)  # what cannot be read again must not become the default
        write(weights, path)
    return Fetched(path, weights, seen, checked)


def _home() -> Path:
    home = home_folder()
    if home is None:
        raise CheckpointError(
            "there is no place for what is fetched", "no home folder is known here: set MINIVAN_HOME to a folder"
        )
    return home


def _plan(name: str, library: str | None, url: str | None) -> tuple[str, Source]:
    """Return the name the weights will have here, and what is known of the file to be downloaded."""
    if url is None:
        source = published(name, library)
        return f"van_{source.variant}_{source.library}", source
    if not is_address(url):
        why = "http://... or https://... is wanted; a file on this machine is read by: python -m minivan convert"
        raise CheckpointError(f"the address {quote(url)}", why)
    variant = variant_named(name)
    if not variant and not re.fullmatch(NAME, name):
        raise CheckpointError(f"the name {quote(name)}", "letters, digits, '_', '-' and '.' make a name, 64 at most")
    return (f"van_{variant}_{library or 'url'}" if variant else name), Source("", library or "", url)


@contextmanager
def _scratch() -> Iterator[Path]:
    """Give a folder of this call's own beside the weights, gone afterwards; those of calls that were killed go too."""
    downloads = _home() / "downloads"
    downloads.mkdir(parents=True, exist_ok=True)
    for folder in downloads.glob(f"{OWN}*"):
        if _is_abandoned(folder):
            shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=OWN, dir=downloads, ignore_cleanup_errors=True) as made:
        own = Path(made)
        try:
            (own / MARK).write_text(own.name, encoding="utf-8")
        except OSError as error:  # a full disk gives no name
            raise OSError(error.errno, error.strerror, str(downloads)) from None
        yield own


def _is_abandoned(folder: Path) -> bool:
    """Tell whether a folder is one that `_scratch` made a day ago or earlier: it says so itself, by the name it still has.

    Never a link, nor what belongs to another user.
    """
    try:
        status, mark = folder.lstat(), (folder / MARK).lstat()
        mine = not hasattr(os, "geteuid") or status.st_uid == mark.st_uid == os.geteuid()
        if not (mine and stat.S_ISDIR(status.st_mode) and stat.S_ISREG(mark.st_mode) and mark.st_size == len(folder.name)):
            return False
        made_here = (folder / MARK).read_bytes() == os.fsencode(folder.name)
        return made_here and time.time() - status.st_mtime > ABANDONED
    except OSError:  # another process was quicker, or it has no mark
        return False


def _verify(seen: str, known: str, word: str, url: str) -> str:
    """Return a sentence on how far the SHA-256 was checked; CheckpointError where it is not the one that is known."""
    next_time = f"the one seen is {seen} (next time: --sha256 {seen})"
    if not known:
        return f"no SHA-256 of this file is known, so it was not checked; {next_time}"
    if not seen.startswith(known.lower()):
        expected = known.lower() + ("..." if len(known) < 64 else "")
        raise CheckpointError(f"the SHA-256 is {seen}", f"not the {word} one, {expected}; nothing was kept", shown(url))
    if len(known) < 64:
        few = f"of its SHA-256 only the {len(known)} digits {known} are known, from its name"
        return f"{few}; they fit, which tells it from a damaged file and proves nothing about who made it; {next_time}"
    return f"the SHA-256 {seen} is the {word} one"
