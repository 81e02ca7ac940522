"""The names of classes beside the weights: nothing is said of them, they are there, or what is said is not understood."""

import json
import pickle
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from support import saved
from support.judge import safetensors_torch, torch

from minivan.card import Label, imagenet1k
from minivan.checkpoint import CheckpointError, opened, read
from minivan.checkpoint.beside import Beside
from minivan.checkpoint.budget import Budget
from minivan.checkpoint.class_names import said, usual_labels
from minivan.variants import VARIANTS, parameter_shapes


def named(contents, classes=3):
    return said(Beside(top=contents), classes, Budget(1 << 20))


NAMES = ["ant", "bee", "cat"]


@pytest.mark.parametrize(
    "contents",
    [
        {"class_to_idx": {"bee": 1, "ant": 0, "cat": 2}},
        {"classes": NAMES},
        {"classes": tuple(NAMES)},
        {"idx_to_class": {"1": "bee", "0": "ant", "2": "cat"}},
        {"id2label": {0: "ant", 1: "bee", 2: "cat"}},
        {"hyper_parameters": {"class_names": NAMES, "lr": 1e-3}},
        {"meta": {"CLASSES": NAMES}},
        {"meta": {"dataset_meta": {"classes": NAMES}, "CLASSES": ["other"] * 3}},
        {"id2label": {i: f"LABEL_{i}" for i in range(3)}, "meta": {"CLASSES": NAMES}},
    ],
    ids=str,
)
def test_class_names_are_found_wherever_training_scripts_leave_them(contents):
    assert named(contents).labels == tuple(Label("", name) for name in NAMES)


@pytest.mark.parametrize(
    "contents",
    [
        {},
        {"classes": 3},
        {"classes": None, "class_names": [], "class_to_idx": {}},
        {"id2label": {str(i): f"LABEL_{i}" for i in range(3)}, "label2id": {f"LABEL_{i}": i for i in range(3)}},
        {"meta": {"dataset_meta": None, "CLASSES": None}},
        {"meta": [], "hyper_parameters": 3},
    ],
    ids=lambda contents: str(contents)[:60],
)
def test_what_says_nothing_of_names(contents):
    assert named(contents) == named({})


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        ({"classes": [1, 2, 3]}, "'classes' are not understood (number 0 is 1)"),
        ({"classes": ["ant", "", "cat"]}, "(number 1 is empty)"),
        ({"classes": "names.txt"}, "('names.txt')"),
        ({"class_to_idx": {"ant": 0, "bee": 2, "cat": 3}}, "(its 3 indices are not 0 to 2)"),
        ({"class_to_idx": {"ant": 1, "bee": 2, "cat": 3}}, "(its 3 indices are not 0 to 2)"),
        ({"class_to_idx": {"ant": 0, "bee": 0, "cat": 1}}, "not 0 to 2"),
        ({"class_to_idx": {"ant": "0", "bee": None}}, "not 0 to 1"),
        ({"meta": {"dataset_meta": {"classes": {"zero": "ant", "one": "bee"}}}}, "'meta.dataset_meta.classes'"),
        ({"id2label": {"9" * 5000: "ant", "1": "bee"}}, "not 0 to 1"),
        ({"id2label": {"0": "ant", "1": None}}, "(number 1 is None)"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_is_said_and_not_understood_gives_no_names_and_is_told(contents, words):
    found = named(contents)
    assert found.labels == () and words in found.note


def test_wordnet_ids_get_the_names_that_imagenet_has_for_them():
    found = named({"class_to_idx": {"n07920052": 1, "n01440764": 0, "n99999999": 2}}).labels
    assert found == (Label("n01440764", "tench, Tinca tinca"), Label("n07920052", "espresso"), Label("n99999999", "n99999999"))


def test_names_that_are_not_one_a_class_say_how_many_there_are():
    assert named({"classes": ["ant", "bee"]}).labels == (Label("", ""),) * 2


def test_a_published_variant_of_a_thousand_classes_has_imagenet_s():
    assert usual_labels(VARIANTS["b0"]) == imagenet1k()
    for other in (dict(classes=999), dict(channels=4), dict(depths=(3, 3, 5, 3))):
        assert usual_labels(replace(VARIANTS["b0"], **other)) == ()


def test_classes_by_their_indices_are_read_from_a_file(tmp_path):
    names = ["ant", "bee", "cat", "dog", "eel"]
    contents = {"model": saved.state_dict(), "class_to_idx": {name: i for i, name in enumerate(names)}}
    assert [label.name for label in read(saved.save(contents, tmp_path / "net.pth")).card.labels] == names


FIVE = ["ant", "bee", "c\u00e4t", "dog", "eel"]
KINDS = {
    "NumPy's indices": {"class_to_idx": {name: np.int64(i) for i, name in enumerate(FIVE)}},
    "indices of one byte": {"label2id": {name: np.uint8(i) for i, name in enumerate(FIVE)}},
    "NumPy's indices as keys": {"idx_to_class": {np.int64(i): name for i, name in enumerate(FIVE)}},
    "an array": {"classes": np.array(FIVE)},
    "an array from the other end": {"classes": np.array(FIVE).astype(">U9")},
    "an array of objects": {"classes": np.array(FIVE, dtype=object)},
    "NumPy's texts": {"CLASSES": [np.str_(name) for name in FIVE]},
    "names to indices": {"classes": {name: i for i, name in enumerate(FIVE)}},
    "indices as texts": {"label2id": {name: str(i) for i, name in enumerate(FIVE)}},
    "arguments": {"args": {"class_names": FIVE}},
}


@pytest.mark.parametrize("kind", KINDS)
def test_names_and_indices_that_numpy_or_pytorch_made(tmp_path, kind):
    path = saved.save({"model": saved.state_dict()} | KINDS[kind], tmp_path / "net.pth")
    assert [label.name for label in read(path).card.labels] == FIVE


def test_indices_that_are_tensors(tmp_path):
    indices = {name: torch.tensor(i) for i, name in enumerate(FIVE)}
    path = saved.save({"model": saved.state_dict(), "class_to_idx": indices}, tmp_path / "net.pth")
    assert [label.name for label in read(path).card.labels] == FIVE


@pytest.mark.parametrize("protocol", [2, 4])
def test_an_array_of_names_in_every_protocol(tmp_path, protocol):
    """Of the long ones there are so many bytes that they stay in the file."""
    long = [f"class {i} {'x' * 3000}" for i in range(100)]
    for names, classes in ((FIVE, 5), (long, 100)):
        state = {name: tensor.numpy() for name, tensor in saved.state_dict(replace(saved.SMALL, classes=classes)).items()}
        path = tmp_path / "net.pkl"
        path.write_bytes(pickle.dumps({"model": state, "classes": np.array(names)}, protocol))
        assert [label.name for label in read(path).card.labels] == names


BROKEN = {
    "records": {"classes": np.zeros(5, [("name", "U4")])},
    "numbers": {"classes": np.arange(5)},
    "two axes": {"classes": np.array([FIVE])},
    "half a character": {"classes": np.array(["\ud800"] * 5)},
    "a set": {"classes": set(FIVE)},
    "an empty text of NumPy's": {"classes": [np.str_(""), *FIVE[1:]]},
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_no_list_of_names_is_told(tmp_path, kind):
    weights = read(saved.save({"model": saved.state_dict()} | BROKEN[kind], tmp_path / "net.pth"))
    assert weights.card.labels == () and sum("'classes' are not understood" in note for note in weights.notes) == 1


def test_one_text_is_made_once(tmp_path):
    """Else a few bytes of the file would take 16 KiB of memory, again and again."""
    dtype = b"cnumpy\ndtype\n(" + saved.short("U4096") + b"I00\nI01\ntR"
    start = b"\x80\x03cnumpy.core.multiarray\nscalar\nq\x00" + dtype + b"q\x01B" + (4 * 4096).to_bytes(4, "little")
    path = tmp_path / "net.pkl"
    path.write_bytes(start + "x".encode("utf-32-le") * 4096 + b"q\x02](" + b"h\x00h\x01h\x02\x86R" * 20_000 + b"e.")
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match="of the same bytes"):
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 80 << 20
    finally:
        tracemalloc.stop()


def test_a_thousand_names_that_are_not_understood_are_not_imagenet_s(tmp_path):
    state = {name: torch.zeros(shape) for name, shape in parameter_shapes(VARIANTS["b0"])}
    path = saved.save({"model": state, "class_to_idx": {f"c{i}": i + 1 for i in range(1000)}}, tmp_path / "net.pth")
    with opened(path) as checkpoint:
        assert checkpoint.card.labels == () and "its 1000 indices are not 0 to 999" in "; ".join(checkpoint.notes)


def test_label2id_of_a_config_names_classes(tmp_path):
    state = saved.huggingface(saved.state_dict())
    safetensors_torch.save_file({name: tensor.clone() for name, tensor in state.items()}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "van", "label2id": {n: i for i, n in enumerate(FIVE)}}))
    assert [label.name for label in read(tmp_path).card.labels] == FIVE
