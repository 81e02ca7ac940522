"""Downloads that are interrupted and go on: from what is proven to be a beginning of the same file, and from nothing else."""

import os
import resource
import signal
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest
from support.loopback import OFFICIAL, OFFICIAL_SHA256

from minivan.checkpoint import CheckpointError, fetch, partial, read, transfer

SIZE = len(OFFICIAL)
HALF = SIZE // 2 // transfer.CHUNK * transfer.CHUNK  # of what came, the last piece that is not whole is lost
OTHER = OFFICIAL[:-5000] + bytes(5000)  # of the same size, no whole file
ETAG = '"one"'


def left(home):
    """What is in the folder of downloads: names of files, those that are locked by a fetch that runs too."""
    return sorted(path.name for path in (home / "downloads").rglob("*") if path.is_file())


KEPT = sorted([partial.MARK, partial.NOTE, "official.pth.tar"])


def interrupt(server, fault="cut", body=OFFICIAL, **options):
    """A fetch that breaks off in the middle."""
    server.etag, server.faults, server.body = ETAG, [fault], body
    with pytest.raises(CheckpointError, match=r"the download .*; what has come is kept for a day, and the same command"):
        fetch("b0", url=server.url(), **options)
    server.body = OFFICIAL


def come(home, server):
    """What `fetch` does before it reads the file: return how many bytes had come before, once all is there."""
    with partial.scratch(home / "downloads", server.url()) as to:
        arrived = transfer.transfer(server.url(), to, range(1 << 20))
        assert to.path.read_bytes() == OFFICIAL
    return arrived.before


def test_an_interrupted_download_goes_on(home, server):
    interrupt(server)
    assert left(home) == KEPT and not list((home / "weights").iterdir())
    interrupt(server, "reset")  # and that one, too
    more = HALF + (SIZE - HALF) // 2 // transfer.CHUNK * transfer.CHUNK
    shown = []
    progress = SimpleNamespace(total=None, update=shown.append, close=lambda: None)
    fetched = fetch("b0", url=server.url(), sha256=OFFICIAL_SHA256, progress=progress)
    assert server.ranges[1:] == [(f"bytes={HALF}-", ETAG), (f"bytes={more}-", ETAG)]
    assert HALF < fetched.before == more == shown[0] and sum(shown) == SIZE
    assert fetched.checked == f"the SHA-256 {OFFICIAL_SHA256} is the given one" and read(fetched.path).config.classes == 10
    assert left(home) == [] and come(home, server) == 0


def test_a_note_of_how_far_it_is_is_true_at_every_moment(home, server, monkeypatch):
    """What a killed process had written after its last note, by whatever hand, is cut off."""
    monkeypatch.setattr(partial, "NOTED_EACH", 100_000)
    server.etag, server.faults = ETAG, ["hang"]
    code = "import sys; from minivan.checkpoint import partial; partial.NOTED_EACH = 100_000; "
    code += "from minivan.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "fetch", "b0", "--url", server.url()]
    with subprocess.Popen(command, env=os.environ | {"MINIVAN_HOME": str(home)}, stderr=subprocess.PIPE) as child:
        assert server.hanging.wait(60)
        (folder,) = (home / "downloads").iterdir()
        note = folder / partial.NOTE
        while not note.exists() or b"\nbytes 0\n" in note.read_bytes():
            assert child.poll() is None
        child.send_signal(signal.SIGKILL)
    server.released.set()
    assert not list((home / "weights").iterdir())
    with open(folder / "official.pth.tar", "ab") as file:
        file.write(bytes(SIZE))  # more than the file has
    fetched = fetch("b0", url=server.url(), sha256=OFFICIAL_SHA256)
    assert 100_000 <= fetched.before <= HALF and server.ranges[-1] == (f"bytes={fetched.before}-", ETAG)
    assert left(home) == []


def part(handler, start=HALF, size=SIZE, etag=ETAG, body=OFFICIAL, content=None):
    """206 with headers and a body that need not fit."""
    content = content or f"bytes {start}-{size - 1}/{size}"
    send = body[start:] if start <= HALF else body[HALF:]
    head = f"HTTP/1.1 206 Partial Content\r\nContent-Length: {len(send)}\r\nContent-Range: {content}\r\n"
    handler.wfile.write((head + (f"ETag: {etag}\r\n" if etag else "") + "\r\n").encode() + send)


def whole(handler):
    """The server knows nothing of ranges."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(OFFICIAL) + OFFICIAL)


NO_REST = {
    "ranges are ignored": whole,
    "another file, and If-Range is ignored": lambda h: part(h, etag='"two"'),
    "nobody says of which file": lambda h: part(h, etag=""),
    "a weak tag": lambda h: part(h, etag=f"W/{ETAG}"),
    "another part": lambda h: part(h, start=HALF - 1000),
    "not to the end": lambda h: part(h, content=f"bytes {HALF}-{SIZE - 2}/{SIZE}"),
    "who knows how much": lambda h: part(h, content=f"bytes {HALF}-{SIZE - 1}/*"),
    "no part at all": lambda h: part(h, content="rest"),
    "the file is shorter by now": lambda h: h.send_error(416),
}


@pytest.mark.parametrize("case", NO_REST)
def test_what_is_no_rest_of_the_same_file_is_not_joined_to_it(home, server, case):
    interrupt(server)
    server.faults = [NO_REST[case]]
    assert come(home, server) == 0 and server.ranges[1] == (f"bytes={HALF}-", ETAG)
    assert server.ranges[2:] == ([] if case == "ranges are ignored" else [(None, None)])
    assert left(home) == []


def test_a_file_that_changed_meanwhile_comes_whole(home, server):
    interrupt(server, body=OTHER)
    server.etag = '"two"'
    assert come(home, server) == 0 and left(home) == []


def test_a_rest_that_does_not_fit_ends_in_one_line_and_the_next_try_begins_anew(home, server):
    interrupt(server, sha256=OFFICIAL_SHA256)
    server.faults = [lambda h: part(h, body=OTHER)]
    with pytest.raises(CheckpointError, match=r"not the given one, .*; nothing was kept, 128 KiB of an interrupted") as e:
        fetch("b0", url=server.url(), sha256=OFFICIAL_SHA256)
    assert "\n" not in str(e.value) and left(home) == []
    assert come(home, server) == 0


CHUNKED = b'HTTP/1.1 206 Partial Content\r\nTransfer-Encoding: chunked\r\nETag: "one"\r\n'


def test_a_rest_is_bounded_as_a_file_is(home, server):
    interrupt(server)
    server.faults = [lambda h: part(h, size=10**17)]
    with pytest.raises(CheckpointError, match=r"at most 4 GiB are taken, the server sends 100,000,000,000,000,000 bytes"):
        fetch("b0", url=server.url())
    assert left(home) == []
    interrupt(server)
    head = CHUNKED + b"Content-Range: bytes %d-%d/%d\r\n\r\n" % (HALF, SIZE - 1, SIZE)
    server.faults = [lambda h: h.wfile.write(head + b"80000\r\n" + bytes(0x80000) + b"\r\n0\r\n\r\n")]
    with pytest.raises(CheckpointError, match=f"the download has {HALF + 0x80000:,} bytes: {SIZE:,} are expected"):
        fetch("b0", url=server.url())
    assert left(home) == []


@pytest.mark.parametrize("fault", [404, 503])
def test_a_server_that_is_out_of_order_costs_nothing_of_what_has_come(home, server, fault):
    interrupt(server)
    server.faults = [lambda h: h.send_error(fault)]
    with pytest.raises(CheckpointError, match=f"the server answers {fault} .*; what has come is kept"):
        fetch("b0", url=server.url())
    assert come(home, server) == HALF


@pytest.mark.parametrize("etag", ["", 'W/"one"', "one", '"' + "x" * 300 + '"', '"a\x7f"'])
def test_without_a_strong_tag_nothing_is_kept(home, server, etag):
    server.etag, server.faults = etag, ["cut"]
    with pytest.raises(CheckpointError, match="the download") as caught:
        fetch("b0", url=server.url())
    assert "kept" not in str(caught.value) and left(home) == []
    server.etag, server.headers, server.faults = ETAG, {"Accept-Ranges": "none"}, ["cut"]
    with pytest.raises(CheckpointError):
        fetch("b0", url=server.url())
    assert left(home) == []


def edited(path, old, new):
    text = path.read_bytes()
    assert old in text
    path.write_bytes(text.replace(old, new))


def linked(path, elsewhere):
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def moved(folder):
    folder.rename(folder.with_name(f"{folder.name}x"))


NO_PROOF = {
    "another byte": lambda folder, _: edited(folder / "official.pth.tar", OFFICIAL[:4], b"PK\x03\x05"),
    "a byte too few": lambda folder, _: os.truncate(folder / "official.pth.tar", HALF - 1),
    "more than there is": lambda folder, _: edited(folder / partial.NOTE, b"bytes ", b"bytes 9"),
    "a tag of two lines": lambda folder, _: edited(folder / partial.NOTE, b'"one"', b'"o\r\nX: y"'),
    "a note without end": lambda folder, _: os.truncate(folder / partial.NOTE, 1 << 30),
    "no text": lambda folder, _: (folder / partial.NOTE).write_bytes(b"\xff" * 100),
    "no note": lambda folder, _: (folder / partial.NOTE).unlink(),
    "a second name": lambda folder, elsewhere: os.link(folder / "official.pth.tar", elsewhere),
    "a link": lambda folder, elsewhere: linked(folder / "official.pth.tar", elsewhere),
    "a link for a mark": lambda folder, elsewhere: linked(folder / partial.MARK, elsewhere),
    "a link for a folder": lambda folder, elsewhere: linked(folder, elsewhere),
    "another name": lambda folder, _: moved(folder),
    "another mark": lambda folder, _: edited(folder / partial.MARK, b"minivan", b"maxivan"),
}


@pytest.mark.parametrize("case", NO_PROOF)
def test_what_proves_nothing_is_not_gone_on_from_and_stays(home, server, tmp_path, case):
    interrupt(server)
    (folder,) = (home / "downloads").iterdir()
    elsewhere = tmp_path / "elsewhere"
    NO_PROOF[case](folder, elsewhere)
    before = {path: path.stat().st_size for path in (home / "downloads").rglob("*") if path.is_file()}
    assert come(home, server) == 0 and server.ranges[1:] == [(None, None)]
    assert {path: path.stat().st_size for path in (home / "downloads").rglob("*") if path.is_file()} == before


def test_of_several_the_longest_is_taken_and_the_others_go(home, server):
    interrupt(server, body=OFFICIAL[:150_000])
    (short,) = (home / "downloads").iterdir()
    hidden = home / short.name
    short.rename(hidden)  # as while somebody else went on from it
    interrupt(server)
    hidden.rename(short)
    (home / "downloads" / "minivan-download-x").mkdir()
    assert come(home, server) == HALF
    assert [path.name for path in (home / "downloads").iterdir()] == ["minivan-download-x"]


def test_what_was_killed_before_anything_came_is_cleared_away_by_the_next(home, server, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(partial.Partial, "leave", lambda self, keep: self.let_be())  # as after a kill
        patch.setattr(transfer.Watch, "delivered", lambda self: raise_(KeyboardInterrupt()))
        server.etag = ETAG
        fetch("b0", url=server.url())
    assert left(home) == KEPT
    assert come(home, server) == 0 and server.ranges[1:] == [(None, None)] and left(home) == []


def raise_(error):
    raise error


def test_what_somebody_downloads_is_left_to_them(home, server, monkeypatch):
    """A download that is running is nobody else's, however old its folder is; each of two at once has the whole file."""
    interrupt(server)
    server.faults, said = ["hang"], []

    def broken_off():
        with pytest.raises(CheckpointError) as caught:
            fetch("b0", url=server.url())
        said.append(str(caught.value))

    first = threading.Thread(target=broken_off)
    first.start()
    assert server.hanging.wait(30)
    monkeypatch.setattr(partial, "ABANDONED", -1)
    assert come(home, server) == 0
    assert left(home) == KEPT and server.ranges[1:] == [(f"bytes={HALF}-", ETAG), (None, None)]
    server.released.set()
    first.join(30)
    assert "what has come is kept" in said[0] and left(home) == KEPT
    assert come(home, server) > HALF and left(home) == []


def test_where_there_are_no_locks_nothing_is_kept(home, server, monkeypatch):
    monkeypatch.setattr(partial, "_is_locked", lambda mark: None)
    server.etag, server.faults = ETAG, ["cut"]
    with pytest.raises(CheckpointError) as caught:
        fetch("b0", url=server.url())
    assert "kept" not in str(caught.value) and left(home) == []


def test_a_day_later_it_goes_whatever_is_fetched_then(home, server):
    interrupt(server)
    (folder,) = (home / "downloads").iterdir()
    another = server.url("official.pth.tar?another")
    assert fetch("b0", url=another).before == 0 and left(home) == KEPT
    unlocked = folder.with_name("minivan-download-killed-at-once")
    unlocked.mkdir()
    (unlocked / partial.UNLOCKED).write_text(unlocked.name)
    for abandoned in (folder, unlocked):
        os.utime(abandoned, (1, 1))
    assert fetch("b0", url=another).before == 0 and left(home) == []


def test_a_full_disk_keeps_nothing(home, server):
    interrupt(server)
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (HALF + 1000, usual[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            fetch("b0", url=server.url())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert left(home) == []


def test_ctrl_c_keeps_what_has_come(home, server, monkeypatch):
    heard = []

    def delivered(self):
        heard.append(1)
        if len(heard) == 3:
            raise KeyboardInterrupt

    server.etag = ETAG
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(transfer.Watch, "delivered", delivered)
        fetch("b0", url=server.url())
    assert left(home) == KEPT
    assert come(home, server) == 2 * transfer.CHUNK
