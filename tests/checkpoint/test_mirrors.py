"""Mirrors of Hugging Face, revisions of its repositories, and the commits that hosts report."""

import dataclasses

import pytest
from support.loopback import OFFICIAL_SHA256

from minivan.card import Card
from minivan.checkpoint import CheckpointError, fetch, published, read
from minivan.checkpoint.sources import HUB, located

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SMALL = "/Visual-Attention-Network/van-small/resolve"


@pytest.fixture
def mirror(server, monkeypatch):
    """The server on this machine, as a mirror of Hugging Face, with a slash at its end as people write it."""
    monkeypatch.setenv("HF_ENDPOINT", server.url("hf/"))
    return server


def to_storage(handler, commit=COMMIT):
    """The hub sends whoever asks for a large file to a storage, whose answer knows nothing of commits."""
    host = f"http://localhost:{handler.server.server_port}"
    head = f"HTTP/1.1 302 Found\r\nLocation: {host}/storage\r\nX-Repo-Commit: {commit}\r\nContent-Length: 0\r\n\r\n"
    handler.wfile.write(head.encode())


def test_a_mirror_a_revision_and_the_commit_that_it_is_now(home, mirror, run):
    mirror.faults = [to_storage]
    status, out, errors = run("fetch", "b1", "--from", "huggingface", "--revision", "refs/pr/1")
    address = f"{mirror.url('hf')}{SMALL}/refs%2Fpr%2F1/pytorch_model.bin"
    assert status == 0 and mirror.asked == [f"/hf{SMALL}/refs%2Fpr%2F1/pytorch_model.bin", "/storage"]
    assert out.splitlines()[1] == f"{address}: commit {COMMIT}, says the host" and "does not say which commit" not in errors
    card = read(home / "weights" / "van_b1_huggingface.safetensors").card
    assert (card.source, card.commit, card.source_sha256) == (address, COMMIT, OFFICIAL_SHA256)
    assert f"its commit {COMMIT}, as its host said" in " ".join(run("weights", "show", "b1")[1].split())
    mirror.faults = [lambda h: to_storage(h, "main")]  # no commit
    errors = run("fetch", "b1", "--from", "huggingface", "--revision", "v1.0")[2]
    assert "note: the host does not say which commit v1.0 is\n" in errors
    assert read(home / "weights" / "van_b1_huggingface.safetensors").card.commit == ""


def test_a_storage_is_not_asked_for_commits_and_another_commit_is_refused(home, mirror):
    mirror.headers = {"X-Repo-Commit": "f" * 40}
    mirror.faults = [lambda h: to_storage(h, "")]
    assert fetch("b1", "huggingface").weights.card.commit == ""
    mirror.faults = [to_storage]
    assert fetch("b1", "huggingface", revision=COMMIT).weights.card.commit == COMMIT
    before = (home / "weights" / "van_b1_huggingface.safetensors").read_bytes()
    with pytest.raises(CheckpointError, match=f"the host sent commit {'f' * 40}: not {COMMIT}"):
        fetch("b1", "huggingface", revision=COMMIT)
    assert (home / "weights" / "van_b1_huggingface.safetensors").read_bytes() == before
    assert fetch("mine", url=mirror.url()).weights.card.commit == "f" * 40  # wherever it comes from


def test_what_is_known_of_main_is_asked_of_main_alone(home, mirror, monkeypatch):
    known = dataclasses.replace(published("b1", "huggingface"), sha256="0" * 64, megabytes=50)
    monkeypatch.setattr("minivan.checkpoint.download.published", lambda *_: known)
    with pytest.raises(CheckpointError, match="the download has 293,433 bytes: 49,500,000 or more are expected"):
        fetch("b1", revision="main")
    assert "no SHA-256 of this file is known" in fetch("b1", revision="v1.0").checked
    known = dataclasses.replace(known, sha256=OFFICIAL_SHA256)
    assert fetch("b1", revision="v1.0").checked == f"the SHA-256 {OFFICIAL_SHA256} is the known one"
    with pytest.raises(CheckpointError, match="not the given one"):
        fetch("b1", revision="v1.0", sha256="0" * 64)


def test_only_what_lies_on_the_hub_goes_to_a_mirror(monkeypatch):
    source = published("b0")
    monkeypatch.setenv("HF_ENDPOINT", "")
    assert located(source) == source and source.url.startswith(f"{HUB}/")
    monkeypatch.setenv("HF_ENDPOINT", "https://user:word@mirror.example/api/hf//")
    assert located(source).url == source.url.replace(HUB, "https://user:word@mirror.example/api/hf")
    assert located(source).sha256 == source.sha256 and located(source).sizes == source.sizes
    elsewhere = published("b0", "openmmlab")
    assert located(elsewhere) == elsewhere


@pytest.mark.parametrize("endpoint", [
    "mirror.example", "ftp://mirror.example", "https://", "https://mirror.example/?a=b", "https://mirror.example/#a",
    "https://mirror.example:99999", "https://mirror.example/\x1b[2J", "https://mirror.example/a b", "file:///etc",
])  # fmt: skip
def test_an_endpoint_that_is_none_is_one_line(home, run, monkeypatch, endpoint):
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    status, out, errors = run("fetch", "b0")
    assert (status, out) == (2, "") and errors.startswith("minivan: HF_ENDPOINT is ") and errors.count("\n") == 1
    assert "an address such as https://huggingface.co is wanted" in errors and not home.exists()


def test_an_endpoint_over_http_is_refused_but_on_this_machine(home, run, monkeypatch):
    for host in ("mirror.example", "192.168.0.7", "localhost.example", "[::2]"):
        monkeypatch.setenv("HF_ENDPOINT", f"http://me:secret@{host}:80")
        status, _, errors = run("fetch", "b1", "--from", "huggingface")
        assert status == 2 and errors.count("\n") == 1 and "secret" not in errors
        assert f"make it https, or ask for it by --url http://{host}:80{SMALL}/main/pytorch_model.bin\n" in errors
    for host in ("localhost", "127.0.0.2", "[::1]"):
        monkeypatch.setenv("HF_ENDPOINT", f"http://{host}:80")
        assert located(published("b0")).url.startswith(f"http://{host}:80/Visual")


@pytest.mark.parametrize(
    "revision", ["", "../../evil", "a//b", "/a", "a/", "-a", "a b", "a\n", "x" * 201, "a?b", "é", ".a", "a/.b"]
)
def test_revisions_that_are_none_are_not_asked_for(home, mirror, revision):
    with pytest.raises(CheckpointError, match="the name of a branch or a tag is wanted, or a commit"):
        fetch("b0", revision=revision)
    assert mirror.asked == [] and not home.exists()


def test_where_there_are_no_revisions_it_is_said(home, server, run):
    for options, words in (
        (("b4",), "f4665b92.pth has none: it lies in no repository"),
        (("b0", "--from", "openmmlab"), "385941af.pth has none: it lies in no repository"),
        (("b0", "--url", server.url()), "an address says itself which one it means"),
    ):
        status, out, errors = run("fetch", *options, "--revision", "main")
        assert (status, out) == (2, "") and words in errors and errors.count("\n") == 1
    assert server.asked == [] and not home.exists()


def test_a_card_has_a_whole_commit_or_none():
    assert Card("x", commit="a" * 64).commit == "a" * 64
    for commit in ("abc", "A" * 40, "a" * 41, f"{'a' * 40}\n"):
        with pytest.raises(ValueError, match="a commit has 40 or 64 hex digits"):
            Card("x", commit=commit)
