"""The lessons' answers, each against a count or a computation of its own that does not use minivan's formulas."""

import importlib.util
import itertools
import math
import re
import sys

import numpy as np
import pytest
from support import EXAMPLES
from tolerances import FLOAT64

from minivan.lesson import check

sys.path.insert(0, str(EXAMPLES))

import build


def answers(lesson):
    """Import answers/lesson_NN.py from its path."""
    path = EXAMPLES / "answers" / f"lesson_{lesson:02d}.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_lesson_1():
    a = answers(1)
    positions = [p for p in range(-3, 224 + 3 - 6) if (p + 3) % 4 == 0]  # the kernel's left edge, padding included
    assert a.exercise_1(224, 7, 4, 3, 1) == len(positions) == 56
    for side, k, stride, padding, d in itertools.product((30, 31), (3, 5), (1, 2, 3), (0, 2), (1, 3)):
        fits = [p for p in range(-padding, side + padding) if (p + padding) % stride == 0 and p + d * (k - 1) < side + padding]
        assert a.exercise_1(side, k, stride, padding, d) == len(fits)
    assert a.exercise_2() == sum(1 for _ in itertools.product(range(56), range(56))) * 32 * 3 * 49
    impulse = np.zeros((9, 9))
    impulse[4, 4] = 1
    for _ in range(2):
        impulse = sum(np.roll(impulse, shift, (0, 1)) for shift in itertools.product((-1, 0, 1), repeat=2)) / 9
    assert a.exercise_3() == pytest.approx(impulse[4, 4]) == pytest.approx(1 / 9)


def test_lesson_2():
    a = answers(2)
    assert a.exercise_1() == np.empty((64, 64, 7, 7)).size / (np.empty((64, 1, 7, 7)).size + np.empty((64, 64)).size)
    assert len(range(2 * a.exercise_2() + 1)) == 9
    read = np.zeros((12, 12), bool)
    for row, column, i, j in itertools.product(range(0, 12, 2), range(0, 12, 2), (-2, 0, 2), (-2, 0, 2)):
        if 0 <= row + i < 12 and 0 <= column + j < 12:
            read[row + i, column + j] = True
    assert a.exercise_3() == 1 - read.mean()


def test_lesson_3():
    a = answers(3)
    cost = {d: math.ceil(35 / d) ** 2 + (2 * d - 1) ** 2 for d in range(1, 36)}
    d, wide = a.exercise_1()
    assert cost[d] == min(cost.values()) and d == min(k for k in cost if cost[k] == cost[d])
    reached = {i * d + j for i in range(math.ceil(35 / d)) for j in range(2 * d - 1)}
    assert wide == len(reached) == 39
    assert a.exercise_2() == (64 * (25 + 49 + 64) * 3136, 64 * 64 * 441 * 3136)
    ones, size = np.ones((40, 40)), 40

    def slide(x, k, dilation):
        r = dilation * (k // 2)
        padded = np.pad(x, r)
        shifts = itertools.product(range(0, 2 * r + 1, dilation), repeat=2)
        return sum(padded[i : i + size, j : j + size] for i, j in shifts)

    framed = np.pad(ones, 40)  # no border anywhere near: what one composed kernel gives
    size = 120
    one = slide(slide(framed, 3, 1), 11, 2)[40:80, 40:80]
    size = 40
    two = slide(slide(ones, 3, 1), 11, 2)
    assert a.exercise_3() == np.flatnonzero(one[:20, 20] != two[:20, 20]).tolist()


def test_lesson_4():
    a = answers(4)
    gated, squeezed = a.exercise_1()
    assert gated == [0.5, -2, -3]
    assert squeezed == pytest.approx([1 / (1 + math.exp(-0.5)), 2 / (1 + math.e), -1 / (1 + math.exp(-3))])
    side, C = a.exercise_2(), 64

    def attention(n):
        return 4 * n * n * C * C + 2 * n**4 * C

    assert attention(side) > (side * C * 21) ** 2 and attention(side - 1) <= ((side - 1) * C * 21) ** 2
    rng = np.random.default_rng(0)
    kernels = rng.standard_normal((3, 5))

    def stack(u):
        for kernel in kernels:
            u = u * np.convolve(u, kernel, "same")
        return u

    u = rng.standard_normal(30)
    np.testing.assert_allclose(stack(2 * u), a.exercise_3() * stack(u), rtol=FLOAT64)


def test_lesson_5():
    from minivan import variants
    from minivan.van import VAN

    a = answers(5)
    config = variants.Config((32, 64, 160, 256), (1, 1, 1, 1), classes=2)
    rng = np.random.default_rng(0)
    tensors = {name: rng.random(shape, np.float32) * 0.01 for name, shape in variants.parameter_shapes(config)}
    maps = VAN(config, tensors, "numpy").features(np.zeros((1, 3, 256, 320), np.float32))
    assert a.exercise_1() == [m.shape[1:] for m in maps]
    in_block = [v for k, v in tensors.items() if k.startswith("block1.0.") and "running" not in k]
    assert a.exercise_2() == sum(tensor.size for tensor in in_block)
    published = {"b0": 0.864, "b1": 2.495, "b2": 4.993, "b3": 8.925, "b4": 12.144, "b5": 17.129, "b6": 38.71}
    assert a.exercise_3() == next(name for name, giga in published.items() if giga > 8.64)


def test_lesson_6():
    a = answers(6)
    assert (a.exercise_1() / 32) ** 2 == 49
    rng = np.random.default_rng(0)
    half = rng.standard_normal((7, 4))
    half += 7.25 - half.mean()
    whole = np.concatenate([half, half], axis=1)
    blanked = np.concatenate([half, np.zeros_like(half)], axis=1)
    assert a.exercise_2() == pytest.approx((whole.mean() - 0.5, blanked.mean() - 0.5))
    logits = np.array([6.0, 3.0, -1.0, 2.0])
    p = np.exp(logits) / np.exp(logits).sum()
    assert a.exercise_3() == pytest.approx(p[0] / p[1])


def test_lesson_7():
    a = answers(7)
    meet = [
        sum(0 <= r + i < 2 and 0 <= c + j < 2 for i, j in itertools.product(range(-9, 10, 3), repeat=2))
        for r, c in itertools.product(range(2), repeat=2)
    ]
    assert a.exercise_1() == np.mean(meet) == 1
    assert a.exercise_2() == pytest.approx(17.28448)
    row = np.empty((512, 28), np.float32).nbytes
    assert a.exercise_3() * row <= 1 << 20 < (a.exercise_3() + 1) * row


def test_lesson_8():
    a = answers(8)
    signal = np.ones(1000)
    error = np.full(1000, a.exercise_1())
    assert 10 * math.log10((signal @ signal) / (error @ error)) == pytest.approx(60)
    steps = np.float32(1.0001).view(np.int32) - np.float32(1.0).view(np.int32)
    assert a.exercise_2() == steps == 839
    from minivan import reference

    x = np.array([0.1, -0.1, 0.1, -0.1]).reshape(1, 4, 1, 1)  # variance 0.01
    ones, zeros = np.ones(4), np.zeros(4)
    ratio = reference.layer_norm(x, ones, zeros, 1e-5) / reference.layer_norm(x, ones, zeros, 1e-6)
    np.testing.assert_allclose(ratio, a.exercise_3(), rtol=FLOAT64)


def test_lesson_9():
    a = answers(9)
    rng = np.random.default_rng(0)
    maps, (weights, bias) = np.array([[[1.0, 0], [3, 0]], [[0, 2], [0, 2]]]), (np.array([2.0, -1]), 0.5)
    logit = weights @ maps.mean(axis=(1, 2)) + bias  # as the network has it: the mean first
    assert a.exercise_1()[4] == logit and np.mean(a.exercise_1()[:4]) + bias == logit
    slopes = []
    for channel in range(2):  # the derivative by each channel's mean over places, measured
        nudged = maps.copy()
        nudged[channel, rng.integers(2), rng.integers(2)] += 0.5
        slopes.append((weights @ nudged.mean(axis=(1, 2)) + bias - logit) / 0.5)
    assert a.exercise_2() == np.maximum(np.tensordot(slopes, maps, 1), 0).ravel().tolist()
    first, second = rng.standard_normal((2, 9))
    first, second = first - first.mean() + (7 - 0.5), second - second.mean() + (5 + 0.5)
    assert a.exercise_3() == pytest.approx((first - second).mean())


def test_lesson_10():
    a = answers(10)
    x = np.array([-1.27, 0.314, 0.006, 1.0])
    np.testing.assert_allclose(a.exercise_1(x, 8), [-1.27, 0.31, 0.01, 1.0], rtol=FLOAT64)
    np.testing.assert_allclose(a.exercise_1(x, 2), [-1.27, 0, 0, 1.27], rtol=FLOAT64)
    whole = np.arange(4096, dtype=np.float32)
    upper_half = (whole.view(np.uint32) & 0xFFFF) == 0  # what bfloat16 has of a float32
    assert a.exercise_2() == (np.flatnonzero(whole.astype(np.float16) != whole)[0] - 1, np.flatnonzero(~upper_half)[0] - 1)
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 100_000) * 20 / 127  # of steps, beside a signal of 1
    assert a.exercise_3() == pytest.approx(-10 * math.log10(np.mean(noise**2)), rel=1e-3)


def test_lesson_11():
    a = answers(11)
    line = np.zeros(41)
    line[20] = 1
    for side in (5, 7, 3):
        line = np.convolve(line, np.ones(side), "same")
    assert a.exercise_1() == np.count_nonzero(line) == 13
    w, g, rate, decay = np.array([1.0, -2.0, 0.25]), np.array([0.3, -4.0, 1e-3]), 0.1, 0.5
    mean, square = 0.9 * 0 + 0.1 * g, 0.999 * 0 + 0.001 * g**2
    step = rate * (mean / (1 - 0.9)) / np.sqrt(square / (1 - 0.999))
    np.testing.assert_allclose(a.exercise_2(w, g, rate, decay), w - step - rate * decay * w, rtol=1e-9)
    sums = [[1, 0, 1, 0], [1, 0, 0, 1], [0, 1, 1, 0]]  # of left a, left b, right a, right b
    left, right = np.linalg.lstsq(sums, [1.2, -0.3, 0.8], rcond=None)[0].reshape(2, 2)
    assert a.exercise_3() == pytest.approx(left[1] + right[1])


def test_lesson_12():
    a = answers(12)
    answered = {("sky", "sky"): 60, ("road", "sky"): 10, ("road", "road"): 15, ("road", "car"): 5, ("car", "road"): 5}
    pixels = [pair for pair, count in {**answered, ("car", "car"): 5}.items() for _ in range(count)]  # truth and answer
    shares = []
    for name in ("sky", "road", "car"):
        truth, answer = ({i for i, pair in enumerate(pixels) if pair[k] == name} for k in (0, 1))
        shares.append(len(truth & answer) / len(truth | answer))
    assert a.exercise_1() == pytest.approx(sum(shares) / 3)
    height, width = next(h for h in range(375, 500) if h % 32 == 0), next(w for w in range(500, 600) if w % 32 == 0)
    maps = [(len(range(0, height, stride)), len(range(0, width, stride))) for stride in (4, 8, 16, 32)]
    assert a.exercise_2() == maps
    for row in ([4.0, 8.0], [1.0, -3.0, 5.0, 2.0], [7.0]):
        at = [(i + 0.5) / 2 - 0.5 for i in range(2 * len(row))]
        np.testing.assert_allclose(a.exercise_3(row), np.interp(at, range(len(row)), row), rtol=FLOAT64)


def exercise_cells(source):
    """Return the code cells of a lesson that call `check` on an answer."""
    cells = build.parse(source).cells
    return [cell.source for cell in cells if cell.cell_type == "code" and re.search(r"^check\(", cell.source, re.MULTILINE)]


@pytest.mark.parametrize("source", build.sources(), ids=lambda path: path.stem[:2])
def test_every_lesson_has_three_exercises_that_are_graded_where_they_stand(source, capsys):
    number = int(source.name[:2])
    assert f"answers/lesson_{number:02d}.py" in source.read_text(encoding="utf-8")
    functions = [name for name in vars(answers(number)) if name.startswith("exercise_")]
    assert functions == ["exercise_1", "exercise_2", "exercise_3"]
    cells = exercise_cells(source)
    assert len(cells) == 3
    for exercise, cell in enumerate(cells, start=1):
        exec(cell, {"check": check, "np": np})
        assert capsys.readouterr().out == f"Exercise {number}.{exercise} is not answered yet.\n"
        key = getattr(answers(number), f"exercise_{exercise}")
        answered = re.sub(r"^(check\(.*, )\w+\)$", r"\1key)", cell, flags=re.MULTILINE)
        exec(answered, {"check": check, "np": np, "key": key if cell.startswith("def ") else key()})
        assert capsys.readouterr().out == f"Exercise {number}.{exercise} is right.\n"
        exec(answered, {"check": check, "np": np, "key": "no idea"})
        assert f"Exercise {number}.{exercise}, not yet: " in capsys.readouterr().out
