"""The model of many cores counts what `fast` does: all of it, and as many barriers for every thread."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from support import ROOT

sys.path.append(str(ROOT / "benchmarks"))

import scaling

from minivan.geometry import CONV_SPATIAL
from minivan.summary import summarise, totals
from minivan.variants import VARIANTS

PRODUCTS, TAPS, READ, WRITTEN = range(4)


@pytest.fixture(scope="module")
def schedule():
    return scaling.Schedule("b0", 64)


def totals_of(divided):
    return sum(work.counts.sum((0, 1)) for teams in divided for work in teams)


def test_the_counts_are_those_of_the_network(schedule):
    """Padded: the stem's matrix, whole tiles of positions, and taps beyond the map, which are left out."""
    _, multiply_adds = totals(summarise(VARIANTS["b0"], 64, 64))
    whole = totals_of(schedule.rounds(1, 1))
    assert 1 < (whole[PRODUCTS] + whole[TAPS]) / multiply_adds < 1.6
    assert np.allclose(totals_of(schedule.rounds(8, 1))[[TAPS, WRITTEN]], 8 * whole[[TAPS, WRITTEN]])


def test_every_thread_of_a_team_has_its_share_and_meets_the_others_as_often(schedule):
    """A team whose members passed unequal numbers of barriers would never end, and would make no array here."""
    whole = totals_of(schedule.rounds(1, 1))
    for threads in (2, 5, 64):
        team = schedule.team(scaling.Portion(0, 1, threads))
        assert team.threads == threads == team.counts.shape[1] and (team.counts >= 0).all()
        done = team.counts.sum((0, 1))
        assert done[TAPS] == pytest.approx(whole[TAPS], rel=0.2) and done[PRODUCTS] >= whole[PRODUCTS] * 0.9
        rates = np.array([1.0, 1.0, 0.0])
        largest = team.counts[:, :, :2].sum(2).max(1).sum()
        assert team.seconds(rates) == largest >= whole[:2].sum() / threads


def test_a_batch_is_shared_by_images_first(schedule):
    assert [[work.threads for work in teams] for teams in schedule.rounds(6, 4)] == [[1] * 4, [2, 2]]
    divided = schedule.rounds(6, 4, scaling.in_one_team)
    assert [[work.threads for work in teams] for teams in divided] == [[1] * 4, [4]]
    rates = np.array([1e-9, 2e-9, 0.0])
    alone = scaling.seconds(schedule.rounds(1, 1), rates, 1)
    assert scaling.seconds(divided[:1], rates, 4, barriers=False) == pytest.approx(alone)
    waits = scaling.seconds(divided, rates, 4) - scaling.seconds(divided, rates, 4, barriers=False)
    meetings = len(divided[1][0].counts) - 1
    assert waits == pytest.approx(2 * scaling.WAKE + 4 * meetings * scaling.BARRIER)


def test_taps_beyond_the_map_are_not_counted():
    side, reach = 7, CONV_SPATIAL.reach
    by_hand = sum(0 <= place + offset < side for place in range(2, 6) for offset in range(-reach, reach + 1, 3))
    assert scaling.inside(CONV_SPATIAL, side, 2, 6) == by_hand


def test_a_product_reads_its_weights_each_time_and_its_map_once(schedule):
    trail, v = scaling.Trail(), scaling.vector_width(schedule.lanes)
    x = SimpleNamespace(blocks=2, address=0)
    for pair in (0, 1):
        part = SimpleNamespace(first=0, last=100, pair=pair, end=pair + 1)
        trail.matmul(schedule.lanes, x, None, None, None, part, None)
    inputs, outputs, positions = 2 * v, 2 * scaling.PAIR * v, 100
    (counts,) = trail.steps
    assert counts.read == scaling.FLOAT * (inputs * outputs + positions * inputs)
    assert counts.written == scaling.FLOAT * positions * outputs


def test_rates_are_fitted_and_never_negative(schedule, monkeypatch):
    rates = np.array([2e-11, 5e-11, 3e-11])
    monkeypatch.setattr(scaling, "FITTED", [("b0", 64, images) for images in (1, 2, 3, 4)])
    monkeypatch.setattr(
        scaling, "least_seconds", lambda *case: float(totals_of(schedule.rounds(case[2], 1))[: scaling.RATED] @ rates)
    )
    found, times = scaling.fitted(lambda *_: schedule)
    assert (found >= 0).all()
    for (_, _, images), seconds in times.items():
        assert scaling.seconds(schedule.rounds(images, 1), found, 1) == pytest.approx(seconds, rel=1e-6)
