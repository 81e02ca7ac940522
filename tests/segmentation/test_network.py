"""A VAN with a Semantic FPN on it: against PyTorch, across engines and batches, seen by hooks, and what it refuses."""

import copy
import pickle
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from support.compare import assert_bit_equal, assert_close
from support.judge import TORCH, torch, torch_fpn
from support.networks import images, random_fpn_tensors, random_tensors
from tolerances import FAST, LOGITS

from minivan import fpn, ops, paths
from minivan.engines import FAST as FAST_ENGINE
from minivan.engines import Engine
from minivan.segmentation import SegmentationVAN
from minivan.segmentation.card import SegmentationCard
from minivan.summary import summarise, totals
from minivan.van import VAN
from minivan.variants import VARIANTS, Config

SMALL = Config((8, 16, 24, 32), (1, 1, 2, 1), (4, 4, 2, 2), classes=0)
SMALL_FPN = fpn.FPNConfig(SMALL.dims, channels=12, head_channels=10, classes=5)
CARD = SegmentationCard("net")


def network(engine="exact", config=SMALL, shape=SMALL_FPN, seed=1):
    return SegmentationVAN(VAN(config, random_tensors(config, seed), engine), random_fpn_tensors(shape, seed), CARD)


def judged(model, x, dtype):
    net = torch_fpn.load(model.backbone.config, model.backbone.tensors, model.config, model.tensors, dtype)
    with torch.no_grad():
        return net(torch.from_numpy(x).to(dtype)).numpy()


SIZES = {"b0": [(33, 45)], "b1": [(64, 64), (97, 70)], "b2": [(32, 32), (90, 161), (128, 96)]}


@pytest.mark.parametrize("name", ["b0", *(pytest.param(name, marks=pytest.mark.once) for name in ("b1", "b2"))])
def test_logits_are_pytorchs_and_closer_to_the_truth(name):
    """b1 and b2 of the authors' own shape; on maps whose sides are no multiples of each other among others."""
    config = replace(VARIANTS[name], layer_norm_eps=1e-5)
    own = (64, 64) if name == "b0" else (256, 128)
    model = network("exact", config, fpn.FPNConfig(config.dims, *own), seed=7)
    fast = SegmentationVAN(model.backbone.on(FAST_ENGINE), model.tensors, CARD)
    for size in SIZES[name]:
        x = images(1, *size)
        got, single, double = model(x), judged(model, x, torch.float32), judged(model, x, torch.float64)
        assert_close(f"{name} logits of {size}", got, single, LOGITS)
        assert np.abs(got - double).max() < np.abs(single - double).max()
        assert_close(f"{name} logits of {size} by fast", fast(x), single, LOGITS)


@pytest.mark.parametrize("engine", ["exact", "numpy", "fast", "auto", pytest.param("TORCH", marks=pytest.mark.torch)])
@pytest.mark.parametrize("size", [(32, 32), (64, 96), (33, 61), (90, 47)])
def test_every_engine_computes_the_same_on_any_size(engine, size):
    model, x = network(TORCH if engine == "TORCH" else engine), images(2, *size, seed=3)
    expected = judged(model, x, torch.float64)
    logits = model(x)
    assert logits.dtype == np.float32 and logits.shape == (2, 5, -(-size[0] // 4), -(-size[1] // 4))
    assert_close("logits", logits, expected, FAST)


def test_the_same_bytes_for_a_batch_and_its_images():
    model, x = network(), images(3, 50, 37)
    assert_bit_equal("one by one", np.concatenate([model(x[i : i + 1]) for i in range(3)]), model(x))


def test_hooks_see_every_array_and_what_they_return_takes_its_place():
    model, x = network(), images(1, 40, 36)
    seen = {}
    logits = model(x, seen.__setitem__)
    assert_bit_equal("with a hook", logits, model(x))
    backbone, ours = seen.keys() & set(paths.all_paths(SMALL.depths, False)), [p for p in seen if p.startswith(("neck", "dec"))]
    assert len(backbone) + len(ours) == len(seen) == len(paths.all_paths(SMALL.depths, False)) - 1 + len(ours)
    assert list(seen)[-len(ours) :] == ours and len(ours) == 4 + 3 + 4 + 3 * 7 + 6 + 3 + 1
    assert ours[0] == "neck.lateral_convs.0.conv" and ours[-1] == "decode_head.conv_seg"
    assert_bit_equal("the last array", seen["decode_head.conv_seg"], logits)
    weight, bias = (model.tensors[f"decode_head.conv_seg.{part}"] for part in ("weight", "bias"))
    zeroed = model(x, lambda path, array: 0 * array if path == "decode_head.sums.3" else None)
    np.testing.assert_array_equal(zeroed, np.broadcast_to(bias[:, None, None], logits.shape))
    assert weight.any() and not np.array_equal(zeroed, logits)
    with pytest.raises(ValueError, match=r"what replaces neck.laterals.0 must have its shape \(1, 12, 10, 9\)"):
        model(x, lambda path, array: array[..., 1:] if path == "neck.laterals.0" else None)


@pytest.mark.parametrize("engine", ["exact", "fast", "auto"])
def test_what_travels_to_another_process_is_the_tensors(engine):
    model, x = network(engine), images(1, 36)
    sent = pickle.dumps(model)
    assert len(sent) < 1.1 * sum(t.nbytes for t in (*model.tensors.values(), *model.backbone.tensors.values())) + 20_000
    for twin in (pickle.loads(sent), copy.deepcopy(model), copy.copy(model)):
        assert str(twin) == str(model) and twin.engine.name == engine
        assert_bit_equal("a copy", twin(x), model(x))


def test_an_engine_of_ones_own_that_compiles_the_backbone_alone_has_neck_and_head_on_its_operators():
    mine = Engine("mine", ops=ops, compile=FAST_ENGINE.compile)
    x = images(1, 48)
    assert_close("logits", network(mine)(x), network()(x), FAST)


def test_an_engine_without_the_operators_says_so():
    plain = Engine("plain", ops=SimpleNamespace(**{name: f for name, f in vars(ops).items() if name != "relu"}))
    with pytest.raises(ValueError, match="the engine plain has no ReLU and no upsampling, which segmentation needs; auto"):
        network(plain)(images(1, 40))


def test_multiply_adds_are_those_of_the_convolutions():
    """Counted as they are computed: each output of a convolution has as many as its kernel has weights."""
    counted = []

    class Counting:
        def __getattr__(self, name):
            return getattr(ops, name)

        def conv2d(self, x, weight, bias=None, **how):
            y = ops.conv2d(x, weight, bias, **how)
            counted.append(y.size * weight[0].size)
            return y

    network(Engine("counting", ops=Counting()))(images(1, 50, 37))
    total = fpn.multiply_adds(SMALL_FPN, 50, 37) + totals(summarise(SMALL, 50, 37))[1]
    assert sum(counted) == total


def test_it_says_what_it_is():
    assert str(network()) == "net (VAN with Semantic FPN, 5 classes)"
    assert repr(network()) == "<SegmentationVAN net (VAN with Semantic FPN, 5 classes), engine exact>"


TENSORS = random_fpn_tensors(SMALL_FPN)
WRONG = {
    "another backbone": (replace(SMALL, dims=(8, 16, 24, 40)), TENSORS, CARD, r"maps of \(8, 16, 24, 32\) channels.*24, 40\)"),
    "three stages": (Config((8, 16, 24), (1, 1, 1), (2, 2, 2)), TENSORS, CARD, "the backbone has 3"),
    "no tensors": (SMALL, {}, CARD, "no Semantic FPN"),
    "a missing one": (SMALL, {k: v for k, v in TENSORS.items() if "fpn_convs.2.conv.bias" not in k}, CARD, "bias is missing"),
    "a strange one": (SMALL, {**TENSORS, "neck.extra": np.ones(1, np.float32)}, CARD, "neck.extra is unknown"),
    "a misshapen one": (SMALL, {**TENSORS, "decode_head.conv_seg.bias": np.ones(4, np.float32)}, CARD, r"\(4,\), not \(5,\)"),
    "no channels": (SMALL, random_fpn_tensors(replace(SMALL_FPN, channels=0)), CARD, r"weight is empty: .*\(0, 8, 1, 1\)"),
    "no classes": (SMALL, random_fpn_tensors(replace(SMALL_FPN, classes=0)), CARD, r"weight is empty: .*\(0, 10, 1, 1\)"),
    "whole numbers": (SMALL, {**TENSORS, "decode_head.conv_seg.bias": np.ones(5, int)}, CARD, "conv_seg.bias .* int64"),
    "other class names": (SMALL, TENSORS, SegmentationCard("net", ("road", "sky")), "names 2 classes, and the head has 5"),
    "grey photos": (replace(SMALL, channels=1), TENSORS, CARD, "the network takes 1 channel"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_together_is_said_in_one_line(case):
    config, tensors, card, said = WRONG[case]
    with pytest.raises(ValueError, match=said) as error:
        SegmentationVAN(VAN(config, random_tensors(config)), tensors, card)
    assert "\n" not in str(error.value) and len(str(error.value)) < 500


def test_images_that_it_does_not_take_are_refused():
    model = network()
    for x, said in (
        (images(1, 40, channels=1), r"\(N, 3, H, W\), got \(1, 1, 40, 40\)"),
        (images(1, 31), "at least 32 x 32 pixels, got 31 x 31"),
        (images(1, 40)[0], r"got \(3, 40, 40\)"),
        (np.ones((1, 3, 40, 40), int), "must be floating"),
    ):
        with pytest.raises(ValueError, match=said):
            model(x)
    assert model(images(0, 40)).shape == (0, 5, 10, 10)
    fixed = network(replace(model.engine, name="fixed", size=(64, 64)))
    with pytest.raises(ValueError, match="the engine fixed takes images of 64 x 64 pixels"):
        fixed(images(1, 40))
