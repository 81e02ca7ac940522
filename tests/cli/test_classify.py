"""The command line as a user meets it: right answers, right files, one line for every mistake."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from support import EXAMPLES, ROOT
from support.judge import torch, torch_van
from support.pictures import png_header
from tolerances import PRINTED, PRINTED_BY_FAST, PROBABILITY

import minivan
from minivan import image
from minivan.card import Card
from minivan.cli.classify import PROGRESS_FROM


def results(out):
    return [json.loads(line) for line in out.splitlines()]


def test_coffee_is_espresso_and_the_cat_an_egyptian_cat_as_pytorch_says(run):
    status, out, err = run("classify", EXAMPLES / "coffee.jpg", EXAMPLES / "cat.jpg", "--json")
    assert (status, err) == (0, "")
    coffee, cat = results(out)
    assert list(coffee) == ["image", "model", "engine", "milliseconds", "top", "sure", "version", "activation", "notes"]
    assert coffee["model"] == minivan.load().card.name and coffee["milliseconds"] > 0
    assert list(coffee["top"][0]) == ["index", "wnid", "label", "probability"]
    assert coffee["top"][0]["label"].startswith("espresso") and coffee["top"][0]["wnid"] == "n07920052"
    assert coffee["top"][0]["probability"] > 0.9
    model = minivan.load()
    net = torch_van.load(model.config, {k: np.asarray(v, np.float32) for k, v in model.tensors.items()})
    with torch.no_grad():
        x = torch.from_numpy(image.prepare(EXAMPLES / "cat.jpg", model.card.preprocessing))
        probabilities = net(x[None]).softmax(-1)[0]
    assert cat["top"][0]["label"] == "Egyptian cat"
    best = probabilities.topk(5)
    assert [entry["index"] for entry in cat["top"]] == best.indices.tolist()
    assert [entry["probability"] for entry in cat["top"]] == pytest.approx(best.values.tolist(), abs=PROBABILITY)


def test_an_answer_below_the_weights_threshold_is_shown_as_not_sure(run):
    _, out, err = run("classify", EXAMPLES / "astronaut.jpg", EXAMPLES / "cat.jpg")
    astronaut, cat = out.split(str(EXAMPLES / "cat.jpg"))
    assert "not sure: below 30%" in astronaut and "not sure" not in cat
    assert err.count("\n") == 1 and err.startswith("note: not sure of 1 image: ") and "minivan fetch b0" in err
    _, out, err = run("classify", EXAMPLES / "astronaut.jpg", EXAMPLES / "cat.jpg", "--json")
    assert [answer["sure"] for answer in results(out)] == [False, True] and not err


def test_weights_go_by_their_file_or_by_their_name(run, tmp_path, monkeypatch):
    photo = EXAMPLES / "coffee.jpg"
    monkeypatch.chdir(tmp_path)
    status, out, _ = run("classify", photo, "--weights", "van_b0_tiny_imagenet200", "--engine", "numpy", "--json")
    assert status == 0 and results(out)[0]["model"] == "van_b0_tiny_imagenet200"
    status, _, err = run("classify", photo, "--weights", "b1")
    assert status == 2 and err == "minivan: the weights of b1 are not here: fetch them: python -m minivan fetch b1\n"
    (tmp_path / "b1").write_text("a file before a name")
    status, _, err = run("classify", photo, "--weights", "b1")
    assert status == 2 and err.startswith("minivan: b1: ")


def test_text_shows_a_bar_the_weights_and_the_time(run):
    status, out, _ = run("classify", EXAMPLES / "coffee.jpg")
    assert status == 0
    assert "espresso" in out and "█" in out
    assert minivan.load().card.name in out and "200 classes" in out and " ms" in out
    assert all(len(line) <= 80 for line in out.splitlines())


def test_folders_patterns_and_standard_input(run, tmp_path, monkeypatch):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    shutil.copy(EXAMPLES / "cat.jpg", tmp_path / "deep" / "er" / "CAT.JPG")
    shutil.copy(EXAMPLES / "coffee.jpg", tmp_path / "deep" / "coffee.jpg")
    (tmp_path / "deep" / "notes.txt").write_text("not an image, and not asked for")
    (tmp_path / "deep" / ".hidden").mkdir()
    shutil.copy(EXAMPLES / "cat.jpg", tmp_path / "deep" / ".hidden" / "cat.jpg")
    monkeypatch.chdir(tmp_path)
    status, out, err = run("classify", "deep", "--json", "--top-k", 1)
    assert (status, err) == (0, "minivan: 1 file is no image: notes.txt\n")
    assert [r["image"] for r in results(out)] == [os.path.join("deep", "coffee.jpg"), os.path.join("deep", "er", "CAT.JPG")]
    assert [len(r["top"]) for r in results(out)] == [1, 1]
    status, out, _ = run("classify", "deep/*.jpg", "deep", "--json")
    assert status == 0 and len(results(out)) == 2
    status, out, _ = run("classify", "deep/.hidden", "--json", "--engine", "numpy")
    assert status == 0 and len(results(out)) == 1, "it is searched where it is named"
    status, out, _ = run("classify", "-", "--json", stdin=(EXAMPLES / "coffee.jpg").read_bytes())
    assert results(out)[0]["image"] == "-" and results(out)[0]["top"][0]["label"].startswith("espresso")


def test_what_cannot_be_read_is_named_and_the_rest_is_classified(run, tmp_path):
    faults = {
        "empty.jpg": (b"", "the file is empty"),
        "text.jpg": (b"hello", "not an image that minivan reads"),
        "truncated.jpg": ((EXAMPLES / "cat.jpg").read_bytes()[:9000], "a JPEG file that ends early: "),
        "huge.png": (png_header(20000, 20000), "20000 x 20000 = 400,000,000 pixels is more than the limit"),
    }
    for name, (data, _) in faults.items():
        (tmp_path / name).write_bytes(data)
    good = EXAMPLES / "coffee.jpg"
    status, out, err = run("classify", *[tmp_path / name for name in faults], tmp_path / "missing.jpg", good, "--json")
    assert status == 1
    assert [r["image"] for r in results(out)] == [str(good)]
    lines = err.splitlines()
    assert len(lines) == 5
    said = {**{name: reason for name, (_, reason) in faults.items()}, "missing.jpg": "no such file"}
    for line, (name, reason) in zip(lines, said.items(), strict=True):
        assert line.startswith(f"minivan: {tmp_path / name}: {reason}")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(faults)


def test_an_empty_folder_and_an_unmatched_pattern(run, tmp_path):
    status, _, err = run("classify", tmp_path, tmp_path / "*.png")
    assert status == 2
    assert "no images in this folder" in err and "no such file" in err


def test_links_loops_and_pipes(run, tmp_path):
    (tmp_path / "dead.jpg").symlink_to("nowhere")
    (tmp_path / "a.jpg").symlink_to("b.jpg")
    (tmp_path / "b.jpg").symlink_to("a.jpg")
    shutil.copy(EXAMPLES / "coffee.jpg", tmp_path / "good.jpg")
    for path in [tmp_path, tmp_path / "*.jpg"]:
        status, out, err = run("classify", path, "--json")
        assert status == 1 and [r["image"] for r in results(out)] == [str(tmp_path / "good.jpg")]
        assert (err.count("a link that leads nowhere"), err.count("Too many levels of symbolic links")) == (1, 2)
    status, _, err = run("classify", os.devnull)
    assert status == 2 and "a device is no file to read" in err
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes((EXAMPLES / "coffee.jpg").read_bytes()))
    writer.start()
    status, out, _ = run("classify", tmp_path / "pipe", "--json")
    writer.join()
    assert status == 0 and results(out)[0]["top"][0]["label"].startswith("espresso")


def test_a_path_given_twice_is_classified_once(run, tmp_path, monkeypatch):
    shutil.copy(EXAMPLES / "coffee.jpg", tmp_path / "coffee.jpg")
    monkeypatch.chdir(tmp_path)
    _, out, _ = run("classify", "coffee.jpg", "./coffee.jpg", ".", "--json")
    assert [r["image"] for r in results(out)] == ["coffee.jpg"]


def test_control_characters_in_a_name_do_not_reach_the_terminal(run, tmp_path):
    (tmp_path / "\x1b[31m\nred.jpg").write_text("no image")
    status, _, err = run("classify", tmp_path)
    assert status == 2 and len(err.splitlines()) == 1 and "\\x1b[31m\\nred.jpg" in err and "\x1b" not in err


def test_an_empty_name_is_not_the_default(run):
    for flag in ["--model", "--weights"]:
        status, out, err = run("classify", EXAMPLES / "coffee.jpg", flag, "")
        assert (status, out) == (2, "") and len(err.splitlines()) == 1


def test_what_was_done_to_a_photo_is_in_the_json_and_on_standard_error(run, tmp_path):
    Image.fromarray(np.linspace(-5, 7, 900, dtype=np.float32).reshape(30, 30)).save(tmp_path / "floating.tif")
    stretched = "its values, from -5 to 7, are stretched from black to white"
    _, out, said = run("classify", tmp_path / "floating.tif", "--json", "--engine", "numpy")
    assert results(out)[0]["notes"] == [stretched]
    assert said == f"note: {tmp_path / 'floating.tif'}: {stretched}\n"


def test_no_line_is_broken_or_cut_where_standard_output_is_no_terminal(run, tmp_path, monkeypatch):
    """The path of a photo and the name of a class, however long, on a line each, so that grep finds them."""
    monkeypatch.setenv("COLUMNS", "40")
    path = tmp_path / "2024 Summer holiday in the mountains" / "day 3, walk to the hut (all raw exports, again)" / "photo 1.jpg"
    path.parent.mkdir(parents=True)
    shutil.copy(EXAMPLES / "coffee.jpg", path)
    _, out, _ = run("classify", path, "--engine", "numpy", "--top-k", 200)
    lines = [line.strip() for line in out.splitlines()]
    assert lines[0] == str(path) and len(lines[0]) > 120
    labels = [label.name for label in minivan.load().card.labels]
    assert max(map(len, labels)) > 32 and "…" not in out
    for label in labels:
        assert any(label in line for line in lines[1:]), label


def test_a_photo_that_ends_early_is_answered_when_asked_for(run, tmp_path):
    photo = (EXAMPLES / "coffee.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(photo[: len(photo) * 9 // 10])
    status, _, said = run("classify", tmp_path / "cut.jpg", "--engine", "numpy")
    assert (
        status == 2 and "of its rows are not all there; a whole copy of it can be read; --truncated takes it as it is" in said
    )
    status, out, said = run("classify", tmp_path / "cut.jpg", "--engine", "numpy", "--truncated", "--json")
    assert status == 0 and results(out)[0]["notes"][0] in said and "the file ends early: " in said


def test_exif_orientation_can_be_switched_off(run, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.open(EXAMPLES / "coffee.jpg").rotate(180).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    _, upright, _ = run("classify", tmp_path / "turned.jpg", "--json")
    _, turned, _ = run("classify", tmp_path / "turned.jpg", "--json", "--no-exif")
    assert results(upright)[0]["top"][0]["label"].startswith("espresso")
    assert results(upright)[0]["top"] != results(turned)[0]["top"]


@pytest.mark.parametrize(
    "argv",
    [
        ["classify"],
        ["classify", "x.jpg", "--top-k", "0"],
        ["classify", "x.jpg", "--threads", "none"],
        ["classify", "x.jpg", "--engine", "warp"],
        ["classify", "x.jpg", "--model", "b0", "--weights", "w"],
        ["classify", "x.jpg", "--surprise"],
        ["clasify", "x.jpg"],
        [],
    ],
)
def test_a_wrong_call_exits_2(run, argv):
    status, out, err = run(*argv)
    assert status == 2 and out == "" and ("usage" in err if not argv else err.count("\n") == 1 and "minivan" in err)


def test_more_classes_than_there_are(run):
    _, out, _ = run("classify", EXAMPLES / "coffee.jpg", "--json", "--top-k", 1000)
    top = results(out)[0]["top"]
    assert len(top) == minivan.load().config.classes
    assert sum(entry["probability"] for entry in top) == pytest.approx(1, abs=1e-3)


def test_the_help_needs_neither_numba_nor_pillow():
    code = "import sys; from minivan.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "assert not {'numba', 'PIL', 'numpy', 'rich', 'torch'} & set(sys.modules), set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)


def test_classify_loads_what_one_photo_needs_and_opens_no_connection(tmp_path):
    code = """
import socket, sys
def refuse(*a, **k): raise AssertionError("a connection was opened")
socket.socket.connect = refuse
from minivan.cli import main
status = main(["classify", sys.argv[1], "--threads", "1"])
others = {"torch", "onnx", "onnxruntime", "google.protobuf", "h5py", "openvino", "matplotlib", "hypothesis", "pytest"}
others |= {"pillow_heif", "pyarrow"}
others |= {"http.client", "ssl", "email", "zipfile", "difflib"}  # what one photo does not need, and loads slowly
unneeded = {"checkpoint": "dcp download foreign hdf5_apart inert keras onnx_file onnx_graph onnx_written paddle search "
    "semantic_fpn sources torchfile transfer", "image": "headers.heif headers.png headers.tiff samples",
    "predict": "classifier results storage table"}
others |= {f"minivan.{room}.{name}" for room, names in unneeded.items() for name in names.split()}
others |= {"numba", "llvmlite.ir"}  # auto finds without them that no kernel is kept here, and that numpy answers first
loaded = others & set(sys.modules)
assert not loaded, loaded
sys.exit(status)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MINIVAN_CACHE": str(tmp_path / "none")}
    command = [sys.executable, "-c", code, str(EXAMPLES / "coffee.jpg")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    assert "espresso" in done.stdout


def test_answers_go_where_they_were_sent_though_a_bar_is_shown(run, monkeypatch, tmp_path):
    for i in range(PROGRESS_FROM):
        shutil.copy(EXAMPLES / "coffee.jpg", tmp_path / f"{i}.jpg")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    status, out, err = run("classify", tmp_path, "--json", "--engine", "numpy", "--size", "32")
    assert status == 0 and "classifying" in err and '"label"' not in err
    assert [sorted(json.loads(line))[:2] for line in out.splitlines()] == [["activation", "engine"]] * PROGRESS_FROM


CLASSIFY = f"{sys.executable} -m minivan classify examples/coffee.jpg"


@pytest.mark.parametrize(
    ("command", "status", "said"),
    [
        (f"set -o pipefail; {CLASSIFY} --json | true", 0, ""),
        pytest.param(f"{CLASSIFY} >&-", 0, "", marks=pytest.mark.slow),
        (f"{CLASSIFY} >/dev/full", 2, "minivan: No space left on device\n"),
        pytest.param(f"{CLASSIFY} - <&-", 1, "minivan: -: standard input is closed\n", marks=pytest.mark.slow),
        pytest.param(f"LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 {CLASSIFY} | grep -q '#'", 0, "", marks=pytest.mark.slow),
        pytest.param(
            f"{CLASSIFY} --threads 1000 >/dev/null", 0, "", marks=pytest.mark.slow
        ),  # no more compute than this process may use
    ],
    ids=["closed pipe", "closed output", "full disk", "closed input", "ASCII terminal", "many threads"],
)
def test_what_the_shell_does_to_the_streams(command, status, said):
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (status, said)


def test_damaged_weights_do_not_answer(run, tmp_path):
    from minivan.checkpoint import Weights, write

    model = minivan.load()
    tensors = {**model.tensors, "head.bias": np.full_like(model.tensors["head.bias"], np.nan)}
    write(Weights(model.config, tensors, model.card), tmp_path / "nan.safetensors")
    status, out, err = run("classify", EXAMPLES / "coffee.jpg", "--json", "--weights", tmp_path / "nan.safetensors")
    assert (status, out) == (2, "") and len(err.splitlines()) == 1 and "head.bias has 200 numbers" in err
    arguments = ["--json", "--weights", tmp_path / "nan.safetensors", "--allow-nonfinite"]
    status, out, err = run("classify", EXAMPLES / "coffee.jpg", *arguments)
    assert (status, out) == (2, "") and "note: head.bias has 200 numbers" in err and "no numbers" in err


def test_a_backbone_without_a_head_names_nothing(run, tmp_path):
    from minivan.checkpoint import Weights, write

    model = minivan.load()
    tensors = {name: tensor for name, tensor in model.tensors.items() if not name.startswith("head.")}
    write(Weights(replace(model.config, classes=0), tensors, Card("bare")), tmp_path / "bare.safetensors")
    status, out, err = run("classify", EXAMPLES / "coffee.jpg", "--weights", tmp_path / "bare.safetensors")
    assert (status, out) == (2, "")
    assert err == "minivan: the weights bare are a backbone without a head: they give features, not classes\n"


def test_the_status_says_whether_all_some_or_no_images_could_be_used(run, tmp_path):
    good, bad = EXAMPLES / "coffee.jpg", tmp_path / "missing.jpg"
    for paths, expected in (([good], 0), ([good, bad], 1), ([bad], 2), ([bad, tmp_path], 2)):
        status, out, err = run("classify", *paths, "--json")
        assert (status, len(out.splitlines())) == (expected, paths.count(good))
        assert len(err.splitlines()) == len(paths) - paths.count(good)


def test_the_default_engine_is_auto_and_every_engine_prints_the_same_probabilities(run, newly_started):
    photos = [EXAMPLES / f"{name}.jpg" for name in ("cat", "four", "astronaut")]
    engines = ("fast", "exact", "numpy")
    found = {engine: results(run("classify", *photos, "--json", "--engine", engine)[1]) for engine in engines}
    found["auto"] = results(run("classify", *photos, "--json")[1])
    used = [{answer["engine"] for answer in answers} for answers in found.values()]
    assert used == [{"fast"}, {"exact"}, {"numpy"}, {"fast"}]  # whose kernel is kept by now
    for engine, answers in found.items():
        apart = PRINTED_BY_FAST if engine in ("fast", "auto") else PRINTED
        for answer, exact in zip(answers, found["exact"], strict=True):
            assert answer["image"] == exact["image"]
            for a, b in zip(answer["top"], exact["top"], strict=True):
                assert a["index"] == b["index"] and a["probability"] == pytest.approx(b["probability"], abs=apart)
    texts = [run("classify", *photos, "--engine", engine)[1] for engine in engines]
    assert len({re.sub(r"engine \w+ . \d+ ms", "", text) for text in texts}) == 1


def test_more_images_than_a_batch_keep_their_order_and_their_faults(run, tmp_path):
    names = [f"{i:02}.jpg" for i in range(21)]
    for i, name in enumerate(names):
        if i in (3, 9, 20):
            (tmp_path / name).write_bytes(b"not an image")
        else:
            shutil.copy(EXAMPLES / ("cat.jpg" if i % 2 else "coffee.jpg"), tmp_path / name)
    status, out, err = run("classify", tmp_path, "--json", "--threads", 2)
    assert status == 1
    good = results(out)
    assert [os.path.basename(r["image"]) for r in good] == [n for i, n in enumerate(names) if i not in (3, 9, 20)]
    assert [os.path.basename(line.split(": ")[1]) for line in err.splitlines()] == ["03.jpg", "09.jpg", "20.jpg"]
    for kind in (0, 1):
        tops = [r["top"] for r in good if int(os.path.basename(r["image"])[:2]) % 2 == kind]
        assert all(top == tops[0] for top in tops)  # the same image in another batch: the same bits


@pytest.mark.parametrize("errors", [pytest.param("2>/dev/full", marks=pytest.mark.slow), "2>&-"], ids=["full", "closed"])
def test_a_standard_error_that_takes_nothing_does_not_end_the_answers(errors, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    shutil.copy(EXAMPLES / "cat.jpg", tmp_path / "good.jpg")
    command = f"{sys.executable} -m minivan classify missing.jpg {tmp_path} examples/coffee.jpg --json {errors}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert [os.path.basename(entry["image"]) for entry in results(done.stdout)] == ["good.jpg", "coffee.jpg"]


def test_a_pipe_in_a_folder_is_named_and_not_waited_for(run, tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    shutil.copy(EXAMPLES / "coffee.jpg", tmp_path / "b.jpg")
    for path in (tmp_path, f"{tmp_path}/*.jpg"):
        status, out, err = run("classify", path, "--json")
        assert (status, len(results(out)), err) == (1, 1, f"minivan: {tmp_path}/a.jpg: a pipe is no file to read\n")


def test_standard_input_without_an_end_is_refused(run, monkeypatch):
    monkeypatch.setattr(image, "LARGEST_FILE", 1000)
    status, out, err = run("classify", "-", EXAMPLES / "coffee.jpg", stdin=bytes(1001))
    assert (status, out) == (2, "")
    assert err.startswith("minivan: -: more than 1000 bytes, the limit for such a file\n")
