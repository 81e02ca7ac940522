"""A model in a host's process: it answers the same whatever the host has set, and leaves all of it as it was."""

import json
import os
import subprocess
import sys

import pytest
from support import EXAMPLES, ROOT

PATH = os.pathsep.join((str(ROOT), str(ROOT / "tests")))

SCRIPT = """
import hashlib, json, locale, os, random, signal, sys, warnings
import numpy as np

setting = sys.argv[1]
if setting == "seterr":
    np.seterr(all="raise")
elif setting == "warnings":
    warnings.simplefilter("error")
elif setting == "switching":
    sys.setswitchinterval(1e-6)
elif setting == "threads":
    import numba
    numba.set_num_threads(1)

def state():
    return {
        "floating": np.geterr(), "warnings": [str(each) for each in warnings.filters], "shown by": id(warnings.showwarning),
        "locale": locale.setlocale(locale.LC_ALL), "environment": dict(os.environ), "folder": os.getcwd(),
        "signals": [str(signal.getsignal(each)) for each in (signal.SIGINT, signal.SIGTERM)], "hooks": id(sys.excepthook),
        "unraisable": id(sys.unraisablehook), "switching": sys.getswitchinterval(), "recursion": sys.getrecursionlimit(),
        "random": random.getstate()[1][:9], "numpy's": np.random.get_state()[1][:9].tolist(),
        "printed": str(np.get_printoptions()),
        "threads": sys.modules["numba"].get_num_threads() if "numba" in sys.modules else None, "path": list(sys.path),
    }

import minivan
import minivan.explain, minivan.oracle, minivan.predict, minivan.image  # imports may add what they need, once
import numba, scipy.linalg, scipy.linalg.cython_blas  # so does SciPy, which Numba imports where it is, and some of it later
before = state()
from minivan import seeded
from minivan.van import VAN
from minivan.variants import Config
config = Config((4, 6), (1, 1), (1, 1), classes=3)
found = {}
for engine in ("numpy", "exact", "fast", "auto"):
    model, x = VAN(config, seeded.tensors(config), engine), seeded.images((2, 3, 48, 40))
    with np.errstate(all="ignore"):
        small = (x * 1e-38).astype(np.float32)  # numbers that underflow
    arrays = [model(x), model(small), *model.features(x), *model.gradients(x, wrt=("input", "norm1")).values()]
    found[engine] = hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()
minivan.image.prepare(sys.argv[2], minivan.card.Preprocessing())
after = state()
before["threads"] = before["threads"] if before["threads"] is not None else after["threads"]
text = json.dumps([found, [name for name in before if before[name] != after[name]]])
with open(sys.argv[3], "w") as file:
    file.write(text)
"""


def answers(tmp_path, setting, flags=(), streams=()):
    """What every engine gives in a process of such a setting, and what of the process's state has changed."""
    command = [sys.executable, *flags, "-c", SCRIPT, setting, str(EXAMPLES / "cat.jpg"), str(tmp_path / setting)]
    closed = "; ".join(f"os.close({number})" for number in streams)
    if closed:
        command = [sys.executable, "-c", f"import os, sys; {closed}; os.execv(sys.executable, {command!r})"]
    environment = os.environ | {"PYTHONPATH": PATH}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads((tmp_path / setting).read_text())


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    found, changed = answers(tmp_path_factory.mktemp("undisturbed"), "nothing")
    assert changed == []
    return found


@pytest.mark.parametrize(
    ("setting", "flags", "streams"),
    [
        ("seterr", (), ()),
        pytest.param("warnings", (), (), marks=pytest.mark.slow),
        pytest.param("switching", (), (), marks=pytest.mark.slow),
        pytest.param("threads", (), (), marks=pytest.mark.slow),
        pytest.param("without asserts", ("-O",), (), marks=pytest.mark.slow),
        pytest.param("without docstrings", ("-OO",), (), marks=pytest.mark.slow),
        ("closed streams", (), (0, 1, 2)),
    ],
)
def test_the_answer_is_the_same_and_the_hosts_settings_stay(tmp_path, undisturbed, setting, flags, streams):
    assert answers(tmp_path, setting, flags, streams) == [undisturbed, []]
