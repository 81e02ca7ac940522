"""Weights put aside: the same bits on every engine of operators, and none of them in memory but an operator's own."""

import numpy as np
import pytest
from support.measure import tracing
from support.ports import CONFIG, TENSORS, X, as_port, reference, run, sound_port

from minivan import seeded
from minivan.checkpoint import safetensors_file
from minivan.oracle import aside, open_baseline, record, write
from minivan.oracle.arithmetic import Arithmetic
from minivan.oracle.baseline import Baseline
from minivan.oracle.stored import Spool
from minivan.van import VAN
from minivan.variants import Config


@pytest.fixture
def all_put_aside(monkeypatch):
    monkeypatch.setattr(aside, "IN_MEMORY", 0)


@pytest.mark.parametrize("engine, given", [
    ("exact", {}), ("numpy", {}), ("exact", {"arithmetic": Arithmetic("float16", everything=True)}),
])  # fmt: skip
def test_what_is_recorded_has_the_same_bits(all_put_aside, engine, given):
    model = VAN(CONFIG, TENSORS, engine)
    expected = record(model, X, **given)
    with Spool() as spool:
        lean = aside.put_aside(model, spool)
        made = record(lean, X, **given)
        assert lean is not model and str(lean) == str(model) and list(lean.tensors) == list(model.tensors)
    assert made.metadata == expected.metadata
    assert all(made.layers[path].tobytes() == array.tobytes() for path, array in expected.layers.items())


def test_small_weights_and_what_an_engine_made_of_them_stay_where_they_are(monkeypatch):
    with Spool() as spool:
        small = VAN(CONFIG, TENSORS)
        assert aside.put_aside(small, spool) is small
        monkeypatch.setattr(aside, "IN_MEMORY", 0)
        fast = VAN(CONFIG, TENSORS, "fast")
        assert aside.put_aside(fast, spool) is fast and not spool.size


def test_weights_are_not_in_memory_while_the_network_runs(all_put_aside):
    wide = Config((160,), (3,), (8,), classes=3)
    model, x = VAN(wide, seeded.tensors(wide)), seeded.images((1, 3, 32, 32))
    whole = sum(tensor.nbytes for tensor in model.tensors.values())
    with Spool() as spool:
        lean = aside.put_aside(model, spool)
        assert not isinstance(lean.tensors, dict)  # or all of them were read before they are counted
        expected = model(x).tobytes()
        with tracing() as memory:
            assert lean(x).tobytes() == expected
    assert memory.traced < whole / 3


def test_a_comparison_puts_the_weights_aside_and_gives_the_same_report(all_put_aside, tmp_path, monkeypatch):
    safetensors_file.write(tmp_path / "weights.safetensors", TENSORS, {})
    write(record(VAN(CONFIG, TENSORS), X, source=str(tmp_path / "weights.safetensors")), tmp_path / "trace.safetensors")
    made = []
    put_aside = aside.put_aside
    monkeypatch.setattr("minivan.oracle.baseline.put_aside", lambda *given: made.append(put_aside(*given)) or made[-1])
    judged = open_baseline(tmp_path / "trace.safetensors").judge(as_port(sound_port()))
    expected = Baseline(reference(), lambda: (run, "")).judge(as_port(sound_port()))
    assert not isinstance(made[0].tensors, dict) and judged.report.rows == expected.report.rows
    assert all(np.isfinite(row.own) for row in judged.report.rows)
