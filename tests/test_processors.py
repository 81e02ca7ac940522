"""How many threads compute: within the affinity and the quota of the control group, and never an absurd number."""

import json
import math
import os
import subprocess
import sys

import pytest
from support import ROOT

from minivan import processors
from minivan.cli import main
from minivan.processors import MOST_THREADS, Budget, budget, quota, threads

VERSION_1 = (
    "32 31 0:29 {mounted} {place} rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
    "33 31 0:30 / /elsewhere rw,relatime - cgroup cgroup rw,memory\n"
)
VERSION_2 = "30 23 0:26 {mounted} {place} rw,nosuid,nodev - cgroup2 cgroup2 rw,nsdelegate\n"


def system(root, cgroup, mountinfo, files):
    """A root folder whose /proc and mounted hierarchies say what is given."""
    files = {"proc/self/cgroup": cgroup, "proc/self/mountinfo": mountinfo} | files
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.loop
@pytest.mark.parametrize(
    ("cgroup", "mountinfo", "files", "seconds"),
    [
        pytest.param(
            "0::/a/b\n",
            VERSION_2.format(mounted="/", place="/sys/fs/cgroup"),
            {"sys/fs/cgroup/a/b/cpu.max": "150000 100000\n", "sys/fs/cgroup/a/cpu.max": "max 100000\n"},
            1.5,
            id="version 2",
        ),
        pytest.param(
            "0::/a/b\n",
            VERSION_2.format(mounted="/", place="/sys/fs/cgroup"),
            {"sys/fs/cgroup/a/b/cpu.max": "400000 100000\n", "sys/fs/cgroup/a/cpu.max": "20000 10000\n"},
            2.0,
            id="a group above is tighter",
        ),
        pytest.param(
            "0::/\n",
            VERSION_2.format(mounted="/", place="/sys/fs/cgroup"),
            {"sys/fs/cgroup/cpu.max": "300000 100000\n"},
            3.0,
            id="a container that sees its own group as the root",
        ),
        pytest.param(
            "0::/../../other\n",
            VERSION_2.format(mounted="/", place="/sys/fs/cgroup"),
            {"sys/fs/cgroup/cpu.max": "50000 100000\n", "sys/other/cpu.max": "900000 100000\n"},
            0.5,
            id="a group outside of what is mounted",
        ),
        pytest.param(
            "7:memory:/x\n4:cpu,cpuacct:/docker/c\n0::/\n",
            VERSION_1.format(mounted="/docker/c", place="/sys/fs/cgroup/cpu"),
            {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "250000\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"},
            2.5,
            id="version 1, a container that sees the names of its host",
        ),
        pytest.param(
            "4:cpu:/a\n",
            VERSION_1.format(mounted="/", place="/my\\040groups"),
            {"my groups/a/cpu.cfs_quota_us": "-1\n", "my groups/a/cpu.cfs_period_us": "100000\n"},
            math.inf,
            id="version 1 without a limit, mounted at a place with a space",
        ),
        pytest.param(
            "4:cpu:/a\n0::/a\n",
            VERSION_1.format(mounted="/", place="/one") + VERSION_2.format(mounted="/", place="/two"),
            {"one/a/cpu.cfs_quota_us": "700000", "one/a/cpu.cfs_period_us": "100000", "two/a/cpu.max": "max 100000"},
            7.0,
            id="both versions mounted",
        ),
        pytest.param(
            "0::/a\n",
            "40 23 0:31 / /unnamed rw,relatime -  tmpfs rw\n"  # its source is an empty name
            "41 23 0:32 / /odd\u2028\f\x85place rw - tmpfs tmpfs rw\nhalf a line\n"
            "30 23 0:26 / /my\\043g rw -  cgroup2 rw\n" + VERSION_2.format(mounted="/", place="/my\\043groups"),
            {"my#groups/a/cpu.max": "150000 100000\n"},
            1.5,
            id="mounts with odd names beside it",
        ),
        pytest.param(
            "0::/a\n", VERSION_2.format(mounted="/", place="/g"), {"g/a/cpu.max": "damaged\n"}, math.inf, id="damaged"
        ),
        pytest.param("not a line of it\n", "", {}, math.inf, id="a file of another kind"),
    ],
)
def test_the_quota_is_what_the_control_groups_say(tmp_path, cgroup, mountinfo, files, seconds):
    assert quota(system(tmp_path, cgroup, mountinfo, files)) == seconds


@pytest.mark.loop
def test_without_control_groups_there_is_no_quota(tmp_path):
    assert quota(tmp_path) == math.inf


@pytest.mark.loop
@pytest.mark.parametrize(
    ("machine", "allowed", "seconds", "expected"),
    [
        (64, 64, 1.5, Budget(2, "the quota of its control group")),
        (64, 64, 0.25, Budget(1, "the quota of its control group")),
        (64, 4, 8.0, Budget(4, "the affinity of this process")),
        (64, 64, math.inf, Budget(64, "the machine")),
    ],
)
def test_the_budget_is_the_least_of_them_rounded_up(monkeypatch, machine, allowed, seconds, expected):
    monkeypatch.setattr(os, "cpu_count", lambda: machine)
    monkeypatch.setattr(processors, "affinity", lambda: allowed)
    monkeypatch.setattr(processors, "quota", lambda: seconds)
    processors._rounded_up.cache_clear()
    try:
        assert budget() == expected and threads() == expected.threads
    finally:
        processors._rounded_up.cache_clear()


@pytest.mark.loop
def test_more_threads_than_anybody_needs_are_refused(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["classify", "x.jpg", "--threads", str(MOST_THREADS + 1)])
    assert caught.value.code == 2 and "is not a whole number from 1 to 1024" in capsys.readouterr().err


SCRIPT = """
import json, os, sys
import numba, numpy as np
from minivan import jit, processors
from minivan.ops import gelu
from minivan.van import VAN
from minivan.variants import Config
from support.networks import images, random_tensors

wanted = numba.config.NUMBA_NUM_THREADS
processors.quota = lambda: 1.5 if sys.argv[1] == "quota" else float("inf")
if sys.argv[1] == "affinity":
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
seen = []
real = numba.set_num_threads
numba.set_num_threads = lambda n: (seen.append(n), real(n))[1]
gelu(np.ones((1, 1, 2, 2), np.float32))
config = Config((4, 6), (1, 1), (1, 1), classes=3)
model = VAN(config, random_tensors(config), "fast")
model(images(1, 32))
helpers = sum(t.name.startswith("minivan-") for t in __import__("threading").enumerate())
print(json.dumps([jit.thread_count(), seen, numba.get_num_threads() == wanted, helpers]))
"""


@pytest.mark.parametrize(("limit", "threads"), [pytest.param("quota", 2, marks=pytest.mark.slow), ("affinity", 1)])
def test_every_engine_computes_within_the_budget_and_leaves_numbas_number_alone(limit, threads):
    """Numba believes in four threads; the budget is less."""
    if len(os.sched_getaffinity(0)) < 2 and limit == "quota":
        pytest.fail("this test needs two processors")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests"))), "NUMBA_NUM_THREADS": "4"}
    command = [sys.executable, "-c", SCRIPT, limit]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [threads, [threads, 4], True, threads - 1]


def test_kernels_are_not_started_on_an_absurd_number_of_threads():
    code = "import numpy as np; from minivan.ops import gelu; gelu(np.ones((1, 1, 2, 2), np.float32))"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "NUMBA_NUM_THREADS": "100000"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, env=environment, check=False
    )
    assert done.stderr.strip().endswith("NUMBA_NUM_THREADS asks for 100000 threads, and at most 1024 are started")
