"""Weights, and all that is multiplied, in a shorter format: what the port sums up in float32 is no float16 accumulation."""

import numpy as np
import pytest
from support.ports import CONFIG, TENSORS, X, as_port, layers_of

from minivan.engines import NUMPY
from minivan.oracle import record
from minivan.oracle.baseline import Baseline
from minivan.oracle.ulp import round_to
from minivan.van import VAN

SIXTEEN = "float16 or tf32"  # where no number is too small or too large for float16, the two are the same


class Multiplies:
    """NumPy's operators, one of which rounds its weights to a format, and what it reads where it is `fed` so."""

    def __init__(self, weight, form, fed):
        self.weight, self.form, self.fed = weight, form, fed

    def __getattr__(self, operator):
        def call(x, **given):
            if given.get("weight") is self.weight:
                given["weight"] = self.short(self.weight)
                x = self.short(x) if self.fed else x
            return getattr(NUMPY.ops, operator)(x, **given)

        return call

    def short(self, array):
        return round_to(np.asarray(array, np.float32), self.form).astype(np.float64)


@pytest.mark.parametrize("path, form, words, fed", [
    ("block2.1.attn.proj_1", "bfloat16", "the weights are rounded to bfloat16", False),
    ("head", "float16", f"the weights are rounded to {SIXTEEN}", False),
    ("block2.1.mlp.fc2", "tf32", f"what is multiplied is rounded to {SIXTEEN}: the weights, and what the layer reads", True),
])  # fmt: skip
def test_what_is_rounded_before_it_is_multiplied_is_named(path, form, words, fed):
    weight = TENSORS[f"{path}.weight"] * np.float32(1.001)  # else they are numbers of float16 already
    tensors = {**TENSORS, f"{path}.weight": weight}
    right = record(VAN(CONFIG, tensors), X)
    baseline = Baseline(right, lambda: (lambda engine, hook: VAN(CONFIG, tensors, engine)(hook("input", X), hook), ""))
    made = layers_of(Multiplies(weight, form, fed), tensors)
    judged = baseline.judge(as_port({name: np.asarray(array, np.float32) for name, array in made.items()}))
    assert [row.path for row in judged.report.offenders] == [path] and judged.hint() == words
