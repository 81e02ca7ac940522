"""What `record_pytorch` makes of modules that give more than a tensor."""

import functools
import runpy

import numpy as np
import pytest
import torch
from support import ROOT, huggingface_van, torch_van

from minivan import seeded
from minivan.oracle import read, trace
from minivan.oracle.cases import TINY
from minivan.oracle.compare import compare
from minivan.oracle.gradients import Loss, said_in
from minivan.van import VAN

ADAPTER = runpy.run_path(str(ROOT / "examples" / "trace_adapters" / "record_pytorch.py"))
X = seeded.images((1, 3, 40, 36))


@functools.cache
def reference():
    return trace.record(VAN(TINY, seeded.tensors(TINY)), X)


@pytest.mark.parametrize("gives", huggingface_van.OUTPUTS)
def test_a_network_may_give_a_dataclass_a_dict_or_a_tuple_and_needs_no_map(tmp_path, gives):
    layers = ADAPTER["record"](huggingface_van.load(TINY, seeded.tensors(TINY), gives), X)
    last = layers["van.encoder.stages.3.normalization"].transpose(0, 3, 1, 2)
    assert np.array_equal(layers["van.encoder"], last)
    assert np.array_equal(layers["van"], layers["van.encoder"])
    np.savez(tmp_path / "port.npz", **layers)
    report = compare(reference(), read(tmp_path / "port.npz"))
    assert report.library == "huggingface" and report.within
    assert {path.rpartition(".")[2] for path in report.missing} == {"layer_scale_1", "pool"}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_input_is_given_in_the_networks_own_dtype(tmp_path, dtype):
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 1)).to(dtype)
    np.savez(tmp_path / "port.npz", **ADAPTER["record"](net, X))
    found = read(tmp_path / "port.npz")
    assert found["input"].form == found["0"].form == str(dtype).removeprefix("torch.")
    assert np.array_equal(found["input"].values, torch.from_numpy(X).to(dtype).float().numpy())


@pytest.mark.parametrize("library", ["authors", "huggingface"])
def test_a_port_that_trains_is_judged_by_its_gradients_under_its_own_names(tmp_path, library):
    """All parameters, and all arrays that modules make; in Hugging Face's network, too, without a map."""
    ours = trace.record(VAN(TINY, seeded.tensors(TINY)), X, loss=Loss((3,), "mean"))
    load = huggingface_van.load if library == "huggingface" else torch_van.load
    np.savez(tmp_path / "port.npz", **ADAPTER["record_gradients"](load(TINY, seeded.tensors(TINY)), X, said_in(ours.metadata)))
    report = compare(ours, read(tmp_path / "port.npz"))
    assert report.within and report.library == ("" if library == "authors" else library)
    assert {path.rpartition(".")[2] for path in report.missing} == {"layer_scale_1", "pool"}
