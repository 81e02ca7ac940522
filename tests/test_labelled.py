"""Labelled photographs: a folder and a zip of it are the same, and what cannot be used is said in one line."""

import io
import os
import zipfile

import numpy as np
import pytest
from PIL import Image

from minivan import image, labelled
from minivan.card import Card, Label, Preprocessing

pytestmark = pytest.mark.loop

CARD = Card("three", Preprocessing(crop=32, resize=36), tuple(Label(f"n0000000{i}", f"thing {i}") for i in range(3)))
NAMES = ["n00000000/b.JPEG", "n00000001/a.jpg", "n00000001/c.png", "n00000002/a.JPEG"]


def photograph(seed, ending):
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 50, 3), np.uint8)).save(
        out, "PNG" if ending == "png" else "JPEG"
    )
    return out.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("labelled")
    for seed, name in enumerate(NAMES):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(photograph(seed, name.rsplit(".", 1)[1]))
    (root / "n00000002" / "notes.txt").write_text("no photograph")
    (root / "cover.jpg").write_bytes(photograph(9, "jpg"))  # in no class folder
    return root


def zipped(folder, target, under=""):
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*"), reverse=True):
            archive.write(path, under + path.relative_to(folder).as_posix())
    return target


def test_a_folder_and_a_zip_give_the_same(folder, tmp_path):
    archive = zipped(folder, tmp_path / "labelled.zip")
    assert labelled.names(folder) == labelled.names(archive) == NAMES
    assert list(labelled.files(folder, NAMES)) == list(labelled.files(archive, NAMES))
    (x, targets), (same, classes) = labelled.inputs(folder, CARD), labelled.inputs(archive, CARD)
    assert x.tobytes() == same.tobytes() and targets.tolist() == classes.tolist() == [0, 1, 1, 2]
    assert x.dtype == np.float32 and x.shape == (4, 3, 32, 32)
    for array, name in zip(x, NAMES, strict=True):
        np.testing.assert_array_equal(array, image.prepare(folder / name, CARD.preprocessing))


def test_some_of_them_in_another_order(folder):
    x, targets = labelled.inputs(folder, CARD, NAMES[::-2])
    assert targets.tolist() == [2, 1]
    np.testing.assert_array_equal(x, labelled.inputs(folder, CARD)[0][::-2])


def test_a_zip_may_hold_the_folder_itself(folder, tmp_path):
    archive = zipped(folder, tmp_path / "labelled.zip", under="photos/")
    assert labelled.names(archive) == [f"photos/{name}" for name in ["cover.jpg", *NAMES]]
    assert [labelled.wnid(f"photos/{name}") for name in NAMES] == [name.split("/")[0] for name in NAMES]


def test_nothing_is_read_before_it_is_asked_for(folder, monkeypatch):
    read = []
    monkeypatch.setattr("minivan.input.read", lambda path, limit, pipe: read.append(path.name) or b"")
    files = labelled.files(folder, NAMES)
    assert not read
    next(files)
    assert read == ["b.JPEG"]


def test_right_counts_the_k_likeliest():
    logits = [[3.0, 2.0, 1.0], [1.0, 1.0, 2.0], [0.0, 0.0, 0.0]]
    assert [labelled.right(logits, [0, 1, 1], k) for k in (1, 2, 3)] == [1, 2, 3]


def test_the_variable_says_where(monkeypatch, tmp_path):
    monkeypatch.setenv("MINIVAN_LABELLED", str(tmp_path / "there.zip"))
    assert labelled.given() == tmp_path / "there.zip"
    for value in (None, ""):
        monkeypatch.delenv("MINIVAN_LABELLED", raising=False)
        if value is not None:
            monkeypatch.setenv("MINIVAN_LABELLED", value)
        with pytest.raises(ValueError, match=r"tiny-imagenet-200\.zip.*benchmarks/make_labelled\.py"):
            labelled.given()


def test_what_cannot_be_used_is_named(folder, tmp_path):
    with pytest.raises(FileNotFoundError):
        labelled.names(tmp_path / "missing.zip")
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(ValueError, match=r"text\.zip: neither a folder"):
        labelled.names(tmp_path / "text.zip")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty: no photographs in class folders"):
        labelled.names(tmp_path / "empty")
    with pytest.raises(ValueError, match="'n00000002' is none of the 2 classes of two"):
        labelled.inputs(folder, Card("two", CARD.preprocessing, CARD.labels[:2]))
    archive = zipped(folder, tmp_path / "labelled.zip")
    with pytest.raises(ValueError, match=r"labelled\.zip: 'n00000000/z\.jpg': There is no item"):
        labelled.inputs(archive, CARD, ["n00000000/z.jpg"])
    with zipfile.ZipFile(archive, "a") as more:
        more.writestr("n00000000/bad.jpg", b"no image")
    with pytest.raises(image.ImageError, match=r"labelled\.zip: 'n00000000/bad\.jpg': not an image"):
        labelled.inputs(archive, CARD)
    damaged = bytearray(archive.read_bytes())
    damaged[damaged.index(b"no image")] ^= 1
    archive.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"'n00000000/bad\.jpg': Bad CRC"):
        labelled.inputs(archive, CARD)


def test_a_pipe_in_the_place_of_a_zip_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "photos.zip")
    for use in (labelled.names, lambda source: next(labelled.files(source, ["a/b.jpg"]))):
        with pytest.raises(OSError, match="a pipe is no file to read"):
            use(tmp_path / "photos.zip")
