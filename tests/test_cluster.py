"""A Ray cluster of two processes on this machine, for real: killed, interrupted, gone on with; the rows are one machine's.

It needs the extra `ray`.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet
import pytest
from support import ROOT, tars

pytestmark = [pytest.mark.slow, pytest.mark.once]

SHARDS, PHOTOS = 12, 12
LONGEST = 240  # seconds that a run may take


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """Shards whose photos take a while to decode, one of them damaged; and weights."""
    folder = tmp_path_factory.mktemp("cluster")
    tars.spoil(tars.shards(folder, SHARDS, PHOTOS, side=400)[-1])
    tars.weights(folder / "tiny.safetensors")
    return folder


def started(here, command, *argv, tars="*.tar"):
    """Start a command over the shards in `here`."""
    names = sorted(path.name for path in here.glob(tars))
    line = [sys.executable, "-m", "minivan", command, *names, "--weights", "tiny.safetensors", "--engine", "numpy", *argv]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(line, cwd=here, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def descendants(pid):
    """The processes below one, number -> what it is called."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                stat = (entry / "stat").read_text()
                parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
            except OSError:
                continue
    found, last = {}, {pid}
    while last:
        last = {child for child, parent in parents.items() if parent in last}
        for child in last:
            try:
                found[child] = (Path("/proc") / str(child) / "cmdline").read_text().replace("\0", " ").strip()
            except OSError:
                continue
    return found


def wait_for(folder, count, process):
    """Wait until there are so many files of rows."""
    end = time.monotonic() + LONGEST
    while len(list(folder.glob("*.parquet"))) < count:
        assert process.poll() is None and time.monotonic() < end, process.communicate()
        time.sleep(0.02)


def two_workers(process):
    """Wait until two of a process's workers are there: on a machine in use, the second one may come late."""
    end = time.monotonic() + LONGEST
    while True:
        found = [pid for pid, name in descendants(process.pid).items() if name.startswith("ray::") and "MapBatches" in name]
        if len(found) == 2:
            return found
        assert process.poll() is None and time.monotonic() < end, found
        time.sleep(0.02)


def gone(processes):
    """Wait until no process of these is left, but for ones that are ending."""
    end = time.monotonic() + 20
    while left := [pid for pid, name in processes.items() if name and name == descendants_name(pid)]:
        assert time.monotonic() < end, [processes[pid] for pid in left]
        time.sleep(0.1)


def descendants_name(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()
    except OSError:
        return None


def rows(path):
    return pyarrow.parquet.read_table(path).drop(["milliseconds"]).to_pylist()


def test_a_killed_process_an_interrupt_a_corrupt_shard_and_a_resume_leave_the_rows_of_one_machine(here):
    folder, cluster = here / "rows", ["--cluster", "local", "--workers", "2", "-o", "rows"]
    running = started(here, "classify", *cluster)
    wait_for(folder, 1, running)
    os.kill(two_workers(running)[0], signal.SIGKILL)
    wait_for(folder, 5, running)
    below = descendants(running.pid)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=LONGEST)
    assert (running.returncode, out) == (130, "") and err.startswith("note: ") and err.count("\n") == 1, err
    assert f"{folder} keeps the rows of " in err and "--resume goes on with them" in err
    gone(below)
    done = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.parquet")}
    assert 5 <= len(done) < SHARDS

    running = started(here, "classify", *cluster, "--resume")
    out, err = running.communicate(timeout=LONGEST)
    assert running.returncode == 1, err
    answered = (SHARDS - 1) * PHOTOS + 1
    kept = f", {len(done)} of them from the run before"
    assert out == f"{folder}: {answered} images in {SHARDS} shards{kept}, 2 without an answer\n"
    assert [line.partition(": ")[2].partition(": ")[0] for line in err.splitlines()] == ["001.tar/001.png", "011.tar"]
    assert {name: (folder / name).stat().st_mtime_ns for name in done} == done, "what was done is not done again"

    one = started(here, "classify", "-o", "one.parquet")
    one.communicate(timeout=LONGEST)
    shards = json.loads((folder / "_summary.json").read_text())["shards"]
    assert [row for shard in shards for row in rows(folder / shard["file"])] == rows(here / "one.parquet")


def test_an_evaluation_on_a_cluster_counts_what_one_machine_counts(here):
    cluster = started(here, "evaluate", "--cluster", "local", "--workers", "2", "-o", "there", tars="00*.tar")
    alone = started(here, "evaluate", "-o", "alone", tars="00*.tar")
    assert [process.communicate(timeout=LONGEST) and process.returncode for process in (cluster, alone)] == [1, 1]
    for name in ("predictions.csv", "per_class.csv", "confusion.csv"):
        assert (here / "there" / name).read_bytes() == (here / "alone" / name).read_bytes()
    said = [json.loads((here / folder / "summary.json").read_text()) for folder in ("there", "alone")]
    own = ("seconds", "images_per_second")
    assert [{key: value for key, value in each.items() if key not in own} for each in said][:1] == [
        {key: value for key, value in said[1].items() if key not in own}
    ]


def test_an_item_that_kills_its_process_is_left_out_and_no_cluster_is_one_line():
    """In a process of its own: Ray's settings are those of a process."""
    code = """
import sys
from support.deadly import Deadly, Unloadable
from minivan import cluster
for work, address in ((Deadly(), "127.0.0.1:1"), (Unloadable(), "local")):
    try:
        cluster.run(work, ["a"], address)
    except ValueError as error:
        print(error, file=sys.stderr)
told = []
found = cluster.run(Deadly(), ["a", "deadly", "b"], "local", 1, told.append)
print(sorted(found), sorted(told) == sorted(found), cluster.os.environ["RAY_USAGE_STATS_ENABLED"])
"""
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=LONGEST, env=env)
    assert done.stdout == "[('a', '1'), ('b', '1')] True 0\n", done.stderr
    refused, unloadable = done.stderr.splitlines()
    assert refused.startswith("no Ray cluster at 127.0.0.1:1: ")
    assert unloadable == "a process of the cluster cannot begin: not here"
