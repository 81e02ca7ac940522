"""How a batch is divided among threads: by the properties that everything else relies on, and as it was on one and two."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minivan.fast.rounds import FAIR, Portion, rounds

pytestmark = pytest.mark.loop

CALLS = {"images": st.integers(0, 70), "height": st.integers(32, 900), "width": st.integers(32, 900)}
MAPS = 4 * 57 * 57  # positions of the first stage that a thread has in memory at once


def positions(height, width):
    return -(-height // 4) * -(-width // 4)


@given(**CALLS, threads=st.integers(1, 70))
def test_every_image_is_in_one_team_and_no_round_has_more_threads_or_more_in_memory(images, height, width, threads):
    seen = []
    for teams in rounds(images, height, width, threads):
        assert all(team.threads >= 1 and team.images >= 1 for team in teams)
        assert sum(team.threads for team in teams) <= threads
        together = sum(team.images for team in teams) * positions(height, width)
        assert together <= threads * MAPS or sum(team.images for team in teams) == 1
        seen += [image for team in teams for image in range(team.first, team.first + team.images)]
    assert seen == list(range(images))


@given(**CALLS, threads=st.integers(1, 70))
def test_teams_of_a_round_are_about_equal_and_each_image_gets_a_fair_share_of_threads(images, height, width, threads):
    for teams in rounds(images, height, width, threads):
        assert max(team.images for team in teams) - min(team.images for team in teams) <= 1
        share = threads / sum(team.images for team in teams)
        for team in teams:
            small = (team.images * positions(height, width)) ** 0.5 / 2  # threads that so small a map is worth
            assert team.threads >= min(FAIR * share * team.images, small - 1) - 1e-9
            assert team.threads <= max(1, small + 2)


@given(**CALLS, threads=st.integers(1, 2))
def test_on_one_and_two_threads_nothing_is_divided_but_images_of_their_own(images, height, width, threads):
    """As it was measured there: what is left over is computed by all threads, several small images at once."""
    alone, first, expected = min(4, 4 * 56 * 56 // ((height // 4 + 1) * (width // 4 + 1))), 0, []
    while first < images:
        each = min(alone, (images - first) // threads) if threads > 1 else 0
        count = each or min(max(alone, 1), images - first)
        each_of = threads if each else 1
        expected.append([Portion(first + i * count, count, threads // each_of) for i in range(each_of)])
        first += count * each_of
    assert list(rounds(images, height, width, threads)) == expected


def test_what_is_left_over_is_divided_among_teams():
    assert list(rounds(5, 64, 64, 2)) == [[Portion(0, 2, 1), Portion(2, 2, 1)], [Portion(4, 1, 2)]]
    assert list(rounds(2, 640, 640, 2)) == [[Portion(0, 1, 2)], [Portion(1, 1, 2)]]  # too large for one each
    assert list(rounds(8, 224, 224, 16)) == [[Portion(i, 1, 2) for i in range(8)]]
    assert list(rounds(6, 96, 96, 4)) == [[Portion(i, 1, 1) for i in range(4)], [Portion(4, 1, 2), Portion(5, 1, 2)]]
    assert list(rounds(3, 224, 224, 4)) == [[Portion(0, 3, 4)]]  # in three teams two images would have one thread each


def test_a_small_image_has_no_use_for_all_threads():
    most = [rounds(1, side, side, 64) for side in (32, 64, 96, 224, 384, 1024)]
    assert [portion.threads for portion in itertools.chain(*itertools.chain(*most))] == [4, 8, 12, 28, 48, 64]
