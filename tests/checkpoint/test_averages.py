"""Averages of weights that are not dictionaries by name: lists of tensors, objects, and those that are in the making."""

import pytest
from support import saved
from support.judge import torch, torch_van

from minivan.checkpoint import CheckpointError, read

RAW, AVERAGED = (lambda: saved.state_dict(saved.SMALLEST, 0)), (lambda: saved.state_dict(saved.SMALLEST, 1))


def parameters():
    """An average as `model.parameters()` gives it, and the network that has it and the other one's statistics."""
    net = torch_van.TorchVAN(saved.SMALLEST)
    net.load_state_dict(AVERAGED())
    names = [name for name, _ in net.named_parameters()]
    return [tensor.detach().clone() for tensor in net.parameters()], RAW() | {name: AVERAGED()[name] for name in names}


def notes(tmp_path, contents):
    path = saved.save(contents, tmp_path / "net.pth")
    return read(path), " | ".join(read(path).notes)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_list_of_averaged_tensors_is_matched_by_order_and_shape(tmp_path, prefix):
    """torch_ema's state_dict, and that of diffusers' EMAModel."""
    tensors, expected = parameters()
    ema = {"decay": 0.999, "num_updates": 5, "shadow_params": tensors, "collected_params": None}
    weights, said = notes(tmp_path, {"model": saved.prefixed(prefix, RAW()), "ema": ema})
    saved.assert_same(weights, expected)
    assert "'ema.shadow_params' was read, the averaged weights, by their order and shapes, as they have no names" in said
    assert "'model' has others, and BatchNorm's statistics" in said
    saved.assert_same(read(tmp_path / "net.pth", key="model"), RAW())


def test_what_was_collected_before_the_average_is_none(tmp_path):
    tensors, expected = parameters()
    other = [torch.zeros_like(tensor) for tensor in tensors]
    weights, _ = notes(tmp_path, {"model": RAW(), "ema": {"shadow_params": tensors, "collected_params": other}})
    saved.assert_same(weights, expected)


@pytest.mark.parametrize("where", [lambda moments: {"optimizer": {"exp_avg": moments}}, lambda moments: {"exp_avg": moments}])
def test_an_optimizer_s_averages_of_gradients_are_none(tmp_path, where):
    weights, said = notes(tmp_path, {"model": RAW()} | where(parameters()[0]))
    saved.assert_same(weights, RAW())
    assert "average" not in said


def test_a_metric_s_average_is_none(tmp_path):
    _, said = notes(tmp_path, {"state_dict": saved.prefixed("model.", RAW()) | {"avg_loss.value": torch.tensor(0.1)}})
    assert "averaged" not in said


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: tensors[:-1],
        lambda tensors: tensors[::-1],
        lambda tensors: [*tensors, torch.ones(3)],
        lambda tensors: [tensor.long() for tensor in tensors],
    ],
    ids=["one less", "another order", "one more", "integers"],
)
def test_an_average_without_names_that_does_not_fit_is_left_out_and_said(tmp_path, change):
    tensors = change(parameters()[0])
    weights, said = notes(tmp_path, {"model": RAW(), "ema": {"shadow_params": tensors}})
    saved.assert_same(weights, RAW())
    assert f"'ema.shadow_params' has an average of {len(tensors)} tensors without names: it was left out" in said


def test_two_averages_without_names_are_left_out(tmp_path):
    tensors, _ = parameters()
    weights, said = notes(tmp_path, {"model": RAW(), "ema": {"0.9": tensors, "0.99": tensors[:]}})
    saved.assert_same(weights, RAW())
    assert "without names: it was left out" in said


def test_a_list_that_no_key_calls_an_average_is_passed_over(tmp_path):
    weights, said = notes(tmp_path, {"model": RAW(), "snapshot": parameters()[0]})
    saved.assert_same(weights, RAW())
    assert "average" not in said


def test_an_average_with_names_that_are_not_known_is_said(tmp_path):
    dotless = {name.replace(".", ""): tensor for name, tensor in AVERAGED().items()}
    weights, said = notes(tmp_path, {"model": RAW(), "model_ema": dotless})
    saved.assert_same(weights, RAW())
    assert "averaged weights lie under 'model_ema', with names that are not known: they were not read" in said


def test_the_average_that_lightning_s_callback_is_making_is_not_read(tmp_path):
    """StochasticWeightAveraging: BatchNorm's statistics in it were never trained, and load_from_checkpoint reads state_dict."""
    making = {"average_model_state": saved.prefixed("model.", AVERAGED()), "n_averaged": 3, "latest_update_epoch": 7}
    contents = {
        "state_dict": saved.prefixed("model.", RAW()), "pytorch-lightning_version": "2.2.0",
        "callbacks": {"StochasticWeightAveraging": making},
    }  # fmt: skip
    weights, said = notes(tmp_path, contents)
    saved.assert_same(weights, RAW())
    label = "callbacks.StochasticWeightAveraging.average_model_state.model"
    assert f"'state_dict.model' was read; '{label}' is an average, but Lightning does not read it" in said
    saved.assert_same(read(tmp_path / "net.pth", key=label), AVERAGED())


def test_a_backup_beside_an_average_is_no_average(tmp_path):
    contents = {"model": RAW(), "ema": {"shadow": AVERAGED(), "backup": RAW()}}
    with pytest.raises(CheckpointError, match="3 networks"):
        read(saved.save(contents, tmp_path / "net.pth"))
