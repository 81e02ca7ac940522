"""What a port is compared with: a trace whose own contents cannot be a network's gives a reason, never a traceback."""

import json

import numpy as np
from support.networks import images, random_tensors

from minivan.card import Card
from minivan.checkpoint import Weights, write
from minivan.oracle import trace
from minivan.van import VAN
from minivan.variants import Config

SMALL = Config((4,), (1,), (2,), classes=3)


def damaged(folder, **layers):
    """Write a trace with these arrays in the place of the network's own, and the network's weights; return its path."""
    write(Weights(SMALL, random_tensors(SMALL), Card("small")), folder / "small.safetensors")
    made = trace.record(VAN(SMALL, random_tensors(SMALL), "numpy"), images(1, 32))
    arrays = {**made.arrays, **layers}
    digests = json.dumps({path: trace.digest(array) for path, array in arrays.items()})
    metadata = made.metadata | {"sha256": digests, "model": str(folder / "small.safetensors")}
    trace.write(trace.Trace({p: arrays[p] for p in made.layers}, arrays["input"], metadata), folder / "trace.safetensors")
    return folder / "trace.safetensors"


def test_a_trace_whose_input_is_none_says_why_no_fault_is_tried(tmp_path, run):
    made = damaged(tmp_path, input=np.ones((2, 3), np.float32))
    np.savez(tmp_path / "port.npz", head=np.ones((1, 3), np.float32))
    status, out, err = run("oracle", "compare", made, tmp_path / "port.npz")
    assert (status, err) == (1, "") and "hint: the trace's input is none that its network takes" in out
    assert "images must have the shape (N, 3, H, W), got (2, 3)" in out


def test_layers_of_a_trace_that_do_not_go_together_are_no_faults(tmp_path, run):
    """Without weights the residuals are tried with the trace's own layers, which here cannot be added."""
    made = damaged(tmp_path, **{"block1.0.norm1": np.ones((1, 3, 5, 5), np.float32)})
    np.savez(tmp_path / "port.npz", **{"block1.0.attn": np.ones((1, 4, 8, 8), np.float32)})
    (tmp_path / "small.safetensors").unlink()
    status, out, err = run("oracle", "compare", made, tmp_path / "port.npz")
    assert (status, err) == (1, "") and "hint: name the trace's weights with --model" in out
