"""Tensors that PyTorch computes from others: pruning masks, weight_norm, spectral_norm; judged by PyTorch's own modules."""

import numpy as np
import pytest
from support import saved
from support.judge import torch, torch_van
from tolerances import LOGITS

from minivan.checkpoint import CheckpointError, read
from minivan.van import VAN

LAYERS = ("block1.0.mlp.fc1", "block2.1.attn.spatial_gating_unit.conv_spatial", "patch_embed3.proj", "head")


def network():
    net = torch_van.TorchVAN(saved.SMALL)
    net.load_state_dict(saved.state_dict())
    return net.eval(), [net.get_submodule(name) for name in LAYERS]


def check(path, net, words):
    x = np.random.default_rng(0).normal(size=(2, 3, 64, 48)).astype(np.float32)
    with torch.no_grad():
        expected = net(torch.from_numpy(x)).numpy()
    weights = read(path)
    assert np.abs(VAN(weights.config, weights.tensors, "numpy")(x) - expected).max() <= LOGITS * np.abs(expected).max()
    assert any(words in note for note in weights.notes), weights.notes


@pytest.mark.parametrize("legacy", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["zip", "legacy"])
def test_pruning_masks(tmp_path, legacy):
    from torch.nn.utils import prune

    net, layers = network()
    for layer in layers:
        prune.random_unstructured(layer, "weight", amount=0.5)
    prune.random_unstructured(layers[0], "bias", amount=2)
    assert "head.weight_mask" in net.state_dict()
    check(saved.save(net.state_dict(), tmp_path / "net.pth", legacy), net, "5 tensors were computed with a pruning mask")


@pytest.mark.parametrize(
    "dtype", ["bool", *(pytest.param(other, marks=pytest.mark.slow) for other in ("uint8", "int64", "float16"))]
)
def test_masks_of_other_types(tmp_path, dtype):
    from torch.nn.utils import prune

    net, layers = network()
    prune.random_unstructured(layers[0], "weight", amount=0.5)
    state = net.state_dict()
    state[f"{LAYERS[0]}.weight_mask"] = state[f"{LAYERS[0]}.weight_mask"].to(getattr(torch, dtype))
    check(saved.save(state, tmp_path / "net.pth"), net, "1 tensors were computed with a pruning mask")


@pytest.mark.parametrize("new", [False, True], ids=["weight_norm", "parametrizations.weight_norm"])
@pytest.mark.parametrize("dim", [0, *(pytest.param(other, marks=pytest.mark.slow) for other in (1, None))])
@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
def test_weight_norm(tmp_path, new, dim):
    norm = torch.nn.utils.parametrizations.weight_norm if new else torch.nn.utils.weight_norm
    net, layers = network()
    for layer in layers:
        norm(layer, dim=dim)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith(("weight_g", "original0")):
                parameter.mul_(1.5)
    net(torch.zeros(1, 3, 32, 32))
    check(saved.save(net.state_dict(), tmp_path / "net.pth"), net, "4 tensors were computed with weight_norm")


@pytest.mark.parametrize("new", [False, True], ids=["spectral_norm", "parametrizations.spectral_norm"])
def test_spectral_norm(tmp_path, new):
    norm = torch.nn.utils.parametrizations.spectral_norm if new else torch.nn.utils.spectral_norm
    net, layers = network()
    for layer in layers:
        norm(layer)
    net.train()(torch.randn(2, 3, 64, 64))
    net.eval()
    check(saved.save(net.state_dict(), tmp_path / "net.pth"), net, "4 tensors were computed with spectral_norm")


def without(state, *names):
    return {name: tensor for name, tensor in state.items() if name not in names}


def test_parts_that_make_no_tensor_are_refused(tmp_path):
    state = saved.state_dict()
    whole = state.pop("block1.0.mlp.fc1.weight")
    for parts, words in (
        ({"weight_orig": whole}, "is there in parts ('orig')"),
        ({"weight_g": whole[:, :1]}, "is there in parts ('g')"),
        ({"weight": whole, "weight_mask": whole}, "is there in parts ('', 'mask')"),
        ({"weight_orig": whole, "weight_mask": whole[:1]}, "(a pruning mask): their shapes are (12, 4, 1, 1), (1, 4, 1, 1)"),
        ({"weight_g": whole, "weight_v": whole}, "(weight_norm): their shapes are"),
        ({"weight_orig": whole, "weight_u": whole, "weight_v": whole}, "(spectral_norm): their shapes are"),
        ({"weight_g": whole[:, :1], "weight_v": 3}, "not all of them are tensors"),
        ({"parametrizations.weight.original": whole}, "is there in parts ('orig')"),
        ({"parametrizations.weight.original0": whole[:, :1], "weight_g": whole[:, :1]}, "two tensors stand for"),
    ):
        named = state | {f"block1.0.mlp.fc1.{name}": value for name, value in parts.items()}
        with pytest.raises(CheckpointError) as raised:
            read(saved.save(named, tmp_path / "net.pth"))
        assert words in str(raised.value), parts.keys()
