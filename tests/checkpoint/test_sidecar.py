"""What a file of tensors alone does not say is kept beside it, and is used where it belongs to them."""

import json
from dataclasses import replace

import numpy as np
import pytest

from minivan.card import Card, Label, Preprocessing
from minivan.checkpoint import CheckpointError, Weights, read, write
from minivan.variants import Config, parameter_shapes

pytestmark = pytest.mark.loop

CONFIG = Config((4, 6), (1, 1), (2, 2), classes=3, layer_norm_eps=1e-5)
CARD = Card(
    "net", Preprocessing(64, 70, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)), tuple(Label("", name) for name in "abc"),
    version="7", not_sure=0.25, activation="sigmoid", commit="c" * 40,
)  # fmt: skip


def weights(seed=0, card=CARD):
    numbers = np.random.default_rng(seed)
    tensors = {name: numbers.random(shape, np.float32) + 0.5 for name, shape in parameter_shapes(CONFIG)}
    return Weights(CONFIG, tensors, card)


def test_what_the_tensors_do_not_say_comes_back_from_beside_them(tmp_path):
    path = tmp_path / "net.safetensors"
    said = write(weights(), path, to="authors")
    assert said[1] == (
        "the tensors alone do not say class names, input size, mean and std, the version 7, the threshold for being sure, "
        "sigmoid: net.safetensors.json does, which minivan reads beside it"
    )
    again = read(path)
    assert (again.config, again.card, again.notes) == (CONFIG, CARD, ())
    (tmp_path / "net.safetensors.json").unlink()
    alone = read(path)
    assert alone.card.preprocessing.crop == 224 and not alone.card.labels and not alone.card.size_said


@pytest.mark.parametrize("change", ["tensors", "shape", "damage", "size"])
def test_what_does_not_belong_to_the_tensors_is_left_out_aloud(tmp_path, change):
    path, beside = tmp_path / "net.safetensors", tmp_path / "net.safetensors.json"
    write(weights(), path, to="authors")
    text = beside.read_text()
    if change == "tensors":
        write(weights(1), path, to="authors")
        beside.write_text(text)
    else:
        fields = json.loads(text)
        del fields["sha256"]
        changed = {
            "shape": ("shape", {**fields["shape"], "depths": [1, 2]}),
            "damage": ("eps", 3),
            "size": ("labels", [["", "a"]]),
        }
        fields.update([changed[change]])
        beside.write_text(json.dumps(fields))
    again = read(path)
    said = {
        "tensors": "it was written for another file",
        "shape": "it is of another network",
        "size": "the metadata's labels: 1",
    }
    assert "net.safetensors.json beside the weights was not used (" + said.get(change, "") in again.notes[0]
    assert not again.card.labels


def test_one_written_by_hand_needs_no_sha256(tmp_path):
    path, beside = tmp_path / "net.safetensors", tmp_path / "net.safetensors.json"
    write(weights(card=replace(CARD, labels=())), path, to="authors")
    fields = json.loads(beside.read_text())
    del fields["sha256"]
    beside.write_text(json.dumps({**fields, "labels": [["", "x"], ["", "y"], ["", "z"]]}))
    assert [label.name for label in read(path).card.labels] == ["x", "y", "z"]


def test_anybody_elses_file_is_neither_read_nor_replaced(tmp_path):
    path, beside = tmp_path / "net.safetensors", tmp_path / "net.safetensors.json"
    beside.write_text('{"labels": []}')
    with pytest.raises(CheckpointError, match="another file stands there"):
        write(weights(), path, to="authors")
    assert not path.exists() and beside.read_text() == '{"labels": []}'
