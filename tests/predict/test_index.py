"""Photos as vectors in a file, and the nearest of them."""

import json
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image
from support.networks import random_tensors
from tolerances import PRINTED

from minivan.card import Card, Preprocessing
from minivan.checkpoint import Weights, load, write
from minivan.errors import one_line
from minivan.image import prepare
from minivan.predict import index
from minivan.predict.embedding import pooled
from minivan.variants import Config

CONFIG = Config((4, 6), (1, 1), (2, 2), classes=3)


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Weights, four photos, one no image; the folder is the current one."""
    monkeypatch.chdir(tmp_path)
    write(Weights(CONFIG, random_tensors(CONFIG, 3), Card("tiny", Preprocessing(32, 36))), "tiny.safetensors")
    numbers = np.random.default_rng(0)
    for name in ("a.png", os.fsdecode(b"b\xe9.png"), "c.png", "d.png"):
        Image.fromarray(numbers.integers(0, 255, (40, 40, 3), np.uint8)).save(name)
    Path("e.png").write_text("no image")
    return sorted(name for name in os.listdir() if name.endswith(".png"))


FLAGS = "--engine", "numpy", "--weights", "tiny.safetensors"


@pytest.mark.parametrize("ending", ["npy", "parquet"])
def test_what_embed_writes_is_the_pooled_features_and_similar_finds_the_nearest(run, photos, ending, monkeypatch):
    monkeypatch.setattr(index, "ROWS_AT_ONCE", 3)  # more than one group of rows
    file = f"features.{ending}"
    status, out, err = run("embed", *photos, "-o", file, *FLAGS)
    assert (status, out) == (1, f"{file}: 4 x 6 features of tiny, 1 images without any\n")
    assert err.startswith("minivan: e.png: not an image") and len(err.splitlines()) == 1
    model = load(Path("tiny.safetensors"), "numpy")
    expected = np.concatenate([pooled(model, prepare(name, model.card.preprocessing)[None]) for name in photos[:4]])
    maps = model.features(prepare(photos[0], model.card.preprocessing)[None])[-1][0]
    assert expected[0] == pytest.approx(maps.reshape(6, -1).mean(1), abs=PRINTED)
    if ending == "npy":
        numbers = np.load(file)
        names = [json.loads(line)["image"] for line in Path(f"{file}.jsonl").read_text().splitlines()[1:]]
        assert names == photos[:4] and numbers.dtype == np.float32
    else:
        read = pyarrow.parquet.read_table(file)
        names, numbers = read["image"].to_pylist(), np.array(read["features"].to_pylist(), np.float32)
        assert names == [one_line(name) for name in photos[:4]]
    assert numbers.tobytes() == expected.tobytes()

    query = expected[2] / np.linalg.norm(expected[2])
    cosines = expected @ query / np.linalg.norm(expected, axis=1)
    order = np.argsort(-cosines)[:3]
    status, out, err = run("similar", "c.png", file, "-k", 3, "--json", *FLAGS)
    found = [json.loads(line) for line in out.splitlines()]
    assert (status, err) == (0, "") and [each["row"] for each in found] == order.tolist() and found[0]["image"] == "c.png"
    assert [each["similarity"] for each in found] == pytest.approx(cosines[order].tolist(), abs=1e-5)
    assert [each["image"] for each in found] == [names[row] for row in order]
    assert run("similar", "c.png", file, "-k", 1, *FLAGS)[1] == " 1.0000  c.png\n"


@pytest.mark.parametrize("ending", ["npy", "parquet"])
def test_an_index_of_other_weights_or_another_preprocessing_is_refused(run, photos, ending):
    file = f"features.{ending}"
    assert run("embed", *photos[:2], "-o", file, *FLAGS)[0] == 0
    write(Weights(CONFIG, random_tensors(CONFIG, 3), Card("tiny", Preprocessing(64, 72))), "size.safetensors")
    write(Weights(CONFIG, random_tensors(CONFIG, 4), Card("tiny", Preprocessing(32, 36))), "other.safetensors")
    for weights, said in (("size", "is of images prepared otherwise"), ("other", "is of other weights, 'tiny', not 'other'")):
        status, out, err = run("similar", "a.png", file, "--engine", "numpy", "--weights", f"{weights}.safetensors")
        assert (status, out) == (2, "") and err.startswith(f"minivan: {file} {said}") and len(err.splitlines()) == 1
    status, out, err = run("similar", "a.png", file, "--size", 64, *FLAGS)
    assert (status, out) == (2, "") and err.endswith(": say --size 32\n"), "another size alone"
    assert run("embed", *photos[:2], "-o", file, "--size", 64, *FLAGS)[0] == 0
    assert run("similar", "a.png", file, *FLAGS)[2].endswith(": say --size 64\n")
    assert run("similar", "a.png", file, "-k", 1, "--size", 64, *FLAGS)[1] == " 1.0000  a.png\n"
    os.rename("tiny.safetensors", "renamed.safetensors")
    assert run("embed", *photos[:2], "-o", file, *FLAGS[:2], "--weights", "renamed.safetensors")[0] == 0
    assert run("similar", "a.png", file, "--engine", "numpy", "--weights", "renamed.safetensors")[0] == 0, "of the same numbers"


def test_what_is_no_index_or_none_any_more_is_one_line(run, photos):
    assert run("embed", *photos[:2], "-o", "features.npy", *FLAGS)[0] == 0
    np.save("features.npy", np.load("features.npy") + 1)
    np.save("bare.npy", np.ones((2, 6), np.float32))
    Path("text.parquet").write_text("none")
    for file, said in (
        ("features.npy", "the numbers are not those that features.npy.jsonl is about; embed anew"),
        ("bare.npy", "bare.npy.jsonl: No such file or directory"),
        ("text.parquet", "text.parquet is no index of features"),
        ("a.png", "a.png: it ends in .png; features are written as .npy, .parquet"),
    ):
        status, out, err = run("similar", "a.png", file, *FLAGS)
        assert (status, out) == (2, "") and said in err and len(err.splitlines()) == 1


def test_where_nothing_can_be_embedded_nothing_is_written(run, photos):
    before = sorted(os.listdir())
    for file in ("features.npy", "features.parquet"):
        status, _, err = run("embed", "e.png", "-o", file, *FLAGS)
        assert status == 2 and err.endswith("minivan: no image has features: nothing was written\n")
        assert run("embed", "a.png", "-o", "features.csv", *FLAGS)[0] == 2
        assert sorted(os.listdir()) == before
