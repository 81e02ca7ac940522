"""What is loaded from the cache of kernels is what was asked for, undamaged, from the folder that was chosen."""

import hashlib
import os
import pickle
from pathlib import Path

import pytest
from support.kernels import answer, files, kernel

from minivan import compiler, jit, kernel_cache
from minivan.ops import activation


def test_a_kernel_is_compiled_once_and_then_loaded(cache):
    assert not answer() and len(files(cache)) == 1
    assert answer() and len(files(cache)) == 1


@pytest.mark.parametrize("damage", ["empty", "half", "payload", "checksum", "key", "text"])
def test_a_damaged_file_is_compiled_again_and_replaced(cache, damage):
    answer()
    (path,) = cache.iterdir()
    whole = path.read_bytes()
    at = {"payload": len(whole) - 100, "checksum": 5, "key": 90}.get(damage, 0)
    flipped = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
    path.write_bytes({"empty": b"", "half": whole[: len(whole) // 2], "text": b"not a kernel\n"}.get(damage, flipped))
    assert not answer()
    assert answer()


def test_one_signatures_code_under_anothers_name_is_not_loaded(cache):
    answer(3.0)
    (one,) = cache.iterdir()
    answer(3)
    (other,) = set(cache.iterdir()) - {one}
    one.rename(cache / "aside")
    other.rename(one)
    (cache / "aside").rename(other)
    assert not answer(3.0) and not answer(3)
    assert answer(3.0) and answer(3)


def be_another_processor(monkeypatch):
    codegen = type(kernel().targetctx.codegen())
    monkeypatch.setattr(codegen, "magic_tuple", lambda self: ("x86_64-unknown-linux-gnu", "another", "+avx512f"))


def test_another_processors_code_under_this_ones_name_is_not_loaded(cache, monkeypatch):
    answer()
    (ours,) = cache.iterdir()
    with monkeypatch.context() as patch:
        be_another_processor(patch)
        answer()
    (theirs,) = set(cache.iterdir()) - {ours}
    theirs.replace(ours)
    assert not answer()
    assert answer()


@pytest.mark.parametrize("what", ["processor", "numba", "OPT"])
def test_code_for_another_processor_version_or_setting_is_not_loaded(cache, monkeypatch, what):
    answer()
    if what == "processor":
        be_another_processor(monkeypatch)
    else:
        other = {**kernel_cache._compiler(), what: "another"}
        monkeypatch.setattr(kernel_cache, "_compiler", lambda: other)
    assert not answer() and len(files(cache)) == 2
    assert answer()


def test_another_kernels_code_of_the_same_signature_is_not_taken_for_it(cache):
    def called(function):
        kernel = jit.njit()(function)
        return kernel(0.5), sum(kernel.stats.cache_hits.values())

    exp, erfc = activation.exp.py_func, activation.erfc.py_func
    right, _ = called(exp)
    ours = {path for path in cache.iterdir() if "exp" in path.name}
    called(erfc)
    (path,), (other,) = ours, {path for path in cache.iterdir() if "erfc" in path.name}
    key, found = path.read_bytes().split(b"\n", 2)[1], other.read_bytes().split(b"\n", 2)[2]
    rest = key + b"\n" + found
    path.write_bytes(hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest)
    assert called(exp) == (right, 0) and called(exp) == (right, 1)


@pytest.mark.parametrize("setting", compiler.SETTINGS)
def test_a_setting_of_numbas_that_a_program_changes_later_leads_to_another_kernel(cache, monkeypatch, setting):
    from numba import config

    before = kernel_cache.made_with()
    monkeypatch.setattr(config, setting, "another", raising=False)
    assert kernel_cache.made_with() != before


def test_a_type_of_the_same_name_from_another_module_is_not_taken_for_it(cache):
    answer()
    (path,) = cache.iterdir()
    _, key, seconds, pickled = path.read_bytes().split(b"\n", 3)
    sig, reduced = pickle.loads(pickled)
    rest = (
        key + b"\n" + seconds + b"\n" + pickle.dumps(((*sig, *sig), reduced))
    )  # the text of the types agrees, they themselves do not
    path.write_bytes(hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest)
    assert not answer()


def chosen(monkeypatch, **environment):
    for name in ("MINIVAN_CACHE", "NUMBA_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, str(value))
    kernel_cache._base.cache_clear()
    return kernel_cache.state()


def test_the_environment_chooses_the_folder(cache, tmp_path, monkeypatch):
    a, b, home = tmp_path / "a", tmp_path / "b", tmp_path / "home"
    state = chosen(monkeypatch, MINIVAN_CACHE=a, NUMBA_CACHE_DIR=b)
    assert state.folder.parent == a and state.chosen_by == "MINIVAN_CACHE"
    state = chosen(monkeypatch, MINIVAN_CACHE="", NUMBA_CACHE_DIR=b)
    assert state.folder.parent == b and state.chosen_by == "NUMBA_CACHE_DIR"
    assert chosen(monkeypatch, MINIVAN_CACHE="~/c", HOME=home).folder.parent == home / "c"
    assert chosen(monkeypatch, HOME=home, XDG_CACHE_HOME=home / "d").folder.is_relative_to(home)
    before = os.umask(0o002)  # what is made is the owner's alone, also where a group shares its files by default
    try:
        home.mkdir(mode=0o700)
        assert not answer() and answer()
    finally:
        os.umask(before)


@pytest.mark.parametrize("raises", [True, False], ids=["newer platformdirs", "older platformdirs"])
def test_without_a_home_nothing_is_kept(cache, monkeypatch, warned, raises):
    import platformdirs

    def nobody(*args, **kwargs):  # as without HOME and an entry in the list of users
        if raises:
            raise RuntimeError("could not determine the home directory")
        return "~/.cache/minivan"

    monkeypatch.setattr(platformdirs, "user_cache_dir", nobody)
    assert chosen(monkeypatch).folder is None
    assert not answer() and not answer()
    assert "home" in warned()[0] and not Path("~").exists()


def test_a_file_in_the_folders_place_is_said(cache, tmp_path, monkeypatch, warned):
    (tmp_path / "file").write_text("")
    chosen(monkeypatch, MINIVAN_CACHE=tmp_path / "file")
    assert not answer()
    assert str(tmp_path / "file") in warned()[0]
