"""The engine `auto`: numpy for the first photos, fast once that is worth it; counted, not timed."""

import os
import pickle
import signal
import subprocess
import sys
import threading
import warnings

import pytest
from support import EXAMPLES, ROOT
from support.compare import assert_bit_equal, assert_close
from support.networks import images, random_tensors
from tolerances import LOGITS

from minivan import compiling, fpn, kernel_survey, space
from minivan.engines import EXACT, Engine, auto
from minivan.engines.auto import COMPILE, FAST, LOAD, NUMPY, Choice, EngineWarning
from minivan.errors import NoCompiler
from minivan.explain import maps, photo_attention
from minivan.explain.view import look
from minivan.oracle import trace
from minivan.predict import Results, answers, find_images, make_ready
from minivan.van import VAN
from minivan.variants import Config

pytestmark = pytest.mark.loop

SMALL = Config((8, 16), (1, 1), (2, 2), classes=10)
WORK = 10**7  # multiply-adds of an image
PHOTOS = [EXAMPLES / "cat.jpg", EXAMPLES / "coffee.jpg"]


class Machine:
    """What a process finds: whether a kernel is kept, whether it can be compiled; and what has been done so far."""

    def __init__(self, kept=False, error=None):
        self.kept, self.error = kept, error
        self.loaded = False
        self.seconds = 0.0  # that were waited for `fast`

    def load(self):
        if self.error:
            raise self.error
        self.loaded, self.seconds = True, LOAD if self.kept else COMPILE


@pytest.fixture
def machine(monkeypatch):
    """A process in which nothing has been loaded, whose networks all take WORK."""
    found = Machine()
    monkeypatch.setattr(auto, "choice", Choice())
    monkeypatch.setattr(auto, "_loaded", lambda: found.loaded)
    monkeypatch.setattr(auto, "_load", found.load)
    monkeypatch.setattr(kernel_survey, "kept", lambda *of: found.kept)
    monkeypatch.setattr(auto, "multiply_adds", lambda *shape: WORK)
    monkeypatch.setenv("MINIVAN_COMPILE_NOTE", "1")
    return found


@pytest.mark.parametrize("kept", [True, False])
def test_whoever_asks_for_one_image_after_another_waits_at_most_twice_as_long_as_who_knew_how_many(machine, kept):
    machine.kept, spent, switched = kept, 0.0, 0
    start = LOAD if kept else COMPILE
    for count in range(1, 4000):
        fast = auto.choice.of(SMALL, 1, 96, 96) == "fast"
        switched = switched or fast * count
        assert fast == bool(switched), "there is no way back"
        spent += WORK * (FAST if fast else NUMPY)
        best = min(count * WORK * NUMPY, start + count * WORK * FAST)
        assert spent + machine.seconds <= 2 * best + WORK * NUMPY
    assert 1 < switched < 4000 and machine.seconds == start


@pytest.mark.parametrize("lacking", ["numba", "llvmlite"])
def test_numpy_answers_each_time_where_it_cannot_even_be_told_which_vectors_fast_would_have(lacking):
    script = f"""
import sys, warnings
sys.modules[{lacking!r}] = None
warnings.simplefilter("ignore")
import numpy as np, minivan
from minivan.engines.auto import choice
model = minivan.load()
choice.spent = 100.0  # seconds, which fast would have been worth
for _ in range(3):
    model(np.zeros((1, 3, 32, 32), np.float32))
print(choice.usable)
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "NUMBA_OPT": "2"}  # so that Numba must be asked
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, timeout=300, check=False
    )
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_a_call_knows_how_many_images_it_has(machine):
    enough = int((LOAD / (NUMPY - FAST)) / WORK) + 1
    machine.kept = True
    assert auto.choice.of(SMALL, 1, 96, 96) == "numpy" and auto.choice.of(SMALL, enough, 96, 96) == "fast"
    for count, engine in ((3, "numpy"), (3000, "fast"), (None, "fast")):
        auto.choice, machine.loaded, machine.kept = Choice(), False, False
        assert auto.choice.of(SMALL, count, 96, 96) == engine
    assert auto.choice.of(SMALL, 1, 32, 32) == "fast", "which is loaded"


def test_a_neck_and_a_head_count_too_and_are_loaded_by_themselves(machine, monkeypatch):
    shape, parts, loads = fpn.FPNConfig((8,) * 4), (auto.NETWORK, auto.SEGMENTATION), []
    monkeypatch.setattr(auto, "_fpn_loaded", lambda: bool(loads))
    monkeypatch.setattr(auto, "_load_fpn", lambda: loads.append(1))
    monkeypatch.setattr(fpn, "multiply_adds", lambda *shape: 2 * WORK)
    machine.kept = True
    assert LOAD < auto.choice.start(parts) < 2 * LOAD
    alone, whole = (int(auto.choice.start(p) / (NUMPY - FAST) / n / WORK) + 1 for p, n in ((parts[:1], 1), (parts, 3)))
    assert whole < alone
    for count, engine in ((whole - 1, "numpy"), (whole, "fast")):
        auto.choice = Choice()
        assert auto.choice.of(SMALL, count, 96, 96, shape) == engine
    assert machine.loaded and loads == [1] and auto.choice.of(SMALL, 1, 96, 96, shape) == "fast"
    loads.clear()
    auto.choice = Choice()
    assert auto.choice.of(SMALL, 1, 96, 96) == "fast" and auto.choice.of(SMALL, None, 96, 96, shape) == "fast" and loads == [1]


def test_a_file_of_a_kernel_that_cannot_be_loaded_after_all_is_not_compiled_for_less(machine, monkeypatch, capsys):
    monkeypatch.setattr(kernel_survey, "kept", lambda kernel, signature=None: signature is None)
    assert {auto.choice.of(SMALL, 3, 96, 96) for _ in range(4)} == {"numpy"} and auto.choice.lacking
    assert not machine.loaded and capsys.readouterr() == ("", "")
    assert auto.choice.of(SMALL, 3000, 96, 96) == "fast" and "compiling the fast engine" in capsys.readouterr().err


def test_who_did_not_ask_for_a_compiler_is_told_of_it_once(machine, monkeypatch, capsys):
    assert auto.choice.of(SMALL, None, 96, 96) == auto.choice.of(SMALL, None, 96, 96) == "fast"
    said = f"note: compiling the fast engine for this machine, about {COMPILE:.0f} s, once\n"
    assert capsys.readouterr() == ("", said)
    with compiling.told(lambda kernel, kept: None):  # who listens is told by the kernel itself
        auto.choice, machine.loaded = Choice(), False
        assert auto.choice.of(SMALL, None, 96, 96) == "fast" and capsys.readouterr().err == ""
    monkeypatch.setattr(sys, "stderr", None)
    auto.choice, machine.loaded = Choice(), False
    assert auto.choice.of(SMALL, None, 96, 96) == "fast"


@pytest.mark.parametrize("action", ["always", "error"])
@pytest.mark.parametrize("reason", ["no Numba", "no memory"])
def test_where_fast_cannot_be_had_numpy_answers_and_one_warning_says_why(machine, monkeypatch, reason, action):
    if reason == "no Numba":
        machine.error = NoCompiler("Numba cannot be imported")
    else:
        monkeypatch.setattr(space, "limit", lambda: 1 << 30)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter(action)
        assert [auto.choice.of(SMALL, None, 96, 96) for _ in range(2)] == ["numpy"] * 2
    assert [each.category for each in caught] == ([EngineWarning] if action == "always" else [])
    assert auto.choice.start() == float("inf")


def test_a_child_does_not_wait_for_who_chooses_in_its_parent(machine):
    with auto.choice._lock:
        child = os.fork()
        if not child:
            signal.alarm(60)  # a child that waits ends by it
            os._exit(auto.choice.of(SMALL, 1, 96, 96) != "numpy")
    assert os.waitpid(child, 0)[1] == 0


def test_threads_that_choose_at_once_load_once(machine):
    loads, load = [], machine.load
    auto_load, found = auto._load, []
    auto._load = lambda: (loads.append(1), load())
    try:
        threads = [threading.Thread(target=lambda: found.append(auto.choice.of(SMALL, None, 96, 96))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        auto._load = auto_load
    assert found == ["fast"] * 8 and loads == [1]


def test_a_setting_that_cannot_be_is_one_line_for_many_photos_as_for_fast(machine, monkeypatch, run, tmp_path):
    monkeypatch.setenv("MINIVAN_VECTOR", "7")
    monkeypatch.setattr(auto, "MANY", 1)
    monkeypatch.setattr(auto, "NETWORK", auto.NETWORK._replace(compile_seconds=0.0))
    said = (2, "", "minivan: MINIVAN_VECTOR is one of 16, 8, 4, 0, got '7'\n")
    assert run("classify", PHOTOS[0]) == said
    assert run("embed", PHOTOS[0], "-o", tmp_path / "features.npy") == said


@pytest.fixture(scope="module")
def tensors():
    return random_tensors(SMALL, seed=1)


def test_a_model_on_auto_answers_by_numpy_and_shows_what_exact_does(machine, tensors):
    model, exact, x = VAN(SMALL, tensors, "auto"), VAN(SMALL, tensors, "exact"), images(2, 40, 33)
    assert_close("logits", model(x), exact(x), LOGITS)
    for got, expected in zip(model.features(x), exact.features(x), strict=True):
        assert_close("features", got, expected, LOGITS)
    settled = model.settled(2, 40, 33)
    assert (model.engine.name, settled.engine.name) == ("auto", "numpy") and settled.settled(None, 9, 9) is settled
    assert_bit_equal("alone", model(x[:1]), model(x)[:1])
    for each in (model, settled):
        seen = {}
        assert_bit_equal("hook", each(x, hook=lambda path, array, seen=seen: seen.update({path: array})), exact(x))
        assert list(seen) == model.paths()[1:]
        assert_bit_equal("gradient", each.gradients(x)["input"], exact.gradients(x)["input"])
    assert not machine.loaded


def test_a_model_on_auto_travels_as_that(machine, tensors):
    model, x = VAN(SMALL, tensors, "auto"), images(1, 32)
    for each in (model, model.settled(1, 32, 32)):
        again = pickle.loads(pickle.dumps(each))
        assert again.engine.name == each.engine.name and again(x).tobytes() == model(x).tobytes()


def test_the_oracle_and_deeper_maps_are_those_of_exact(machine, tensors):
    model, exact, x = VAN(SMALL, tensors, "auto"), VAN(SMALL, tensors, "exact"), images(1, 64)
    recorded = trace.record(model, x)
    assert recorded.metadata["engine"] == "exact" and "block1.0.norm1" in recorded.layers
    deep = [maps(each, x, 3, "hirescam", "norm1").maps["norm1"] for each in (model, exact)]
    assert_bit_equal("norm1", *deep)
    last = [maps(each, x, 3).maps["norm2"] for each in (model, exact)]
    assert_close("norm2", *last, 20 * LOGITS)
    seen = look(model, PHOTOS[0], 64)
    assert photo_attention(model, seen).as_dict()["engine"] == "exact"


def test_all_images_of_a_call_have_one_engine_that_each_answer_names(machine, tensors, monkeypatch, tmp_path):
    asked, of = [], Choice.of
    monkeypatch.setattr(
        Choice, "of", lambda self, config, count, *size: (asked.append(count), of(self, config, count, *size))[1]
    )
    monkeypatch.setattr("minivan.engines.FAST", Engine("fast", ops=EXACT.ops, compile=auto.NumpyPlan))
    model, found = VAN(SMALL, tensors, "auto"), find_images(PHOTOS)
    make_ready(model)
    assert [answer.engine for answer in answers(model, found, 1)] == ["numpy"] * 2 and asked == [2]
    assert [answer.engine for answer in answers(model, iter([*found]), 1)] == ["fast"] * 2 and asked == [2, None]
    machine.loaded = False
    with Results(model, found, tmp_path / "rows.csv") as results:
        assert {answer.engine for answer in results.answers()} == {"numpy"} and asked == [2, None, 2]
        assert results.about["engine"] == "auto"  # a run that goes on may be worth another engine
    assert model.engine.name == "auto" and EXACT.choose is None


def test_without_numba_and_what_it_compiled_auto_answers_as_ever(tmp_path):
    script = """
import sys
sys.modules["numba"] = None
import numpy as np, minivan
model = minivan.load()
x = np.zeros((1, 3, 32, 32), np.float32)
assert (model(x) == model.settled(None, 96, 96)(x)).all()
print(model.engine, model.settled(1, 32, 32).engine)
"""
    environment = os.environ | {"MINIVAN_CACHE": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False, env=environment
    )
    assert done.stdout == "auto numpy\n" and done.stderr.count("EngineWarning: numpy answers") == 1, done.stderr
