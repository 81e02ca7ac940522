"""Class names from a file, and presets of preprocessing."""

import hashlib
import os

import pytest

from minivan import reference
from minivan.card import (
    ACTIVATIONS,
    PRESETS,
    Card,
    Label,
    Preprocessing,
    default_preprocessing,
    file_sha256,
    imagenet1k,
    read_labels,
    usual_activation,
)
from minivan.cli import arguments

pytestmark = pytest.mark.loop


def test_labels_are_read_with_and_without_wordnet_ids(tmp_path):
    file = tmp_path / "labels.txt"
    file.write_text("n07920052\tespresso, strong coffee\ncup\n", encoding="utf-8")
    assert read_labels(file) == (Label("n07920052", "espresso, strong coffee"), Label("", "cup"))
    assert read_labels(file)[0].short == "espresso"


def test_what_is_no_list_of_labels_is_named_with_its_line(tmp_path):
    file = tmp_path / "labels.txt"
    for text, line in (("a\n\nb\n", 2), ("n07920052\t\n", 1)):
        file.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=f"labels.txt, line {line}: no class name"):
            read_labels(file)
    file.write_bytes(b"caf\xe9\n")
    with pytest.raises(ValueError, match="must be UTF-8 text"):
        read_labels(file)


def test_imagenet_has_a_thousand_classes_in_the_order_of_their_ids():
    labels = imagenet1k()
    assert len({label.wnid for label in labels}) == 1000 and sorted(labels, key=lambda label: label.wnid) == list(labels)
    assert labels[967].short == "espresso"


def test_a_class_without_a_name_has_a_number_and_a_file_its_sha256(tmp_path):
    assert Card("net").label(17) == Label("", "class 17") and Card("net").sha256 == ""
    file = tmp_path / "weights"
    file.write_bytes(b"abc")
    assert Card("net", file=file).sha256 == file_sha256(file) == hashlib.sha256(b"abc").hexdigest()


def test_weights_that_know_it_say_below_which_probability_they_are_not_sure():
    assert [Card("net", not_sure=0.3).is_sure(p) for p in (0.29, 0.3, 0.31)] == [False, True, True]
    assert Card("net").is_sure(0.01) is None
    for wrong in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="not_sure is a probability between 0 and 1"):
            Card("net", not_sure=wrong)


def test_an_activation_is_one_that_is_known_everywhere():
    assert ACTIVATIONS == arguments.ACTIVATIONS == tuple(name for name in ACTIVATIONS if hasattr(reference, name))
    assert (usual_activation(0), usual_activation(1), usual_activation(2)) == ("softmax", "sigmoid", "softmax")
    with pytest.raises(ValueError, match="the activation is softmax or sigmoid, got 'tanh'"):
        Card("net", activation="tanh")


def test_preprocessing_has_a_mean_and_a_deviation_for_each_channel():
    assert default_preprocessing(3) == PRESETS["official"] and default_preprocessing(3, "hf") == PRESETS["hf"]
    assert default_preprocessing(1) == Preprocessing(224, 248, (0.5,), (0.5,))
    assert default_preprocessing(13, "hf") == Preprocessing(224, 256, (0.0,) * 13, (1.0,) * 13)
    assert [default_preprocessing(n).channels for n in (1, 3, 13)] == [1, 3, 13]


@pytest.mark.parametrize(
    "wrong",
    [
        dict(crop=0),
        dict(resize=9000),
        dict(mean=(0, 0)),
        dict(mean=(), std=()),
        dict(std=(1, 1, 0)),
        dict(mean=(0, 0, float("nan"))),
    ],
)
def test_impossible_preprocessing_is_refused(wrong):
    with pytest.raises(ValueError, match=r"crop and resize|mean and std"):
        Preprocessing(**wrong)


def test_a_pipe_has_no_sha256(tmp_path):
    """Nobody writes to it: opening it would wait."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="a pipe is no file to read"):
        file_sha256(tmp_path / "pipe")
