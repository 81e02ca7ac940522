"""What a person is told: one line, with nothing in it that a terminal would obey."""

import os

import pytest

from minivan.errors import LONGEST_REASON, printable, quote, reason, sentence, suggestion

pytestmark = pytest.mark.loop


def test_control_characters_and_lone_surrogates_are_shown_as_codes():
    assert printable("a\x1b[31m\nb\udcffé") == r"a\x1b[31m\nb\udcffé"


def test_a_quoted_name_is_short_and_what_is_no_name_is_called_by_its_type():
    assert quote("x" * 100) == repr("x" * 80 + "...")
    assert (quote("a\nb"), quote(None), quote(b"x"), quote(object())) == (r"'a\nb'", "None", "a bytes", "an object")


NO_FILE = "No such file or directory"


@pytest.mark.parametrize(
    ("error", "why", "alone", "about_cat"),
    [
        (FileNotFoundError(2, NO_FILE, "a.jpg"), NO_FILE, f"a.jpg: {NO_FILE}", f"cat.jpg: {NO_FILE}"),
        (FileNotFoundError(2, NO_FILE, os.fsencode("a.jpg")), NO_FILE, f"a.jpg: {NO_FILE}", f"cat.jpg: {NO_FILE}"),
        (OSError(28, "No space left"), "No space left", "No space left", "cat.jpg: No space left"),
        (OSError("standard input is closed"), *["standard input is closed"] * 2, "cat.jpg: standard input is closed"),
        (ValueError("two\n lines"), "two lines", "two lines", "cat.jpg: two lines"),
        (KeyError(), "KeyError", "KeyError", "cat.jpg: KeyError"),
    ],
)
def test_every_error_is_one_sentence(error, why, alone, about_cat):
    assert (reason(error), sentence(error), sentence(error, "cat.jpg")) == (why, alone, about_cat)


def test_a_long_error_is_cut_in_its_middle():
    error = ValueError("begins" + 100_000 * "-" + "ends")
    for said in (reason(error), sentence(error)):
        assert len(said) <= LONGEST_REASON + len(" ... ") and said.startswith("begins") and said.endswith("ends")


def test_a_suggestion_names_what_is_near_or_else_says_what_there_is():
    assert suggestion(["norm1", "norm2"], "never said") == "near it are norm1, norm2"
    assert suggestion([], "they begin with input") == "they begin with input"
