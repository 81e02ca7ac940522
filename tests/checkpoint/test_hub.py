"""Names and what they mean; downloads from a real HTTP server on this machine, with everything that goes wrong."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from support import EXAMPLES, ROOT, saved
from support.loopback import OFFICIAL, OFFICIAL_SHA256

from minivan.checkpoint import SOURCES, CheckpointError, download, fetch, find, hub, load, published, read, transfer

FILES = ROOT / "tests" / "checkpoints"


def left_behind(home):
    """Every file below the cache that is not finished weights."""
    return [path for path in home.rglob("*") if path.is_file() and path.parent.name != "weights"] + [
        path for path in (home / "weights").glob("*") if path.suffix != ".safetensors"
    ]


def failed(home, words, *args, **options):
    """A fetch that must fail in one line with these words, and leave nothing behind that was not there."""
    before = sorted((home / "weights").glob("*"))
    with pytest.raises(CheckpointError, match=words) as raised:
        fetch(*args, **options)
    assert "\n" not in str(raised.value)
    assert sorted((home / "weights").glob("*")) == before and left_behind(home) == []


# fetching


def test_a_fetched_checkpoint_is_converted_recorded_and_becomes_the_default(home, server):
    with pytest.raises(CheckpointError, match="the weights of b0 are not here: fetch them: python -m minivan fetch b0"):
        find("b0")
    fetched = fetch("b0", url=server.url(), sha256=OFFICIAL_SHA256.upper())
    assert fetched.path == home / "weights" / "van_b0_url.safetensors"
    assert fetched.sha256 == OFFICIAL_SHA256 and fetched.checked == f"the SHA-256 {OFFICIAL_SHA256} is the given one"
    weights = read(fetched.path)
    assert weights.card.source == server.url() and weights.card.source_sha256 == OFFICIAL_SHA256
    assert weights.card.layout == "authors" and weights.card.name == "van_b0_url"
    expected = read(FILES / "official.pth.tar").tensors
    assert all(np.array_equal(weights.tensors[name], expected[name]) for name in expected)
    assert find() == find("b0") == find("tiny") == find("van_b0_url") == fetched.path
    assert left_behind(home) == [], "the download is removed"


def test_the_last_fetched_is_the_default(home, server):
    first = fetch("b0", url=server.url()).path
    other = fetch("b2", url=server.url()).path
    os.utime(first, ns=(1, 1))
    assert find() == other and find("b0") == first
    again = fetch("b0", url=server.url()).path
    assert find() == again == first
    mine = fetch("my-own", url=server.url("net")).path
    assert find() == find("my-own") == mine and find("b0") == first
    assert fetch("b0", "openmmlab", server.url()).path.stem == "van_b0_openmmlab" and find("b0").stem == "van_b0_openmmlab"


def test_without_a_known_hash_it_says_so_and_gives_the_one_it_saw(home, server):
    checked = fetch("b0", url=server.url()).checked
    assert "no SHA-256 of this file is known" in checked and checked.count(OFFICIAL_SHA256) == 2


def test_a_mismatching_hash(home, server):
    wrong = "0" * 64
    words = f"the SHA-256 is {OFFICIAL_SHA256}: not the given one, {wrong}; nothing was kept"
    failed(home, words, "b0", url=server.url(), sha256=wrong)
    assert fetch("b0", url=server.url(), sha256=OFFICIAL_SHA256).path.exists()


def test_the_eight_digits_in_a_name_are_checked(home, server, monkeypatch):
    """The published sources, served from here: one with all digits known, one with eight, one with none."""
    for library, known, words in (
        ("authors", OFFICIAL_SHA256, "is the known one"),
        (
            "openmmlab",
            OFFICIAL_SHA256[:8],
            f"of its SHA-256 only the 8 digits {OFFICIAL_SHA256[:8]} are known, from its name; they fit",
        ),
        ("huggingface", "", "no SHA-256 of this file is known"),
    ):
        source = published("b1", library)
        monkeypatch.setattr(download, "published", lambda *_, s=source, k=known: type(s)(s.variant, s.library, server.url(), k))
        assert words in fetch("b1", library).checked
        assert find("b1").stem == f"van_b1_{library}"
    monkeypatch.setattr(download, "published", lambda *_: type(source)("b1", "openmmlab", server.url(), "0123abcd"))
    failed(home, r"not the known one, 0123abcd\.\.\.; nothing was kept", "b1", "openmmlab")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (404, "nothing was downloaded: the server answers 404"),
        (500, "nothing was downloaded: the server answers 500"),
        ("cut", "the download"),
        ("reset", "the download failed"),
        ("damaged", "checksum is wrong|damaged|contradicts"),
        ("page", "a web page: the download's address shows a page, not the file"),
        ("short", "the download was cut short|the download failed"),
        ("short, no length", "a zip file without its end"),
    ],
)
def test_what_goes_wrong_is_said_and_a_second_try_works(home, server, fault, words):
    server.faults = ["no length" if fault == "short, no length" else fault]
    if fault == "short, no length":
        server.body = OFFICIAL[:-1000]
    failed(home, words, "b0", url=server.url())
    server.body = OFFICIAL
    assert read(fetch("b0", url=server.url()).path).config.classes == 10
    assert len(server.asked) == 2


def test_a_failure_leaves_the_weights_that_were_there(home, server):
    path = fetch("b0", url=server.url()).path
    before = path.read_bytes()
    server.faults = ["cut"]
    failed(home, "the download", "b0", url=server.url())
    assert path.read_bytes() == before


def test_no_length_at_all_is_no_fault(home, server):
    server.faults = ["no length"]
    assert fetch("b0", url=server.url()).sha256 == OFFICIAL_SHA256


def test_an_unreachable_address(home, server):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    failed(home, "the download failed: .*refused", "b0", url=f"http://127.0.0.1:{port}/net.pth")
    failed(home, "the download failed", "b0", url="http://nowhere.invalid/net.pth")


def test_a_server_that_stops_sending(home, server, monkeypatch):
    monkeypatch.setattr(transfer, "TIMEOUT", 0.5)
    server.faults = ["hang"]
    failed(home, "the download failed: .*timed out", "b0", url=server.url())


def test_a_file_that_is_no_van(home, server):
    server.body = saved.zip_of({"word/document.xml": b"x"})
    failed(home, f"{re.escape(server.url())}: a zip file of 1 records", "b0", url=server.url())
    server.body = saved.around(b"\x80\x02cos\nsystem\n" + saved.short("true") + b"\x85R.")
    failed(home, "'os.system'", "b0", url=server.url())


@pytest.mark.parametrize("url", ["ftp://a/b", "file:///etc/passwd", "net.pth", "http://", "http://[", "http://a:99999", ""])
def test_addresses_that_are_none(home, url):
    failed(home, "the address", "b0", url=url)


@pytest.mark.parametrize("name", ["../escape", "a/b", "", ".hidden", "x" * 65, "a b", "C:\\x"])
def test_names_that_are_no_file_names(home, server, name):
    failed(home, "letters, digits", name, url=server.url())
    assert server.asked == []


def test_a_name_in_the_address_is_no_path(home, server):
    for name in ("..%2f..%2fescape", "%2e%2e/", "", "a?token=secret", "x" * 300, "\u00e9"):
        fetched = fetch("b0", url=server.url(name))
        assert "secret" not in fetched.path.read_bytes()[:4000].decode("latin-1")
    assert sorted(path.name for path in home.iterdir()) == ["downloads", "weights"]


def test_passwords_in_an_address_are_not_recorded(home, server):
    url = server.url().replace("http://", "http://me:secret@")
    assert fetch("b0", url=url).weights.card.source == server.url()


def killed_while_downloading(home, server, how):
    """Start a fetch in a process of its own and end it when half the file has come."""
    server.faults = ["hang"]
    code = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a job in the background has none
    code += "from minivan.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "fetch", "b0", "--url", server.url()]
    child = subprocess.Popen(command, env=os.environ | {"MINIVAN_HOME": str(home)}, stderr=subprocess.PIPE, text=True)
    assert server.hanging.wait(60)
    time.sleep(0.3)
    child.send_signal(how)
    said = child.communicate(timeout=60)[1]
    server.released.set()
    return child.returncode, said


def test_interrupted_from_the_keyboard(home, server):
    status, said = killed_while_downloading(home, server, signal.SIGINT)
    assert status == 130 and "Traceback" not in said
    assert left_behind(home) == [] and not list(home.glob("weights/*"))
    assert fetch("b0", url=server.url()).path.exists()


def test_a_link_where_the_weights_belong_is_followed_and_stays(home, server, tmp_path):
    place = home / "weights" / "van_b0_url.safetensors"
    place.parent.mkdir(parents=True)
    (tmp_path / "elsewhere").write_bytes(b"old")
    place.symlink_to(tmp_path / "elsewhere")
    fetched = fetch("b0", url=server.url())
    assert fetched.path == place and place.is_symlink() and read(tmp_path / "elsewhere").config == fetched.weights.config


def test_a_pipe_where_the_weights_belong_stays_and_nothing_is_downloaded(home, server):
    place = home / "weights" / "van_b0_url.safetensors"
    place.parent.mkdir(parents=True)
    os.mkfifo(place)
    with pytest.raises(OSError, match="a pipe stands there"):
        fetch("b0", url=server.url())
    assert place.is_fifo() and left_behind(home) == []


def old(folder):
    os.utime(folder, (1, 1), follow_symlinks=False)
    return folder


def test_only_folders_that_a_fetch_made_itself_are_swept_away(home, server, tmp_path):
    """What stands beside them, bears their name, or is a link to somewhere, stays with all that is in it."""
    downloads, elsewhere = home / "downloads", tmp_path / "elsewhere"
    kept = {
        "another's": lambda path: path.mkdir(),
        "minivan-download-bare": lambda path: path.mkdir(),
        "minivan-download-moved": lambda path: (path.mkdir(), (path / "made-by-minivan").write_text("minivan-download-other")),
        "minivan-download-file": lambda path: path.write_text("minivan-download-file"),
        "minivan-download-link": lambda path: path.symlink_to(elsewhere),
        "minivan-download-mark": lambda path: (path.mkdir(), (path / "made-by-minivan").symlink_to(elsewhere / "mark")),
    }
    downloads.mkdir(parents=True)
    elsewhere.mkdir()
    for name, make in kept.items():
        make(downloads / name)
    (elsewhere / "made-by-minivan").write_text("minivan-download-link")
    (elsewhere / "mark").write_text("minivan-download-mark")
    young, abandoned = downloads / "minivan-download-young", downloads / "minivan-download-abandoned"
    for folder in (young, abandoned):
        folder.mkdir()
        (folder / "made-by-minivan").write_text(folder.name)
    for path in [elsewhere, *downloads.iterdir()]:
        if path != young:
            old(path)
    fetch("b0", url=server.url())
    assert sorted(path.name for path in downloads.iterdir()) == sorted([*kept, young.name])
    assert sorted(path.name for path in elsewhere.iterdir()) == ["made-by-minivan", "mark"]


@pytest.mark.slow
def test_several_processes_at_once(home, server):
    """Each ends well, whoever is last has the name, and at no time is there a file that cannot be read."""
    command = [sys.executable, "-m", "minivan", "fetch", "b0", "--url", server.url()]
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    children = [subprocess.Popen(command, env=os.environ | {"MINIVAN_HOME": str(home)}, **pipes) for _ in range(4)]
    path, looks = home / "weights" / "van_b0_url.safetensors", 0
    while any(child.poll() is None for child in children):
        with contextlib.suppress(FileNotFoundError):
            assert read(path).config.classes == 10
            looks += 1
        time.sleep(0.01)
    for child in children:
        out, err = child.communicate()
        assert child.returncode == 0, err
        assert "van_b0_url: VAN" in out
    assert read(path).card.source_sha256 == OFFICIAL_SHA256 and left_behind(home) == [] and looks


def test_a_cache_that_cannot_be_written(home, server, tmp_path):
    (tmp_path / "home").write_text("a file where the folder should be")
    with pytest.raises(OSError, match="home"):
        fetch("b0", url=server.url())


# names


def test_the_published_sources():
    assert {source.variant for source in SOURCES} == {"b0", "b1", "b2", "b3", "b4"}
    assert len(SOURCES) == 13 and len({source.url for source in SOURCES}) == 13
    assert all(re.fullmatch("[0-9a-f]{64}|[0-9a-f]{8}|", source.sha256) for source in SOURCES)
    assert published("tiny").library == "authors" and published("b4").library == "openmmlab"
    assert published("B0", "huggingface").sha256.startswith("df40b091")
    assert published("b4").sha256 == "f4665b92"
    with pytest.raises(CheckpointError, match="no address of b5 is known: known are b0, b1, b2, b3, b4"):
        published("b5")
    with pytest.raises(CheckpointError, match="no address of b4 is known from authors: known are b0, b1, b2, b3;"):
        published("b4", "authors")
    with pytest.raises(ValueError, match="no VAN variant is called 'c1'"):
        published("c1")


def test_bundled_weights_are_the_default_where_nothing_was_fetched(home):
    assert find() == find(hub.bundled()[0].stem) and find().parent == hub.bundled_folder()
    assert not home.exists(), "looking for weights makes no folder"


def test_bundled_weights_answer_where_the_home_folder_cannot_be_looked_at(monkeypatch, run):
    """A change of user keeps HOME, and the folder is another's: played by a name that no file system has room for."""
    place = f"/{'x' * 300}"
    monkeypatch.setenv("MINIVAN_HOME", place)
    assert find().parent == hub.bundled_folder() and [entry.place for entry in hub.here()] == ["bundled"]
    said = f"fetched weights, if there are any, were passed over ({place}/weights: File name too long)"
    assert load().card.notes == (said,) and load(hub.bundled()[0]).card.notes == ()
    status, _, errors = run("weights")
    assert (status, errors) == (0, f"note: {said}\n")
    assert run("classify", EXAMPLES / "cat.jpg", "--engine", "numpy")[2] == f"note: {said}\n"
    with pytest.raises(CheckpointError, match=r"the weights of b0 are not here: fetched weights, .*; fetch them"):
        find("b0")
    monkeypatch.setenv("MINIVAN_HOME", "/dev/null")  # a file: nothing can ever have been fetched
    assert load().card.notes == () and run("weights")[2] == ""


def test_a_fetched_file_that_cannot_be_looked_at_is_said_too(home, server, monkeypatch):
    """A folder that may be listed and not searched; played, because root may do either."""
    fetched = fetch("b0", url=server.url()).path
    stat = Path.stat

    def forbidden(path, **options):
        if path == fetched:
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", forbidden)
    assert find().parent == hub.bundled_folder()
    assert hub.passed_over() == f"fetched weights, if there are any, were passed over ({fetched}: Permission denied)"


def test_paths(home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(FILES / "official.pth.tar", "net.pth")
    assert find("net.pth") == Path("net.pth") and find(tmp_path / "net.pth") == tmp_path / "net.pth"
    shutil.copy(FILES / "official.pth.tar", "b0")
    with pytest.raises(CheckpointError, match="the weights of b0 are not here"):
        find("b0")  # a name first: ./b0 is the file
    assert find("./b0") == Path("b0") == find(Path("b0"))
    with pytest.raises(CheckpointError, match="no file 'nothing'"):
        find("nothing")


def test_the_folder_one_stands_in_may_be_a_hugging_face_folder(home, monkeypatch):
    monkeypatch.chdir(FILES / "huggingface")
    assert read(find(".")).card.name == "huggingface"
    with pytest.raises(CheckpointError, match="an empty name"):
        find("")


def test_nothing_is_downloaded_by_looking(home, monkeypatch):
    def connect(*_):
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", connect)
    for name in ("b0", "b2", "van_b3_authors", "http://example.org/net.pth"):
        with pytest.raises(CheckpointError):
            find(name)


def test_minivan_home_may_begin_with_a_tilde(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MINIVAN_HOME", "~/vans")
    assert hub.home_folder() == tmp_path / "vans"
    monkeypatch.setenv("MINIVAN_HOME", "~no-such-user/vans")
    assert hub.home_folder() == Path.cwd() / "~no-such-user" / "vans"  # as of a kernel cache: a folder of that name
    monkeypatch.delenv("MINIVAN_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert "minivan" in hub.home_folder().parts
