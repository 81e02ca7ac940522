"""Servers that never come to an end, send too much, or lead somewhere else: each ends a download in one line."""

import gzip
import io
import itertools
import math
import zlib

import pytest
import requests
from support.loopback import OFFICIAL

from minivan.checkpoint import SOURCES, CheckpointError, fetch, published, sources, transfer
from minivan.checkpoint.sources import COPIES, LARGEST
from minivan.variants import VARIANTS, parameter_shapes

MEGABYTE = bytes(1 << 20)


def raw(handler, *parts, then=()):
    for part in itertools.chain(parts, then):
        handler.wfile.write(part)


def endless(handler):
    raw(handler, b"HTTP/1.1 200 OK\r\n\r\n", then=itertools.repeat(MEGABYTE))


def drip(handler, begin=b"HTTP/1.1 200 OK\r\n\r\n", part=b"x"):
    handler.wfile.write(begin)
    while not handler.server.released.wait(0.02):
        handler.wfile.write(part)


def redirect(handler, where, body=b""):
    raw(handler, b"HTTP/1.1 302 Found\r\nLocation: " + where.encode() + b"\r\n", body or b"Content-Length: 0\r\n\r\n")


def compressed(handler, coding=b"gzip"):
    body = gzip.compress(bytes(1 << 24))
    raw(handler, b"HTTP/1.1 200 OK\r\nContent-Encoding: ", coding, b"\r\nContent-Length: %d\r\n\r\n" % len(body), body)


def redirect_with_a_bomb(handler):
    """What comes with a redirect is not even read: 64 MB that 64 kB become."""
    body = gzip.compress(bytes(1 << 26))
    redirect(handler, "/again", b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
ENDLESS = {
    "a file without an end": (endless, "too large: at most 8 MiB are taken, the server sends more than that; if that is right"),
    "chunks without an end": (
        lambda h: raw(h, CHUNKED, then=itertools.repeat(b"100000\r\n" + MEGABYTE + b"\r\n")), "at most 8 MiB are taken"),
    "a length beyond all": (lambda h: raw(h, LENGTH % 10**18), "the server sends 1,000,000,000,000,000,000 bytes"),
    "a length of 30 digits": (lambda h: raw(h, LENGTH % 10**29, OFFICIAL), "the download"),
    "compressed": (compressed, r"compressed \('gzip'\) although it was asked not to"),
    "compressed by two": (lambda h: compressed(h, b"identity, br"), "compressed"),
    "headers without an end": (
        lambda h: raw(h, b"HTTP/1.1 200 OK\r\n", then=(b"X-%d: a\r\n" % n for n in itertools.count())), "the download failed"),
    "a header line without an end": (
        lambda h: raw(h, b"HTTP/1.1 200 OK\r\nX: ", then=itertools.repeat(MEGABYTE)), "the download failed"),
    "an answer that is always about to come": (
        lambda h: raw(h, then=itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)), "1 MiB that are no part of a file"),
    "a chunk's length without an end": (
        lambda h: raw(h, CHUNKED, then=itertools.repeat(b"0" * 65536)), "the download failed"),
    "no content": (lambda h: raw(h, b"HTTP/1.1 204 No Content\r\n\r\n"), "the server answers 204 No Content"),
    "a part": (lambda h: raw(h, b"HTTP/1.1 206 Partial Content\r\nContent-Length: 1\r\n\r\nx"), "the server answers 206"),
    "a page of control characters": (lambda h: raw(h, b"HTTP/1.1 404 \x1b[2J" + b"x" * 9999 + b"\r\n\r\n"), r"404 \\x1b\[2J"),
    "a redirect to a file": (lambda h: redirect(h, "file:///etc/passwd"), "redirects to 'file:///etc/passwd'"),
    "a redirect to nowhere": (lambda h: redirect(h, "http://[/"), "the download failed|redirects to"),
    "not HTTP": (lambda h: raw(h, b"SSH-2.0-OpenSSH_9.6\r\n"), "the download failed"),
}  # fmt: skip


@pytest.mark.parametrize("fault", ENDLESS)
def test_an_answer_that_is_too_much(home, server, fault, monkeypatch):
    answer, words = ENDLESS[fault]
    monkeypatch.setattr(sources, "LARGEST", 8 << 20)
    server.faults = [answer]
    with pytest.raises(CheckpointError, match=words) as caught:
        fetch("b0", url=server.url())
    assert len(str(caught.value)) < 600 and str(caught.value).isprintable()
    assert [path for path in home.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("begin", "part"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x"), (b"HTTP/1.1 200 OK\r\nX: ", b"y"), (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        (b"", b"H"), (CHUNKED, b"1\r\nx\r\n"), (CHUNKED, b"0"), (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["body", "line", "headers", "nothing", "chunks", "chunk length", "continue"],
)  # fmt: skip
def test_a_byte_now_and_then(home, server, monkeypatch, begin, part):
    monkeypatch.setattr(transfer, "WINDOW", 0.1)
    server.faults = [lambda handler: drip(handler, begin, part)]
    with pytest.raises(CheckpointError, match=r"ended: less than 10,000 bytes a second came for 0\.1 seconds"):
        fetch("b0", url=server.url())
    server.released.set()


def test_hours(home, server, monkeypatch):
    monkeypatch.setattr(transfer, "LONGEST", 0.1)
    server.faults = [lambda handler: drip(handler, part=bytes(5000))]
    with pytest.raises(CheckpointError, match=r"the download was ended: it has taken .* hours"):
        fetch("b0", url=server.url())


def test_redirects_are_followed_five_times(home, server):
    server.faults = [lambda handler: redirect(handler, "/again")] * 5
    assert fetch("b0", url=server.url()).path.exists()
    server.faults = [lambda handler: redirect(handler, "/again")] * 6
    with pytest.raises(CheckpointError, match="one redirect leads to another, more than 5 times"):
        fetch("b0", url=server.url())


def test_what_comes_with_a_redirect_is_not_read(home, server, monkeypatch):
    def decompress(*_):
        raise AssertionError("decompressed")

    monkeypatch.setattr(zlib, "decompressobj", decompress)
    server.faults = [redirect_with_a_bomb]
    assert fetch("b0", url=server.url()).path.exists()


class Redirecting(requests.adapters.BaseAdapter):
    """Answers as an encrypted server would that leads to an open one."""

    def send(self, request, **_):
        answer = requests.Response()
        answer.status_code, answer.url, answer.raw = 302, request.url, io.BytesIO()
        answer.headers["location"] = "http://127.0.0.1/net.pth"
        return answer

    def close(self):
        pass


def test_from_https_to_http_is_not_followed(home, monkeypatch):
    real = transfer.session

    def session(watch):
        made = real(watch)
        made.mount("https://", Redirecting())
        return made

    monkeypatch.setattr(transfer, "session", session)
    for options in (dict(url="https://127.0.0.1/net.pth"), {}):
        with pytest.raises(CheckpointError, match=r"the server redirects from https to 'http://127\.0\.0\.1/net\.pth'"):
            fetch("b0", **options)


def test_certificates_are_checked_and_published_files_come_encrypted():
    assert transfer.session(transfer.Watch()).verify is True
    assert all(source.url.startswith("https://") for source in SOURCES)


def test_a_password_is_not_sent_to_where_a_redirect_leads(home, server):
    seen = []

    def elsewhere(handler):
        seen.append(handler.headers.get("Authorization"))
        redirect(handler, f"http://localhost:{server.server_port}/again")

    def again(handler):
        seen.append(handler.headers.get("Authorization"))
        raw(handler, LENGTH % len(OFFICIAL), OFFICIAL)

    server.faults = [elsewhere, again]
    fetch("b0", url=server.url().replace("http://", "http://me:secret@"))
    assert seen == ["Basic bWU6c2VjcmV0", None]


def test_a_published_file_has_its_known_size(home, server, monkeypatch):
    source = published("b0")
    assert source.sizes == range(49_104_000, 50_096_001)
    mine = type(source)("b0", "authors", server.url(), "", 49.6)
    monkeypatch.setattr("minivan.checkpoint.download.published", lambda *_: mine)
    with pytest.raises(CheckpointError, match=f"the download has {len(OFFICIAL):,} bytes: 49,104,000 or more are expected"):
        fetch("b0")
    server.faults = [lambda handler: raw(handler, LENGTH % 51_000_000)]
    with pytest.raises(CheckpointError, match=r"at most 47\.78 MiB are taken, the server sends 51,000,000 bytes"):
        fetch("b0")


def test_other_sizes_are_bounded_by_what_a_checkpoint_can_hold():
    def parameters(name):
        return sum(math.prod(shape) for _, shape in parameter_shapes(VARIANTS[name]))

    assert published("b4", "openmmlab").sizes == range(COPIES * 4 * parameters("b4") + 1)
    assert max(COPIES * 4 * parameters(name) for name in VARIANTS) < LARGEST == 4 << 30
    assert round(parameters("b6") / 1e6) == 200
    for source in SOURCES:  # what is known lies within what is possible
        assert 4 * parameters(source.variant) < source.sizes.stop <= COPIES * 4 * parameters(source.variant) + 1
