"""Pictures in characters."""

import numpy as np

from minivan.lesson import pictures


def test_characters():
    assert pictures.bar(0, 10, 30) == "" and pictures.bar(0.001, 10, 30) == "#" and pictures.bar(10, 10, 30) == "#" * 30
    assert pictures.signed(np.array([[-1, -0.5, 0, 0.5, 1]]), 1.0, 10) == ["==--  ++##"]
    assert pictures.grey(np.array([[0.0, 0.55, 1.0]]), 4) == [" +@"]
    assert pictures.grid(np.full((1, 81), "."), 80) == []
