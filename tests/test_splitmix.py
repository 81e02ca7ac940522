"""The numbers of SplitMix64, against its published test vector and against arithmetic of whole numbers."""

import pytest

from minivan.splitmix import words

pytestmark = pytest.mark.loop


def splitmix64(state):
    """The generator as Steele, Lea and Flood print it, in Python's whole numbers."""
    while True:
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        z = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
        yield z ^ z >> 31


def test_the_published_words():
    """Seed 1234567, as in Vigna's reference code and the tests of other languages."""
    assert words(1234567, 3).tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@pytest.mark.parametrize("seed", [0, 42, 2**64 - 1])
def test_any_part_of_the_sequence_is_that_of_the_whole(seed):
    made = splitmix64(seed)
    expected = [next(made) for _ in range(100)]
    assert words(seed, 100).tolist() == expected
    assert words(seed, 10, 63).tolist() == expected[63:73]
