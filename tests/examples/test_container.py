"""The image's steps, made without a container engine: built by root, run by another user, nothing writable, no home.

`unshare` gives a file system that is read-only to everybody inside, `setpriv` a user without rights; what that user may do
beyond others is to read folders that are closed, since tests lie in some.
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
READS = "-all,+dac_read_search"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: another user runs what root has built, on a read-only mount"),
]


@pytest.fixture(scope="module")
def image():
    """A folder with minivan and warmed kernels at `minivan`, and a photo: what the Dockerfile's first stage makes."""
    folder = Path(tempfile.mkdtemp(prefix="minivan-image-", dir="/tmp"))  # which nobody else may write
    folder.chmod(0o755)
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "MINIVAN", "NUMBA"))} | {"PATH": path}
    try:
        for step in (["install", str(folder / "minivan"), str(ROOT)], ["warm", str(folder / "minivan")]):
            subprocess.run(["sh", str(STEPS), *step], check=True, env=environment, cwd=folder, timeout=900)
        shutil.copyfile(EXAMPLES / "cat.jpg", folder / "cat.jpg")
        shutil.copyfile(EXAMPLES / "container" / "function.py", folder / "function.py")
        (folder / "steps.sh").write_bytes(STEPS.read_bytes())
        yield folder
    finally:
        shutil.rmtree(folder)


def inside(image, *command, **environment):
    """Run a command as the image's user: nothing can be written, and nothing is known of the user but a number."""
    script = f'mount -o remount,bind,ro / && cd / && exec setpriv --reuid {USER} --regid {USER} --clear-groups --no-new-privs \
        --inh-caps={READS} --ambient-caps={READS} --bounding-set={READS} "$@"'
    whole = ["unshare", "--mount", "--net", "--propagation", "private", "sh", "-c", script, "sh", *map(str, command)]
    environment = {"PATH": "/usr/bin:/bin"} | environment
    return subprocess.run(whole, capture_output=True, text=True, env=environment, timeout=300, check=False)


def test_the_file_system_is_read_only_and_the_user_another(image):
    done = inside(image, "sh", "-c", f"id -u; touch {image}/x /tmp/x")
    assert done.stdout == f"{USER}\n" and done.returncode != 0 and not (image / "x").exists()


def test_the_warmed_image_answers_having_compiled_nothing(image):
    """`check` runs with warnings as errors: a kernel that was compiled for this process alone would warn."""
    done = inside(image, "sh", image / "steps.sh", "check", image / "minivan", image / "cat.jpg")
    assert done.returncode == 0, done.stderr
    assert "Egyptian cat" in done.stdout and not done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["engine"] == "exact"
    python = image / "minivan" / "bin" / "python"
    count = (
        "import numba.core.dispatcher as d, sys; c = []; r = d.Dispatcher._compile_for_args; from minivan.cli import main; "
        "import numba.core.compiler as k; o = k.compile_extra; k.compile_extra = lambda *a, **b: c.append(1) or o(*a, **b); "
        "main(['classify', sys.argv[1]]); print('compiled', len(c))"
    )
    settings = {"MINIVAN_CACHE": f"{image}/minivan/kernels"} | numba_settings()
    done = inside(image, python, "-c", count, image / "cat.jpg", **settings)
    assert done.stdout.splitlines()[-1] == "compiled 0", done.stderr


def numba_settings():
    """The Dockerfile's, which are those of steps.sh."""
    line = next(line for line in (EXAMPLES / "container" / "Dockerfile").read_text().splitlines() if line.startswith("ENV "))
    return dict(pair.split("=", 1) for pair in line.split() if pair.startswith("NUMBA_"))


def test_without_a_cache_it_answers_and_says_in_one_line_why_it_was_slow(image):
    python = image / "minivan" / "bin" / "python"
    done = inside(image, python, "-m", "minivan", "classify", image / "cat.jpg")
    assert done.returncode == 0 and "Egyptian cat" in done.stdout
    assert done.stderr.count("\n") == 1 and "there is no home folder to keep compiled kernels in" in done.stderr


def test_fetch_alone_needs_a_place_and_says_which_variable_gives_one(image):
    done = inside(image, image / "minivan" / "bin" / "python", "-m", "minivan", "fetch", "b0")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "MINIVAN_HOME" in done.stderr


def test_the_function_answers_as_a_platform_calls_it(image):
    settings = {"MINIVAN_CACHE": f"{image}/minivan/kernels", "HOME": "/"} | numba_settings()
    done = inside(image, image / "minivan" / "bin" / "python", image / "function.py", image / "cat.jpg", **settings)
    assert done.returncode == 0 and "Egyptian cat" in done.stdout and not done.stderr
