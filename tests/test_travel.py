"""Models travel: through pickles and copies, to other processes, before and after they have answered, and to the very end."""

import copy
import gc
import multiprocessing
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from numba.core.dispatcher import Dispatcher
from support import ROOT
from support.compare import assert_close
from support.kernels import kernel as new_kernel
from support.networks import images, random_tensors
from tolerances import FAST

from minivan import dispatchers, native
from minivan.card import Card
from minivan.engines import ENGINES, engine
from minivan.errors import CannotCompute
from minivan.fast import plan, workspace
from minivan.predict import Classifier
from minivan.van import VAN
from minivan.variants import Config

SMALL = Config((4, 6), (1, 1), (1, 1), classes=3)


def model_on(engine, tensors=None):
    return VAN(SMALL, tensors or random_tensors(SMALL), engine, Card("traveller"))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "moved", [lambda m: pickle.loads(pickle.dumps(m)), copy.deepcopy, copy.copy], ids=["pickle", "deep", "flat"]
)
def test_a_copy_answers_with_the_same_bits_before_and_after_the_first_call(engine, moved):
    model, x = model_on(engine), images(2, 32)
    early = moved(model)
    expected = model(x)
    late = moved(moved(model))
    for again in (early, late):
        assert again(x).tobytes() == expected.tobytes()
        assert again.card == model.card and again.config == model.config and again.engine.name == engine


def test_what_travels_is_the_tensors_alone():
    model = model_on("fast")
    size = sum(tensor.nbytes for tensor in model.tensors.values())
    assert len(pickle.dumps(model)) < size + 200 * len(model.tensors) + 10_000


def answer(travelled):
    model, x = travelled
    return model(x)


def classified(travelled):
    classifier, photo = travelled
    return classifier(photo)


@pytest.mark.parametrize("method", ["spawn", pytest.param("forkserver", marks=pytest.mark.slow)])
def test_workers_take_models_of_every_engine(method):
    x = images(2, 32)
    models = [model_on(engine) for engine in ENGINES]
    classifier, photo = Classifier(models[-1], size=32, top_k=1), np.uint8(np.arange(4800).reshape(40, 40, 3) % 251)
    with multiprocessing.get_context(method).Pool(1) as pool:
        found = pool.map_async(answer, [(model, x) for model in models]).get(timeout=300)
        (told,) = pool.map_async(classified, [(classifier, photo)]).get(timeout=300)
    assert told.top == classifier(photo).top and told.image == "photo"
    for model, logits in zip(models, found, strict=True):
        expected = model(x)
        if model.engine.choose is None:
            assert logits.tobytes() == expected.tobytes()
        else:  # whose worker may have loaded what this process has not
            assert_close("auto", logits, expected, FAST)


def apart(array):
    """Return a copy that lies between two addresses, as a field of a packed record does."""
    packed = np.zeros(array.shape, np.dtype([("before", np.int8), ("value", array.dtype)]))
    packed["value"] = array
    return packed["value"]


def signatures():
    """Return how many times the kernels have been compiled or loaded in this process, each for other types."""
    return sum(len(kernel.signatures) for kernel in gc.get_objects() if issubclass(type(kernel), Dispatcher))


@pytest.mark.parametrize("engine", ENGINES)
def test_arrays_that_are_read_only_or_unaligned_serve(engine):
    tensors, x = random_tensors(SMALL), images(2, 32)
    expected = model_on(engine, tensors)(x)
    slopes = model_on(engine, tensors).gradients(x)
    compiled = signatures()
    for array in (*tensors.values(), x):
        array.flags.writeable = False
    for given in (x, apart(x)):
        model = model_on(engine, tensors)
        assert model(given).tobytes() == expected.tobytes()
        assert {path: slope.tobytes() for path, slope in model.gradients(given).items()} == {
            path: slope.tobytes() for path, slope in slopes.items()
        }
    assert signatures() == compiled, "no kernel is compiled once more for them"


LAST = """
import atexit, sys, threading, time
from minivan import seeded
from minivan.van import VAN
from minivan.variants import Config
config = Config((4, 6), (1, 1), (1, 1), classes=3)
model, x = VAN(config, seeded.tensors(config), sys.argv[1]), seeded.images((2, 3, 32, 32))
expected = model(x)

def check(when):
    print(when, (model(x) == expected).all(), flush=True)

class Last:
    def __init__(self):
        self.check = check
    def __del__(self):
        self.check("finalizer")

last = Last()
sys.modules["kept"] = last
atexit.register(check, "atexit")

def outlive():
    time.sleep(0.3)
    check("thread")

threading.Thread(target=outlive).start()
"""


def test_a_first_call_when_python_loads_nothing_any_more_is_one_line(monkeypatch):
    for module in (engine, native, dispatchers):
        monkeypatch.setattr(module, "is_finalizing", lambda: True)
    monkeypatch.setattr(plan.run, "_functions", {})
    monkeypatch.setattr(workspace, "records", None)  # a table's annotations are names of modules that are gone by then
    fast, x = model_on("fast"), images(1, 32)
    for first in (lambda: fast(x), lambda: engine.Deferred("minivan.ops").conv2d, lambda: new_kernel()(3.0)):
        with pytest.raises(CannotCompute, match="have the model answer once before"):
            first()


FIRST = """
import sys
from minivan import seeded
from minivan.van import VAN
from minivan.variants import Config
config = Config((4, 6), (1, 1), (1, 1), classes=3)
tensors, x = seeded.tensors(config), seeded.images((2, 3, 32, 32))

class Last:
    def __init__(self, engine):
        self.model, self.x = VAN(config, tensors, engine), x
    def __del__(self):
        try:
            self.model(self.x)
        except Exception as error:
            print(type(error).__name__, flush=True)

sys.modules["kept"] = [Last(engine) for engine in ("auto", "fast", "exact", "numpy")]
"""


@pytest.mark.slow
def test_a_finalizer_that_calls_a_model_first_is_told_so():
    command, environment = [sys.executable, "-c", FIRST], os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "CannotCompute\n" * 4, "")


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["auto", "exact", "numpy"])  # of fast: tests/fast/test_team.py
def test_a_model_answers_until_the_very_end_of_the_process(engine):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests")))}
    command = [sys.executable, "-c", LAST, engine]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["thread True", "atexit True", "finalizer True"]
