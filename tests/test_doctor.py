"""What minivan says of the machine it runs on, and that it finds what is wrong there."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from support import ROOT

from minivan import compiling, doctor, seeded
from minivan.cli import main
from minivan.doctor import SELF_CHECK, SELF_CHECK_GRADIENTS, SELF_CHECK_INPUT, SELF_CHECK_LOGITS, judge
from minivan.engines import EXACT
from minivan.van import VAN

PATH = os.pathsep.join((str(ROOT), str(ROOT / "tests")))


def wrong(code, **environment):
    """The subjects that the doctor finds wrong in a process that has run `code` before, the engines not looked at."""
    looked = "print(json.dumps([finding.subject for finding in doctor.examine() if finding.wrong]))"
    script = f"{code}\nimport json\nfrom minivan import doctor\ndoctor.CHECKED = ()\n{looked}"
    command, environment = [sys.executable, "-c", script], os.environ | {"PYTHONPATH": PATH} | environment
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def engine(check):
    return doctor._engine(check, doctor._tried(check.engine))


def test_a_sound_machine_has_nothing_wrong_and_every_engine_is_checked(capsys):
    assert main(["doctor", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    subjects = [finding["subject"] for finding in said["findings"]]
    assert said["wrong"] == 0 and subjects[-4:] == ["engine fast", "engine exact", "engine numpy", "threading"]
    assert re.search("layer: (omp|tbb|workqueue)$", said["findings"][-1]["text"]), "it is known once exact has computed"
    assert {"minivan", "Python", "numpy", "numba", "processor", "vectors", "threads", "arithmetic", "cache", "weights"} <= {
        *subjects
    }
    assert "gives the recorded bits" in next(f["text"] for f in said["findings"] if f["subject"] == "engine exact")


def test_the_recorded_logits_are_what_plain_numpy_gives():
    logits = VAN(SELF_CHECK, seeded.tensors(SELF_CHECK), "numpy")(seeded.images(SELF_CHECK_INPUT))
    recorded = np.frombuffer(SELF_CHECK_LOGITS, "<f4").reshape(logits.shape)
    np.testing.assert_allclose(recorded, logits, rtol=1e-6)


def test_the_recorded_gradients_are_those_of_plain_numpy():
    x = seeded.images(SELF_CHECK_INPUT)
    exact, numpy = (
        VAN(SELF_CHECK, seeded.tensors(SELF_CHECK), name).gradients(x, target=0)["input"] for name in ("exact", "numpy")
    )
    assert hashlib.sha256(exact.astype("<f4").tobytes()).hexdigest() == SELF_CHECK_GRADIENTS
    np.testing.assert_allclose(exact, numpy, rtol=1e-3, atol=1e-6 * np.abs(numpy).max())


def test_a_changed_bit_is_wrong_for_exact_and_a_changed_logit_for_all():
    logits = np.frombuffer(SELF_CHECK_LOGITS, "<f4").reshape(2, -1).copy()
    assert judge(logits, promised=True) == ("gives the recorded bits", "")
    logits[1, 2] = np.nextafter(logits[1, 2], np.float32(1))
    assert judge(logits, promised=True)[1] and not judge(logits, promised=False)[1]
    logits[1, 2] += 0.01
    assert "--clear" in judge(logits, promised=False)[1]
    assert judge(np.full_like(logits, np.nan), promised=False)[1]


def test_an_engine_that_fails_is_a_line_of_the_report_and_the_answer_is_no(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "seeded", None)
    monkeypatch.setattr(doctor, "CHECKED", doctor.CHECKED[-1:])
    assert main(["doctor"]) == 1
    assert "WRONG: AttributeError" in capsys.readouterr().out


ROUND_UP = """
import ctypes, ctypes.util, platform
upward = {"x86_64": 0x800}.get(platform.machine(), 0x400000)  # FE_UPWARD
assert ctypes.CDLL(ctypes.util.find_library("m")).fesetround(upward) == 0
"""


@pytest.mark.slow
def test_another_direction_of_rounding_is_found():
    assert wrong(ROUND_UP) == []  # found, and set right wherever minivan computes
    assert wrong(f"{ROUND_UP}\nfrom minivan import floating\nfloating.SUPPORTED = False") == ["arithmetic"]


@pytest.mark.slow
@pytest.mark.torch
def test_numbers_that_are_flushed_to_zero_are_found():
    flush = "import torch; assert torch.set_flush_denormal(True)"
    assert wrong(flush) == []
    assert wrong(f"{flush}; from minivan import floating; floating.SUPPORTED = False") == ["arithmetic"]


@pytest.mark.parametrize(
    "error", ["SystemError", *(pytest.param(e, marks=pytest.mark.slow) for e in ("ImportError", "OSError"))]
)
def test_numba_that_cannot_be_imported_is_found_and_numpy_still_answers(tmp_path, error):
    (tmp_path / "numba").mkdir()
    (tmp_path / "numba" / "__init__.py").write_text(f"raise {error}('Numba needs NumPy 2.4 or less. Got NumPy 9.')")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(tmp_path), PATH))}

    def run(*arguments):
        command = [sys.executable, "-m", "minivan", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)

    photo = str(ROOT / "examples" / "cat.jpg")
    said = run("classify", photo, "--engine", "fast")
    assert said.returncode == 2 and said.stderr.count("\n") == 1 and "engine numpy works without it" in said.stderr
    said = run("classify", photo)
    assert said.returncode == 0 and "Egyptian cat" in said.stdout
    said = run("doctor")
    assert said.returncode == 1 and "engine numpy  agrees" in said.stdout and not said.stderr


def test_a_vector_width_that_does_not_exist_is_found():
    assert wrong("", MINIVAN_VECTOR="7") == ["vectors"]


def test_a_processor_without_vectors_is_found_and_one_that_is_asked_to_do_without_is_not(monkeypatch):
    from minivan.fast import lanes

    monkeypatch.setattr(lanes, "host_lanes", lanes.Plain)
    for name in ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "NUMBA_ENABLE_AVX", "MINIVAN_VECTOR"):
        monkeypatch.delenv(name, raising=False)
    assert "this processor has none" in doctor._vectors().wrong
    monkeypatch.setenv("NUMBA_CPU_NAME", "generic")
    assert "NUMBA_CPU_NAME leave it out" in doctor._vectors().wrong
    monkeypatch.setenv("MINIVAN_VECTOR", "0")
    assert not doctor._vectors().wrong


@pytest.mark.parametrize("number", ["SIGSEGV", "SIGILL"])
def test_an_engine_that_ends_the_process_is_a_line_of_the_report(monkeypatch, number):
    """As machine code does that is bad, or that this processor cannot run."""
    script = f"import os, signal; os.kill(os.getpid(), signal.{number})"
    monkeypatch.setattr(doctor, "TRY", script)
    found = engine(doctor.Check(EXACT, bits=True, kernels=True))
    assert found.wrong.startswith(f"{number}: ") and "--clear" in found.wrong


@pytest.mark.parametrize(("number", "said"), [("SIGKILL", "SIGKILL: a limit on memory"), ("SIGSYS", "SIGSYS: a limit")])
def test_a_signal_from_outside_is_named_as_such(number, said):
    assert doctor._ended_by(-getattr(signal, number)).startswith(said)
    assert doctor._ended_by(-64).startswith(("SIGRTMAX: ", "signal 64: ")) and not doctor._ended_by(1)


def test_an_engine_that_never_comes_to_an_end_is_a_line_of_the_report(monkeypatch):
    monkeypatch.setattr(doctor, "TRIAL_SECONDS", 0.2)
    monkeypatch.setattr(doctor, "TRY", "import time; time.sleep(60)")
    found = engine(doctor.Check(EXACT, bits=True, kernels=True))
    assert found.wrong.startswith("it had not come to an end after 0.2 s: ") and "--clear" in found.wrong


def test_a_bad_kernel_of_the_gradients_is_found(monkeypatch):
    from minivan import grad

    right = grad.gelu_input
    monkeypatch.setattr(grad, "gelu_input", lambda *given: right(*given) * np.float32(1 + 2**-23))
    monkeypatch.setattr(doctor, "_tried", lambda engine: doctor.Tried())
    found = engine(doctor.Check(EXACT, bits=True, kernels=True))
    assert "gradients" in found.wrong and "--clear" in found.wrong


def test_an_engine_that_compiles_in_its_own_process_is_told_here(monkeypatch):
    monkeypatch.setattr(doctor, "TRY", "print('ops.conv._dense')")
    heard = []
    with compiling.told(lambda *what: heard.append(what)):
        tried = doctor._tried(EXACT)
    assert heard == [("ops.conv._dense", True)] and tried.compiled and tried.seconds > 0


def test_a_kernel_that_is_no_kernel_is_found_though_the_process_that_found_it_has_mended_it(monkeypatch):
    """And though this process has an older problem of its own, which was said before."""
    monkeypatch.setattr(doctor, "TRY", "print('ops.conv._dense\\ncache: \"caf\\\\udce9: junk\"')")
    monkeypatch.setattr(doctor, "CHECKED", [doctor.Check(EXACT, bits=True, kernels=True)])
    monkeypatch.setattr(doctor.kernel_cache, "state", lambda: doctor.kernel_cache.State(None, "a test", "an older one"))
    for found in ("_package", "_cache"):
        monkeypatch.setattr(doctor, found, lambda *given: doctor.Finding("", ""))
    assert [finding.wrong for finding in doctor.examine() if finding.wrong] == ["caf\udce9: junk"]


def test_that_process_says_what_it_found_in_any_locale_and_though_its_check_fails(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "seeded", None)
    monkeypatch.setattr(doctor.kernel_cache, "_warned", "caf\udce9: junk")
    with pytest.raises(AttributeError):
        doctor.run_alone("exact")
    assert capsys.readouterr().out == 'cache: "caf\\udce9: junk"\n'


def test_where_no_thread_can_watch_over_an_engines_own_process_there_is_none(monkeypatch):
    def none(*given):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(doctor.threading.Thread, "start", none)
    assert doctor._tried(EXACT) == doctor.Tried()


def test_what_cannot_be_loaded_while_the_engines_run_is_found(monkeypatch):
    states = iter(("", "a kernel cannot be read"))
    monkeypatch.setattr(doctor, "CHECKED", ())
    monkeypatch.setattr(doctor, "_cache", lambda: doctor.Finding("cache", "sound"))
    monkeypatch.setattr(doctor, "_other_kernels", lambda: iter(()))
    monkeypatch.setattr(doctor.kernel_cache, "state", lambda: doctor.kernel_cache.State(None, "a test", next(states)))
    assert [finding.wrong for finding in doctor.examine()][-1] == "a kernel cannot be read"
