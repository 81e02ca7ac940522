"""The engine `fast`: against `exact`, on every vector width, and against itself in other threads, batches and callers."""

import os
import subprocess
import sys
import threading

import numba
import numpy as np
import pytest
from support import ROOT
from support.compare import assert_bit_equal, assert_close
from support.judge import torch
from support.networks import images, random_tensors
from tolerances import FAST

from minivan.fast import Plan, workspace
from minivan.fast.addresses import FLOAT_BYTES, address_of, aligned
from minivan.fast.depthwise import KERNELS, Band, Conv0, ConvSpatial, Dwconv, depthwise
from minivan.fast.lanes import (
    PAIR,
    SHAPES,
    Dots16,
    Lanes4,
    Lanes8,
    Lanes16,
    Plain,
    Rounded16,
    SoftMatrices4,
    SoftTiles16,
    host_features,
    host_lanes,
    pairs_for,
)
from minivan.fast.maps import Grid, Map, Parameters, Part
from minivan.fast.matmul import ACTIVATED, matmul
from minivan.fast.rounds import Portion
from minivan.jit import inline
from minivan.van import VAN
from minivan.variants import VARIANTS, Config, parameter_shapes

# This processor's own width is compiled before the tests begin; the others take half a minute each. Every version of Numba
# compiles the one that most processors have.
WIDTHS = [
    pytest.param(
        lanes,
        marks=[] if type(lanes) is type(host_lanes()) else pytest.mark.slow if type(lanes) is Lanes8 else pytest.mark.once,
    )
    for lanes in (Lanes16(), Lanes8(), Lanes4(), Plain())
]
# In bfloat16 a row of operands takes as many floats as one of the map (tiles, halves) or half as many (pairs).
PAIRED = [SoftMatrices4(), *([Dots16()] if "+avx512bf16" in host_features() else [])]
BFLOAT16_WIDTHS = [pytest.param(lanes, marks=pytest.mark.once) for lanes in (Rounded16(), SoftTiles16(), *PAIRED)]
SMALL = Config((8, 16, 24, 32), (1, 2, 2, 1), (8, 8, 4, 4), classes=10)
ODD = Config((33, 50, 70), (1, 1, 2), (3, 2, 1), classes=7, layer_norm_eps=1e-5)
ONE, SEVEN = (Config((8, 16), (1, 1), (2, 2), classes=4, channels=channels) for channels in (1, 7))


COUNTS = 1, 2, 3, 5, 9  # of threads, whatever the machine has


@pytest.fixture
def threads(monkeypatch):
    """Have the engine take so many threads."""
    return lambda count: monkeypatch.setattr("minivan.fast.plan.thread_count", lambda: count)


@pytest.mark.parametrize("lanes", WIDTHS, ids=lambda lanes: type(lanes).__name__)
@pytest.mark.parametrize("config", [SMALL, ODD, ONE, SEVEN], ids=["small", "odd", "one channel", "seven channels"])
@pytest.mark.parametrize("size", [(1, 32, 32), (2, 33, 47), (3, 100, 61), (1, 161, 35), (1, 150, 290)], ids=str)
def test_logits_and_features_are_those_of_exact_on_every_vector_width_and_size(lanes, config, size):
    tensors, x = random_tensors(config, seed=3), images(*size, channels=config.channels)
    plan, exact = Plan(config, tensors, lanes), VAN(config, tensors)
    assert_close("logits", plan(x), exact(x), FAST)
    for i, (got, expected) in enumerate(zip(plan.features(x), exact.features(x), strict=True), 1):
        assert_close(f"stage {i}", got, expected, FAST)


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.once) if n > "b1" else n for n in VARIANTS])
def test_every_variant_gives_the_logits_of_exact(name):
    config, x = VARIANTS[name], images(1, 96, 64, seed=5)
    tensors = random_tensors(config, seed=11)
    assert_close(name, VAN(config, tensors, engine="fast")(x), VAN(config, tensors)(x), FAST)


def integers(config, seed):
    """Return small integers for every tensor, so chosen that no sum of the network is ever rounded.

    One or two weights per output; GELU sees numbers above 6, which it returns as they are; BatchNorm divides by 1 or 2;
    every LayerNorm but the last gives a constant per channel.
    """
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, shape in parameter_shapes(config):
        values = np.zeros(shape)
        if name.endswith("running_var"):
            values = rng.choice([1.0, 4.0], shape)
        elif "layer_scale" in name:
            values = rng.choice([0.5, 1.0], shape)
        elif name.startswith("norm") and name.endswith("weight"):
            values[:] = 0 if int(name[4]) < config.stages else rng.integers(1, 4, shape)
        elif name.endswith("weight") and len(shape) == 1:
            values = 2.0 * rng.integers(1, 3, shape)
        elif name.endswith("weight"):
            flat = values.reshape(shape[0], -1)
            for row in flat:
                count = 1 if name.endswith(("dwconv.weight", "fc2.weight")) else 2
                row[rng.integers(0, flat.shape[1], count)] = rng.choice([1.0] if "dwconv" in name else [-1.0, 1.0], count)
        elif name.endswith(("proj_1.bias", "fc1.bias")):
            values = rng.integers(150, 160, shape) if "proj_1" in name else np.full(shape, 2.0**21)
        else:
            values = rng.integers(-3, 4, shape) + (16 if "dwconv" in name else 0)
        tensors[name] = np.asarray(values, np.float32)
    return tensors


@pytest.mark.parametrize("lanes", WIDTHS, ids=lambda lanes: type(lanes).__name__)
@pytest.mark.parametrize("size", [(2, 37, 50), (1, 150, 161)], ids=str)
def test_integers_come_out_bit_equal_to_exact(lanes, size):
    config = Config((32, 40, 12, 64), (1, 1, 1, 1), (8, 3, 2, 4), classes=9, batch_norm_eps=0.0)
    x = np.random.default_rng(2).integers(-2, 3, (size[0], 3, *size[1:])).astype(np.float32)
    tensors = integers(config, seed=4)
    exact, plan = VAN(config, tensors), Plan(config, tensors, lanes)
    largest = []
    expected = exact(x, hook=lambda path, y: largest.append((path, float(np.abs(y).max()), float(y.min()))))
    seen = {path: (most, least) for path, most, least in largest}
    assert max(most for most, _ in seen.values()) < 2**23  # half-integers stay exact below this
    assert all(least > 6 for path, (_, least) in seen.items() if path.endswith(("attn.proj_1", "dwconv.dwconv")))
    assert len(np.unique(expected)) > 4
    for i, (got, y) in enumerate(zip(plan.features(x), exact.features(x), strict=True), 1):
        assert_bit_equal(f"stage {i}", got, y)
    assert_bit_equal("logits", plan(x), expected)


@pytest.mark.parametrize("lanes", WIDTHS, ids=lambda lanes: type(lanes).__name__)
@pytest.mark.parametrize("config", [SMALL, ODD, VARIANTS["b0"]], ids=["small", "odd", "b0"])
def test_the_bits_depend_on_neither_threads_nor_batch(threads, lanes, config):
    plan = Plan(config, random_tensors(config, seed=6), lanes)
    x = images(5, 70, 93, seed=8)
    expected, maps = plan(x), plan.features(x)
    for count in COUNTS:
        threads(count)
        assert_bit_equal(f"{count} threads", plan(x), expected)
        for first, last in ((0, 1), (1, 4), (4, 5)):
            assert_bit_equal(f"{count} threads, images {first} to {last}", plan(x[first:last]), expected[first:last])
            for got, whole in zip(plan.features(x[first:last]), maps, strict=True):
                assert_bit_equal("features", got, whole[first:last])


@pytest.mark.parametrize("lanes", [*WIDTHS, *BFLOAT16_WIDTHS], ids=lambda lanes: type(lanes).__name__)
def test_bands_of_any_height_give_the_bits_of_whole_maps(threads, monkeypatch, lanes):
    """A band's rows lie in a ring, which goes on from its beginning at another row for each height and each thread."""
    config = Config((8, 16), (1, 1), (2, 3), classes=5)
    plan = Plan(config, random_tensors(config), lanes)
    x, heights = images(1, 77, 59), set()

    def outputs(cache, small):
        with monkeypatch.context() as patched:
            patched.setattr(workspace, "CACHE", cache)
            patched.setattr(workspace, "SMALL_MAP", small)
            patched.setattr(workspace, "SMALL_SHARED_MAP", small)
            workspace.sizes_of.cache_clear()
            heights.add(int(workspace.sizes_of(config, plan.shape, Portion(0, 1, 1), 77, 59).tilings[0]["band"]))
            found = [plan(x), *plan.features(x)]
        workspace.sizes_of.cache_clear()
        return found

    expected = outputs(0, 1 << 30)
    row = FLOAT_BYTES * 15 * pairs_for(2 * 8, plan.shape.lanes) * PAIR * plan.shape.lanes  # bytes of the first stage's wide map
    for count in COUNTS:
        threads(count)
        for band in range(1, 21):
            for got, whole in zip(outputs((2 * band + 2) * row, 0), expected, strict=True):
                assert_bit_equal(f"{band} rows, {count} threads", got, whole)
    assert heights == set(range(21))


def test_more_threads_than_cores_and_teams_of_them_meet_at_their_barriers_and_give_the_same_bits():
    script = (
        "import sys; sys.path[:0] = ['tests']\n"
        "from support.networks import images, random_tensors; from minivan.fast import Plan, plan as module\n"
        "from minivan.fast.rounds import rounds; from minivan.variants import VARIANTS, Config\n"
        "plan, x = Plan(VARIANTS['b0'], random_tensors(VARIANTS['b0'])), images(1, 96)\n"
        "results = []\n"
        "for n in (1, 3, 5, 8): module.thread_count = lambda: n; results.append(plan(x).tobytes())\n"
        "assert len(set(results)) == 1\n"
        "small = Config((8, 16, 24, 32), (1, 1, 1, 1), (2, 2, 2, 2), classes=5)\n"
        "plan, x, shapes = Plan(small, random_tensors(small)), images(9, 40, 52), set()\n"
        "module.thread_count = lambda: 1; expected = plan(x)\n"
        "for n in range(3, 10):\n"
        "    module.thread_count = lambda: n\n"
        "    for count in range(2, 10):\n"
        "        assert plan(x[:count]).tobytes() == expected[:count].tobytes(), (n, count)\n"
        "        shapes |= {(len(teams), team.threads) for teams in rounds(count, 40, 52, n) for team in teams}\n"
        "assert {(2, 2), (2, 3), (3, 2), (3, 3), (4, 2), (1, 5)} <= shapes, shapes\n"
        # A stage of 16 matrix tiles of positions, on more threads than tiles: some have nothing to do and meet all the same.
        "x, results = images(1, 256, 16 * plan.shape.rows), []\n"
        "for n in (1, 16, 17, 20): module.thread_count = lambda: n; results.append(plan(x).tobytes())\n"
        "assert next(rounds(1, *x.shape[2:], 20))[0].threads > 16 and len(set(results)) == 1; print('same')"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=env, cwd=ROOT, timeout=300)
    assert done.stdout == "same\n", done.stderr


def test_eight_python_threads_share_one_model():
    model = VAN(SMALL, random_tensors(SMALL), engine="fast")
    inputs = [images(1 + i % 3, 40 + 7 * i, 60, seed=i) for i in range(8)]
    expected = [model(x) for x in inputs]
    wrong = []

    def call(i):
        for _ in range(20):
            if model(inputs[i]).tobytes() != expected[i].tobytes():
                wrong.append(i)

    callers = [threading.Thread(target=call, args=(i,)) for i in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


def test_strided_and_double_inputs_are_taken_and_left_as_they_are():
    model = VAN(SMALL, random_tensors(SMALL), engine="fast")
    x = images(2, 64, 80)
    wide = np.zeros((2, 3, 64, 160), np.float64)
    wide[..., ::2] = x
    before = wide.copy()
    assert_bit_equal("strided", model(wide[..., ::2]), model(x))
    assert np.array_equal(wide, before)


def test_arrays_between_two_addresses_are_taken():
    """A field of a packed record begins at any byte: an address, which counts floats, cannot say where."""
    model, x = VAN(SMALL, random_tensors(SMALL), engine="fast"), images(2, 64)
    packed = np.zeros(2, np.dtype([("flag", np.uint8), ("image", np.float32, (3, 64, 64))]))
    packed["image"] = x
    assert not packed["image"].flags.aligned
    assert_bit_equal("unaligned", model(packed["image"]), model(x))
    contiguous = np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(x.shape)
    assert_bit_equal("one byte off", model(contiguous), model(x))


def test_an_empty_batch_gives_empty_arrays():
    model = VAN(SMALL, random_tensors(SMALL), engine="fast")
    assert model(images(0, 64)).shape == (0, 10)
    assert [y.shape for y in model.features(images(0, 64))] == [(0, 8, 16, 16), (0, 16, 8, 8), (0, 24, 4, 4), (0, 32, 2, 2)]


def test_a_bare_backbone_has_features():
    config = Config((8, 16), (1, 1), (2, 2), classes=0)
    tensors, x = random_tensors(config), images(1, 50)
    for got, expected in zip(VAN(config, tensors, "fast").features(x), VAN(config, tensors).features(x), strict=True):
        assert_close("features", got, expected, FAST)
    with pytest.raises(ValueError, match="without a head"):
        VAN(config, tensors, "fast")(x)


def test_a_hook_sees_the_operators_of_exact():
    tensors, x = random_tensors(SMALL), images(1, 64)
    paths = []
    logits = VAN(SMALL, tensors, "fast")(x, hook=lambda path, y: paths.append(path))
    assert_bit_equal("logits", logits, VAN(SMALL, tensors)(x))
    assert "block2.1.attn.spatial_gating_unit.conv1" in paths


def run_script(script, **env):
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, timeout=300,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests"))), **env},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.once
def test_memory_does_not_grow_over_a_thousand_calls_of_varying_sizes():
    first, last = run_script(
        "import resource, sys\n"
        "from support.networks import images, random_tensors; from minivan.fast import Plan\n"
        "from minivan.variants import Config\n"
        "config = Config((8, 16, 24, 32), (1, 1, 1, 1), classes=10); plan = Plan(config, random_tensors(config))\n"
        "xs = [images(n, h, w) for n in (1, 3, 5) for h, w in ((32, 200), (224, 224), (75, 33), (300, 150))]\n"
        "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == 'darwin' else 1024)\n"
        "for i in range(1100):\n"
        "    if i == 100: first = peak()\n"
        "    plan(xs[i * 7 % len(xs)])\n"
        "    plan.features(xs[0]) if i % 10 == 0 else None\n"
        "print(first, peak())"
    )
    assert int(last) - int(first) < 2 << 20


@pytest.mark.slow
def test_the_environment_chooses_the_vector_width():
    for asked, expected in (("16", "Lanes16"), ("8", "Lanes8"), ("4", "Lanes4"), ("0", "Plain")):
        script = "from minivan.fast.lanes import host_lanes; print(type(host_lanes()).__name__)"
        assert run_script(script, MINIVAN_VECTOR=asked) == [expected]
    script = "from minivan.fast.lanes import host_lanes\ntry: host_lanes()\nexcept ValueError as e: print(e)"
    assert run_script(script, MINIVAN_VECTOR="12")[:2] == ["MINIVAN_VECTOR", "is"]


@pytest.mark.parametrize("lanes", WIDTHS, ids=lambda lanes: type(lanes).__name__)
@pytest.mark.parametrize("convolution", [Dwconv(), Conv0(), ConvSpatial()], ids=lambda c: type(c).__name__)
def test_depthwise_rows_of_every_width_are_pytorchs_and_stay_within_the_map(lanes, convolution):
    v, kernel = SHAPES[type(lanes)].lanes, KERNELS[type(convolution)]
    taps, dilation = kernel.side, kernel.dilation
    rng = np.random.default_rng(taps)
    called = inline(depthwise.py_func)  # by Python: what has become a part of a network in this process cannot be
    for width in (*range(1, 48), 56, 61):
        height = 2 + width % 11
        x, out = aligned((height * width + 32) * v), aligned((height * width + 32) * v)
        weight, bias = aligned(taps * taps * v), aligned(v)
        for array in (x, weight, bias):
            array[:] = rng.normal(size=array.size)
        out[:] = 7
        at = [address_of(array) for array in (x, weight, bias, out)]
        band = Band(first=0, last=height, top=0, ring=height)
        called(lanes, convolution, at[0], Grid(1, height, width), Parameters(at[1], at[2]), at[3], band)
        size = height * width * v
        maps, weights = torch.from_numpy(x[:size].astype(np.float64)), torch.from_numpy(weight.astype(np.float64))
        expected = torch.nn.functional.conv2d(
            maps.reshape(1, height, width, v).permute(0, 3, 1, 2), weights.reshape(taps, taps, 1, v).permute(3, 2, 0, 1),
            torch.from_numpy(bias.astype(np.float64)), padding=taps // 2 * dilation, dilation=dilation, groups=v,
        )  # fmt: skip
        expected = torch.nn.functional.gelu(expected) if taps == 3 else expected
        got = out[:size].reshape(height, width, v).transpose(2, 0, 1)
        assert_close(f"{taps} taps, {height} x {width}", got, expected[0].numpy(), FAST)
        assert (out[size:] == 7).all()


@pytest.mark.parametrize("lanes", WIDTHS, ids=lambda lanes: type(lanes).__name__)
def test_gelu_is_within_3e_7_of_the_truth_the_identity_from_6_on_and_nothing_below_minus_7_25(lanes):
    shape = SHAPES[type(lanes)]
    v, count = shape.lanes, 4096
    x = np.concatenate([np.linspace(-12, 12, count * v - 4), [0.0, 6.0, 1e4, -1e4]]).astype(np.float32)
    maps, out, spare = aligned(x.size + 256), aligned(2 * x.size), aligned(512)
    weight, zeros = aligned(2 * v * v), aligned(2 * v)
    maps[: x.size] = x
    weight.reshape(v, 2, v)[:, 0] = np.eye(v)  # the first block of outputs is the input
    at = [address_of(array) for array in (maps, weight, zeros, out, spare)]
    x_map, out_map = Map(at[0], count * v, 1), Map(at[3], count * v, 2)
    run_matmul(lanes, x_map, Parameters(at[1], at[2]), out_map, Part(0, count, 0, 1), at[4])
    expected = torch.nn.functional.gelu(torch.from_numpy(x.astype(np.float64))).numpy()
    assert np.abs(out[: x.size] - expected).max() < 3e-7 + 1e4 * 2**-24
    small = np.abs(x) <= 12
    assert np.abs(out[: x.size] - expected)[small].max() < 3e-7
    assert np.array_equal(out[: x.size][x >= 6], x[x >= 6])
    assert (out[: x.size][x <= -7.26] == 0).all()
    assert (out[x.size :] == 0).all()


@numba.njit
def run_matmul(lanes, x, parameters, out, part, spare):
    matmul(lanes, x, parameters, out, ACTIVATED, part, spare)
