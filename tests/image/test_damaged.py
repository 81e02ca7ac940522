"""Files damaged with their structure in mind: a picture or one line, in counted steps and traced bytes."""

import contextlib
import os
import random
import resource
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import pytest
from support import ROOT
from support.pictures import valid_files

from minivan import image
from minivan.image import ImageError, apart, bounds, decoding
from minivan.image.bounds import Steps

CORPUS = sorted((ROOT / "tests" / "corpus" / "images").iterdir())
INTERESTING = (0, 1, 2, 3, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
SECONDS, MEBIBYTES = 2, 256  # for one damaged file, in the long run


def damaged(data, draw):
    """Return a file with fields, pieces and its end changed, as they lie: in words of one, two and four bytes."""
    made = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 4, 8))):
        place = draw.randrange(len(made) if draw.random() < 0.3 else min(len(made), 200))
        size = draw.choice((1, 1, 2, 4))
        kind = draw.randrange(5)
        if kind == 0:
            made[place : place + size] = draw.randbytes(size)
        elif kind == 1:
            value = draw.choice(INTERESTING) & ((1 << 8 * size) - 1)
            made[place : place + size] = value.to_bytes(size, draw.choice(("little", "big")))
        elif kind == 2:  # a piece again and again
            end = place + draw.randrange(1, 64)
            made[place:place] = made[place:end] * draw.choice((1, 2, 50))
        elif kind == 3:
            del made[place : place + draw.randrange(1, 64)]
        elif len(made) > 40:
            del made[draw.randrange(20, len(made)) :]
        if not made:
            made = bytearray(b"\0")
    return bytes(made)


def judge(data):
    """Examine a file and, where it is small, decode it; return the steps that its walk took."""
    steps = Steps()
    try:
        look = decoding._look(data, steps)
        assert 0 < look.pixels <= bounds.LARGEST_PIXELS and look.held <= bounds.LARGEST_HELD
        if look.pixels <= 100_000 and not look.apart:
            assert image.decode(data).mode == "RGB"
    except ImageError as error:
        assert str(error) and "\n" not in str(error) and len(str(error)) < 400
    return steps.taken


@pytest.mark.parametrize("name", valid_files())
def test_a_damaged_file_is_a_picture_or_one_line(name):
    """Steps and traced bytes stay in proportion to the file: it is walked over once."""
    data, draw = valid_files()[name], random.Random(name)
    for _ in range(40):
        file = damaged(data, draw)
        tracemalloc.start()
        try:
            taken = judge(file)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert taken <= len(file) + bounds.LARGEST_STEPS or taken > bounds.LARGEST_STEPS
        assert peak <= 40 * len(file) + (8 << 20)


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_what_a_fuzzer_found_is_a_picture_or_one_line(path):
    data = path.read_bytes()
    judge(data)
    for channels in (3, 4):
        try:
            decoding.examine(data, channels)
        except ImageError as error:
            assert str(error) and "\n" not in str(error) and len(str(error)) < 400


APART = ("JPEG 2000", "TIFF LZW", "TIFF deflate", "HEIC")


@pytest.mark.parametrize("name", [name for name in valid_files() if name.startswith(APART)])
def test_a_damaged_file_that_is_decoded_apart_says_nothing_but_one_line(name, capfd):
    data, draw = valid_files()[name], random.Random(name)
    for _ in range(4):
        try:
            assert image.decode(damaged(data, draw)).mode == "RGB"
        except ImageError as error:
            assert "\n" not in str(error)
    assert capfd.readouterr() == ("", "")


def test_a_decoder_apart_that_ends_early_or_never_is_one_line(monkeypatch, tmp_path):
    data = valid_files()["TIFF LZW"]
    (tmp_path / "image").mkdir()
    for script, said in (
        ("import os; os._exit(3)", "ended without a word"),
        ("import time; time.sleep(99)", "longer than 1 s"),
    ):
        (tmp_path / "image" / "child.py").write_text(script)
        monkeypatch.setattr(apart.shipped, "PACKAGE", tmp_path)
        monkeypatch.setattr(apart, "LONGEST", 1)
        with pytest.raises(ImageError, match=said):
            image.decode(data)


def test_where_no_other_process_can_be_started_the_decoder_runs_here(monkeypatch):
    apart_from_here = image.decode(valid_files()["TIFF LZW"])
    monkeypatch.setattr(sys, "executable", "")
    assert image.decode(valid_files()["TIFF LZW"]).tobytes() == apart_from_here.tobytes()


@pytest.mark.long
def test_no_damaged_file_takes_more_than_its_time_and_memory():
    """The figures of docs/robustness.md: seconds and resident memory of many damaged files."""
    longest, count, before = 0.0, 0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    end = time.monotonic() + 600
    draw = random.Random(1)
    while time.monotonic() < end:
        data = damaged(draw.choice(list(valid_files().values())), draw)
        start = time.process_time()
        judge(data)
        longest, count = max(longest, time.process_time() - start), count + 1
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{count} files, at most {longest:.2f} s, {grown:.0f} MiB more")
    assert longest < SECONDS and grown < MEBIBYTES


def test_the_corpus_is_small():
    assert 0 < sum(path.stat().st_size for path in CORPUS if isinstance(path, Path)) <= 100_000


def runs(process):
    """Tell whether a process is there, and not only waiting for somebody to take notice of its end."""
    try:
        os.kill(process, 0)
        state = Path(f"/proc/{process}/stat")
        return not (state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z")
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_no_process_is_left_behind_by_one_that_was_killed():
    """What decodes apart waits here for a file that never ends, and whoever would send it is killed.

    On Linux the system ends it, though a third process keeps the pipe open; elsewhere it is the pipe's end that does.
    """
    code = """
import os, signal, subprocess, sys
from minivan.image import apart
from support.pictures import valid_files
from minivan import image
def feed(file, parts):
    print(subprocess_of[0].pid, flush=True)
    if sys.platform.startswith("linux"):
        nowhere = subprocess.DEVNULL
        print(real(["sleep", "90"], stdin=nowhere, stdout=nowhere, stderr=nowhere, pass_fds=[file.fileno()]).pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
subprocess_of, real = [], subprocess.Popen
subprocess.Popen = lambda *a, **k: subprocess_of.append(real(*a, **k)) or subprocess_of[0]
apart._feed = feed
image.decode(valid_files()["TIFF LZW"])
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests")))}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    child, *keepers = map(int, done.stdout.split())
    assert done.returncode == -signal.SIGKILL
    give_up = time.monotonic() + 30
    while runs(child) and time.monotonic() < give_up:
        time.sleep(0.01)
    left = runs(child)
    for process in (child, *keepers):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    assert not left
