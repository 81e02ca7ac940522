"""The paper's table, to the digit; names, aliases and impossible shapes."""

import json
import math

import pytest
from support.judge import torch, torch_van
from support.networks import random_tensors

from minivan.cli import main
from minivan.summary import summarise, totals
from minivan.variants import (
    VARIANTS,
    Config,
    canonical,
    is_learned,
    parameter_shapes,
    title,
    title_with_shape,
    variant,
    variant_of,
)

pytestmark = pytest.mark.loop

# parameters with 1,000 classes; multiply-adds at 224 in units of 10^9, to the digits the design table gives
PUBLISHED = {
    "b0": (4_105_800, "0.864"),
    "b1": (13_861_800, "2.495"),
    "b2": (26_578_472, "4.993"),
    "b3": (44_765_608, "8.925"),
    "b4": (60_283_176, "12.144"),
    "b5": (89_967_688, "17.129"),
    "b6": (199_829_416, "38.71"),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_totals(name):
    parameters, multiply_adds = totals(summarise(variant(name)))
    expected, giga = PUBLISHED[name]
    assert parameters == expected
    assert f"{multiply_adds / 1e9:.{len(giga.split('.')[1])}f}" == giga


@pytest.mark.parametrize("name", ["b0", "b1"])
def test_names_and_shapes_are_those_of_the_network_in_pytorch(name):
    with torch.device("meta"):
        state = torch_van.TorchVAN(variant(name)).state_dict()
    expected = {k: tuple(v.shape) for k, v in state.items() if not k.endswith("num_batches_tracked")}
    assert dict(parameter_shapes(variant(name))) == expected


def test_stage_sizes_are_those_of_the_network_for_odd_inputs():
    import numpy as np
    from support.networks import random_tensors

    from minivan.van import VAN

    config = Config((4, 4, 4, 4), (1, 1, 1, 1), (1, 1, 1, 1), classes=2)
    for height, width in [(32, 32), (33, 47), (101, 64)]:
        maps = VAN(config, random_tensors(config)).features(np.zeros((1, 3, height, width), np.float32))
        assert [row.output for row in summarise(config, height, width)[:-1]] == [m.shape[1:] for m in maps]


@pytest.mark.parametrize(
    ("given", "short"), [("b0", "b0"), ("B3", "b3"), ("tiny", "b0"), ("Large", "b3"), ("van_b2", "b2"), ("van-small", "b1")]
)
def test_names(given, short):
    assert canonical(given) == short
    assert variant(given) is VARIANTS[short]
    assert variant_of(variant(given)) == short


def test_unknown_names_list_the_known():
    with pytest.raises(ValueError, match=r"'b7'.*b0.*tiny"):
        variant("b7")


@pytest.mark.parametrize(
    "wrong",
    [
        dict(dims=(), depths=()),
        dict(dims=(8,), depths=(1, 2)),
        dict(dims=(8, 8, 8, 8, 8), depths=(1,) * 5, mlp_ratios=(1,) * 5),
        dict(dims=(8, 0, 8, 8), depths=(1,) * 4),
        dict(dims=(8, 8, 8, 8), depths=(1,) * 4, classes=-1),
        dict(dims=(8, 8, 8, 1 << 40), depths=(1,) * 4),
    ],
)
def test_impossible_shapes_are_refused(wrong):
    with pytest.raises(ValueError):
        Config(**wrong)


def test_the_summary_adds_up(capsys):
    assert main(["summary", "base", "--size", "96x64", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["variant"] == "b2" and said["input"] == [3, 96, 64]
    assert said["parameters"] == sum(s["parameters"] for s in said["stages"]) == PUBLISHED["b2"][0]
    assert said["multiply_adds"] == sum(s["multiply_adds"] for s in said["stages"])
    assert [math.prod(s["output"][1:]) for s in said["stages"][:-1]] == [24 * 16, 12 * 8, 6 * 4, 3 * 2]


def test_the_summary_as_text_shows_the_totals(capsys):
    assert main(["summary"]) == 0
    assert "4,105,800" in capsys.readouterr().out
    assert main(["summary", "Tiny"]) == 0 and capsys.readouterr().out.startswith("VAN-B0 (Tiny), input 3 x 224 x 224\n")
    assert main(["summary", "b9"]) == 2
    assert "b9" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main(["summary", "b0", "--size", "12"])
    assert stop.value.code == 2


def test_no_classes_is_a_backbone_without_a_head():
    names = [name for name, _ in parameter_shapes(Config((8,), (1,), (2,), classes=0))]
    assert names[-1] == "norm1.bias" and not any(name.startswith("head") for name in names)


def test_what_training_learns_is_what_pytorch_calls_a_parameter():
    config = Config((8, 16), (1, 2), (2, 2), classes=3)
    net = torch_van.load(config, random_tensors(config), torch.float32)
    assert {name for name, _ in parameter_shapes(config) if is_learned(name)} == {name for name, _ in net.named_parameters()}


def test_a_networks_title():
    own = Config((8, 16), (1, 2), (2, 2))
    assert (title(VARIANTS["b0"]), title_with_shape(VARIANTS["b0"])) == ("VAN-B0", "VAN-B0")
    assert (title(own), title_with_shape(own)) == ("VAN", "VAN (8, 16) x (1, 2)")
