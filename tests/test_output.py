"""Files that are written: whole or not at all, through links, and in the place of nothing but a regular file."""

import errno
import os
import socket
import stat

import pytest

from minivan.output import filling, place, replacing

pytestmark = pytest.mark.loop


def write(path, data=b"new"):
    with replacing(path) as file:
        file.write(data)


def entries(folder):
    return sorted(p.name for p in folder.iterdir())


@pytest.fixture
def umask():
    before = os.umask(0o027)
    yield 0o027
    os.umask(before)


def test_a_new_file_has_the_rights_that_the_umask_leaves_and_a_replaced_one_keeps_its_own(tmp_path, umask):
    write(tmp_path / "new")
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o666 & ~umask
    (tmp_path / "new").chmod(0o604)
    write(tmp_path / "new", b"newer")
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o604 and (tmp_path / "new").read_bytes() == b"newer"
    assert entries(tmp_path) == ["new"]


@pytest.mark.parametrize("there", [True, False], ids=["to a file", "to nothing yet"])
def test_a_link_is_followed_and_stays(tmp_path, there):
    (tmp_path / "elsewhere").mkdir()
    target = tmp_path / "elsewhere" / "target"
    if there:
        target.write_bytes(b"old")
    (tmp_path / "middle").symlink_to("elsewhere/target")
    (tmp_path / "link").symlink_to(tmp_path / "middle")
    write(tmp_path / "link")
    assert target.read_bytes() == b"new" and (tmp_path / "link").is_symlink() and (tmp_path / "middle").is_symlink()
    assert entries(tmp_path / "elsewhere") == ["target"] and entries(tmp_path) == ["elsewhere", "link", "middle"]


def pipe(path):
    os.mkfifo(path)


def listening(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def endless(path):
    path.symlink_to(path.name)


def device(path):
    path.symlink_to("/dev/full")


REFUSED = {
    "a pipe": (pipe, "a pipe stands there"), "a socket": (listening, "a socket stands there"),
    "a folder": (lambda path: path.mkdir(), os.strerror(errno.EISDIR)), "a link to a device": (device, "a device stands there"),
    "a link to itself": (endless, os.strerror(errno.ELOOP)),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_regular_file_is_refused_and_left_as_it_is(tmp_path, kind):
    make, said = REFUSED[kind]
    path = tmp_path / "out"
    make(path)
    before = os.lstat(path)
    with pytest.raises(OSError) as caught:
        write(path)
    assert said in caught.value.strerror and caught.value.filename == str(path)
    assert os.lstat(path).st_ino == before.st_ino and os.lstat(path).st_mode == before.st_mode
    assert entries(tmp_path) == ["out"]


@pytest.mark.parametrize("name", ["/dev/full", "/dev/null"])
def test_a_device_is_not_replaced(name):
    before = os.stat(name).st_mode
    with pytest.raises(OSError, match="only a regular file is replaced"):
        write(name)
    assert os.stat(name).st_mode == before


def test_an_open_file_that_has_lost_its_name_is_not_given_another(tmp_path):
    with open(tmp_path / "lost", "wb") as lost:
        (tmp_path / "lost").unlink()
        with pytest.raises(FileNotFoundError) as caught:
            write(f"/dev/fd/{lost.fileno()}")
        assert caught.value.filename == f"/dev/fd/{lost.fileno()}"
    assert entries(tmp_path) == []


@pytest.mark.parametrize("name", ["none/out", "file/out", "x" * 300, "nul\0"])
def test_a_place_that_cannot_be_is_named_as_it_was_given(tmp_path, name):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError) as caught:
        write(tmp_path / name)
    assert caught.value.filename == str(tmp_path / name) and entries(tmp_path) == ["file"]


def test_the_longest_name_there_can_be_is_written(tmp_path):
    write(tmp_path / ("x" * 255))
    assert entries(tmp_path) == ["x" * 255]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, MemoryError])
def test_a_block_that_fails_leaves_what_was_there_and_nothing_else(tmp_path, error):
    (tmp_path / "out").write_bytes(b"old")
    with pytest.raises(error), replacing(tmp_path / "out") as file:
        file.write(b"half")
        raise error
    assert (tmp_path / "out").read_bytes() == b"old" and entries(tmp_path) == ["out"]


def test_a_full_disk_is_said_of_the_file_that_was_asked_for(tmp_path):
    with pytest.raises(OSError) as caught, replacing(tmp_path / "out") as file:
        file.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert caught.value.errno == errno.ENOSPC and caught.value.filename == str(tmp_path / "out")
    assert entries(tmp_path) == []


def test_where_a_file_would_be_written_can_be_asked_before(tmp_path):
    (tmp_path / "link").symlink_to("target")
    assert place(tmp_path / "link") == (tmp_path / "target").resolve()
    assert place(tmp_path / "new") == (tmp_path / "new").resolve() and entries(tmp_path) == ["link"]


def test_a_new_folder_has_its_name_when_all_is_in_it(tmp_path):
    with filling(tmp_path / "in" / "new") as folder:
        write(folder / "file")
        assert entries(tmp_path / "in") == [folder.name] and folder.name.startswith(".minivan-")
    assert entries(tmp_path / "in") == ["new"] and entries(tmp_path / "in" / "new") == ["file"]


def test_a_folder_that_is_there_is_filled_and_stays(tmp_path):
    write(tmp_path / "old")
    with pytest.raises(KeyboardInterrupt), filling(tmp_path) as folder:
        write(folder / "new")
        raise KeyboardInterrupt
    assert folder == tmp_path and entries(tmp_path) == ["new", "old"]


def test_a_new_folder_that_fails_leaves_nothing_and_names_no_hidden_one(tmp_path):
    with pytest.raises(OSError) as caught, filling(tmp_path / "new") as folder:
        write(folder / "file")
        write(folder / "not there" / "file")
    assert caught.value.filename == str(tmp_path / "new" / "not there" / "file") and entries(tmp_path) == []


def test_a_folder_that_comes_into_being_meanwhile_is_not_replaced(tmp_path):
    with pytest.raises(OSError) as caught, filling(tmp_path / "new") as folder:
        write(folder / "file")
        (tmp_path / "new").mkdir()
        write(tmp_path / "new" / "theirs")
    assert caught.value.filename == str(tmp_path / "new") and entries(tmp_path) == ["new"]
    assert entries(tmp_path / "new") == ["theirs"]
