"""Nothing that fails in the cache of kernels is in the way of an answer."""

import errno
import os
import resource
import time
import warnings

import pytest
from numba.core import caching, compiler
from support.kernels import answer, files

from minivan import dispatchers, kernel_cache


def fail_with(code):
    def fail(*args, **kwargs):
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize("place", ["os.replace", "os.open", "os.mkdir", "dumps", "reduce"])
def test_a_save_that_fails_costs_one_warning(cache, monkeypatch, warned, place):
    code = errno.ENOSPC
    with monkeypatch.context() as patch:
        if place == "dumps":
            internals = dispatchers._internals()._replace(dumps=fail_with(code))
            patch.setattr(dispatchers, "_internals", lambda: internals)
        elif place == "reduce":
            patch.setattr(compiler.CompileResult, "_reduce", fail_with(code))
        else:
            patch.setattr(os, place.partition(".")[2], fail_with(code))
        assert not answer() and not answer(3)
        (said,) = warned()
        assert os.strerror(code) in said
        assert os.strerror(code) in kernel_cache.state().problem
    assert not cache.exists() or files(cache) == []
    assert not answer() and answer()


class Failing:
    """A file whose method fails, as on a disk that fills up: some say it when written, some only when closed."""

    def __init__(self, file, method, code):
        self.file, self.method, self.code = file, method, code

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()
        if self.method == "close":
            fail_with(self.code)()

    def write(self, data):
        if self.method == "write":
            self.file.write(data[:100])
            fail_with(self.code)()
        return self.file.write(data)


def failing(method, code, *arguments, **named):
    return Failing(open(*arguments, **named), method, code)


CALLS = ("mkdir", "open", "replace", "lstat", "stat", "scandir", "urandom", "write", "close")  # that keeping a kernel makes


@pytest.mark.parametrize(
    ("call", "code"),
    [(call, "ENOSPC") for call in CALLS]
    + [
        pytest.param(call, code, marks=pytest.mark.slow)
        for call in ("mkdir", "open", "replace", "write", "close")
        for code in ("EDQUOT", "EROFS", "EACCES", "EIO", "ESTALE")
    ],
)
def test_whichever_call_of_a_save_fails_the_answer_comes_with_one_warning(cache, monkeypatch, warned, call, code):
    number = getattr(errno, code)
    real = kernel_cache.write

    def write(*arguments):  # the calls before are made for the load as well
        with monkeypatch.context() as patch:
            if call in ("write", "close"):
                patch.setattr(kernel_cache, "open", lambda *a, **k: failing(call, number, *a, **k), raising=False)
            else:
                patch.setattr(os, call, fail_with(number))
            real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(kernel_cache, "write", write)
        assert not answer()
    said = warned()
    if call != "scandir":  # pathlib's glob may leave out what it cannot list
        assert len(said) == 1 and "\n" not in said[0]
        assert os.strerror(number) in said[0] and (not cache.exists() or files(cache) == [])
    assert kernel_cache.folder() == cache
    answer()
    assert answer()


def test_a_file_that_can_be_begun_and_not_ended_leaves_nothing(cache, warned):
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limit[1]))
    try:
        assert not answer()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert files(cache) == [] and os.strerror(errno.EFBIG) in warned()[0]


def test_where_warnings_are_errors_the_answer_comes_all_the_same(cache, monkeypatch):
    monkeypatch.setattr(os, "replace", fail_with(errno.ENOSPC))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not answer()
    assert os.strerror(errno.ENOSPC) in kernel_cache.state().problem


def test_the_warning_is_one_line_beside_a_file_of_that_name_and_can_be_filtered_by_module(
    cache, monkeypatch, tmp_path, recwarn
):
    """A virtual environment's script is such a file: Python prints a line of the file that a warning names."""
    (tmp_path / "minivan").write_text("#!/first/line\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "replace", fail_with(errno.ENOSPC))
    assert not answer()
    (caught,) = recwarn.list
    recwarn.clear()
    assert warnings.formatwarning(caught.message, caught.category, caught.filename, caught.lineno).count("\n") == 1
    monkeypatch.setattr(kernel_cache, "_warned", None)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="minivan$")
        assert not answer()
    assert not recwarn.list


def test_what_killed_processes_left_goes_a_day_later(cache):
    cache.mkdir(parents=True)
    old, young = cache / "a.kernel.0.tmp", cache / "b.kernel.1.tmp"
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 2 * kernel_cache.DAY,) * 2)
    answer()
    assert not old.exists() and young.exists()


def other_method(monkeypatch):
    monkeypatch.setattr(caching._Cache, "load_overload", lambda self, sig, target_context, more: None)


def new_method(monkeypatch):
    monkeypatch.setattr(caching._Cache, "__abstractmethods__", caching._Cache.__abstractmethods__ | {"more"})
    monkeypatch.setattr(caching._Cache, "more", lambda self: None, raising=False)


def no_class(monkeypatch):
    monkeypatch.delattr(caching, "_Cache")


def no_rebuild(monkeypatch):
    monkeypatch.delattr(compiler.CompileResult, "_rebuild")


def no_reduce(monkeypatch):
    monkeypatch.delattr(compiler.CompileResult, "_reduce")


def other_rebuild(monkeypatch):
    monkeypatch.setattr(compiler.CompileResult, "_rebuild", classmethod(lambda cls, context, packed: None))


@pytest.mark.parametrize("change", [other_method, new_method, no_class, no_rebuild, no_reduce, other_rebuild])
def test_a_numba_that_works_otherwise_compiles_every_time(cache, monkeypatch, warned, change):
    if change is other_rebuild:
        answer()
    change(monkeypatch)
    dispatchers._internals.cache_clear()
    try:
        assert not answer() and not answer(3)
        assert len(warned()) == 1 and kernel_cache.state().problem
    finally:
        monkeypatch.undo()
        dispatchers._internals.cache_clear()
