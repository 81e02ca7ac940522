"""Heads of other names and kinds, or none; shapes that nobody states; what is a part of a network only."""

import numpy as np
import pytest
from support import saved
from support.judge import safetensors_torch, torch, torch_van
from tolerances import LOGITS

from minivan.checkpoint import CheckpointError, load, read
from minivan.van import VAN
from minivan.variants import VARIANTS, Config

GUESSED = (
    "dims (4, 6, 6, 8) and depths 1 2 1 1 are no published variant's: "
    "if blocks are missing from the file, it is another network"
)
NO_HEAD = "there is no head: it gives features, not classes"


def refusal(path, **options):
    with pytest.raises(CheckpointError) as raised:
        read(path, **options)
    message = str(raised.value).removeprefix(str(path))
    assert "\n" not in message and len(message) < 1100
    return message


# heads


def judged(state, x):
    net = torch_van.TorchVAN(saved.SMALL)
    net.load_state_dict(state)
    with torch.no_grad():
        return net.eval()(torch.from_numpy(x)).numpy()


HEADS = {
    "behind Dropout": lambda w, b: {"head.1.weight": w, "head.1.bias": b},
    "before nothing": lambda w, b: {"head.0.weight": w, "head.0.bias": b},
    "fc": lambda w, b: {"fc.weight": w, "fc.bias": b},
    "classifier": lambda w, b: {"classifier.weight": w, "classifier.bias": b},
    "classifier behind two": lambda w, b: {"classifier.2.weight": w, "classifier.2.bias": b},
    "head.fc": lambda w, b: {"head.fc.weight": w, "head.fc.bias": b},
    "a 1x1 convolution": lambda w, b: {"head.weight": w[:, :, None, None], "head.bias": b},
    "a 1x1 convolution in a Sequential": lambda w, b: {"head.1.weight": w[:, :, None, None], "head.1.bias": b},
}


@pytest.mark.parametrize("rename", HEADS.values(), ids=HEADS)
@pytest.mark.parametrize("prefix", ["", pytest.param("model.", marks=pytest.mark.slow)])
def test_heads_of_other_names_and_kinds(tmp_path, rename, prefix):
    state = saved.state_dict()
    named = saved.prefixed(prefix, saved.without_head(state) | rename(state["head.weight"], state["head.bias"]))
    weights = read(saved.save(named, tmp_path / "net.pth"))
    assert weights.config.classes == 5
    x = np.random.default_rng(0).normal(size=(2, 3, 48, 64)).astype(np.float32)
    expected = judged(state, x)
    assert np.abs(VAN(weights.config, weights.tensors, "numpy")(x) - expected).max() <= LOGITS * np.abs(expected).max()


@pytest.mark.parametrize("layout", ["authors", "huggingface", "openmmlab"])
def test_a_network_whose_head_was_removed_gives_features(tmp_path, layout):
    state = saved.without_head(saved.state_dict())
    named = {"authors": lambda s: s, "huggingface": saved.huggingface, "openmmlab": saved.openmmlab}[layout](state)
    weights = read(saved.save(named, tmp_path / "net.pth"))
    saved.assert_same(weights, state)
    assert weights.config.classes == 0 and weights.notes == (NO_HEAD, GUESSED)


@pytest.mark.parametrize(
    "layers",
    [
        {"head.0.weight": (9, 8), "head.0.bias": (9,), "head.3.weight": (5, 9), "head.3.bias": (5,)},
        {"head.0.weight": (8,), "head.0.bias": (8,), "head.1.weight": (5, 8), "head.1.bias": (5,)},
        {"head.weight": (5, 8), "head.bias": (5,), "fc.weight": (5, 8), "fc.bias": (5,)},
        {"fc.fc1.weight": (9, 8), "fc.fc2.weight": (5, 9), "fc.fc2.bias": (5,)},
    ],
    ids=["two Linear", "LayerNorm and Linear", "two heads", "fc"],
)
@pytest.mark.parametrize("layout", ["authors", pytest.param("openmmlab", marks=pytest.mark.slow)])
def test_a_head_of_several_layers_is_refused(tmp_path, layers, layout):
    state = saved.without_head(saved.state_dict())
    named = state if layout == "authors" else saved.openmmlab(state)
    message = refusal(saved.save(named | {k: torch.ones(v) for k, v in layers.items()}, tmp_path / "net.pth"))
    assert "a head of several layers, '" in message and "minivan computes one linear layer" in message


# a shape is not guessed


def test_a_published_shape_gives_no_note_and_another_one_does(tmp_path):
    config = Config(VARIANTS["b0"].dims, (3, 3, 5, 2), classes=3)
    state = saved.state_dict(config)
    assert read(saved.save(state, tmp_path / "net.pth")).notes == ()
    less = {name: tensor for name, tensor in state.items() if not name.startswith("block3.4.")}
    (note,) = read(saved.save(less, tmp_path / "net.pth")).notes
    assert "depths 3 3 4 2 are no published variant's: if blocks are missing from the file, it is another network" in note
    assert load(tmp_path / "net.pth", "numpy").card.notes == (note,)


@pytest.mark.parametrize("name", ["model-00001-of-00003.safetensors", "pytorch_model-00002-of-00002.bin"])
def test_one_shard_is_known_for_one(tmp_path, name):
    state, path = saved.huggingface(saved.state_dict()), tmp_path / name
    if name.endswith("bin"):
        saved.save(state, path)
    else:
        safetensors_torch.save_file({name: tensor.clone() for name, tensor in state.items()}, path)
    assert "one shard, number" in refusal(path)


def test_one_process_s_part_is_told_by_its_name(tmp_path):
    state = {name: tensor[: len(tensor) // 2] if tensor.ndim else tensor for name, tensor in saved.state_dict().items()}
    for name in ("mp_rank_00_model_states.pt", "model_rank1.pth", "rank-0.pt"):
        message = refusal(saved.save({"module": state}, tmp_path / name))
        assert "(its name says that it is one process's part)" in message and "has the shape" in message


def test_a_network_of_empty_tensors_is_one_of_zero_3(tmp_path):
    empty = {name: torch.empty(0) for name in saved.state_dict()}
    message = refusal(saved.save({"module": empty}, tmp_path / "net.pt"))
    assert "most tensors of the network are empty: DeepSpeed's ZeRO-3" in message
