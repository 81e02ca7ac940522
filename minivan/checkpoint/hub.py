"""Weights on this machine: bundled, and fetched into the user's cache. Nothing but `fetch` uses the network."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import quote
from ..variants import canonical, variant_of
from .error import CheckpointError
from .published import published
from .weights import Weights, digest, read, write

TIMEOUT = 30  # seconds without a byte from the server
ABANDONED = 24 * 3600  # seconds after which a download's folder belongs to nobody any more
NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"


def bundled_folder() -> Path:
    """Return the folder of the weights that come with minivan: inside the package, or the repository's `weights/`."""
    package = Path(__file__).parents[1]
    inside = package / "bundled"
    return inside if inside.is_dir() else package.parent / "weights"


def home_folder() -> Path:
    """Return the user's folder for what minivan fetches: MINIVAN_HOME, or the platform's own place for caches."""
    home = os.environ.get("MINIVAN_HOME")
    if home:
        return Path(home).expanduser().absolute()
    import platformdirs  # the library that pooch asks too; pooch itself takes 0.1 s to import

    return Path(platformdirs.user_cache_dir("minivan", appauthor=False))


def bundled() -> list[Path]:
    return sorted(bundled_folder().glob("*.safetensors"))


def cached() -> list[Path]:
    """Return the fetched weights, the last fetched first."""
    times = {}
    for path in (home_folder() / "weights").glob("*.safetensors"):
        try:
            times[path] = path.stat().st_mtime_ns
        except OSError:  # removed by another process
            continue
    return sorted(times, key=lambda path: (-times[path], path.name))


def find(name_or_path: str | Path | None = None) -> Path:
    """Return the file that a name or a path means.

    None: the weights fetched last, or else the bundled ones. A variant ('b0', 'tiny'): its weights fetched last. The
    name of fetched or bundled weights ('van_b0_tiny_imagenet200'). Any other text is a path. Raises CheckpointError
    where there is no such file; nothing is downloaded.
    """
    here = [*cached(), *bundled()]
    if name_or_path is None:
        if not here:
            raise CheckpointError("no weights are here", "fetch some: python -m minivan fetch b0")
        return here[0]
    name = str(name_or_path)
    if not name:
        raise CheckpointError("an empty name", "name weights, or leave the name out for the default")
    if isinstance(name_or_path, str):
        for path in here:
            if path.stem == name:
                return path
        variant = variant_named(name)
        if variant:
            for path in cached():
                if path.stem.startswith(f"van_{variant}_"):
                    return path
            raise CheckpointError(f"the weights of {variant} are not here", f"fetch them: python -m minivan fetch {variant}")
    if not Path(name).exists():
        raise CheckpointError(f"no file {quote(name)}", "nor weights of that name (list: python -m minivan weights)")
    return Path(name)


def variant_named(name: str) -> str | None:
    """Return 'b0'..'b6' for a variant's name or alias, None for any other text."""
    try:
        return canonical(name)
    except ValueError:
        return None


@dataclass(frozen=True)
class Fetched:
    """What `fetch` brought: the file in the cache, its weights, the download's SHA-256 and how far that was checked."""

    path: Path
    weights: Weights
    sha256: str
    checked: str  # a sentence


def fetch(name: str, library: str | None = None, url: str | None = None, sha256: str | None = None, progress=None) -> Fetched:
    """Download a checkpoint, check it, convert it, and put the result into the user's cache.

    `name` is a variant with a published checkpoint, or, with `url`, any name; `library` chooses among those who publish
    it. `sha256`, 64 hex digits, takes the place of what is known. `progress` is what pooch takes as a progress bar.
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
        seen = digest(download)
        checked = _verify(seen, known, "given" if sha256 else "known", address)
        try:
            weights = read(download)
        except CheckpointError as error:
            place = error.where.removeprefix(str(download))
            raise CheckpointError(error.what, error.why, _shown(address) + place) from None
        notes = weights.notes
        if variant_named(name) not in (None, variant_of(weights.config)):
            notes += (f"these weights have another shape than the published {variant_named(name)}",)
        card = replace(weights.card, name=stem, source=_shown(address), source_sha256=seen)
        weights = replace(weights, card=card, notes=notes)
        converted = folder / "converted"
        write(weights, converted)
        path = home_folder() / "weights" / f"{stem}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(converted, path)
    return Fetched(path, weights, seen, checked)


def _plan(name, library, url, sha256) -> tuple[str, str, str]:
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
def _scratch():
    """Give a folder of this call's own beside the weights, gone afterwards; those of calls that were killed go too."""
    downloads = home_folder() / "downloads"
    downloads.mkdir(parents=True, exist_ok=True)
    for folder in downloads.iterdir():
        try:
            if time.time() - folder.stat().st_mtime > ABANDONED:
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # another process was quicker
            continue
    with tempfile.TemporaryDirectory(dir=downloads, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


class _Length:
    """Stands between pooch and the progress bar and keeps the length that the server announced."""

    def __init__(self, bar):
        self.bar, self.length = bar, 0

    @property
    def total(self):
        return self.length

    @total.setter
    def total(self, length):
        self.length = length
        if self.bar is not None:
            self.bar.total = length

    def update(self, size):
        if self.bar is not None:
            self.bar.update(size)

    def reset(self):
        if self.bar is not None:
            self.bar.reset()

    def close(self):
        if self.bar is not None:
            self.bar.close()


def _download(url: str, to: Path, progress) -> None:
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
        reason = f"the server answers {error.response.status_code} {error.response.reason}"
        raise CheckpointError("nothing was downloaded", reason, _shown(url)) from None
    except (requests.ConnectionError, requests.Timeout) as error:
        raise CheckpointError("the download failed", _cause(error), _shown(url)) from None
    except (requests.RequestException, ValueError) as error:
        raise CheckpointError("the download failed", _cause(error), _shown(url)) from None
    size = to.stat().st_size
    if length.length and size != length.length:
        raise CheckpointError("the download was cut short", f"{size:,} bytes of {length.length:,} came", _shown(url))


def _cause(error) -> str:
    """Say in one short line what a network library's chain of exceptions began with."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__
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
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
