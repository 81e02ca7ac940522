"""One file over HTTP, within bounds of size and time: the one module that opens a connection.

requests makes the connection, checks certificates and speaks the protocol. Left to itself it would wait for ever for a server
that sends a byte now and then, read headers and redirects of any length, and decompress without limit. So every byte that
comes from a server, those of headers and of framing too, passes `Watch.saw`, which raises where there are too few in a minute
or too many with nothing delivered; redirects are taken one step at a time; what is compressed is refused.
"""

from __future__ import annotations

import io
import re
import time
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urljoin, urlsplit

from ..card import is_commit
from ..errors import printable, quote
from ..input import amount
from .error import CheckpointError
from .partial import Partial

if TYPE_CHECKING:
    import requests

TIMEOUT = 30  # seconds without a byte from the server, or until an address of it answers
WINDOW, SLOWEST = 60, 10_000  # in each window of so many seconds, at least so many bytes a second come on average
LONGEST = 12 * 3600  # seconds for all of it; half of `partial.ABANDONED`, so that nobody's work is swept away
MOST_UNDELIVERED = 1 << 20  # bytes of headers and framing in a row, with nothing of the file in between
REDIRECTS = 5
CHUNK = 1 << 16  # bytes
CONTENT_RANGE = re.compile("bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")
GOES_ON = "; what has come is kept for a day, and the same command goes on from there"
BY_HAND = "get it with another program, then: python -m minivan convert FILE OUT"


class Progress(Protocol):
    """What shows how far a download is."""

    total: int | None  # bytes, once the server has said how many

    def update(self, size: int) -> object:
        """Show that so many bytes more have come."""

    def close(self) -> object:
        """Show that the download has ended."""


@dataclass(frozen=True)
class Arrived:
    """How a file came."""

    before: int  # bytes of it that an interrupted download had left
    commit: str  # of the repository it lies in, as the host said; '' where it did not


def transfer(url: str, to: Partial, sizes: range, progress: Progress | None = None) -> Arrived:
    """Download a file of a size in `sizes`, at most 12 hours long and no slower than 10 kB/s over a minute.

    It goes on from what has come before, if the server still has the same file and can send a part of it. Raises
    CheckpointError where the server, the network or the file's size is at fault, and OSError, naming the folder, where it
    cannot be written. What has come by then is left where it is.
    """
    import requests
    import urllib3

    watch = Watch()
    try:
        with session(watch) as browser:
            answer, commit = _answer(browser, url, to)
            before, length = to.size, _length(answer, to, sizes)
            if progress is not None:
                progress.total = length
                progress.update(before)
            _write(answer, to, sizes, watch, progress)
            if progress is not None:
                progress.close()
        if length is not None and to.size < length:
            raise CheckpointError("the download was cut short", f"{to.size:,} bytes of {length:,} came")
    except CheckpointError as error:
        raise CheckpointError(error.what, error.why + GOES_ON * to.can_go_on, shown(url)) from None
    except (requests.RequestException, urllib3.exceptions.HTTPError, HTTPException, ValueError) as error:
        raise CheckpointError("the download failed", _cause(error) + GOES_ON * to.can_go_on, shown(url)) from None
    to.forget()
    too_many = length is not None and to.size > length
    if too_many or to.size not in sizes:
        expected = f"{length:,}" if too_many else f"{sizes.start:,} or more"
        raise CheckpointError(f"the download has {to.size:,} bytes", f"{expected} are expected", shown(url))
    return Arrived(before, commit)


def is_address(url: str) -> bool:
    """Tell whether a text is an address that `transfer` takes: http:// or https://, with a host."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port beyond 65535, a bracket left open
        return False


def shown(url: str) -> str:
    """Return an address without user names, passwords and queries: those are no part of a file's origin."""
    parts = urlsplit(url)
    return printable(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}")


def _answer(browser: requests.Session, url: str, to: Partial) -> tuple[requests.Response, str]:
    """Return the answer that has the file or, after what has come already, the rest of it; and the commit. Nothing is read yet.

    A server that cannot send a part, or whose file is another by now, sends all of it, of its own accord or asked once more.
    """
    if to.size:
        answer, commit = _asked(browser, url, {"Range": f"bytes={to.size}-", "If-Range": to.etag})
        if answer.status_code == 206 and _whole_size(answer, to):
            return answer, commit
        if answer.status_code in (206, 416):  # a part of another file, or one that the file does not have
            answer.close()
            answer, commit = _asked(browser, url, {})
    else:
        answer, commit = _asked(browser, url, {})
    if answer.status_code != 200:
        raise CheckpointError("nothing was downloaded", f"the server answers {answer.status_code} {str(answer.reason)[:200]}")
    in_parts = answer.headers.get("Accept-Ranges", "").strip().lower() != "none"
    to.begin(answer.headers.get("ETag", "") if in_parts else "")
    return answer, commit


def _asked(browser: requests.Session, url: str, headers: dict[str, str]) -> tuple[requests.Response, str]:
    """Ask, follow redirects, and return the last answer, nothing of which is read yet, and the commit that the host told."""
    host, commit = _host(url), ""
    for _ in range(REDIRECTS + 1):
        answer = browser.get(url, stream=True, timeout=TIMEOUT, headers={"Accept-Encoding": "identity", **headers})
        said = answer.headers.get("X-Repo-Commit", "")
        if not commit and is_commit(said) and _host(url) == host:  # not where it only has its files stored
            commit = said
        if not answer.is_redirect:
            break
        answer.close()
        url = _next(url, answer.headers["location"])
    else:
        raise CheckpointError("nothing was downloaded", f"one redirect leads to another, more than {REDIRECTS} times")
    coding = answer.headers.get("Content-Encoding", "identity").strip().lower()
    if coding not in ("", "identity"):
        why = f"the server sends it compressed ({quote(coding)}) although it was asked not to; {BY_HAND}"
        raise CheckpointError("nothing was downloaded", why)
    return answer, commit


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2].lower()


def _next(url: str, location: str) -> str:
    """Return where a redirect leads. CheckpointError where it leads from an encrypted connection to an open one."""
    target = urljoin(url, location)
    if not is_address(target):
        raise CheckpointError("nothing was downloaded", f"the server redirects to {quote(target)}, which is no such address")
    if urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https":
        why = f"the server redirects from https to {quote(shown(target))}, where anybody on the way could change the file"
        raise CheckpointError("nothing was downloaded", why)
    return target


def _whole_size(answer: requests.Response, to: Partial) -> int | None:
    """Return the size of the file that an answer has the rest of; None where it is not the rest of the file that was begun."""
    said = CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", "").strip())
    if not said or answer.headers.get("ETag") != to.etag:
        return None
    first, last, size = map(int, said.groups())
    return size if first == to.size and last == size - 1 else None


def _length(answer: requests.Response, to: Partial, sizes: range) -> int | None:
    """Return how many bytes the file has, as the server says, None where it does not."""
    said = answer.headers.get("Content-Length", "")
    length = _whole_size(answer, to) if to.size else None
    if length is None:
        if not re.fullmatch("[0-9]{1,20}", said) or "Transfer-Encoding" in answer.headers:
            return None
        length = int(said)
    if length >= sizes.stop:
        to.forget()
        raise _too_large(f"{length:,} bytes", sizes)
    return length


def _write(answer: requests.Response, to: Partial, sizes: range, watch: Watch, progress: Progress | None) -> None:
    for part in answer.iter_content(CHUNK):
        watch.delivered()
        if to.size + len(part) >= sizes.stop:
            to.forget()
            raise _too_large("more than that", sizes)
        to.write(part)
        if progress is not None:
            progress.update(len(part))


def _too_large(size: str, sizes: range) -> CheckpointError:
    most = f"at most {amount(sizes.stop - 1)} are taken"
    return CheckpointError("the download is too large", f"{most}, the server sends {size}; if that is right, {BY_HAND}")


def _cause(error: BaseException) -> str:
    """Say in one short line what a network library's chain of exceptions began with."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return " ".join(str(error).split())[:200] or type(error).__name__


class Watch:
    """Hears of every byte that comes from a server, and raises CheckpointError where that goes on for too long."""

    def __init__(self) -> None:
        self._begun = self._since = time.monotonic()
        self._came = self._undelivered = 0

    def saw(self, size: int) -> None:
        """So many bytes have come, of whatever kind."""
        now = time.monotonic()
        self._came += size
        self._undelivered += size
        if self._undelivered > MOST_UNDELIVERED:
            raise CheckpointError(
                "the download failed", f"the server sent {amount(MOST_UNDELIVERED)} that are no part of a file"
            )
        if now - self._begun > LONGEST:
            raise CheckpointError("the download was ended", f"it has taken {LONGEST / 3600:g} hours; {BY_HAND}")
        if now - self._since >= WINDOW:
            if self._came < SLOWEST * (now - self._since):
                slowest = f"less than {SLOWEST:,} bytes a second came for {WINDOW} seconds"
                raise CheckpointError("the download was ended", f"{slowest}; try again later, or {BY_HAND}")
            self._since, self._came = now, 0

    def delivered(self) -> None:
        """What came so far was, at its end, a part of the file."""
        self._undelivered = 0


class _Watched(io.RawIOBase):
    """A connection's bytes, each of which `watch` hears of."""

    def __init__(self, raw: io.RawIOBase, watch: Watch) -> None:
        self._raw, self._watch = raw, watch

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        size: int | None = self._raw.readinto(buffer)
        self._watch.saw(size or 0)
        return size

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Socket:
    """What http.client's answer asks of a socket: a file to read from."""

    def __init__(self, socket: Any, watch: Watch) -> None:
        self._socket, self._watch = socket, watch

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Watched(self._socket.makefile(mode, buffering=0), self._watch))


def session(watch: Watch) -> requests.Session:
    """Return a session of requests whose connections are watched and which follows no redirect by itself."""
    import requests
    from urllib3.connection import HTTPConnection, HTTPSConnection
    from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

    def answer(socket: Any, *args: Any, **options: Any) -> HTTPResponse:
        return HTTPResponse(_Socket(socket, watch), *args, **options)  # type: ignore[arg-type]

    class Plain(HTTPConnection):
        response_class: Any = staticmethod(answer)

    class Encrypted(HTTPSConnection):
        response_class: Any = staticmethod(answer)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class EncryptedPool(HTTPSConnectionPool):
        ConnectionCls = Encrypted

    def watched(manager: Any) -> Any:
        manager.pool_classes_by_scheme = {"http": PlainPool, "https": EncryptedPool}
        return manager

    class Adapter(requests.adapters.HTTPAdapter):
        def init_poolmanager(self, *args: Any, **options: Any) -> None:
            super().init_poolmanager(*args, **options)
            watched(self.poolmanager)

        def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
            return watched(super().proxy_manager_for(*args, **options))

    class Session(requests.Session):
        def get_redirect_target(self, resp: requests.Response) -> None:
            """None: requests reads what comes with a redirect, decompressed, before it follows."""

    made = Session()
    for scheme in ("http://", "https://"):
        made.mount(scheme, Adapter())
    return made
