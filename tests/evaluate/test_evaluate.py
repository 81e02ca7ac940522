"""The command and the function: what is counted, kept, gone on with and compared, on a network of six classes."""

import csv
import json
import sys
import zipfile
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from support.onnx_van import Graph, save

from minivan import image, seeded
from minivan.card import Card, Label, Preprocessing
from minivan.checkpoint import Weights, write
from minivan.evaluate import evaluate, rival, rivals
from minivan.image import Reading
from minivan.van import VAN
from minivan.variants import Config

CONFIG = Config((8, 8, 8, 8), (1, 1, 1, 1), (2, 2, 2, 2), classes=6)
LABELS = tuple(Label(f"n0{i}", name) for i, name in enumerate(["ant, emmet", "bee", "cat", "dog", "elk", "fox"]))
CARD = Card("six", Preprocessing(crop=64, resize=64), LABELS)
IMAGES = 12


@pytest.fixture(scope="module")
def model():
    tensors = seeded.tensors(CONFIG)
    tensors["head.weight"] *= 10  # the seeded head says the same of every image
    x = np.random.default_rng(1).random((8, 3, 1, 1)) * np.ones((64, 64)) - 0.5
    tensors["head.bias"] -= VAN(CONFIG, tensors, "numpy", CARD)(x).mean(axis=0)
    return VAN(CONFIG, tensors, "numpy", CARD)


@pytest.fixture(scope="module")
def made(tmp_path_factory, model):
    """Photos in class folders, the weights in a file, and what the model says: logits (N, 6), targets (N,)."""
    root = tmp_path_factory.mktemp("evaluate")
    random, paths = np.random.default_rng(0), []
    for i in range(IMAGES):
        name = ["n00", "bee", "2"][i % 3]
        (root / "photos" / name).mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 256, (64, 64, 3)) * random.random(3) + random.random(3) * 60
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / "photos" / name / f"{i:02}.png")
        paths.append(f"{name}/{i:02}.png")
    write(Weights(CONFIG, model.tensors, CARD), root / "six.safetensors")
    paths.sort()
    x = np.stack([image.prepare(root / "photos" / path, CARD.preprocessing) for path in paths])
    targets = [{"n00": 0, "bee": 1, "2": 2}[path.split("/")[0]] for path in paths]
    return root, paths, model(x), np.array(targets)


@pytest.fixture
def command(run, made):
    root = made[0]
    return lambda *more: run("evaluate", root / "photos", "--weights", root / "six.safetensors", "--engine", "numpy", *more)


def rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_it_counts_what_the_model_says(command, made, tmp_path):
    _, paths, logits, targets = made
    assert len(set(logits.argmax(axis=1))) > 2  # else there is nothing to confuse
    status, out, err = command("--json", "-o", tmp_path / "out")
    found = json.loads(out)
    order = np.argsort(-logits, axis=1)
    hits = order[:, 0] == targets
    assert (status, found["images"]) == (0, IMAGES)
    assert not [line for line in err.splitlines() if line.startswith(("minivan:", "note:"))]  # an old Matplotlib warns there
    assert found["top1"]["count"] == hits.sum() and found["top1"]["of"] == IMAGES
    assert found["top5"]["count"] == (order[:, :5] == targets[:, None]).any(axis=1).sum()
    assert found["balanced"] == pytest.approx(np.mean([hits[targets == c].mean() for c in range(3)]))
    assert [(each["wnid"], each["images"], each["top1"]) for each in found["classes"]] == [
        (f"n0{c}", 4, hits[targets == c].sum()) for c in range(3)
    ]
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    top = (e / e.sum(axis=1, keepdims=True)).max(axis=1)
    assert sum(b["images"] for b in found["calibration"]) == IMAGES
    assert sum(b["images"] * b["probability"] for b in found["calibration"]) == pytest.approx(top.sum(), rel=1e-6)
    assert found["images_per_second"] > 0 and found["failed"] == [] and found["against"] is None
    folder = tmp_path / "out"
    assert json.loads((folder / "summary.json").read_text()) == found
    said = rows(folder / "predictions.csv")
    assert [row["path"] for row in said] == paths and [int(row["index"]) for row in said] == order[:, 0].tolist()
    assert [int(row["rank"]) for row in said] == [int(np.flatnonzero(order[i] == t)[0]) + 1 for i, t in enumerate(targets)]
    matrix = {row.pop(""): row for row in rows(folder / "confusion.csv")}
    for t, p in {(int(t), int(p)) for t, p in zip(targets, order[:, 0], strict=True)}:
        assert int(matrix[LABELS[t].short][LABELS[p].short]) == ((targets == t) & (order[:, 0] == p)).sum()
    assert [int(row["images"]) for row in rows(folder / "per_class.csv")] == [4, 4, 4]
    for name in ("confusion.png", "reliability.png"):
        with Image.open(folder / name) as drawn:
            assert drawn.format == "PNG" and min(drawn.size) > 300
    status, again, _ = command("-o", folder)  # nothing is left to do, and nothing is counted twice
    assert status == 0 and f"top-1         {found['top1']['rate']:6.1%}" in again and "ECE, 15 bins" in again
    assert json.loads((folder / "summary.json").read_text()) == found


def test_what_an_interruption_leaves_is_gone_on_with(made, model, tmp_path, monkeypatch):
    root, *_ = made
    whole, seen = evaluate(model, root / "photos"), 0

    def stop(images):
        nonlocal seen
        seen += images
        if seen == 1:
            with pytest.raises(ValueError, match=r"journal\.jsonl is being written by another run"):
                evaluate(model, root / "photos", journal=tmp_path)
        if seen == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(model, root / "photos", journal=tmp_path, advance=stop)
    journal = tmp_path / "journal.jsonl"
    kept = journal.read_bytes()
    assert kept.count(b"\n") == 1 + 5
    journal.write_bytes(kept + kept.splitlines(keepends=True)[3] + b'{"image": 9, "sa')  # a line twice, and one that is torn
    asked = []
    monkeypatch.setattr(VAN, "__call__", lambda self, x, call=VAN.__call__: asked.extend(x) or call(self, x))
    again = evaluate(model, root / "photos", journal=tmp_path)
    assert len(asked) == IMAGES - 5 + 1  # and the black image that makes ready
    assert journal.read_bytes().count(b"\n") == 1 + IMAGES + 2
    for one, two in ((whole.answers, again.answers), (whole.targets, again.targets)):
        np.testing.assert_equal(vars(one) if hasattr(one, "top") else one, vars(two) if hasattr(two, "top") else two)
    others = replace(CARD, activation="sigmoid")
    with pytest.raises(ValueError, match="holds the evaluation of another activation, 'softmax' and not 'sigmoid'"):
        evaluate(VAN(CONFIG, model.tensors, "numpy", others), root / "photos", journal=tmp_path)
    with pytest.raises(ValueError, match=r"another reading of photos, '.*\"icc\": true.*' and not '.*\"icc\": false"):
        evaluate(model, root / "photos", journal=tmp_path, how=Reading(icc=False))
    with pytest.raises(ValueError, match=r"another file of weights, 'six \("):
        evaluate(VAN(CONFIG, seeded.tensors(CONFIG), "numpy", CARD), root / "photos", journal=tmp_path)
    with pytest.raises(ValueError, match=r"another dataset, '12 images \("):
        evaluate(model, [root / "photos", root / "photos"], journal=tmp_path)  # under other paths
    journal.write_bytes(kept.replace(b'{"image": 3', b'{"image": 2'))  # a line that is not what was written: done again
    asked.clear()
    assert evaluate(model, root / "photos", journal=tmp_path).top1 == whole.top1 and len(asked) == IMAGES - 4 + 1
    journal.write_bytes(kept)
    for change in ({"image": IMAGES}, {"seconds": -1}, {"seconds": 1e400}, {"said": [0, 6, 0.5]}, {"said": [0, -1, 0.5]}):
        journal.write_bytes(kept.splitlines(keepends=True)[0])
        line = json.dumps({"image": 0, "said": [0, 0, 0.5], "seconds": 1, **change}).encode()
        journal.write_bytes(journal.read_bytes() + line[:-1] + b', "crc32": %d}\n' % zlib.crc32(line))
        with pytest.raises(ValueError, match="the journal has a line of no image here"):
            evaluate(model, root / "photos", journal=tmp_path)
    journal.write_bytes(b"somebody's own")
    with pytest.raises(ValueError, match=r"journal\.jsonl is no journal that minivan wrote"):
        evaluate(model, root / "photos", journal=tmp_path)
    assert journal.read_bytes() == b"somebody's own"
    journal.write_bytes(kept[:20])  # killed while it began
    assert evaluate(model, root / "photos", journal=tmp_path).top1 == whole.top1


def test_weights_of_one_file_are_told_apart(made, model):
    one_file = replace(CARD, file=str(made[0] / "six.safetensors"))
    cards = one_file, one_file, replace(one_file, preprocessing=Preprocessing(crop=64, resize=80))
    tensors = model.tensors, seeded.tensors(CONFIG), model.tensors
    models = [VAN(CONFIG, each, "numpy", card) for each, card in zip(tensors, cards, strict=True)]
    first, others, seen_otherwise = (rival(each, model).identity for each in models)
    assert len({first, others, seen_otherwise}) == 3 and rivals.identity_of(models[0]) != rivals.identity_of(models[1])


def test_images_that_cannot_be_used_and_classes_that_are_not_there(run, made, tmp_path, monkeypatch):
    root, paths, *_ = made
    table = root / "photos" / "some.csv"
    table.write_text(f"path,label\n{paths[0]},cat\nnone.png,cat\n{paths[1]},zebra\nsome.csv,dog\n")
    call = ["evaluate", table, "--weights", root / "six.safetensors", "--engine", "numpy"]
    try:
        status, out, err = run(*call)
        assert (status, out) == (2, "") and "1 of the dataset's 3 classes are none of six: 'zebra' (" in err
        status, out, err = run(*call, "--skip-unknown", "--json", "-o", tmp_path)
        assert status == 1 and len(err.splitlines()) == 2
        found = json.loads(out)
        assert (found["images"], found["skipped"]) == (1, {"zebra": 1})
        assert [each["path"] for each in found["failed"]] == ["none.png", "some.csv"]
        assert [row["fault"] for row in rows(tmp_path / "predictions.csv")][:2] == ["", "no such file or folder"]
        monkeypatch.setattr("minivan.image.ImageError.__str__", lambda error: "tried again")
        assert run(*call, "--skip-unknown", "--json", "-o", tmp_path)[2].endswith("some.csv: tried again\n")
        table.write_text("none.png,cat\n")
        status, out, err = run(*call)
        assert status == 2 and "no image could be judged: 'none.png': no such file or folder" in err
        table.write_text(f"none.png,cat\n{paths[0]},cat\n")
        np.savez(tmp_path / "none.npz", **{"none.png": np.zeros(6)})
        status, out, _ = run(*call, "--against", tmp_path / "none.npz")
        assert status == 1 and out.endswith("\n nothing to compare: it says nothing of the images that were judged\n")
    finally:
        table.unlink()


def test_what_to_know_of_how_a_photo_was_read_is_said(run, made, tmp_path):
    root, paths, *_ = made
    cut = tmp_path / "photos" / "bee" / "cut.jpg"
    cut.parent.mkdir(parents=True)
    with Image.open(root / "photos" / paths[0]) as photo:
        photo.save(cut, quality=95)
    cut.write_bytes(cut.read_bytes()[:-900])
    weights = ["--weights", root / "six.safetensors", "--engine", "numpy"]
    call = ["evaluate", tmp_path / "photos", *weights, "-o", tmp_path / "out"]
    for _ in range(2):  # the second time from the journal
        status, _, err = run(*call, "--truncated")
        assert status == 0 and len(err.splitlines()) == 1 and err.startswith("note: bee/cut.jpg: the file ends early: ")


def test_answers_are_compared_with_an_engine_and_with_a_ports_logits(command, made, model, tmp_path):
    root, paths, logits, targets = made
    port = logits.copy()
    wrong = (int(logits[4].argmax()) + 1) % 6
    port[4, wrong] = logits[4].max() + 3
    np.save(tmp_path / "port.npy", port)
    np.savez(tmp_path / "port.npz", **dict(zip(paths[:8], port, strict=False)))
    lines = [json.dumps({"path": path, "logits": row.tolist()}) for path, row in zip(paths, port, strict=True)]
    (tmp_path / "port.jsonl").write_text("\n".join(lines))
    for name, images in (("port.npy", IMAGES), ("port.npz", 8), ("port.jsonl", IMAGES)):
        status, out, err = command("--against", tmp_path / name, "--json")
        found = json.loads(out)["against"]
        assert (status, err) == (0, "") and (found["same"]["count"], found["same"]["of"]) == (images - 1, images)
        assert found["differing"] == [paths[4]] and found["largest_difference"]["path"] == paths[4]
        assert found["largest_difference"]["logit"] == pytest.approx(port[4, wrong] - logits[4, wrong], rel=1e-6)
        assert found["top1"]["count"] == (port[:images].argmax(axis=1) == targets[:images]).sum()
    status, out, _ = command("--against", tmp_path / "port.npy", "-o", tmp_path / "out")
    assert f"  {paths[4]}: {LABELS[logits[4].argmax()].short} / {LABELS[wrong].short}\n" in out
    row = rows(tmp_path / "out" / "differences.csv")[0]
    assert (int(row["index"]), int(row["other_index"])) == (logits[4].argmax(), wrong)
    status, out, _ = command("--against", "numpy")
    assert f"same first class 100.0% (75.8-100.0), {IMAGES} of {IMAGES}" in out and "largest difference of a logit 0" in out
    other = VAN(CONFIG, model.tensors, "numpy", replace(CARD, name="dim", preprocessing=Preprocessing(crop=64, resize=80)))
    found = evaluate(model, root / "photos", against=other)
    x = np.stack([image.prepare(root / "photos" / path, other.card.preprocessing) for path in paths])
    np.testing.assert_array_equal(found.against.answers.top, model(x).argmax(axis=1))


def test_what_cannot_be_compared_is_refused(command, made, model, tmp_path, monkeypatch):
    root, _, logits, _ = made
    np.save(tmp_path / "few.npy", logits[:5])
    np.savez(tmp_path / "other.npz", cat=logits[0])
    bad = logits.copy()
    bad[3] = np.nan
    np.save(tmp_path / "nan.npy", bad)
    (tmp_path / "text.jsonl").write_text("{}\n")
    (tmp_path / "huge.jsonl").write_text(json.dumps({"path": "cat", "logits": [10**400]}))
    for name, packing, size in (("lzma.npz", zipfile.ZIP_LZMA, 1), ("bomb.npz", zipfile.ZIP_DEFLATED, 17 << 20)):
        with zipfile.ZipFile(tmp_path / name, "w", packing) as archive:
            archive.writestr("cat.npy", bytes(size))
    (tmp_path / "text.onnx").write_text("no graph")
    write(Weights(CONFIG, model.tensors, replace(CARD, labels=LABELS[::-1])), tmp_path / "turned.safetensors")
    said = {
        "few.npy": "logits of the shape (5, 6); expected (12, 6), a row for each image",
        "other.npz": "none of its paths, 'cat' say, is one of the dataset's, '2/02.png' say",
        "nan.npy": "'2/11.png': logits that are no numbers",
        "text.jsonl": "no file of logits: line 1 is not",
        "huge.jsonl": "no file of logits: line 1 is not",
        "lzma.npz": "no file of logits: 'cat.npy' is packed in another way than NumPy packs: save it with numpy.savez",
        "bomb.npz": "no file of logits: 'cat.npy' takes 17 MiB; logits take 16 MiB at most",
        "text.onnx": "onnxruntime cannot run it",
        "turned.safetensors": "class 0 is 'fox' in turned and 'ant' in six",
        "none.npy": "No such file",
    }
    for name, sentence in said.items():
        status, out, err = command("--against", tmp_path / name)
        assert (status, out) == (2, "") and sentence in err and err.count("\n") == 1, (name, err)
    monkeypatch.setattr(rivals, "UNPACKED", 0)
    monkeypatch.setattr(rivals, "PER_BYTE", 0)
    with pytest.raises(ValueError, match=r"other\.npz: no file of logits: arrays of .* at most .* are unpacked"):
        rival(tmp_path / "other.npz", model)
    few = Config((8, 8, 8, 8), (1, 1, 1, 1), (2, 2, 2, 2), classes=1)
    with pytest.raises(ValueError, match="have one class: there is nothing to tell apart"):
        evaluate(VAN(few, seeded.tensors(few), "numpy"), root / "photos")


def test_an_onnx_file_is_asked_through_onnxruntime(command, made, model, tmp_path):
    save(Graph(CONFIG, model.tensors).model(), tmp_path / "six.onnx")
    status, out, err = command("--against", tmp_path / "six.onnx", "--json")
    found = json.loads(out)["against"]
    assert (status, err, found["same"]["count"]) == (0, "", IMAGES) and found["largest_difference"]["logit"] < 1e-3
    small = VAN(CONFIG, model.tensors, "numpy", replace(CARD, preprocessing=Preprocessing(crop=32, resize=32)))
    with pytest.raises(ValueError, match=r"it takes images of the shape \[3, 64, 64\]; six has them prepared as \[3, 32, 32\]"):
        evaluate(small, made[0] / "photos", against=tmp_path / "six.onnx")


def test_without_onnxruntime_or_matplotlib_it_says_how_to_get_them(command, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    (tmp_path / "six.onnx").write_text("")
    status, _, err = command("--against", tmp_path / "six.onnx")
    assert status == 2 and "it is run by onnxruntime: pip install onnxruntime" in err
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    status, _, err = command("-o", tmp_path / "out")
    assert status == 0 and "confusion.png and reliability.png are not drawn: figures need Matplotlib: pip install" in err
    assert not (tmp_path / "out" / "confusion.png").exists() and (tmp_path / "out" / "summary.json").exists()


def test_each_class_for_itself(made, model):
    root, _, logits, targets = made
    card = replace(CARD, activation="sigmoid")
    found = evaluate(VAN(CONFIG, model.tensors, "numpy", card), root / "photos")
    assert found.top1.count == (logits.argmax(axis=1) == targets).sum()
    np.testing.assert_allclose(found.answers.probability, 1 / (1 + np.exp(-logits.max(axis=1).astype(float))), rtol=1e-6)


def test_auto_is_the_engine_and_weighs_the_images_unless_a_journal_may_be_gone_on_with(run, made, tmp_path, monkeypatch):
    weighed = []
    monkeypatch.setattr("minivan.engines.auto.choice.of", lambda config, images, *size: weighed.append(images) or "numpy")
    call = ("evaluate", made[0] / "photos", "--weights", made[0] / "six.safetensors", "--json")
    assert json.loads(run(*call)[1])["engine"] == json.loads(run(*call, "-o", tmp_path)[1])["engine"] == "numpy"
    assert weighed == [IMAGES, None]


def test_a_file_s_name_is_no_folder_s(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("x.csv", "x.json"):
        assert command("-o", name) == (2, "", f"minivan: {name}: evaluate writes its files into a folder: -o FOLDER\n")
    assert not any(tmp_path.iterdir())
