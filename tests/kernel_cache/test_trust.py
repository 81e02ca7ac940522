"""Whose files the cache of kernels reads: none that others could have written."""

import hashlib
import os
import pickle
import tempfile
import warnings
from pathlib import Path

import pytest
from support.kernels import FOREIGN, answer, files

from minivan import kernel_cache, trust
from minivan.kernel_survey import versions


class Planted:
    """What somebody else could leave in a cache: unpickled, it makes a file."""

    def __init__(self, proof):
        self.proof = proof

    def __reduce__(self):
        return os.mkdir, (str(self.proof),)


def plant(cache, proof):
    """Put a file under a kernel's name that is right in all but its content."""
    answer()
    (path,) = cache.iterdir()
    key = path.read_bytes().split(b"\n", 2)[1]
    rest = key + b"\n0.1\n" + pickle.dumps(Planted(proof))
    path.write_bytes(hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest)
    return path


def make_foreign(monkeypatch, path):
    """Give a path to somebody else; who is not root becomes somebody else."""
    if os.geteuid() == 0:
        os.chown(path, FOREIGN, FOREIGN)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: FOREIGN)


def test_the_planted_file_would_be_run_where_it_is_trusted(cache, tmp_path, warned):
    plant(cache, tmp_path / "proof")
    assert not answer()
    assert (tmp_path / "proof").is_dir() and len(warned()) == 1


@pytest.mark.parametrize("which", ["file", "folder", "base", "parent"])
@pytest.mark.parametrize("how", ["group", "foreign"])
def test_what_others_can_write_is_not_read(cache, tmp_path, monkeypatch, warned, which, how):
    path = plant(cache, tmp_path / "proof")
    place = {"file": path, "folder": cache, "base": cache.parent, "parent": tmp_path}[which]
    if how == "foreign":
        make_foreign(monkeypatch, place)
    else:
        place.chmod(place.stat().st_mode | 0o020)
    assert not answer() and not answer(3)
    assert not (tmp_path / "proof").exists()
    (said,) = warned()
    assert "\n" not in said and "MINIVAN_CACHE" in said
    assert how == "foreign" or (str(place) in said and "chmod" in said)
    if which == "file" and how != "foreign":
        assert answer()  # replaced by one that only its owner can write
    elif which != "file":
        assert kernel_cache.folder() is None and kernel_cache.state().problem in said and len(files(cache)) == 1


def test_in_a_sticky_folder_the_second_user_has_a_folder_beside_the_firsts(cache, tmp_path, monkeypatch, warned):
    cache.parent.mkdir()
    cache.parent.chmod(0o1777)
    plant(cache, tmp_path / "proof")
    assert kernel_cache.folder() == cache
    root = os.geteuid() == 0
    make_foreign(monkeypatch, cache)
    own = cache.with_name(f"{cache.name}-{os.geteuid()}")
    assert kernel_cache.state().folder == own and [version.folder for version in versions()] == [cache]
    assert not answer() and not (tmp_path / "proof").exists()
    if root:  # else all folders above are somebody else's as well
        assert answer() and len(files(own)) == len(files(cache)) == 1
        assert [version.folder for version in versions()] == [own, cache] and versions()[0].used_here
        make_foreign(monkeypatch, own)
        assert not answer()
    assert len(warned()) == 1


def test_in_a_folder_that_is_not_sticky_a_name_that_is_taken_is_refused(cache, monkeypatch, warned):
    assert not answer()
    make_foreign(monkeypatch, cache)
    assert not answer() and len(warned()) == 1 and kernel_cache.state().folder == cache


def test_a_folder_that_somebody_makes_after_the_look_is_not_read(cache, tmp_path, monkeypatch, warned):
    plant(cache, tmp_path / "proof")
    make_foreign(monkeypatch, cache)
    monkeypatch.setattr(kernel_cache, "_place", lambda: kernel_cache.State(cache, "a test", None))
    assert not answer()
    assert not (tmp_path / "proof").exists() and len(warned()) == 1


def test_a_link_in_a_files_place_is_replaced(cache, tmp_path, warned):
    path = plant(cache, tmp_path / "proof")
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert not answer()
    assert not (tmp_path / "proof").exists() and not path.is_symlink() and len(warned()) == 1
    assert answer()


def test_trust_looks_at_the_sticky_bit_of_folders_above_alone(tmp_path):
    assert trust.distrust(tmp_path) is None
    tmp_path.chmod(0o1777)
    assert trust.distrust(tmp_path / "inside") is None
    assert "1777" in trust.distrust(tmp_path)


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_what_is_made_where_it_was_told_to_be_is_readable_for_all(tmp_path, monkeypatch, umask):
    base = tmp_path / "opt" / "kernels"
    monkeypatch.setenv("MINIVAN_CACHE", str(base))
    kernel_cache._base.cache_clear()
    before = os.umask(umask)
    try:
        assert not answer() and answer()
    finally:
        os.umask(before)
        kernel_cache._base.cache_clear()
    (version,) = base.iterdir()
    (kernel,) = version.iterdir()
    assert [p.stat().st_mode & 0o777 for p in (base.parent, base, version, kernel)] == [0o755, 0o755, 0o755, 0o644]


def test_what_is_made_in_the_users_own_cache_folder_is_the_users_alone(tmp_path, monkeypatch):
    monkeypatch.delenv("MINIVAN_CACHE", raising=False)
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr(kernel_cache, "user_cache", lambda: tmp_path / "caches" / "minivan")
    kernel_cache._base.cache_clear()
    assert not answer() and answer()
    kernel_cache._base.cache_clear()
    made = [tmp_path / "caches", tmp_path / "caches" / "minivan", tmp_path / "caches" / "minivan" / "kernels"]
    assert [p.stat().st_mode & 0o777 for p in made] == [0o700] * 3


def test_a_cache_that_was_told_where_to_be_serves_another_user(monkeypatch):
    """Without root at hand, the user stays the same: that others may read it is tested by its modes above."""
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        monkeypatch.setenv("MINIVAN_CACHE", f"{place}/opt/kernels")
        monkeypatch.setattr(kernel_cache, "SOURCES", kernel_cache.SOURCES._replace(stamps={}))
        kernel_cache._base.cache_clear()
        assert not answer()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                if os.geteuid() == 0:
                    os.setuid(FOREIGN)
                with warnings.catch_warnings():
                    warnings.simplefilter("error")
                    status = 0 if answer() and kernel_cache.state().problem is None else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        kernel_cache._base.cache_clear()


def test_a_cache_that_root_made_serves_another_user_who_cannot_write_it(monkeypatch):
    """Without root at hand, the user stays the same, and only the folder cannot be written."""
    with tempfile.TemporaryDirectory() as place:
        cache = Path(place)
        cache.chmod(0o755)  # as `mkdir` in an image's recipe makes it
        monkeypatch.setenv("MINIVAN_CACHE", place)
        # Nor can another user look at the sources where only root reaches the checkout.
        monkeypatch.setattr(kernel_cache, "SOURCES", kernel_cache.SOURCES._replace(stamps={}))
        kernel_cache._base.cache_clear()
        assert not answer() and answer()
        before = [(p, p.stat().st_mtime_ns) for p in sorted(cache.rglob("*"))]
        for folder in [cache, *cache.iterdir()]:
            folder.chmod(0o555)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                if os.geteuid() == 0:
                    os.setuid(FOREIGN)
                with warnings.catch_warnings():
                    warnings.simplefilter("error")
                    status = 0 if answer() and kernel_cache.state().problem is None else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert [(p, p.stat().st_mtime_ns) for p in sorted(cache.rglob("*"))] == before
        kernel_cache._base.cache_clear()
