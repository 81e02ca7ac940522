"""One folder of kernels for several machines at once, and one on a disk that is full: whole commands, each in its own process.

A processor of another kind is played by Numba's settings and by MINIVAN_VECTOR. A full disk is a file system of 64 KiB
where this machine lets a test mount one; elsewhere a limit on the size of files stands for it.
"""

import json
import os
import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from support import EXAMPLES, ROOT

ROOT_USER = hasattr(os, "geteuid") and os.geteuid() == 0
MOUNTS = ROOT_USER and not subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode
CAT = EXAMPLES / "cat.jpg"


def classify(folder, engine="fast", before=(), limit=None, **settings):
    """Classify a photo in a process of its own; return the likeliest class with its probability, and standard error."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MINIVAN_CACHE": str(folder), "MINIVAN_COMPILE_NOTE": "1"} | settings
    command = [*before, sys.executable, "-m", "minivan", "classify", "--json", "--engine", engine, str(CAT)]
    if limit is not None:  # Python would keep what it can write of a module, and stumble over half of it the next time
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
    set_limit = None if limit is None else lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=600, check=False, preexec_fn=set_limit
    )
    assert done.returncode == 0, done.stderr
    first = json.loads(done.stdout)["top"][0]
    return (first["label"], first["probability"]), done.stderr


@pytest.mark.once
@pytest.mark.parametrize(("engine", "options"), [("fast", "size=64k"), ("exact", "size=64k")])
def test_a_full_disk_costs_one_warning_and_no_answer(tmp_path, engine, options):
    folder = tmp_path / "kernels"
    folder.mkdir()
    if MOUNTS:
        script = f'mount -t tmpfs -o {options},mode=0700 tmpfs "$0" && "$@"'
        before, limit, reason = ("unshare", "--mount", "--propagation", "private", "sh", "-c", script, folder), None, "No space"
    else:
        before, limit, reason = (), 8192, "File too large"
    (label, _), said = classify(folder, engine, before, limit)
    warned = [line for line in said.splitlines() if not line.startswith("note: compiling ")]
    assert label == "Egyptian cat" and len(warned) == 1, said
    assert "compiled in this process alone" in warned[0] and reason in warned[0]


KINDS = (
    {"MINIVAN_VECTOR": "8"},
    {"NUMBA_CPU_NAME": "x86-64-v2", "NUMBA_CPU_FEATURES": "+sse4.2", "MINIVAN_VECTOR": "0"},
)


@pytest.mark.once
def test_machines_of_several_kinds_fill_one_folder_at_once_and_each_loads_its_own(tmp_path):
    folder = tmp_path / "kernels"
    kinds = KINDS if os.uname().machine == "x86_64" else [KINDS[0], {"MINIVAN_VECTOR": "16"}]
    with ThreadPoolExecutor(len(kinds) + 1) as pool:
        # the first kind twice: two machines that are the same write the same files
        first = list(pool.map(lambda kind: classify(folder, **kind), [*kinds, kinds[0]]))
    assert {label for (label, _), _ in first} == {"Egyptian cat"} and first[0][0] == first[-1][0]
    (inside,) = folder.iterdir()
    written = {path: path.stat().st_mtime_ns for path in inside.iterdir()}
    assert len(written) == len(kinds)
    for kind, (answer, _) in zip(kinds, first, strict=False):
        assert classify(folder, **kind) == (answer, "")
    assert {path: path.stat().st_mtime_ns for path in inside.iterdir()} == written
    ours, theirs = list(written)[:2]
    ours.write_bytes(theirs.read_bytes())  # another kind's code under this one's name, whichever it is
    for kind, (answer, _) in zip(kinds, first, strict=False):
        assert classify(folder, **kind)[0] == answer
    for kind, (answer, _) in zip(kinds, first, strict=False):
        assert classify(folder, **kind) == (answer, "")


MANY = """
import sys
from minivan import kernel_cache
from support.kernels import answer
other = dict(kernel_cache._compiler(), machine=sys.argv[1])
kernel_cache._compiler = lambda: other
for x in (3.0, 3):
    answer(x)
print(answer(3.0) and answer(3))
"""


@pytest.mark.slow
def test_many_processes_of_many_machines_fill_one_folder_and_all_load_in_the_end(tmp_path):
    folder = tmp_path / "kernels"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests"))), "MINIVAN_CACHE": str(folder)}

    def one(number):
        command = [sys.executable, "-W", "error", "-c", MANY, str(number % 3)]
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)

    with ThreadPoolExecutor(6) as pool:
        for done in pool.map(one, range(12)):
            assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")
    (inside,) = folder.iterdir()
    assert len(list(inside.glob("*.kernel"))) == 6 and not list(inside.glob("*.tmp"))
