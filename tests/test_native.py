"""Kernels as object code: loaded and called without Numba, made for what Numba is told, and never taken for another's."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import types

import numba
import pytest
from llvmlite import binding
from support import EXAMPLES, ROOT
from support.networks import images, random_tensors

from minivan import compiler, compiling, kernel_cache, native, object_code
from minivan.errors import CannotCompute, NoCompiler
from minivan.fast import Plan, plan
from minivan.fast.lanes import host_lanes
from minivan.kernel_cache import KernelCacheWarning
from minivan.object_code import Function, ObjectCode, missing
from minivan.variants import Config

SMALL = Config((4, 6), (1, 1), (1, 1), classes=3)
NAME = "fast.network.run"


@pytest.fixture(scope="module")
def kept():
    """The file of this machine's network in the cache that all tests share, and the logits that it gives for `x`."""
    model, x = Plan(SMALL, random_tensors(SMALL)), images(1, 32)
    logits = model(x)
    path, _ = kernel_cache.find(NAME, type(host_lanes()).__name__)
    assert path.exists()
    return path, model, x, logits


@pytest.fixture
def process(kept, tmp_path, monkeypatch):
    """A process that has loaded nothing, whose cache holds that file; what is compiled there is told, and counts as made."""
    path, model, x, logits = kept
    monkeypatch.setenv("MINIVAN_CACHE", str(tmp_path))
    monkeypatch.setattr(kernel_cache, "_warned", None)
    kernel_cache._base.cache_clear()
    folder = kernel_cache.folder()
    folder.mkdir(0o755)
    copy = folder / path.name
    shutil.copy(path, copy)
    copy.chmod(0o644)
    code = ObjectCode.parted(kernel_cache.parts(path.read_bytes()).code)
    monkeypatch.setattr("minivan.translation.compile_object", lambda dispatcher, signature: code)  # it takes ten seconds
    monkeypatch.setattr(plan.run, "_functions", {})
    compiled = []

    def answer():
        """Whether the network was loaded, and not compiled, by who needs it first."""
        plan.run._functions.clear()
        compiled.clear()
        with compiling.told(lambda kernel, kept: compiled.append(kernel)):
            assert model(x).tobytes() == logits.tobytes()
        assert compiled in ([], [NAME])
        return not compiled

    yield types.SimpleNamespace(answer=answer, file=copy, folder=folder)
    kernel_cache._base.cache_clear()


WITHOUT = """
import sys
sys.modules["numba"] = None
from minivan.cli import main
status = main(["classify", sys.argv[1], "--engine", "fast", "--json"])
from minivan import kernel_cache
before, imported = kernel_cache.made_with(), "numba.core" in sys.modules
del sys.modules["numba"]
import numba, numpy as np
from minivan import ops
assert kernel_cache.made_with() == before and ops.relu(np.ones((1, 1, 1, 1), np.float32)).all()
print(status, imported, file=sys.stderr)
"""


def test_a_warm_process_classifies_where_there_is_no_numba_and_computes_with_exact_where_it_comes_later(kept):
    command = [sys.executable, "-c", WITHOUT, str(EXAMPLES / "cat.jpg")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.stderr == "0 False\n"
    answer = json.loads(done.stdout)
    assert answer["engine"] == "fast" and answer["top"][0]["label"] == "Egyptian cat"


def test_the_key_is_the_same_for_who_asks_numba_and_who_does_not(monkeypatch):
    asked = kernel_cache.made_with()
    monkeypatch.setattr(compiler, "asked", lambda: None)
    monkeypatch.setitem(sys.modules, "numba", None)
    assert kernel_cache.made_with() == asked and asked["numba"]


def test_whatever_may_have_told_numba_something_has_it_asked(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("NUMBA_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NUMBA_NUM_THREADS", "1")
    assert not compiler._told()
    with monkeypatch.context() as patch:
        patch.setenv("NUMBA_OPT", "1")
        assert compiler._told()
    (tmp_path / ".numba_config.yaml").touch()
    assert compiler._told()
    (tmp_path / ".numba_config.yaml").unlink()
    monkeypatch.setattr(binding, "get_host_cpu_features", lambda: {"avx": True})
    monkeypatch.setattr(binding, "get_host_cpu_name", lambda: "sandybridge")
    compiler._without_avx.cache_clear()
    assert compiler._told()
    compiler._without_avx.cache_clear()


def test_what_was_kept_is_loaded_and_what_is_damaged_is_compiled_again(process):
    assert process.answer()
    whole = process.file.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], whole[:-1] + bytes([whole[-1] ^ 1]), bytes([whole[0] ^ 1]) + whole[1:]):
        process.file.write_bytes(damaged)
        assert not process.answer() and process.answer()
        assert process.file.read_bytes().split(b"\n", 2)[1] == whole.split(b"\n", 2)[1]


def test_what_others_could_have_written_is_not_given_to_the_linker(process, monkeypatch):
    linked = []
    monkeypatch.setattr(native, "Function", lambda *of: linked.append(1) or Function(*of))
    process.file.chmod(0o666)
    with pytest.warns(KernelCacheWarning, match="others may write"):
        assert not process.answer()
    assert linked == [1], "what was compiled, and nothing else"
    monkeypatch.setattr(kernel_cache, "_warned", None)
    process.folder.chmod(0o777)
    with pytest.warns(KernelCacheWarning, match="others may write"):
        assert not process.answer()


def test_other_settings_of_numbas_lead_to_other_code(process, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(numba.config, "OPT", 1)
        assert not process.answer() and process.answer()
    assert process.answer() and len(list(process.folder.iterdir())) == 2


def test_a_file_under_anothers_name_is_not_loaded(process):
    _, key, seconds, code = process.file.read_bytes().split(b"\n", 3)
    rest = b"\n".join((key.replace(b'"signature": "', b'"signature": "Other'), seconds, code))
    process.file.write_bytes(hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest)
    assert not process.answer() and process.answer()


def test_without_numba_what_is_not_kept_is_one_line(process, monkeypatch):
    process.file.unlink()
    monkeypatch.setattr(compiler, "asked", lambda: None)
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(NoCompiler, match="Numba cannot be imported"):
        process.answer()


def test_code_that_needs_this_process_is_run_and_not_kept(process, monkeypatch):
    process.file.unlink()
    monkeypatch.setattr(native, "missing", lambda code: {"memset", "NRT_decref"})
    with pytest.warns(KernelCacheWarning, match="refers to NRT_decref, which"):
        assert not process.answer()
    assert not list(process.folder.iterdir())


def test_code_with_addresses_of_this_process_is_run_and_not_kept(process, monkeypatch):
    process.file.unlink()
    monkeypatch.setattr(native, "OWN_ADDRESS", "fast")  # which every symbol of it holds
    with pytest.warns(KernelCacheWarning, match="holds addresses of this process"):
        assert not process.answer()
    assert not list(process.folder.iterdir())


def test_llvmlite_that_cannot_be_imported_is_one_line(process, monkeypatch):
    monkeypatch.setattr(compiler, "asked", lambda: None)
    monkeypatch.setitem(sys.modules, "llvmlite", None)
    compiler._host.cache_clear()
    with pytest.raises(NoCompiler, match="llvmlite cannot be imported"):
        process.answer()
    compiler._host.cache_clear()


def test_numba_that_another_thread_is_importing_has_its_version_all_the_same(monkeypatch):
    known = compiler.version("numba")
    monkeypatch.setitem(sys.modules, "numba", types.ModuleType("numba"))
    assert compiler.version("numba") == known


def test_threads_that_need_it_at_once_load_it_once(process, kept, monkeypatch):
    _, _, x, logits = kept
    made, answers = [], []
    monkeypatch.setattr(native, "Function", lambda *of: made.append(1) or Function(*of))
    models = [Plan(SMALL, random_tensors(SMALL)) for _ in range(4)]
    threads = [threading.Thread(target=lambda model=model: answers.append(model(x).tobytes())) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [1] and answers == [logits.tobytes()] * 4


def test_a_signal_handler_that_calls_what_it_interrupts_is_told_so_and_waits_for_nobody(process, kept, monkeypatch):
    _, model, x, logits = kept
    said = []

    def find(*_):  # as if the signal came here
        with pytest.raises(CannotCompute, match="already") as error:
            plan.run.load(host_lanes())
        said.append(str(error.value))

    with monkeypatch.context() as patched:
        patched.setattr(kernel_cache, "find", find)
        model(x)
    assert said and model(x).tolist() == logits.tolist()


def translated(text):
    """A module of LLVM's as object code for this machine."""
    platform, _, _ = compiler.processor()
    machine = binding.Target.from_triple(platform).create_target_machine(jit=True, codemodel="jitdefault")
    return machine.emit_object(binding.parse_assembly(text))


STATUS = "define i32 @f(ptr %result, ptr %error, i64 %status) { %s = trunc i64 %status to i32 ret i32 %s }"
STRANGE = "declare void @strange() define void @f() { call void @strange() ret void }"


def test_what_object_code_refers_to_is_read_from_it(kept):
    path, *_ = kept
    own = kernel_cache.parts(path.read_bytes()).code
    assert missing(ObjectCode.parted(own).code) <= object_code.OUTSIDE
    if sys.platform == "linux":
        assert missing(translated(STRANGE)) == {"strange"}


def test_a_status_other_than_0_is_an_error():
    pointer = "ptr" if binding.llvm_version_info >= (15,) else "i8*"
    function = Function(ObjectCode("f", translated(STATUS.replace("ptr", pointer))), compiler.processor())
    function(0)
    with pytest.raises(RuntimeError, match="f has ended with status 7"):
        function(7)
