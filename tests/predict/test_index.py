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
from minivan.predict import find_images, index
from minivan.predict.embedding import Embedded, pooled
from minivan.predict.embeddings import Embeddings
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
    assert run("embed", *photos[:2], "-o", "names.npy", *FLAGS)[0] == 0
    lines = Path("names.npy.jsonl").read_bytes().splitlines(keepends=True)
    Path("names.npy.jsonl").write_bytes(lines[0] + lines[2])  # the first photo's name is gone: all others would be another's
    assert run("embed", *photos[:2], "-o", "whole.parquet", *FLAGS)[0] == 0
    whole = pyarrow.parquet.read_table("whole.parquet")
    features = whole["features"].to_pylist()
    for name, column in (
        ("gaps", pyarrow.array([features[0], None], whole.schema.field("features").type)),
        ("width", pyarrow.array([each[:5] for each in features], pyarrow.list_(pyarrow.float32(), 5))),
        ("nan", pyarrow.array([features[0], [np.nan] * 6], pyarrow.list_(pyarrow.float32(), 6))),
    ):
        pyarrow.parquet.write_table(whole.set_column(1, "features", column), f"{name}.parquet")
    pyarrow.parquet.write_table(whole.select(["image"]), "alone.parquet")
    damaged = bytearray(Path("whole.parquet").read_bytes())
    damaged[damaged.index(b"a.png", 4)] ^= 1  # in the statistics or the names
    for place in range(200, 230):
        damaged[place] ^= 255
    Path("damaged.parquet").write_bytes(damaged)
    for file, said in (
        ("names.npy", "names.npy is no index of features: names.npy.jsonl has the names of 1 rows; embed anew"),
        ("gaps.parquet", "gaps.parquet is no index of features: "),  # pyarrow 18 cannot even read it
        ("width.parquet", "its column features is fixed_size_list"),
        ("nan.parquet", "nan.parquet is no index of features: it has numbers that are not finite"),
        ("alone.parquet", "alone.parquet is no index of features: it has no column features"),
        ("damaged.parquet", "damaged.parquet is no index of features: "),
        ("features.npy", "the numbers are not those that features.npy.jsonl is about; embed anew"),
        ("bare.npy", "bare.npy.jsonl: No such file or directory"),
        ("gone.npy", "gone.npy: No such file or directory"),
        ("text.parquet", "text.parquet is no index of features"),
        ("a.png", "a.png: it ends in .png; features are written as .npy, .parquet"),
    ):
        status, out, err = run("similar", "a.png", file, *FLAGS)
        assert (status, out) == (2, "") and said in err and len(err.splitlines()) == 1


def test_a_parquet_file_of_few_bytes_takes_little_memory(run, photos):
    """One long name for every row, and a column of equal numbers, take next to no bytes there."""
    assert run("embed", *photos[:2], "-o", "whole.parquet", *FLAGS)[0] == 0
    schema, rows = pyarrow.parquet.read_schema("whole.parquet"), 300
    equal = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(np.ones(rows * 6, np.float32)), 6)
    long = pyarrow.table([pyarrow.array(["x" * 200_000] * rows), equal], schema=schema)
    pyarrow.parquet.write_table(long, "long.parquet")
    assert os.path.getsize("long.parquet") < 1 << 18
    before = pyarrow.total_allocated_bytes()
    with index.Index.opened("long.parquet") as opened:
        (names,) = opened.column("image")
        assert len(names) == rows and pyarrow.total_allocated_bytes() - before < 8 << 20, "spread out they are 60 MB"
    status, out, err = run("similar", "a.png", "long.parquet", *FLAGS)
    assert (status, out) == (2, "") and "is no index of features: it has a name of 200,000 characters" in err


def test_a_parquet_file_unpacks_to_a_size_that_features_can_have(run, photos, monkeypatch):
    assert run("embed", *photos[:2], "-o", "whole.parquet", *FLAGS)[0] == 0
    monkeypatch.setattr("minivan.predict.index.UNPACKED", 47)
    monkeypatch.setattr("minivan.predict.index.GROWTH", 0)
    status, out, err = run("similar", "a.png", "whole.parquet", *FLAGS)
    assert (status, out) == (2, "") and "is no index of features: it unpacks to more than features do" in err


def test_where_nothing_can_be_embedded_nothing_is_written(run, photos):
    before = sorted(os.listdir())
    for file in ("features.npy", "features.parquet"):
        status, _, err = run("embed", "e.png", "-o", file, *FLAGS)
        assert status == 2 and err.endswith("minivan: no image has features: nothing was written\n")
        assert run("embed", "a.png", "-o", "features.csv", *FLAGS)[0] == 2
        assert sorted(os.listdir()) == before


@pytest.mark.parametrize("ending", ["npy", "parquet"])
def test_an_interrupted_run_goes_on_and_gives_what_a_whole_one_does(run, photos, ending):
    """Each image is there once; the features come back from the journal bit for bit."""
    model = load(Path("tiny.safetensors"), "numpy")
    whole, file = f"whole.{ending}", f"features.{ending}"
    assert run("embed", *photos, "-o", whole, *FLAGS)[0] == 1
    with Embeddings(model, find_images(photos), file) as embeddings:
        assert next(embeddings.embedded()).image == "a.png"
    assert run("embed", *photos, "-o", file, *FLAGS)[2].endswith("--resume goes on with it, or delete it\n")
    status, out, err = run("embed", *photos, "-o", file, "--resume", *FLAGS)
    assert (status, out) == (1, f"{file}: 4 x 6 features of tiny, 1 of them from the run before, 1 images without any\n")
    assert err.startswith("minivan: e.png: not an image") and not os.path.exists(f"{file}.partial")
    for name in (whole, f"{whole}.jsonl") if ending == "npy" else (whole,):
        assert Path(name).read_bytes() == Path(name.replace("whole", "features")).read_bytes()


def test_features_that_are_no_numbers_are_refused(run, photos):
    tensors = random_tensors(CONFIG, 3)
    tensors["norm2.bias"] = np.full(6, np.nan, np.float32)
    write(Weights(CONFIG, tensors, Card("nan", Preprocessing(32, 36))), "nan.safetensors")
    call = ["embed", *photos[:2], "-o", "nan.npy", "--engine", "numpy", "--weights", "nan.safetensors", "--allow-nonfinite"]
    status, out, err = run(*call)
    assert (status, out) == (2, "") and err.endswith("the weights nan give features that are no numbers: they are damaged\n")


def test_a_network_of_many_channels_has_a_longer_first_line(photos, monkeypatch):
    monkeypatch.setattr(index, "FIRST_LINE", 64)
    model = load(Path("tiny.safetensors"), "numpy")
    found = [Embedded(name, np.eye(6, dtype=np.float32)[i]) for i, name in enumerate("ab")]
    index.write("features.npy", model, found)
    assert [near.image for near in index.nearest(model, found[1].features, "features.npy")] == ["b", "a"]
