"""The image's steps, made without a container engine: built by root, run by another user, nothing writable, no home.

`unshare` gives a file system that is read-only to everybody inside, `setpriv` a user without rights. Where only root reaches
the Python that runs the tests, that user may do one thing beyond others: read folders that are closed.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from support import EXAMPLES, ROOT

STEPS = EXAMPLES / "container" / "steps.sh"
USER = 65532
REACHED = all(folder.stat().st_mode & 0o001 for folder in Path(sys.executable).resolve().parents)
RIGHTS = "-all" if REACHED else "-all,+dac_read_search"

ROOT_USER = os.geteuid() == 0  # else the same user runs what it has built, without rights to write there
MOUNTS = ROOT_USER and not subprocess.run(["unshare", "--mount", "--net", "true"], capture_output=True, check=False).returncode


def sent(folder):
    """Copy what .dockerignore lets through: nothing but what it names."""
    folder.mkdir()
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert lines[0] == "*"
    for line in lines[1:]:
        if line.startswith("!"):
            place = folder / line[1:]
            place.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / line[1:]).is_dir():
                shutil.copytree(ROOT / line[1:], place, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copyfile(ROOT / line[1:], place)


@pytest.fixture(scope="module")
def image():
    """A folder with minivan and warmed kernels at `minivan`, and a photo: what the Dockerfile's first stage makes."""
    folder = Path(tempfile.mkdtemp(prefix="minivan-image-", dir="/tmp"))  # which nobody else may write
    folder.chmod(0o755)
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "MINIVAN", "NUMBA"))} | {"PATH": path}
    try:
        sent(folder / "source")
        for step in (["install", str(folder / "minivan"), str(folder / "source")], ["warm", str(folder / "minivan")]):
            subprocess.run(["sh", str(STEPS), *step], check=True, env=environment, cwd=folder, timeout=900, umask=0o077)
        shutil.copyfile(EXAMPLES / "cat.jpg", folder / "cat.jpg")
        shutil.copyfile(EXAMPLES / "container" / "function.py", folder / "function.py")
        (folder / "steps.sh").write_bytes(STEPS.read_bytes())
        subprocess.run(["chmod", "-R", "a-w", str(folder / "minivan")], check=True)
        yield folder
    finally:
        subprocess.run(["chmod", "-R", "u+w", str(folder)], check=True)
        shutil.rmtree(folder)


def inside(image, *command, **environment):
    """Run a command as the image's user, as far as this machine lets a test become one.

    As root: a user of whom nothing is known but a number. Where mounts can be made, nothing at all can be written, and there is
    no network. Else the image can be written by nobody, and the home folder is none that could be made.
    """
    become = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--no-new-privs"]
    become += [f"--{kind}-caps={RIGHTS}" for kind in ("inh", "ambient")] + [f"--bounding-set={RIGHTS}"]
    script = 'mount -o remount,bind,ro / && exec "$@"'
    mount = ["unshare", "--mount", "--net", "--propagation", "private", "sh", "-c", script, "sh"]
    whole = [*(mount if MOUNTS else []), *(become if ROOT_USER else []), *map(str, command)]
    known = {"PATH": "/usr/bin:/bin"} | ({} if ROOT_USER else {"HOME": "/no-such-home"})
    return subprocess.run(whole, capture_output=True, text=True, env=known | environment, timeout=300, check=False, cwd="/")


@pytest.mark.once
def test_the_image_cannot_be_written_by_its_user(image):
    done = inside(image, "sh", "-c", f"id -u; touch {image}/minivan/x")
    assert done.stdout == f"{USER if ROOT_USER else os.geteuid()}\n" and done.returncode != 0
    assert not (image / "minivan" / "x").exists()
    if MOUNTS:
        assert inside(image, "touch", "/tmp/minivan-x").returncode != 0


@pytest.mark.slow  # what installs and warms an image, whatever the version of Python
def test_the_warmed_image_answers_having_compiled_nothing(image):
    """Whatever is compiled is noted on standard error, whether it is kept or not."""
    done = inside(image, "sh", image / "steps.sh", "check", image / "minivan", image / "cat.jpg")
    assert done.returncode == 0, done.stderr
    assert "Egyptian cat" in done.stdout and not done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["engine"] == "exact"
    python = image / "minivan" / "bin" / "python"
    count = (
        "import numba.core.dispatcher as d, sys; c = []; r = d.Dispatcher._compile_for_args; from minivan.cli import main; "
        "import numba.core.compiler as k; o = k.compile_extra; k.compile_extra = lambda *a, **b: c.append(1) or o(*a, **b); "
        "main(['classify', '--engine', sys.argv[2], sys.argv[1]]); print('compiled', len(c))"
    )
    settings = {"MINIVAN_CACHE": f"{image}/minivan/kernels"} | numba_settings()
    for engine in ("fast", "exact"):
        done = inside(image, python, "-c", count, image / "cat.jpg", engine, **settings)
        assert done.stdout.splitlines()[-1] == "compiled 0", done.stderr


def numba_settings():
    """The Dockerfile's, which are those of steps.sh."""
    line = next(line for line in (EXAMPLES / "container" / "Dockerfile").read_text().splitlines() if line.startswith("ENV "))
    return dict(pair.split("=", 1) for pair in line.split() if pair.startswith("NUMBA_"))


@pytest.mark.once
def test_without_a_cache_it_answers_and_says_in_one_line_why_it_was_slow(image):
    python = image / "minivan" / "bin" / "python"
    done = inside(image, python, "-m", "minivan", "classify", "--engine", "fast", image / "cat.jpg")
    assert done.returncode == 0 and "Egyptian cat" in done.stdout
    assert done.stderr.count("\n") == 1 and "kernels are compiled in this process alone" in done.stderr
    assert not ROOT_USER or "there is no home folder to keep compiled kernels in" in done.stderr


@pytest.mark.once
@pytest.mark.parametrize(("filter", "engine"), [("ignore", "exact"), ("error", "fast")])
def test_nor_is_it_silent_where_warnings_are(image, filter, engine):
    python = image / "minivan" / "bin" / "python"
    done = inside(image, python, "-W", filter, "-m", "minivan", "classify", "--engine", engine, image / "cat.jpg")
    assert done.returncode == 0 and "Egyptian cat" in done.stdout
    assert done.stderr.count("\n") == 1 and "note: compiling" in done.stderr and "it is not kept: " in done.stderr


@pytest.mark.once
def test_fetch_alone_needs_a_place_and_says_which_variable_gives_one(image):
    done = inside(image, image / "minivan" / "bin" / "python", "-m", "minivan", "fetch", "b0")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert not ROOT_USER or "MINIVAN_HOME" in done.stderr


@pytest.mark.once
def test_it_answers_where_no_thread_and_no_process_can_be_started(image):
    settings = {"MINIVAN_CACHE": f"{image}/minivan/kernels"} | numba_settings()
    command = ["prlimit", "--nproc=1", image / "minivan" / "bin" / "python", "-m", "minivan", "classify"]
    done = inside(image, *command, image / "cat.jpg", **settings)
    assert done.returncode == 0 and "Egyptian cat" in done.stdout and not done.stderr


@pytest.mark.once
def test_the_function_answers_as_a_platform_calls_it(image):
    settings = {"MINIVAN_CACHE": f"{image}/minivan/kernels", "HOME": "/"} | numba_settings()
    done = inside(image, image / "minivan" / "bin" / "python", image / "function.py", image / "cat.jpg", **settings)
    assert done.returncode == 0 and "Egyptian cat" in done.stdout and not done.stderr
