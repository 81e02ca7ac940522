"""minivan.lka against brute force: counting pixels one by one, convolving with plain loops, trying every d."""

import itertools
import math

import numpy as np
import pytest

from minivan import geometry, lka

pytestmark = pytest.mark.loop

PAPER = {  # channels -> parameters of 21 x 21: dense, MobileNet, LKA (Guo et al. 2022, section 3.1)
    32: (451_584, 15_136, 3_392),
    64: (1_806_336, 32_320, 8_832),
    128: (7_225_344, 72_832, 25_856),
    256: (28_901_376, 178_432, 84_480),
    512: (115_605_504, 487_936, 300_032),
}
SHAPES = [(21, 3), (7, 2), (9, 3), (12, 3), (14, 3), (28, 4), (5, 1), (4, 4), (1, 1), (13, 5)]


def convolve(x, kernel, dilation, offset):
    """Depthwise convolution of (C, H, W) by loops, zeros outside; the first tap reads `offset` from the output."""
    C, H, W = x.shape
    k = kernel.shape[-1]
    out = np.zeros(x.shape, np.result_type(x, kernel))
    for c, r, q in itertools.product(range(C), range(H), range(W)):
        for i, j in itertools.product(range(k), range(k)):
            row, column = r + offset + i * dilation, q + offset + j * dilation
            if 0 <= row < H and 0 <= column < W:
                out[c, r, q] += kernel[c, 0, i, j] * x[c, row, column]
    return out


def kernels(K, d, channels=2, integers=True, seed=1):
    rng = np.random.default_rng(seed)
    shapes = [(channels, 1, k, k) for k in (2 * d - 1, math.ceil(K / d))]
    if integers:
        return [rng.integers(1, 5, shape) for shape in shapes]
    return [rng.standard_normal(shape) for shape in shapes]


@pytest.mark.parametrize("C", PAPER)
def test_the_papers_table_of_parameters(C):
    assert (lka.dense_parameters(C, 21), lka.mobilenet_parameters(C, 21), lka.lka_parameters(C, 21, 3)) == PAPER[C]


def test_parameters_count_the_weights_of_real_kernels():
    C, K, d = 6, 21, 3
    conv0, conv_spatial = kernels(K, d, channels=C)
    assert lka.lka_parameters(C, K, d) == conv0.size + conv_spatial.size + C * C
    assert lka.mobilenet_parameters(C, K) == np.empty((C, 1, K, K)).size + C * C
    assert lka.dense_parameters(C, K) == np.empty((C, C, K, K)).size


def test_multiply_adds_count_every_product():
    height, width, C = 4, 5, 3
    scored = sum(1 for _ in itertools.product(range(20), range(20), range(C)))  # query . key
    mixed = sum(1 for _ in itertools.product(range(20), range(20), range(C)))  # weight * value
    projected = 4 * sum(1 for _ in itertools.product(range(20), range(C), range(C)))
    assert lka.self_attention_multiply_adds(C, 20) == scored + mixed + projected
    assert lka.multiply_adds(lka.dense_parameters(C, 3), height, width) == 20 * 9 * C * C


def test_self_attention_grows_with_the_square_of_the_map_and_lka_with_the_map():
    quadratic = [lka.self_attention_multiply_adds(64, n * n) - 4 * n * n * 64**2 for n in (28, 56)]
    linear = [lka.multiply_adds(lka.lka_parameters(64, 21, 3), n, n) for n in (28, 56)]
    assert quadratic[1] == 16 * quadratic[0] and linear[1] == 4 * linear[0]


@pytest.mark.parametrize("K", [1, 3, 7, 14, 21, 28, 51, 99])
def test_the_best_dilation_beats_every_other(K):
    cost = {d: math.ceil(K / d) ** 2 + (2 * d - 1) ** 2 for d in range(1, K + 1)}
    best = lka.best_dilation(K)
    assert cost[best] == min(cost.values()) and all(cost[d] > cost[best] for d in range(1, best))
    assert lka.spatial_weights(K, best) == cost[best]


def test_d_is_3_for_21_and_the_root_is_3_37():
    assert lka.best_dilation(21) == 3
    assert round(lka.continuous_best_dilation(21), 2) == 3.37


def test_near_kernels_d_wide_reach_every_place_once_and_make_another_d_the_best():
    for K, d in SHAPES:
        ways = np.bincount([i * d + j for i in range(math.ceil(K / d)) for j in range(d)])
        assert set(ways) == {1} and len(ways) == d * math.ceil(K / d) >= K
        assert lka.tiling_weights(K, d) == math.ceil(K / d) ** 2 + d * d
    assert [lka.tiling_weights(21, d) for d in (3, 4, 5)] == [58, 52, 50]
    assert lka.best_dilation(21, lka.tiling_weights) == 5


def test_chains_of_kernels_and_rows_with_columns_count_their_weights_and_places():
    for K, d in SHAPES:
        chain = (lka.local_side(d), 1), (lka.dilated_side(K, d), d)
        assert lka.chain_weights(*chain) == lka.spatial_weights(K, d) and lka.chain_support(*chain) == lka.support(K, d)
        rows_and_columns = [np.empty((4, side)) for side, _ in chain for _ in range(2)]
        assert lka.lska_parameters(4, K, d) == sum(kernel.size for kernel in rows_and_columns) + 4 * 4
    reached = {0}
    for side, dilation in ((3, 1), (3, 3), (5, 7)):
        reached = {at + dilation * tap for at in reached for tap in range(side)}
    assert lka.chain_support((3, 1), (3, 3), (5, 7)) == max(reached) + 1


def test_vans_attention_is_lka_between_two_pointwise_layers():
    C, positions = 64, 49
    assert lka.lka_attention_multiply_adds(C, 21, 3, positions) == positions * (C * (25 + 49 + C) + 2 * C * C)
    ratios = [
        lka.self_attention_multiply_adds(C, n * n) / lka.lka_attention_multiply_adds(C, 21, 3, n * n) for n in (7, 56, 224)
    ]
    assert [f"{ratio:.3g}" for ratio in ratios] == ["1.33", "24.5", "378"]


@pytest.mark.parametrize("K", [1, 7, 21, 28, 333])
def test_the_continuous_optimum_is_a_flat_bottom(K):
    best = lka.continuous_best_dilation(K)
    roots = np.roots([4, -2, 0, 0, -K * K])
    positive = [root.real for root in roots if abs(root.imag) < 1e-9 and root.real > 0]
    assert best == pytest.approx(positive[0], rel=1e-12) and len(positive) == 1
    h = 1e-4
    numeric = (lka.smooth_spatial_weights(K, best + h) - lka.smooth_spatial_weights(K, best - h)) / (2 * h)
    assert abs(numeric) < 1e-4 * K and abs(lka.slope(K, best)) < 1e-9 * K * K
    lowest = lka.smooth_spatial_weights(K, best)
    assert all(lowest < lka.smooth_spatial_weights(K, best * factor) for factor in (0.9, 0.99, 1.01, 1.1))


@pytest.mark.parametrize(("K", "d"), SHAPES)
def test_the_footprint_counts_paths_pixel_by_pixel(K, d):
    S = lka.support(K, d)
    counts = np.zeros((S, S), int)
    for a, b in itertools.product(range(math.ceil(K / d)), repeat=2):
        for i, j in itertools.product(range(2 * d - 1), repeat=2):
            counts[a * d + i, b * d + j] += 1
    np.testing.assert_array_equal(lka.footprint(K, d), counts)
    assert counts.min() == 1 and counts.sum() == math.ceil(K / d) ** 2 * (2 * d - 1) ** 2
    assert S >= K and (S == K) == (d == 1)


def test_the_support_is_found_by_poking_pixels():
    conv0, conv_spatial = kernels(21, 3, channels=1)
    reached = np.zeros((31, 31), bool)
    for r, c in itertools.product(range(31), repeat=2):
        u = np.zeros((1, 31, 31), int)
        u[0, r, c] = 1
        reached[r, c] = lka.two_steps(u, conv0, conv_spatial, 3)[0, 15, 15] != 0
    rows, columns = np.nonzero(reached)
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1, reached.sum()) == (23, 23, 23 * 23)
    assert lka.support(21, 3) == 23


@pytest.mark.parametrize(("K", "d"), SHAPES)
def test_read_by_marks_the_taps_of_each_step(K, d):
    masks, S = lka.read_by(K, d), lka.support(K, d)
    assert masks["local"].sum() == (2 * d - 1) ** 2 and masks["dilated"].sum() == math.ceil(K / d) ** 2
    assert masks["pointwise"].sum() == 1 and masks["both"].sum() == S * S
    assert all(mask.shape == (S, S) for mask in masks.values())
    rows = np.flatnonzero(masks["dilated"].any(1))
    assert set(np.diff(rows)) <= {d}


@pytest.mark.parametrize(("K", "d"), SHAPES)
def test_two_steps_is_two_convolutions(K, d):
    conv0, conv_spatial = kernels(K, d)
    u = np.random.default_rng(2).integers(-4, 5, (2, 13, 10))
    first = convolve(u, conv0, 1, -(d - 1))
    second = convolve(first, conv_spatial, d, -(d * (math.ceil(K / d) - 1) // 2))
    np.testing.assert_array_equal(lka.two_steps(u, conv0, conv_spatial, d), second)


@pytest.mark.parametrize(("K", "d"), SHAPES)
def test_one_step_is_one_convolution_with_the_composed_kernel(K, d):
    conv0, conv_spatial = kernels(K, d)
    u = np.random.default_rng(3).integers(-4, 5, (2, 11, 12))
    composed = lka.equivalent_kernel(conv0, conv_spatial, d)
    assert composed.shape == (2, 1, lka.support(K, d), lka.support(K, d))
    offset = -(d - 1) - d * (math.ceil(K / d) - 1) // 2
    np.testing.assert_array_equal(lka.one_step(u, conv0, conv_spatial, d), convolve(u, composed, 1, offset))


@pytest.mark.parametrize(("K", "d"), SHAPES)
@pytest.mark.parametrize("size", [(30, 33), (7, 40), (5, 5), (1, 1)])
def test_on_integers_the_forms_agree_exactly_where_the_border_is_out_of_reach(K, d, size):
    conv0, conv_spatial = kernels(K, d)
    u = np.random.default_rng(4).integers(1, 5, (2, *size))  # positive, so that no difference cancels
    one, two = lka.one_step(u, conv0, conv_spatial, d), lka.two_steps(u, conv0, conv_spatial, d)
    affected = lka.border_affected(*size, K, d)
    np.testing.assert_array_equal((one != two).any(0), affected)


def test_the_border_shows_in_stripes():
    stripes = lka.border_affected(60, 60, 21, 3)[:, 30]
    assert np.flatnonzero(stripes[:30]).tolist() == [1, 2, 4, 5, 7, 8]
    assert not lka.border_affected(60, 60, 21, 3)[9:-9, 9:-9].any()


def test_on_real_numbers_the_forms_agree_up_to_rounding():
    conv0, conv_spatial = kernels(21, 3, channels=4, integers=False)
    u = np.random.default_rng(5).standard_normal((4, 40, 40))
    one, two = (form(u, conv0, conv_spatial, 3) for form in (lka.one_step, lka.two_steps))
    inner = np.s_[:, 9:-9, 9:-9]
    scale = lka.one_step(abs(u), abs(conv0), abs(conv_spatial), 3)[inner]  # the sum of the products' magnitudes
    assert (abs(one - two)[inner] <= 529 * np.finfo(float).eps * scale).all()
    assert (one != two)[inner].any()  # the sums are grouped differently, so they do round differently


def test_a_kernel_far_wider_than_its_map_skips_only_what_meets_zeros():
    conv0, conv_spatial = kernels(40, 13)
    u = np.random.default_rng(8).integers(-4, 5, (2, 9, 8))
    u[:, 1] = 0
    two = convolve(convolve(u, conv0, 1, -12), conv_spatial, 13, -19)
    np.testing.assert_array_equal(lka.two_steps(u, conv0, conv_spatial, 13), two)
    assert (two != 0).any()


@pytest.fixture(scope="module")
def unit():
    """A map and the three steps of an attention, weights and biases, as a network has them."""
    rng = np.random.default_rng(9)
    shapes = {"conv0": (3, 1, 5, 5), "conv_spatial": (3, 1, 7, 7), "conv1": (3, 3, 1, 1)}
    steps = {n: {"weight": rng.standard_normal(s), "bias": rng.standard_normal(3)} for n, s in shapes.items()}
    return rng.standard_normal((3, 9, 8)), steps


def attended(u, steps):
    near = convolve(u, steps["conv0"]["weight"], 1, -2) + steps["conv0"]["bias"][:, None, None]
    far = convolve(near, steps["conv_spatial"]["weight"], 3, -9) + steps["conv_spatial"]["bias"][:, None, None]
    return np.einsum("oc,chw->ohw", steps["conv1"]["weight"][:, :, 0, 0], far) + steps["conv1"]["bias"][:, None, None]


def test_an_attention_value_is_its_bias_and_what_every_place_adds(unit):
    u, steps = unit
    whole, channel, place = attended(u, steps), 1, (2, 6)
    bias, places = lka.attention_sources(u, **steps, dilation=3, channel=channel, place=place)
    assert bias == pytest.approx(attended(0 * u, steps)[channel][place])
    assert bias + places.sum() == pytest.approx(whole[channel][place])
    for at in ((2, 6), (0, 0), (8, 7), (3, 5)):
        without = u.copy()
        without[:, at[0], at[1]] = 0
        assert places[at] == pytest.approx(whole[channel][place] - attended(without, steps)[channel][place])


def test_the_parts_by_distance_are_the_places_at_that_distance(unit):
    u, steps = unit
    bias, parts = lka.attention_by_distance(u, **steps, dilation=3)
    np.testing.assert_allclose(bias + parts.sum(axis=0), attended(u, steps))
    for channel, place in ((0, (0, 0)), (2, (4, 3)), (1, (8, 7))):
        there, places = lka.attention_sources(u, **steps, dilation=3, channel=channel, place=place)
        rows, columns = np.indices(places.shape)
        distance = np.maximum(abs(rows - place[0]), abs(columns - place[1]))
        assert bias[channel][place] == pytest.approx(there)
        sums = [places[distance == k].sum() for k in range(12)]
        np.testing.assert_allclose(parts[:, channel, place[0], place[1]], sums, atol=1e-12)


def test_inputs_are_left_alone():
    conv0, conv_spatial = kernels(9, 3)
    u = np.random.default_rng(7).integers(-4, 5, (2, 9, 9))
    before = [array.copy() for array in (u, conv0, conv_spatial)]
    for form in (lka.one_step, lka.two_steps):
        form(u, conv0, conv_spatial, 3)
    for array, copy in zip((u, conv0, conv_spatial), before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_taps_on_map():
    assert lka.taps_on_map(7, 3, 2).tolist() == [1, 1]  # a 2 x 2 map: all but the centre tap read padding
    assert lka.taps_on_map(7, 3, 19).tolist()[9] == 7
    assert lka.taps_on_map(3, 1, 4).tolist() == [2, 3, 3, 2]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: lka.lka_parameters(0, 21, 3), "C is a whole number of at least 1; got 0"),
        (lambda: lka.lka_parameters(32, 21, 22), "from 1 to K = 21; got 22"),
        (lambda: lka.support(21, 0), "from 1 to K = 21; got 0"),
        (lambda: lka.best_dilation(0), "K is a whole number"),
        (lambda: lka.dense_parameters(32, 2.5), "K is a whole number"),
        (lambda: lka.continuous_best_dilation(0), "positive"),
        (lambda: lka.equivalent_kernel(np.ones((2, 1, 5, 5)), np.ones((3, 1, 7, 7)), 3), "same channels"),
        (lambda: lka.equivalent_kernel(np.ones((2, 2, 5, 5)), np.ones((2, 1, 7, 7)), 3), r"\(C, 1, k, k\)"),
        (lambda: lka.depthwise(np.ones((3, 8, 8)), np.ones((2, 1, 5, 5))), r"got x \(3, 8, 8\)"),
    ],
)
def test_wrong_arguments_are_named(call, said):
    with pytest.raises(ValueError, match=said):
        call()


def test_the_papers_kernel_is_the_networks():
    """The paper's K and d lead to the kernels that the network has."""
    K, d = geometry.LARGE_KERNEL, geometry.CONV_SPATIAL.dilation
    assert (lka.local_side(d), lka.dilated_side(K, d)) == (geometry.CONV0.side, geometry.CONV_SPATIAL.side)
    assert lka.best_dilation(K) == d
    assert lka.support(K, d) == 1 + 2 * (geometry.CONV0.reach + geometry.CONV_SPATIAL.reach)
