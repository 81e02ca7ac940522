"""Compiled kernels on disk: never stale, never another's, and never in the way of an answer."""

import ast
import errno
import hashlib
import os
import pickle
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
import zipfile
from pathlib import Path

import pytest
from numba.core import caching, compiler

import minivan
from minivan import jit, kernel_cache, trust
from minivan.kernel_cache import KernelCacheWarning
from minivan.ops import activation

ROOT = Path(__file__).parent.parent
FOREIGN = 12345  # a user who is neither root nor the one who runs the tests


def kernel():
    """A kernel that nothing has been compiled of yet in this process; it takes a tenth of a second."""
    return jit.njit()(activation._power_of_two.py_func)


def answer(x=3.0):
    """Call a new kernel; return whether it was loaded."""
    new = kernel()
    assert new(x) == 8.0
    return sum(new.stats.cache_hits.values()) == 1


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty folder for kernels, as this process's own."""
    monkeypatch.setenv("MINIVAN_CACHE", str(tmp_path / "kernels"))
    monkeypatch.setattr(kernel_cache, "_warned", None)
    kernel_cache._base.cache_clear()
    yield kernel_cache.folder()
    kernel_cache._base.cache_clear()


@pytest.fixture(autouse=True)
def warned(recwarn):
    """The warnings so far; every one that a test does not take away is its failure."""

    def take():
        messages = [str(caught.message) for caught in recwarn.list if caught.category is KernelCacheWarning]
        recwarn.clear()
        return messages

    yield take
    assert take() == []


def files(cache):
    return sorted(p.name for p in cache.iterdir())


# Whose sources a kernel was compiled from


WHOLE = "from ..jit import njit\nfrom .tiny_part import part\n\n@njit()\ndef whole(x):\n    return 10 * part(x)\n"
PART = "from ..jit import inline\n\n@inline\ndef part(x):\n    return x + 1\n"
CALL = """
from minivan import kernel_cache
from minivan.ops.tiny import whole
print(whole(4), *(sum(c.values()) for c in (whole.stats.cache_hits, whole.stats.cache_misses)), kernel_cache.folder().name)
"""


@pytest.fixture
def copy(tmp_path):
    """Make a copy of the package with a small kernel in one file and what it calls in another."""

    def make(name):
        package = tmp_path / name / "minivan"
        shutil.copytree(ROOT / "minivan", package, ignore=shutil.ignore_patterns("__pycache__", "bundled"))
        (package / "ops" / "tiny.py").write_text(WHOLE)
        (package / "ops" / "tiny_part.py").write_text(PART)
        return package

    return make


def call(place, tmp_path, script=CALL, **environment):
    """Run a script with the package at `place`; return the words it prints. It must say nothing else."""
    environment = {**os.environ, "PYTHONPATH": str(place), "MINIVAN_CACHE": str(tmp_path / "kernels"), **environment}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout.split()


def test_an_edit_in_what_a_kernel_calls_is_seen_and_a_second_copy_loads_what_the_first_compiled(copy, tmp_path):
    first = copy("first")
    said = call(first.parent, tmp_path)
    assert said[:3] == ["50", "0", "1"]
    kept = tmp_path / "kernels" / said[3]
    before = {p: p.stat().st_mtime_ns for p in kept.iterdir()}
    assert len(before) == 1

    second = copy("second")
    assert call(second.parent, tmp_path)[:3] == ["50", "1", "0"]
    with zipfile.ZipFile(tmp_path / "third.zip", "w") as archive:
        for path in first.rglob("*.py"):
            archive.write(path, path.relative_to(first.parent))
    assert call(tmp_path / "third.zip", tmp_path)[:3] == ["50", "1", "0"]
    assert {p: p.stat().st_mtime_ns for p in kept.iterdir()} == before

    (second / "ops" / "tiny_part.py").write_text(PART.replace("x + 1", "x + 2"))
    assert call(second.parent, tmp_path)[:3] == ["60", "0", "1"]
    assert {p: p.stat().st_mtime_ns for p in kept.iterdir()} == before  # what the first copy loads


CHANGED = """
import pathlib, warnings
from minivan import ops
part = pathlib.Path(ops.__file__).with_name("tiny_part.py")
part.write_text(part.read_text().replace("x + 1", "x + 2"))
from minivan.ops.tiny import whole
with warnings.catch_warnings(record=True) as caught:
    print(whole(4), sum(whole.stats.cache_hits.values()), len(caught), "changed" in str(caught[0].message))
"""


def test_a_source_file_that_changes_under_the_process_gives_what_it_says_now(copy, tmp_path):
    package = copy("first")
    kept = tmp_path / "kernels" / call(package.parent, tmp_path)[3]
    before = {p: p.stat().st_mtime_ns for p in kept.iterdir()}
    assert call(package.parent, tmp_path, CHANGED) == ["60", "0", "1", "True"]
    assert {p: p.stat().st_mtime_ns for p in kept.iterdir()} == before


def test_python_runs_kernels_that_are_not_compiled(copy, tmp_path):
    said = call(copy("first").parent, tmp_path, "from minivan.ops.tiny import whole; print(whole(4))", NUMBA_DISABLE_JIT="1")
    assert said == ["50"] and not (tmp_path / "kernels").exists()


def test_every_kernel_file_is_in_the_digest(copy, monkeypatch):
    package = copy("first")
    monkeypatch.setattr(minivan, "__path__", [str(package)])
    digests = {kernel_cache._read_sources().digest}
    rooms = {path: path.relative_to(package).parts[0].removesuffix(".py") for path in package.rglob("*.py")}
    paths = [path for path, room in rooms.items() if room in kernel_cache.KERNEL_SOURCES]
    assert len(paths) > 25 and len(digests) == 1
    for path in paths:
        path.write_text(path.read_text() + "#\n")
        digests.add(kernel_cache._read_sources().digest)
    assert len(digests) == len(paths) + 1
    (package / "cli" / "__init__.py").write_text("")
    assert kernel_cache._read_sources().digest in digests


def reached_names(tree):
    """Names used in a module's functions that are compiled: the decorated ones, and those that they name."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    used = {f.name: {n.id for line in f.body for n in ast.walk(line) if isinstance(n, ast.Name)} for f in functions}
    marks = ("njit", "inline", "intrinsic", "overload")
    todo = [f.name for f in functions if any(mark in ast.unparse(d) for d in f.decorator_list for mark in marks)]
    reached, seen = set(), set()
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            reached |= used[name]
            todo += used[name] & used.keys()
    return reached


def test_nothing_is_compiled_into_a_kernel_that_is_not_in_the_digest():
    kernels = 0
    for room in ("fast", "grad", "ops"):
        for path in (ROOT / "minivan" / room).glob("*.py"):
            tree = ast.parse(path.read_text())
            reached = reached_names(tree)
            kernels += bool(reached)
            for node in ast.walk(tree):
                if isinstance(node, ast.ImportFrom) and node.level == 2:
                    modules = {(node.module or alias.name).split(".")[0]: alias.asname or alias.name for alias in node.names}
                    outside = {name for module, name in modules.items() if module not in kernel_cache.KERNEL_SOURCES}
                    assert not outside & reached, f"{path}: {outside & reached} belong into kernel_cache.KERNEL_SOURCES"
    assert kernels > 10


# What is loaded is what was asked for


def test_a_kernel_is_compiled_once_and_then_loaded(cache):
    assert not answer() and len(files(cache)) == 1
    assert answer() and len(files(cache)) == 1
    assert cache.parent.stat().st_mode & 0o777 == 0o700


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


def test_a_type_of_the_same_name_from_another_module_is_not_taken_for_it(cache):
    answer()
    (path,) = cache.iterdir()
    _, key, pickled = path.read_bytes().split(b"\n", 2)
    sig, reduced = pickle.loads(pickled)
    rest = key + b"\n" + pickle.dumps(((*sig, *sig), reduced))  # the text of the types agrees, they themselves do not
    path.write_bytes(hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest)
    assert not answer()


# Whose files are read


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
    rest = key + b"\n" + pickle.dumps(Planted(proof))
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


def test_in_a_sticky_folder_what_lies_in_it_decides(cache, tmp_path, monkeypatch, warned):
    cache.parent.mkdir()
    cache.parent.chmod(0o1777)
    assert not answer() and answer()
    make_foreign(monkeypatch, cache)
    assert not answer()
    assert len(warned()) == 1


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


# Nothing that fails is in the way


def fail_with(code):
    def fail(*args, **kwargs):
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize("place", ["os.replace", "os.open", "os.mkdir", "dumps", "reduce"])
def test_a_save_that_fails_costs_one_warning(cache, monkeypatch, warned, place):
    code = errno.ENOSPC
    with monkeypatch.context() as patch:
        if place == "dumps":
            internals = kernel_cache._internals()._replace(dumps=fail_with(code))
            patch.setattr(kernel_cache, "_internals", lambda: internals)
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
    kernel_cache._internals.cache_clear()
    try:
        assert not answer() and not answer(3)
        assert len(warned()) == 1 and kernel_cache.state().problem
    finally:
        monkeypatch.undo()
        kernel_cache._internals.cache_clear()


# Which folder


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


def test_without_a_home_nothing_is_kept(cache, monkeypatch, warned):
    import platformdirs

    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda *_: "~/.cache/minivan")  # as without HOME and passwd entry
    assert chosen(monkeypatch).folder is None
    assert not answer() and not answer()
    assert "home" in warned()[0] and not Path("~").exists()


def test_a_file_in_the_folders_place_is_said(cache, tmp_path, monkeypatch, warned):
    (tmp_path / "file").write_text("")
    chosen(monkeypatch, MINIVAN_CACHE=tmp_path / "file")
    assert not answer()
    assert str(tmp_path / "file") in warned()[0]
