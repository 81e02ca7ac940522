"""Published checkpoints, downloaded, checked and converted: the one module that uses the network."""

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
from typing import Protocol
from urllib.parse import urlsplit

from ..card import file_sha256
from ..errors import printable, quote
from ..variants import variant_of
from .error import CheckpointError
from .hub import home_folder, variant_named
from .published import published
from .weights import Weights, read, write

TIMEOUT = 30  # seconds without a byte from the server
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


class Progress(Protocol):
    """What shows how far a download is: the interface that pooch asks of a progress bar."""

    total: int | None  # bytes, once the server has said how many

    def update(self, size: int) -> object:
        """Show that so many bytes more have come."""

    def reset(self) -> object:
        """Begin again at no byte."""

    def close(self) -> object:
        """Show that the download has ended."""


def fetch(
    name: str, library: str | None = None, url: str | None = None, sha256: str | None = None, progress: Progress | None = None
) -> Fetched:
    """Download a checkpoint, check it, convert it, and put the result into the user's cache.

    `name` is a variant with a published checkpoint, or, with `url`, any name; `library` chooses among those who publish
    it. `sha256`, 64 hex digits, takes the place of what is known. `progress` is told how far the download is.
    The download is removed; the converted file appears complete or not at all, so that an interrupted call leaves
    nothing behind that is used, and two calls at once end with the file of one of them. Raises CheckpointError for an
    address that cannot be read, a download that is not what it should be, or a file that is no VAN, and OSError where the
    cache cannot be written.
    """
    if sha256 and not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise CheckpointError(f"the SHA-256 {quote(sha256)}", "64 hex digits are wanted")
    stem, address, known = _plan(name, library, url, sha256)
    with _scratch() as folder:
        download = folder / (re.sub(r"[^A-Za-z0-9_.-]", "_", Path(urlsplit(address).path).name)[-64:] or "download")
        _download(address, download, progress)
        seen = file_sha256(download)
        checked = _verify(seen, known, "given" if sha256 else "known", address)
        try:
            weights = read(download)
        except CheckpointError as error:
            place = error.where.removeprefix(str(download))
            raise CheckpointError(error.what, error.why, _shown(address) + place) from None
        notes = weights.notes
        if variant_named(name) not in (None, variant_of(weights.config)):
            notes += (f"these weights have another shape than the published {variant_named(name)}",)
        path = _home() / "weights" / f"{stem}.safetensors"
        card = replace(weights.card, name=stem, source=_shown(address), source_sha256=seen, file=path)
        weights = replace(weights, card=card, notes=notes)
        converted = folder / "converted"
        write(weights, converted)
        read(converted)  # what cannot be read again must not become the default
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(converted, path)
    return Fetched(path, weights, seen, checked)


def _home() -> Path:
    home = home_folder()
    if home is None:
        raise CheckpointError(
            "there is no place for what is fetched", "no home folder is known here: set MINIVAN_HOME to a folder"
        )
    return home


def _plan(name: str, library: str | None, url: str | None, sha256: str | None) -> tuple[str, str, str]:
    """Return the name the weights will have here, the address, and as much of the SHA-256 as is known."""
    if url is None:
        source = published(name, library)
        return f"van_{source.variant}_{source.library}", source.url, sha256 or source.sha256
    if not _is_address(url):
        why = "http://... or https://... is wanted; a file on this machine is read by: python -m minivan convert"
        raise CheckpointError(f"the address {quote(url)}", why)
    variant = variant_named(name)
    if not variant and not re.fullmatch(NAME, name):
        raise CheckpointError(f"the name {quote(name)}", "letters, digits, '_', '-' and '.' make a name, 64 at most")
    return (f"van_{variant}_{library or 'url'}" if variant else name), url, sha256 or ""


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port beyond 65535, a bracket left open
        return False


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
        (own / MARK).write_text(own.name, encoding="utf-8")
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


class _Length:
    """Stands between pooch and the progress bar and keeps the length that the server announced."""

    def __init__(self, bar: Progress | None) -> None:
        self.bar, self.length = bar, 0

    @property
    def total(self) -> int:
        return self.length

    @total.setter
    def total(self, length: int) -> None:
        self.length = length
        if self.bar is not None:
            self.bar.total = length

    def update(self, size: int) -> None:
        if self.bar is not None:
            self.bar.update(size)

    def reset(self) -> None:
        if self.bar is not None:
            self.bar.reset()

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()


def _download(url: str, to: Path, progress: Progress | None) -> None:
    """Download a file with pooch; CheckpointError where the server, the network or the file's length is at fault."""
    import pooch
    import requests

    pooch.get_logger().setLevel("ERROR")  # the caller says what there is to say
    length = _Length(progress)
    downloader = pooch.HTTPDownloader(
        progressbar=length, chunk_size=1 << 16, timeout=TIMEOUT, headers={"Accept-Encoding": "identity"}
    )
    try:
        pooch.retrieve(url, known_hash=None, fname=to.name, path=to.parent, downloader=downloader)
    except requests.HTTPError as error:
        answer = error.response
        reason = _cause(error) if answer is None else f"the server answers {answer.status_code} {answer.reason}"
        raise CheckpointError("nothing was downloaded", reason, _shown(url)) from None
    except (requests.RequestException, ValueError) as error:
        raise CheckpointError("the download failed", _cause(error), _shown(url)) from None
    size = to.stat().st_size
    if length.length and size != length.length:
        raise CheckpointError("the download was cut short", f"{size:,} bytes of {length.length:,} came", _shown(url))


def _cause(error: BaseException) -> str:
    """Say in one short line what a network library's chain of exceptions began with."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return " ".join(str(error).split())[:200] or type(error).__name__


def _verify(seen: str, known: str, word: str, url: str) -> str:
    """Return a sentence on how far the SHA-256 was checked; CheckpointError where it is not the one that is known."""
    if not known:
        return f"no SHA-256 of this file is known, so it was not checked; the one seen is {seen} (next time: --sha256 {seen})"
    if not seen.startswith(known.lower()):
        expected = known.lower() + ("..." if len(known) < 64 else "")
        raise CheckpointError(f"the SHA-256 is {seen}", f"not the {word} one, {expected}; nothing was kept", _shown(url))
    if len(known) < 64:
        return f"the SHA-256 {seen} begins with {known}, as the file's name says; no more of it is known"
    return f"the SHA-256 {seen} is the {word} one"


def _shown(url: str) -> str:
    """Return an address without user names, passwords and queries: those are no part of a file's origin."""
    parts = urlsplit(url)
    return printable(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}")
