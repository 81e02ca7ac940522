"""Rows of answers in files that other programs read; runs that are interrupted, and go on."""

import contextlib
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image
from support import EXAMPLES, ROOT
from support.networks import random_tensors

from minivan.card import Card, Label, Preprocessing
from minivan.checkpoint import Weights, load, write
from minivan.errors import one_line
from minivan.predict import Found, Results, Unusable, find_images, resumable, table
from minivan.predict.embeddings import Embeddings
from minivan.predict.journal import Journal
from minivan.variants import Config

CONFIG = Config((4, 6), (1, 1), (2, 2), classes=3)
CARD = Card("tiny", Preprocessing(32, 36), (Label("n1", "=cup, mug"), Label("n2", "plate"), Label("n3", "a\u00a0spoon")))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    write(Weights(CONFIG, random_tensors(CONFIG, 3), CARD), path)
    return path


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Five photos, one no image; a name of each kind that a table could spoil; the folder is the current one."""
    monkeypatch.chdir(tmp_path)
    numbers = np.random.default_rng(0)
    for name in ("=1+1.png", 'a,"b"\n.png', "c\u202f.png", os.fsdecode(b"d\xe9.png"), "e.png"):
        Image.fromarray(numbers.integers(0, 255, (40, 40, 3), np.uint8)).save(tmp_path / name)
    (tmp_path / "f.png").write_text("no image")
    return tmp_path


def rows_of(path):
    """The rows of a CSV file, or of JSON lines."""
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file)) if path.endswith(".csv") else [json.loads(line) for line in file]


def classify(run, weights, *argv):
    paths = sorted(path for path in os.listdir() if path.endswith(".png"))
    return run("classify", *argv, "--weights", weights, "--engine", "numpy", "--top-k", 2, *paths)


def test_the_three_files_hold_the_same_rows_and_names_that_nothing_spoils(run, weights, photos):
    status, out, err = classify(run, weights, "-o", "rows.jsonl")
    assert (status, out) == (1, "rows.jsonl: 6 images, 1 without an answer\n") and err.startswith(
        "minivan: f.png: not an image"
    )
    for ending in ("csv", "parquet"):
        assert classify(run, weights, "-o", f"rows.{ending}")[0] == 1
    _, printed, _ = classify(run, weights, "--json")
    lines = rows_of("rows.jsonl")
    times = {"milliseconds": None}
    assert [line | times for line in lines if not line["fault"]] == [
        json.loads(line) | times | {"fault": None} for line in printed.splitlines()
    ]
    names = sorted(name for name in os.listdir() if name.endswith(".png"))
    assert [line["image"] for line in lines] == names and lines[-1]["top"] == []

    rows = rows_of("rows.csv")
    assert list(rows[0]) == list(table.columns(2)) and rows[0]["image"] == "./=1+1.png"
    assert [row["image"] for row in rows[1:]] == [one_line(name) for name in names[1:]]
    assert rows[3]["image"] == "d\\udce9.png" and rows[2]["image"] == "c\u202f.png" and "\n" not in rows[1]["image"]
    assert Path("rows.csv").read_bytes().count(b"\n") == 7, "one line a row"
    assert {row[f"label_{rank}"] for row in rows[:5] for rank in (1, 2)} <= {"'=cup, mug", "plate", "a\u00a0spoon"}
    for row, line in zip(rows, lines, strict=True):
        assert [float(row[f"probability_{i}"] or 0) for i in (1, 2)][: len(line["top"])] == [
            g["probability"] for g in line["top"]
        ]
    assert rows[-1]["fault"].startswith("not an image") and rows[-1]["label_1"] == rows[-1]["milliseconds"] == ""
    assert (rows[0]["model"], rows[0]["engine"], rows[0]["sure"]) == ("tiny", "numpy", "")

    read = pyarrow.parquet.read_table("rows.parquet")
    assert json.loads(read.schema.metadata[b"minivan"])["weights"] == "tiny"
    for row, cells in zip(read.to_pylist(), rows, strict=True):
        values = {name: table.harmless(name, value) for name, value in row.items()}
        assert {name: "" if value is None else str(value) for name, value in values.items()} | times == cells | times


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-o", "rows.xls"], "rows.xls: it ends in .xls; rows are written as .csv, .jsonl, .parquet"),
        (["-o", "rows"], "rows: it has no ending; rows are written as .csv, .jsonl, .parquet"),
        (["-o", "nowhere/rows.csv"], "nowhere/rows.csv: No such file or directory"),
        (["--resume"], "--resume goes on with a file of rows: say which with -o FILE"),
    ],
)
def test_a_file_that_cannot_be_is_refused_before_anything_is_read(run, photos, arguments, said):
    assert run("classify", "e.png", "--weights", "missing", *arguments) == (2, "", f"minivan: {said}\n")


def test_parquet_without_pyarrow_is_one_line(run, weights, photos, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    status, _, err = classify(run, weights, "-o", "rows.parquet")
    assert (
        status == 2 and err == "minivan: Parquet needs the package pyarrow: pip install '.[parquet]' from a clone of minivan\n"
    )


def answered(model, output, many=None, **options):
    """Answer so many of the images here, and write the file where that is all of them; return those answered, by name."""
    found = []
    with Results(model, find_images(["."]), output, 2, **options) as results:
        for answer in results.answers():
            found.append(answer.image)
            if len(found) == many:
                return found, results.kept
        results.write()
    return found, results.kept


def test_an_interrupted_run_goes_on_where_it_stopped_and_gives_what_a_whole_one_does(run, weights, photos):
    model = load(weights, "numpy")
    whole, _ = answered(model, "whole.csv")
    assert len(whole) == 6 and os.listdir() and not os.path.exists("whole.csv.partial")
    first, _ = answered(model, "rows.csv", 4)
    assert not os.path.exists("rows.csv")
    with open("rows.csv.partial", "ab") as journal:
        journal.write(b'{"image": "torn')
    with pytest.raises(ValueError, match=r"rows.csv.partial is what an interrupted run has done: --resume goes on"):
        answered(model, "rows.csv")
    os.utime(first[1], ns=(1, 1))  # changed since: it is answered anew
    os.remove(first[2])  # gone: it has no row
    status, out, err = run(
        "classify", ".", "-o", "rows.csv", "--resume", "--weights", weights, "--engine", "numpy", "--top-k", 2
    )
    assert (status, out) == (1, "rows.csv: 5 images, 2 of them from the run before, 1 without an answer\n")
    assert err.startswith("note: 2 rows of the run before are left out: of images that are not here, or were changed\n")
    rows = [row["image"] for row in rows_of("rows.csv")]
    assert rows == [one_line(name) for name in whole if name != first[2]] and not os.path.exists("rows.csv.partial")


def test_where_none_of_the_images_is_there_any_more_nothing_is_lost(weights, photos):
    """As where the disk with the photos is not mounted."""
    model = load(weights, "numpy")
    answered(model, "rows.csv", 4)
    before = Path("rows.csv.partial").read_bytes()
    with pytest.raises(ValueError, match=r"has 4 rows, none of an image that is here as it was \('./=1\+1.png'\): delete it"):
        Results(model, find_images(["nowhere"]), "rows.csv", 2, resume=True)
    assert Path("rows.csv.partial").read_bytes() == before


def test_a_journal_of_other_weights_or_options_is_refused(weights, photos):
    model = load(weights, "numpy")
    answered(model, "rows.csv", 2)
    before = Path("rows.csv.partial").read_bytes()
    with pytest.raises(ValueError, match=r"was begun otherwise: top_k 2, not 3"):
        Results(model, find_images(["."]), "rows.csv", 3, resume=True)
    model.card = replace(model.card, preprocessing=Preprocessing(64, 72))
    with pytest.raises(ValueError, match=r"was begun otherwise: preprocessing .*32"):
        answered(model, "rows.csv", resume=True)
    other = load(weights, "numpy")
    other.tensors["head.bias"] = other.tensors["head.bias"] + 1
    with pytest.raises(ValueError, match=r"was begun with other weights \('tiny'\)"):
        answered(other, "rows.csv", resume=True)
    assert Path("rows.csv.partial").read_bytes() == before


def test_a_spoiled_line_counts_as_never_written_and_another_file_is_left_alone(weights, photos):
    model = load(weights, "numpy")
    whole, _ = answered(model, "whole.csv")
    answered(model, "rows.csv", 4)
    before = Path("rows.csv.partial").read_bytes()
    zeros = before[:600] + bytes(len(before) - 700) + before[-100:]  # what a power cut leaves on some file systems
    edited = before.replace(b'"notes"', b'"nodes"', 1)
    for text, kept in ((zeros, 0), (edited, 3), (before[:20], 0), (b"", 0), (bytes(512), 0)):
        Path("rows.csv.partial").write_bytes(text)
        _, found = answered(model, "rows.csv", resume=True)
        assert found == kept and [row["image"] for row in rows_of("rows.csv")] == [one_line(name) for name in whole]
    for text in (b"[]\n", b"half of a download", b'{"minivan": 1}\n'):
        Path("rows.csv.partial").write_bytes(text)
        for resume in (False, True):
            with pytest.raises(ValueError, match="is no journal that minivan wrote: choose another name, or delete it"):
                answered(model, "rows.csv", resume=resume)
        assert Path("rows.csv.partial").read_bytes() == text


def forged(path, lines):
    """Write a journal of its first two lines and of others, each with the CRC-32 that it needs."""
    first, good = Path(path).read_bytes().splitlines(keepends=True)[:2]
    ends = [b', "crc32": %d}\n' % zlib.crc32(line) for line in lines]
    Path(path).write_bytes(first + good + b"".join(line[:-1] + end for line, end in zip(lines, ends, strict=True)))


def test_a_line_that_minivan_did_not_write_counts_as_never_written(weights, photos):
    """Whatever its CRC-32 says: else what it lacks is missed at the end, or the file holds what no reader takes."""
    model = load(weights, "numpy")
    answered(model, "rows.csv", 3)
    said = json.loads(Path("rows.csv.partial").read_bytes().splitlines()[2])
    said.pop("crc32")
    wrong = [{"top": 5}, {"top": [[]]}, {"top": [{**said["top"][0], "label": 5}]}, {"notes": [5]}, {"model": None}]
    wrong += [{"image": 5}, {"milliseconds": float("inf")}, {"milliseconds": 10**400}, {"sure": 5}]
    lines = [json.dumps({**said, **change}).encode() for change in wrong]
    forged("rows.csv.partial", [b"[5}", b'{"a": 5]}', b'{"a": ' + b"[" * 20_000 + b"}", *lines])
    assert answered(model, "rows.csv", resume=True)[1] == 1 and len(rows_of("rows.csv")) == 6

    with Embeddings(model, find_images(["."]), "rows.npy") as run:
        kept = [image for image, _ in zip(run.embedded(), range(3), strict=False)]
    assert len(kept) == 3
    said = json.loads(Path("rows.npy.partial").read_bytes().splitlines()[2])
    said.pop("crc32")
    lines = [json.dumps({**said, "features": features}).encode() for features in (5, "AAAA", "AAAAA", None, "\u00e9")]
    forged("rows.npy.partial", lines)
    with Embeddings(model, find_images(["."]), "rows.npy", resume=True) as run:
        assert run.kept == 1


def test_what_could_not_be_used_is_tried_again_and_two_runs_do_not_mix(weights, photos):
    model = load(weights, "numpy")
    with Results(model, find_images(["f.png", "e.png"]), "rows.csv") as results:
        found = results.answers()
        assert isinstance(next(found), Unusable)
        for resume in (False, True):
            with pytest.raises(ValueError, match="is being written by another run"):
                Results(model, find_images(["f.png", "e.png"]), "rows.csv", resume=resume)
    assert not os.path.exists("rows.csv.partial"), "without an answer there is nothing to keep"
    with Results(model, find_images(["e.png", "f.png"]), "rows.csv") as results:
        assert len(list(results.answers())) == 2
    with Results(model, find_images(["f.png", "e.png"]), "rows.csv", resume=True) as results:
        assert [image.name for image in results.todo] == ["f.png"]
        list(results.answers())
        os.remove("rows.csv.partial")  # by somebody who took it for a leftover
        results.write()
    assert [row["image"] for row in rows_of("rows.csv")] == ["f.png", "e.png"]


def test_a_batch_is_as_large_as_asked(weights, photos):
    model = load(weights, "numpy")
    sizes = []

    def counting(x):
        sizes.append(len(x))
        return type(model).__call__(model, x)

    class Counting(type(model)):
        __call__ = lambda self, x: counting(x)  # noqa: E731

    counted = Counting(model.config, model.tensors, "numpy", model.card)
    with Results(counted, find_images(["."]), "rows.csv") as results:
        assert len(list(results.answers(batch_size=4))) == 6
    assert sizes == [4, 1]


@pytest.mark.slow
def test_a_killed_run_goes_on_and_each_image_is_there_once(run, weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkdir("photos")
    for number in range(300):
        shutil.copy(EXAMPLES / "cat.jpg", f"photos/{number:03}.jpg")
    command = ["classify", "photos", "--weights", str(weights), "--engine", "numpy", "--batch-size", "1", "-o", "rows.jsonl"]
    running = subprocess.Popen([sys.executable, "-m", "minivan", *command], env={**os.environ, "PYTHONPATH": str(ROOT)})
    while not (os.path.exists("rows.jsonl.partial") and Path("rows.jsonl.partial").read_bytes().count(b"\n") > 20):
        assert running.poll() is None, "it ended before it could be killed"
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert sorted(os.listdir()) == ["photos", "rows.jsonl.partial"]
    done = Path("rows.jsonl.partial").read_bytes().count(b"\n") - 1
    assert 20 <= done < 300
    status, out, _ = run(*command, "--resume")
    assert status == 0 and f"300 images, {done:,} of them from the run before" in out
    names = [row["image"] for row in rows_of("rows.jsonl")]
    assert names == [os.path.join("photos", f"{number:03}.jpg") for number in range(300)] and len(os.listdir()) == 2


def test_nothing_of_a_journal_is_held_but_where_its_rows_lie(tmp_path, monkeypatch):
    monkeypatch.setattr(resumable, "stamp", lambda image: [1, 1])
    images = [Found(f"{number}.png") for number in range(1000)]
    rows = iter([{"image": image.name, "fault": None, "notes": "x" * 4000} for image in images])
    with contextlib.closing(resumable.Resumable(tmp_path / "rows.csv", {"minivan": "x"}, images, bool)) as run:
        assert len(list(run.each(lambda found: found, lambda found: next(rows)))) == 1000
    tracemalloc.start()
    try:
        with contextlib.closing(resumable.Resumable(tmp_path / "rows.csv", {"minivan": "x"}, images, bool, resume=True)) as run:
            assert run.kept == sum(len(row["notes"]) == 4000 for row in run.rows()) == 1000
        assert tracemalloc.get_traced_memory()[1] < 1 << 20, "the rows are 4 MB"
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("rows", [Results, Embeddings])
def test_auto_goes_on_with_the_engine_that_a_run_began_with(weights, photos, monkeypatch, rows):
    asked = []
    monkeypatch.setattr("minivan.engines.auto.choice.of", lambda config, images, *size: asked.append(images) or "numpy")
    model = load(weights, "auto")

    def begun(resume):
        with rows(model, find_images(["."]), "a.npy" if rows is Embeddings else "a.csv", resume=resume) as run:
            next(run.embedded(1) if rows is Embeddings else run.answers(1))
            return run.run.journal.path

    path = begun(False)
    assert asked == [6]
    begun(True)
    assert asked == [6], "numpy it was"
    lines = Journal(path, {})
    told = [{**line, "engine": "fast"} for _, line in lines.lines()]
    about = lines.said
    lines.remove()
    with Journal(path, about) as written:
        written.restart()
        for line in told:
            written.add(line)
    begun(True)
    assert asked == [6, None], "fast, however few are left"
