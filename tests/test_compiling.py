"""Whoever waits for a compiler is told so, once; a program that imports minivan hears nothing."""

import errno
import os
import warnings

import pytest
from support.kernels import answer, kernel

from minivan import compiling, kernel_cache
from minivan.cli import own_warnings
from minivan.cli.waiting import compiling_noted
from minivan.kernel_cache import KernelCacheWarning

NAME = "ops.activation._power_of_two"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty folder for kernels; nothing has been warned of, and the note is wanted."""
    monkeypatch.setenv("MINIVAN_CACHE", str(tmp_path / "kernels"))
    monkeypatch.setenv("MINIVAN_COMPILE_NOTE", "1")
    monkeypatch.setattr(kernel_cache, "_warned", None)
    kernel_cache._base.cache_clear()
    yield
    kernel_cache._base.cache_clear()


def test_what_is_compiled_is_told_before_it_is_and_what_is_loaded_is_not(cache):
    heard = []
    with compiling.told(lambda *what: heard.append(what)):
        assert not answer() and heard == [(NAME, True)]
        assert answer() and len(heard) == 1
    new = kernel()
    new(3)
    assert len(heard) == 1  # nobody listens any more


def test_what_nobody_keeps_is_told_as_that(cache, monkeypatch, tmp_path):
    (tmp_path / "kernels").write_text("a file in the folder's place")
    heard = []
    with compiling.told(lambda *what: heard.append(what)), pytest.warns(KernelCacheWarning):
        answer()
    assert heard == [(NAME, False)]


def test_a_command_notes_each_engine_once_on_standard_error(cache, capsys):
    with compiling_noted(shown={KernelCacheWarning}):
        compiling.begins("ops.conv._dense", True)
        compiling.begins("ops.pool._pool", True)
        compiling.begins("fast.network.run", True)
        compiling.begins("fast.fpn.run_fpn", True)
        compiling.begins("grad.conv.dense", False)  # of which a warning has told
    out, err = capsys.readouterr()
    assert not out and err.splitlines() == [
        f"note: compiling the {what} engine for this machine, {about} {compiling.SECONDS[part]} s, once"
        for part, what, about in (
            ("ops", "exact", "up to"),
            ("fast", "fast", "about"),
            ("fast.fpn", "segmentation of the fast", "about"),
        )
    ]


@pytest.mark.parametrize("action", ["ignore", "error"])
def test_where_the_warning_is_not_printed_the_note_says_that_nothing_is_kept(cache, monkeypatch, tmp_path, capsys, action):
    (tmp_path / "kernels").write_text("a file in the folder's place")
    with warnings.catch_warnings(action=action), own_warnings() as shown, compiling_noted(shown=shown):
        answer()
        answer(3)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("note: compiling the exact engine") and f"not kept: {kernel_cache.state().problem}" in line


@pytest.mark.parametrize("action", ["ignore", "always"])
def test_what_fails_only_when_it_is_kept_is_said_at_the_end(cache, monkeypatch, capsys, action):
    def fail(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(kernel_cache, "write", fail)
    with warnings.catch_warnings(action=action), own_warnings() as shown, compiling_noted(shown=shown):
        answer()
    begins, told = capsys.readouterr().err.splitlines()
    assert begins.startswith("note: compiling the exact engine") and os.strerror(errno.ENOSPC) in told
    assert told.startswith("minivan: " if action == "always" else "note: ")


def test_where_nothing_is_compiled_at_all_exact_is_said_to_be_slow(monkeypatch, capsys):
    for setting, engine, said in (("1", "exact", 1), ("0", "exact", 0), ("1", "fast", 0), ("1", "numpy", 0)):
        monkeypatch.setenv("NUMBA_DISABLE_JIT", setting)
        with compiling_noted(engine):
            pass
        assert capsys.readouterr().err.count("NUMBA_DISABLE_JIT is set") == said


def test_the_note_can_be_left_out_and_is_no_part_of_the_library(cache, monkeypatch, capsys):
    answer()
    monkeypatch.setenv("MINIVAN_COMPILE_NOTE", "0")
    with compiling_noted():
        answer(3)
    assert capsys.readouterr() == ("", "")
