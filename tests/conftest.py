import io
import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from support import loopback

# What a shell starts in the background, or nohup, ignores these, and so would every process that a test starts.
for name, usual in (("SIGINT", signal.default_int_handler), ("SIGQUIT", signal.SIG_DFL), ("SIGHUP", signal.SIG_DFL)):
    if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) is signal.SIG_IGN:
        signal.signal(getattr(signal, name), usual)

ROOT = Path(__file__).parent.parent

pytest_plugins = ["support.selection", "support.skips"]


# Compiled kernels stay in the checkout, out of the user's own cache, unless whoever runs the tests names another folder.
if not os.environ.get("NUMBA_CACHE_DIR"):
    os.environ.setdefault("MINIVAN_CACHE", str(ROOT / ".numba"))
# The bundled weights are the default here, whatever the person who runs the tests has fetched.
os.environ["MINIVAN_HOME"] = str(ROOT / "tests" / "no-such-home")
# What is compiled depends on what ran before: tests look at standard error without the note that tells of it.
os.environ.setdefault("MINIVAN_COMPILE_NOTE", "0")
# Threads that spin while they wait halve the speed of everything else on a machine of two cores.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# The first example of a kernel compiles it: seconds, not milliseconds. CI draws the same examples every time.
_shared = dict(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
settings.register_profile("ci", derandomize=True, max_examples=60, **_shared)
settings.register_profile("explore", max_examples=500, **_shared)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture
def run(capsys, monkeypatch):
    """Run a command in this process; returns exit status, standard output and standard error."""
    from minivan.cli import main

    def call(*argv, stdin=None):
        if stdin is not None:
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        try:
            status = main([str(a) for a in argv])
        except SystemExit as stop:
            status = stop.code
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return status, out, err

    return call


@pytest.fixture
def newly_started(monkeypatch):
    """The engine `auto` chooses as in a process that has computed nothing yet."""
    from minivan.engines import auto

    monkeypatch.setattr(auto, "choice", auto.Choice())
    monkeypatch.setattr(auto, "_loaded", lambda: False)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty place for fetched weights."""
    monkeypatch.setenv("MINIVAN_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def server(monkeypatch):
    """An HTTP server on this machine that serves a small checkpoint."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with loopback.serving() as server:
        yield server
