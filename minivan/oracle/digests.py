"""SHA-256 of layers: of each by itself, piece by piece, and of a file's on as many threads as this process may use."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import numpy as np

from ..checks import Floating
from ..processors import threads
from .stored import Layers, cut

HASHED = 1 << 18  # numbers that are looked at together


def digest(array: Floating) -> str:
    """Return the SHA-256 of an array's numbers: little-endian, in C order, without its shape.

    Every NaN counts as the quiet positive one: which NaN inf - inf gives is the processor's choice (x86 sets the sign, ARM
    does not), and the contract says NaN, not which.
    """
    return digest_of(cut(np.ascontiguousarray(array), HASHED))


def digest_of(pieces: Iterable[Floating]) -> str:
    """Return the digest of an array that comes piece by piece."""
    sha256 = hashlib.sha256()
    for piece in pieces:
        strange = np.isnan(piece)
        if strange.any():
            piece = np.where(strange, piece.dtype.type(np.nan), piece)
        sha256.update(piece.astype(piece.dtype.newbyteorder("<"), copy=False).data)
    return sha256.hexdigest()


def digests(layers: Layers) -> dict[str, str]:
    """Return each layer's digest, in order. Raises what reading the first of those that cannot be read does.

    A SHA-256 is one thread's work, and takes longer than to read what it is of: each thread has a layer of its own.
    """
    found: dict[str, str | Exception] = {}
    waiting, turn = iter(layers), threading.Lock()

    def work() -> None:
        while True:
            with turn:
                path = next(waiting, None)
            if path is None:
                return
            try:
                found[path] = digest_of(layers.pieces(path, HASHED))
            except Exception as error:
                found[path] = error

    helpers = _started([work] * (min(threads(), len(layers)) - 1))
    try:
        work()
    finally:
        with turn:
            waiting = iter(())  # nothing more is begun, whatever ended the work here
        for helper in helpers:
            helper.join()
    return {path: _known(found[path]) for path in layers}


def _known(found: str | Exception) -> str:
    if isinstance(found, Exception):
        raise found
    return found


@contextmanager
def meanwhile(work: Callable[[], None]) -> Iterator[None]:
    """Have some work done in another thread while a block runs, or after it, where the system gives none.

    When the block ends the work has ended; what it raises is raised then.
    """
    errors: list[BaseException] = []

    def kept() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    helpers = _started([kept])
    try:
        yield
    finally:
        for helper in helpers:
            helper.join()
    if not helpers:
        kept()
    if errors:
        raise errors[0]


def _started(works: Iterable[Callable[[], None]]) -> list[threading.Thread]:
    """Start a thread for each piece of work, as far as the system gives threads."""
    helpers: list[threading.Thread] = []
    for work in works:
        helper = threading.Thread(target=work, name="minivan-oracle", daemon=True)
        try:
            helper.start()
        except RuntimeError:
            break
        helpers.append(helper)
    return helpers
