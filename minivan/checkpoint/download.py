"""Published checkpoints, downloaded, checked and converted: what `minivan fetch` does."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from ..card import file_sha256, is_commit
from ..errors import quote
from ..input import amount
from ..output import place
from ..variants import variant_of
from .error import CheckpointError
from .hub import home_folder, variant_named
from .partial import CONVERTED, scratch
from .sources import MAIN, Source, located, published
from .transfer import Progress, is_address, shown, transfer
from .weights import Weights, read, write

NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"


@dataclass(frozen=True)
class Fetched:
    """What `fetch` brought: the file in the cache, its weights, the download's SHA-256 and how far that was checked.

    `weights.card.commit` is the commit that the host reported; `before` says how many bytes an interrupted call had left.
    """

    path: Path
    weights: Weights
    sha256: str
    checked: str  # a sentence
    before: int = 0


def fetch(
    name: str,
    library: str | None = None,
    url: str | None = None,
    sha256: str | None = None,
    progress: Progress | None = None,
    *,
    revision: str | None = None,
) -> Fetched:
    """Download a checkpoint, check it, convert it, and put the result into the user's cache.

    `name` is a variant with a published checkpoint, or, with `url`, any name; `library` chooses among those who publish
    it. `revision` is a branch, a tag or a commit of the repository on Hugging Face that it lies in; what is known of a
    published file is known of the branch main. `sha256`, 64 hex digits, takes the place of what is known. `progress` is told
    how far the download is. A published file must have about its known size; any other has at most 4 GiB. It comes over
    https, unless `url` says http or HF_ENDPOINT names this machine, and at 10,000 bytes a second or more.
    The download is removed; the converted file appears complete or not at all, so that an interrupted call leaves
    nothing behind that is used as weights: a later one for the same address goes on from there, if the server still has that
    file. Two calls at once end with the file of one of them. Raises CheckpointError for an address that cannot be read, a
    download that is not what it should be, or a file that is no VAN, and OSError where the cache cannot be written.
    """
    if sha256 and not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise CheckpointError(f"the SHA-256 {quote(sha256)}", "all of its 64 hex digits are wanted: fewer prove nothing")
    stem, source = _plan(name, library, url, revision)
    address, known = source.url, sha256 or source.sha256
    path = _home() / "weights" / f"{stem}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    place(path)  # raises where no file can be, before anything is downloaded
    with scratch(_home() / "downloads", address) as partial:
        arrived = transfer(address, partial, source.sizes, progress)
        if is_commit(source.revision) and arrived.commit not in ("", source.revision):
            raise CheckpointError(f"the host sent commit {arrived.commit}", f"not {source.revision}", shown(address))
        seen = file_sha256(partial.path)
        if not sha256 and source.revision != MAIN and not seen.startswith(known):
            known = ""
        try:
            checked = _verify(seen, known, "given" if sha256 else "known", address)
        except CheckpointError as error:
            again = f", {amount(arrived.before)} of an interrupted download neither: try once more" * bool(arrived.before)
            raise CheckpointError(error.what, error.why + again, error.where) from None
        try:
            weights = read(partial.path)
        except CheckpointError as error:
            inside = error.where.removeprefix(str(partial.path))
            raise CheckpointError(error.what, error.why, shown(address) + inside) from None
        notes = weights.notes
        if variant_named(name) not in (None, variant_of(weights.config)):
            notes += (f"these weights have another shape than the published {variant_named(name)}",)
        card = replace(weights.card, source=shown(address), source_sha256=seen, commit=arrived.commit)
        weights = replace(weights, card=replace(card, name=stem, file=path), notes=notes)
        converted = partial.folder / CONVERTED
        write(weights, converted)
        read(converted)  # what cannot be read again must not become the default
        write(weights, path)
    return Fetched(path, weights, seen, checked, arrived.before)


def _home() -> Path:
    home = home_folder()
    if home is None:
        raise CheckpointError(
            "there is no place for what is fetched", "no home folder is known here: set MINIVAN_HOME to a folder"
        )
    return home


def _plan(name: str, library: str | None, url: str | None, revision: str | None) -> tuple[str, Source]:
    """Return the name the weights will have here, and what is known of the file to be downloaded."""
    if url is None:
        source = located(published(name, library), revision)
        return f"van_{source.variant}_{source.library}", source
    if not is_address(url):
        why = "http://... or https://... is wanted; a file on this machine is read by: python -m minivan convert"
        raise CheckpointError(f"the address {quote(url)}", why)
    if revision is not None:
        raise CheckpointError(f"the revision {quote(revision)}", "an address says itself which one it means: name no other")
    variant = variant_named(name)
    if not variant and not re.fullmatch(NAME, name):
        raise CheckpointError(f"the name {quote(name)}", "letters, digits, '_', '-' and '.' make a name, 64 at most")
    return (f"van_{variant}_{library or 'url'}" if variant else name), Source("", library or "", url)


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
