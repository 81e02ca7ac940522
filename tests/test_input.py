"""Files that are read: regular ones and, where the user named it, a pipe; nothing waits, and nothing is read without an end."""

import hashlib
import os
import socket
import threading

import pytest

from minivan.errors import sentence
from minivan.input import amount, drained, fault, opened, read, read_text

pytestmark = pytest.mark.loop


def test_a_file_is_read_through_links_up_to_the_limit(tmp_path):
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("file")
    assert read(tmp_path / "link", 5) == b"12345" and fault(tmp_path / "link") == ""
    with pytest.raises(OSError) as caught:
        read(tmp_path / "link", 4)
    assert sentence(caught.value) == f"{tmp_path / 'link'}: more than 4 bytes, the limit for such a file"


def test_a_text_is_read_in_its_encoding(tmp_path):
    (tmp_path / "text").write_bytes("\ufeffgrün".encode())
    assert read_text(tmp_path / "text", 100, "utf-8-sig") == "grün"
    with pytest.raises(UnicodeDecodeError):
        read_text(tmp_path / "text", 100, "ascii")


def listening(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (os.mkfifo, "a pipe is no file to read"),
        (os.mkdir, "a folder is no file to read"),
        (listening, "a socket is no file to read"),
        (lambda path: path.symlink_to("/dev/zero"), "a device is no file to read"),
        (lambda path: path.symlink_to("nowhere"), "a link that leads nowhere"),
        (lambda path: path.symlink_to(path.name), "Too many levels of symbolic links"),
        (lambda path: None, "no such file or folder"),
    ],
)
def test_what_is_no_file_is_refused_without_opening_it(tmp_path, make, kind, monkeypatch):
    path = tmp_path / "x"
    make(path)
    monkeypatch.setattr(os, "open", lambda *_: pytest.fail("it was opened"))
    assert fault(path) == kind
    with pytest.raises(OSError) as caught:
        read(path, 10, pipe=False)
    assert sentence(caught.value).startswith(f"{path}: ")


def test_a_name_with_a_zero_byte_is_refused(tmp_path):
    assert fault("a\0b") == "no name that a file can have"
    with pytest.raises(OSError, match="no name"):
        opened("a\0b")


def test_a_pipe_is_read_where_it_is_allowed_and_its_end_is_not_waited_for_beyond_the_limit(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    stop = threading.Event()

    def endless():
        try:
            with open(tmp_path / "pipe", "wb", buffering=0) as file:
                while not stop.is_set():
                    file.write(b"x" * 4096)
        except BrokenPipeError:
            stop.set()

    writer = threading.Thread(target=endless)
    writer.start()
    with pytest.raises(OSError, match="more than 64 KiB"):
        read(tmp_path / "pipe", 1 << 16)
    writer.join(timeout=60)
    assert stop.is_set()


def test_a_file_that_has_nothing_to_give_now_is_an_error_and_has_no_end(tmp_path, monkeypatch):
    """As /proc/kmsg is. Python's None for it led hashlib.file_digest round and round."""
    os.mkfifo(tmp_path / "x")
    writer = os.open(tmp_path / "x", os.O_RDWR)
    monkeypatch.setattr("stat.S_ISFIFO", lambda mode: False)
    monkeypatch.setattr("stat.S_ISREG", lambda mode: True)
    with opened(tmp_path / "x") as file:
        for take in (lambda: file.read(9), file.read, file.readline, lambda: hashlib.file_digest(file, "sha256")):
            with pytest.raises(OSError, match="it has nothing to read") as caught:
                take()
            assert sentence(caught.value).startswith(f"{tmp_path / 'x'}: ")
    os.close(writer)


class Endless:
    """A file as some of /proc are: it never ends, and no size says so."""

    given = 0

    def read(self, size):
        Endless.given += size
        return b"x" * size


def test_a_file_whose_size_says_nothing_is_bounded_by_what_is_read():
    with pytest.raises(OSError, match="more than 100 bytes"):
        drained(Endless(), 100, "endless")
    assert Endless.given == 101


def test_an_amount_is_said_in_the_unit_that_fits_it():
    assert [amount(n) for n in (300, 1 << 16, 3 << 19, 2 << 30)] == ["300 bytes", "64 KiB", "1.5 MiB", "2 GiB"]
