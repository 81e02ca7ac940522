"""The command and the function: a file that every other command takes, what is said before it is written, what is refused."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import minivan
from minivan import evaluate, image, learn, output, seeded
from minivan.card import Card, Label, Preprocessing
from minivan.checkpoint import Weights, read, write
from minivan.learn import learning
from minivan.variants import VARIANTS, Config

CONFIG = Config((8, 8, 8, 8), (1, 1, 1, 1), (2, 2, 2, 2), classes=3)
CARD = Card("three", Preprocessing(crop=32, resize=32), tuple(Label("", name) for name in ("grey", "green", "cyan")))
COLOURS = {"2": (220, 60, 40), "3": (40, 70, 220), "10": (235, 220, 60), "grey": (128, 128, 128), "green": (40, 180, 60)}


def photo(path, colour, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).normal(scale=40, size=(32, 32, 3))
    Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8)).save(path)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Weights, `photos` of three classes that are called by numbers, `old` ones of two that the network is said to know."""
    root = tmp_path_factory.mktemp("finetune")
    write(Weights(CONFIG, seeded.tensors(CONFIG), CARD), root / "three.safetensors")
    for number, (name, colour) in enumerate(COLOURS.items()):
        for seed in range(6):
            photo(root / ("photos" if name.isdecimal() else "old") / name / f"{seed}.png", colour, 10 * number + seed)
    return root


@pytest.fixture
def command(run, root):
    base = root / "three.safetensors"
    return lambda *more: run("finetune", *more, "--weights", base, "--engine", "numpy")


@pytest.fixture(scope="module")
def mine(root):
    """A file that was learned from `photos`, by the function."""
    minivan.finetune(root / "photos", model=root / "three.safetensors", engine="numpy", output=root / "mine.safetensors")
    return root / "mine.safetensors"


def test_the_command_writes_what_the_function_does_byte_for_byte_and_says_what_it_is_worth(command, root, mine, tmp_path):
    status, out, _ = command(root / "photos", "-o", tmp_path / "again.safetensors")
    assert status == 0 and (tmp_path / "again.safetensors").read_bytes() == mine.read_bytes()
    lines = out.splitlines()
    assert lines[0].endswith("photos · 18 photos of 3 classes") and "engine numpy" in lines[1]
    assert [line.split()[-1] for line in lines if line.endswith((" 2", " 3", " 10"))][:3] == ["2", "3", "10"]  # in order
    top1 = next(line.split() for line in lines if line.startswith("top-1"))
    largest = next(line.split() for line in lines if line.startswith("largest class"))
    low, high = evaluate.wilson(int(top1[-1]), 18)
    assert top1[2] == f"{100 * low:.1f}-{100 * high:.1f}" and largest[2:] == ["33.3%", "6"]
    assert int(top1[-1]) > 12  # noise of three colours, and no features that were trained
    assert any(line.startswith("- with half of the photos") for line in lines) and "fetch b2" in out
    assert lines[-1] == f"sha256 {minivan.checkpoint.file_sha256(mine)}"


def test_what_is_found_out_as_json_is_on_the_card(command, root, mine, tmp_path):
    status, out, _ = command(root / "photos", "-o", tmp_path / "again.safetensors", "--json")
    found, card = json.loads(out), read(mine).card
    assert status == 0 and found["photos"] == 18 and found["failed"] == []
    assert found["held_out"]["top1"]["of"] == 18 and found["guessing"]["rate"] == pytest.approx(1 / 3)
    assert [label.name for label in card.labels] == ["2", "3", "10"] and card.preprocessing == CARD.preprocessing
    assert card.source == "three.safetensors" and card.source_sha256 == minivan.checkpoint.file_sha256(
        root / "three.safetensors"
    )
    figures = dict(card.figures)
    assert figures["learned from"].startswith("18 photos of 3 classes, 6 of each; C ")
    assert f"top-1 {found['held_out']['top1']['rate']:.1%} of 18 photos" in figures["held out"]
    assert "features by numpy" in figures["made by"] and card.not_sure is None


def test_other_commands_take_the_file(run, root, mine, tmp_path):
    use = "--weights", mine, "--engine", "numpy"
    status, out, _ = run("evaluate", root / "photos", *use, "--json")
    assert status == 0 and json.loads(out)["top1"]["rate"] == 1.0  # of what it learned from
    status, out, _ = run("classify", root / "photos" / "10" / "0.png", *use, "--json")
    assert status == 0 and json.loads(out)["top"][0]["label"] == "10"
    status, out, _ = run("weights", "show", mine)
    assert status == 0 and "learned from  18 photos" in out and "3 (2, 3, 10)" in out
    index = tmp_path / "index.npy"
    assert run("embed", root / "photos", "-o", index, *use)[0] == 0
    status, out, _ = run("similar", root / "photos" / "3" / "1.png", index, *use, "-k", 1)
    assert status == 0 and "3/1.png" in out


@pytest.mark.slow
def test_explain_convert_and_the_page_take_the_file(run, root, mine, tmp_path):
    status, out, _ = run("explain", root / "photos" / "10" / "0.png", "--weights", mine, "--json")
    assert status == 0 and json.loads(out)
    assert run("convert", mine, tmp_path / "mine.onnx")[0] == 0
    assert read(tmp_path / "mine.onnx").card.figures == read(mine).card.figures
    assert run("explore", "-o", tmp_path / "page.html", "--weights", mine)[0] == 0 and (tmp_path / "page.html").stat().st_size


def test_what_is_wrong_with_photos_is_said_and_costs_no_other(command, root, tmp_path):
    folder = tmp_path / "messy"
    for name in ("2", "3"):
        for seed in range(4):
            photo(folder / name / f"{seed}.png", COLOURS[name], seed + ord(name))
    (folder / "3" / "copy.bmp").parent.mkdir(exist_ok=True)
    Image.open(folder / "2" / "0.png").transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / "3" / "copy.bmp")
    (folder / "3" / "broken.jpg").write_bytes(b"no photo")
    (folder / "nothing").mkdir()
    status, out, err = command(folder, "-o", tmp_path / "x.safetensors")
    said = [line for line in err.splitlines() if line.startswith("minivan: ")]
    assert status == 1 and (tmp_path / "x.safetensors").exists() and "7 photos of 2 classes" in out
    assert len(said) == 4 and said[0].startswith("minivan: 3/broken.jpg: not an image")
    assert said[1] == "minivan: the same photo is in two classes, and now in neither: '2/0.png' and '3/copy.bmp'"
    assert "'nothing' has no photos" in said[2] and "'2' has 3, '3' has 4" in said[3]


def test_what_cannot_be_is_one_line_before_anything_is_computed(command, root, tmp_path, monkeypatch):
    monkeypatch.setattr(learn, "featured", None)
    old, new = root / "old", f"red={root / 'photos' / '2'}"
    out = "-o", tmp_path / "x.safetensors"
    for call, wanted in {
        (root / "old" / "grey", *out): "no images in class folders",
        (root / "nowhere", *out): "no such file or folder",
        (root / "photos", "-o", tmp_path / "x.onnx"): "weights are written as .safetensors",
        (root / "photos", "-o", tmp_path / "no" / "x.safetensors"): "No such file or directory",
        (root / "photos", "-o", root / "three.safetensors"): "these are the weights to learn from",
        out: "say from which FOLDER to learn",
        ("--new-class", new, *out): "say --old FOLDER",
        (root / "photos", "--old", old, *out): "--old is for --new-class",
        (root / "photos", "--new-class", new, "--old", old, *out): "leave out",
        ("--new-class", "red", "--old", old, *out): "--new-class takes NAME=FOLDER",
        ("--new-class", new, "--new-class", new, "--old", old, *out): "names a class twice",
        ("--new-class", new, "--new-class", f"Red={old}", "--old", old, *out): "'Red' and 'red' differ in capitals alone",
        ("--new-class", f"a\nb={old}", "--old", old, *out): "no text on one line",
        ("--new-class", f"Green={old}", "--old", old, *out): "the network has a class 'Green' already, 1",
        ("--new-class", new, "--old", root / "photos", *out): "none of three",
        ("--new-class", f"red={tmp_path / 'no'}", "--old", old, *out): "no such file or folder",
        ("--new-class", new, "--old", old, "--cluster", "local", *out): "--cluster is for FOLDER",
    }.items():
        status, printed, err = command(*call)
        assert (status, printed, len(err.splitlines())) == (2, "", 1) and wanted in err, err
    monkeypatch.setitem(sys.modules, "sklearn", None)
    assert command(root / "photos", *out)[2].startswith("minivan: learning needs the package scikit-learn: pip install")
    assert not list(tmp_path.iterdir())


def test_new_classes_beside_old_ones_leave_these_as_they_are(command, root, tmp_path):
    new = [option for name in ("2", "3") for option in ("--new-class", f"no {name}={root / 'photos' / name}")]
    status, out, _ = command(*new, "--old", root / "old", "-o", tmp_path / "more.safetensors")
    before, after = read(root / "three.safetensors"), read(tmp_path / "more.safetensors")
    assert status == 0 and [label.name for label in after.card.labels] == ["grey", "green", "cyan", "no 2", "no 3"]
    for name, tensor in before.tensors.items():
        assert np.array_equal(after.tensors[name][: len(tensor)], tensor)
    assert (
        "old, before" in out and "old, after" in out and dict(after.card.figures)["old classes"].endswith("12 photos held out")
    )
    model = minivan.load(tmp_path / "more.safetensors", "numpy")
    x = np.stack([image.prepare(root / "photos" / name / "0.png", CARD.preprocessing) for name in ("2", "3")])
    assert model(x).argmax(axis=1).tolist() == [3, 4]


def test_an_interruption_or_a_full_disk_leaves_nothing(command, root, tmp_path, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(output.os, "fsync", stopped)
    assert command(root / "photos", "-o", tmp_path / "x.safetensors")[0] == 130 and not list(tmp_path.iterdir())


def test_a_photo_is_decoded_once_and_seen_with_its_mirror_image(root, monkeypatch):
    model = minivan.load(root / "three.safetensors", "numpy")
    examples = evaluate.open_dataset(root / "photos").examples[:3]
    read_photos = []
    monkeypatch.setattr(
        type(examples[0].image), "source", lambda found: read_photos.append(found) or Path(found.name).read_bytes()
    )
    found = list(learn.featured(model, examples))
    x = np.stack([image.prepare(each.image.name, CARD.preprocessing) for each in examples])
    assert len(read_photos) == 3
    for row, each in enumerate(found):
        assert np.allclose(each.features, model.embed(np.stack([x[row], x[row, :, :, ::-1]])), atol=1e-6)


def test_a_folder_that_is_called_by_a_wordnet_id_gets_its_names():
    card = Card("one", labels=(Label("n07920052", "coffee, mine"),))
    assert learning.labelled(["n07920052", "n02123045", "n99999999", "ripe"], card) == [
        card.labels[0], Label("n02123045", "tabby, tabby cat"), Label("", "n99999999"), Label("", "ripe"),
    ]  # fmt: skip


def test_weights_without_a_head_or_with_sigmoid_take_no_classes_beside():
    config, tensors = replace(CONFIG, classes=0), seeded.tensors(replace(CONFIG, classes=0))
    with pytest.raises(ValueError, match="a backbone without a head: finetune FOLDER gives them one"):
        learn.check_extension(minivan.VAN(config, tensors, "numpy"), ["red"], ["green"])
    each = minivan.VAN(CONFIG, seeded.tensors(CONFIG), "numpy", replace(CARD, activation="sigmoid"))
    with pytest.raises(ValueError, match="three answers for each class by itself"):
        learn.check_extension(each, ["red"], ["green"])


@pytest.mark.parametrize(
    ("gained", "lost", "told"),
    [(9, 1, "are likely to help"), (3, 1, "may help; these are too few"), (4, 4, "will hardly help")],
)
def test_whether_more_photos_would_help_is_told_by_those_that_only_one_of_two_heads_answers(root, gained, lost, told):
    model, examples = minivan.load(root / "three.safetensors", "numpy"), evaluate.open_dataset(root / "photos").examples
    known = learn.learned(model, learn.featured(model, examples), "photos").report
    right = known.held_out.top1
    half = evaluate.Share(right.count - gained + lost, right.of)
    paired = evaluate.Agreement(right, right.count - gained, gained, lost, right.of - right.count - lost)
    (line,) = (line for line in replace(known, half=half, paired=paired).advice(VARIANTS["b2"]) if "half of the photos" in line)
    assert told in line
