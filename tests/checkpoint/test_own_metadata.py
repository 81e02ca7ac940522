"""What a card says survives being written and read, or is refused before it is written: one rule for both directions."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.networks import random_tensors

from minivan.card import Card, Label, read_labels
from minivan.checkpoint import Weights, own_metadata, read, write
from minivan.checkpoint.budget import Budget
from minivan.variants import Config

pytestmark = pytest.mark.loop

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
