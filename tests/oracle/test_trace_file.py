"""A trace that is written as it is made: the bytes of one that is written afterwards, and nothing kept meanwhile."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from support.ports import CONFIG, TENSORS, X

from minivan import seeded
from minivan.oracle import read_trace, record, record_to, trace, write
from minivan.oracle.arithmetic import Arithmetic
from minivan.van import VAN

BACKBONE = replace(CONFIG, classes=0)
ODD = seeded.images((3, 3, 45, 70))


@pytest.mark.parametrize("engine, config, x, given", [
    ("exact", CONFIG, X, {}),
    ("exact", BACKBONE, ODD, {"source": "a file"}),
    ("numpy", CONFIG, ODD, {"layers": ["norm?", "*.mlp.*", "pool"]}),
    ("fast", CONFIG, ODD, {}),
    ("exact", CONFIG, X, {"arithmetic": Arithmetic("bfloat16", everything=True)}),
    ("exact", CONFIG, X.astype(np.float64), {"layers": ["head"]}),
])  # fmt: skip
def test_it_has_the_bytes_of_one_that_is_written_afterwards(tmp_path, engine, config, x, given):
    model = VAN(config, {name: TENSORS[name] for name in TENSORS if config.classes or not name.startswith("head")}, engine)
    kept = record(model, x, **given)
    write(kept, tmp_path / "kept.safetensors")
    made = record_to(tmp_path / "made.safetensors", model, x, **given)
    assert (tmp_path / "made.safetensors").read_bytes() == (tmp_path / "kept.safetensors").read_bytes()
    assert made.metadata == kept.metadata and list(made.layers) == list(kept.layers)
    assert all(made.layers[path].tobytes() == array.tobytes() for path, array in kept.layers.items())
    assert trace.hashes(made) == trace.hashes(kept) and read_trace(tmp_path / "made.safetensors").layers


def test_no_layer_is_kept_and_none_is_written_twice(tmp_path, monkeypatch):
    model, x = VAN(CONFIG, TENSORS), seeded.images((1, 3, 512, 384))
    record_to(tmp_path / "t.safetensors", model, x)
    tracemalloc.start()
    made = record_to(tmp_path / "t.safetensors", model, x)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    sizes = [made.layers[path].nbytes for path in made.layers]
    assert most < 8 * max(sizes) < sum(sizes) / 2


def test_a_disk_that_is_full_leaves_nothing(tmp_path, monkeypatch):
    def full(self, path, array):
        if path == "norm1":
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(trace.TraceFile, "put", full)
    with pytest.raises(OSError, match="No space left"):
        record_to(tmp_path / "t.safetensors", VAN(CONFIG, TENSORS), X)
    assert not list(tmp_path.iterdir())


def test_layers_that_are_none_of_the_network_are_not_written(tmp_path, monkeypatch):
    shapes = trace.layer_shapes
    monkeypatch.setattr(trace, "layer_shapes", lambda *given: {**shapes(*given), "pool": (2, 7)})
    with pytest.raises(RuntimeError, match="other shapes"):
        record_to(tmp_path / "t.safetensors", VAN(CONFIG, TENSORS), X)
    assert not list(tmp_path.iterdir())
