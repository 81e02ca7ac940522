"""What a card says survives being written and read, or is refused before it is written: one rule for both directions."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.networks import random_tensors

from minivan.card import ACTIVATIONS, Card, Label, default_preprocessing, read_labels, usual_activation
from minivan.checkpoint import CheckpointError, Weights, own_metadata, read, write
from minivan.checkpoint.budget import Budget
from minivan.variants import Config

pytestmark = pytest.mark.loop

SHAPE = '{"dims": [4], "depths": [1], "mlp_ratios": [1], "classes": 2, "channels": %s}'
TINY = Config((4,), (1,), (1,), classes=2)
UNUSUAL = ["caf\u00e9 au\u00a0lait", "\ufeffcup", "wo\u200dman", "\u202egnp.tac", "\ue000", "", " "]
texts = st.text() | st.sampled_from(UNUSUAL)


@given(texts, texts, texts, texts)
def test_every_card_that_can_be_made_is_read_as_it_was_written(wnid, name, source, version):
    try:
        card = Card("net", labels=(Label(wnid, name), Label("", "cup")), source=source, version=version)
    except ValueError as error:
        assert "is a text on one line" in str(error) and len(str(error).splitlines()) == 1
        return
    config, read_back = own_metadata.understand("net", own_metadata.describe(TINY, card), Budget(1 << 20))
    assert (config, read_back) == (TINY, card)


@pytest.mark.parametrize("channels", [1, 3, 13])
@pytest.mark.parametrize("classes", [0, 1, 2])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_channels_and_activation_are_kept_and_the_usual_ones_leave_no_trace(channels, classes, activation):
    config = Config((4,), (1,), (1,), classes=classes, channels=channels)
    card = Card("net", default_preprocessing(channels), activation=activation)
    texts = own_metadata.describe(config, card)
    assert ("channels" in texts["shape"]) == (channels != 3)
    assert texts.get("activation") == (None if activation == usual_activation(classes) else activation)
    assert own_metadata.understand("net", texts, Budget(1 << 20)) == (config, card)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"shape": SHAPE % "4"}, "are 4 numbers each"),
        ({"shape": SHAPE % "0"}, "images of 1 to 1024 channels"),
        ({"shape": SHAPE % '"3"'}, "is something else"),
        ({"commit": "main"}, "the metadata's commit: 'main'; it has 40 or 64 hex digits"),
        ({"activation": "tanh"}, "the metadata's activation: the activation is softmax or sigmoid, got 'tanh'"),
    ],
)
def test_channels_activations_and_commits_that_cannot_be_are_refused(changed, words):
    with pytest.raises(CheckpointError, match=words):
        own_metadata.understand("net", own_metadata.describe(TINY, Card("net")) | changed, Budget(1 << 20))


def test_a_card_for_other_channels_than_the_network_s_is_written_to_no_file(tmp_path):
    config = Config((4,), (1,), (1,), classes=2, channels=4)
    with pytest.raises(CheckpointError, match="mean and std are 4 numbers each"):
        write(Weights(config, random_tensors(config), Card("net")), tmp_path / "net.safetensors")


@pytest.mark.parametrize("text", UNUSUAL)
def test_unusual_texts_go_through_a_file(tmp_path, text):
    card = Card("net", labels=(Label("", text), Label("", "cup")), source=text, version=text)
    write(Weights(TINY, random_tensors(TINY), card), tmp_path / "net.safetensors")
    assert dataclasses.replace(read(tmp_path / "net.safetensors").card, file=None) == card


@pytest.mark.parametrize("text", ["two\nlines", "\x1b[2J", "\u2028", "\ud800", "\x00"])
def test_what_ends_a_line_or_moves_a_terminal_is_in_no_card(text):
    for wrong in (dict(labels=(Label("", text),)), dict(labels=(Label(text, "cup"),)), dict(source=text), dict(version=text)):
        with pytest.raises(ValueError, match="is a text on one line"):
            Card("net", **wrong)


def test_a_byte_order_mark_is_no_part_of_the_first_class(tmp_path):
    (tmp_path / "labels.txt").write_bytes(b"\xef\xbb\xbfn07920052\tespresso\ncup\n")
    assert read_labels(tmp_path / "labels.txt") == (Label("n07920052", "espresso"), Label("", "cup"))
