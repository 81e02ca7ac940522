"""What is counted of answers, against values made by hand."""

import math

import numpy as np
import pytest

from minivan.evaluate.statistics import (
    Confused,
    Share,
    agreement,
    among_first,
    calibration,
    confused,
    confusion,
    per_class,
    ranks,
    wilson,
)
from minivan.labelled import right

pytestmark = pytest.mark.loop


def test_wilsons_interval():
    """8 of 10 and 0 of 10 as in tables; at the edges z^2 / (n + z^2) is what is left."""
    assert [round(edge, 4) for edge in wilson(8, 10)] == [0.4902, 0.9433]
    assert wilson(0, 10) == (0.0, pytest.approx(1.959964**2 / (10 + 1.959964**2), abs=1e-6))
    assert wilson(10, 10) == (pytest.approx(10 / (10 + 1.959964**2), abs=1e-6), 1.0)
    assert [round(edge, 4) for edge in wilson(582, 1000)] == [0.5512, 0.6122]
    assert wilson(0, 0) == (0.0, 1.0) and math.isnan(Share(0, 0).rate)
    assert Share(0, 0).as_dict() == {"count": 0, "of": 0, "rate": None, "low": 0.0, "high": 1.0}
    for wrong in ((-1, 3), (4, 3)):
        with pytest.raises(ValueError, match="0 to 3 images"):
            wilson(*wrong)


def test_ranks_count_what_is_likelier_and_agree_with_labelled():
    logits = [[3.0, 2.0, 1.0], [1.0, 1.0, 2.0], [0.0, 0.0, 0.0]]
    assert ranks(logits, [0, 1, 1]).tolist() == [0, 2, 1]
    many, targets = np.random.default_rng(0).integers(0, 4, (200, 7)), np.arange(200) % 7  # with many ties
    for k in (1, 2, 5):
        assert among_first(ranks(many, targets), k) == Share(right(many, targets, k), 200)


TARGETS = np.array([4, 0, 4, 0, 4, 2, 0, 4])
TOP = np.array([4, 0, 2, 1, 2, 2, 3, 0])
RANK = np.array([0, 0, 1, 6, 4, 0, 5, 2])


def test_classes_and_what_they_were_taken_for():
    first, second, third = per_class(TARGETS, TOP, RANK)
    assert (first.index, first.top1, first.top5) == (0, Share(1, 3), Share(1, 3))
    assert (first.taken_for, first.taken) == (1, 1)  # and as often for 3, which has the higher index
    assert (second.index, second.top1, second.taken_for, second.taken) == (2, Share(1, 1), None, 0)
    assert (third.index, third.top1, third.top5) == (4, Share(1, 4), Share(4, 4))
    assert (third.taken_for, third.taken) == (2, 2)


def test_the_confusion_matrix_and_its_pairs():
    classes, matrix = confusion(TARGETS, TOP)
    assert classes.tolist() == [0, 1, 2, 3, 4] and matrix.dtype == np.int64
    assert matrix.tolist() == [[1, 1, 0, 1, 0], [0] * 5, [0, 0, 1, 0, 0], [0] * 5, [1, 0, 2, 0, 1]]
    assert confused(TARGETS, TOP) == [Confused(4, 2, 2), Confused(0, 1, 1), Confused(0, 3, 1), Confused(4, 0, 1)]


def test_calibration():
    """Two bins: of 0.1, 0.1 and 0.5 one is right, of 0.6 and 1.0 both: (|1 - 0.7| + |2 - 1.6|) / 5."""
    found = calibration([0.1, 0.6, 0.5, 1.0, 0.1], [False, True, True, True, False], bins=2)
    assert found.error == pytest.approx(0.14, abs=1e-15)
    assert [(b.low, b.high, b.right) for b in found.bins] == [(0.0, 0.5, Share(1, 3)), (0.5, 1.0, Share(2, 2))]
    assert [b.probability for b in found.bins] == pytest.approx([0.7 / 3, 0.8], abs=1e-15)
    edges = calibration(np.arange(16) / 15, np.ones(16, bool))
    assert [b.right.of for b in edges.bins] == [2] + 14 * [1]  # an edge belongs to the bin below it, 0 to the first
    order = np.random.default_rng(1).permutation(1000)
    values, hits = np.random.default_rng(2).random(1000), np.random.default_rng(3).random(1000) < 0.5
    assert calibration(values, hits) == calibration(values[order], hits[order])
    for wrong in ([], [1.5], [math.nan]):
        with pytest.raises(ValueError, match="at least one image"):
            calibration(wrong, [True] * len(wrong))


def test_agreement():
    said = agreement(np.array([1, 1, 2, 2, 0]), np.array([1, 1, 2, 0, 1]), np.array([1, 2, 0, 2, 1]))
    assert (said.same, said.both, said.first, said.second, said.neither) == (Share(2, 5), 1, 2, 1, 1)
