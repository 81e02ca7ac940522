"""Ports without a fault, and with one: how large a layer's own error is in each, in roundings. For benchmarks/own_error.py."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

import minivan
from minivan import seeded
from minivan.checkpoint.hub import bundled
from minivan.oracle import trace
from minivan.oracle.arithmetic import Arithmetic
from minivan.oracle.baseline import Baseline
from minivan.oracle.cases import TINY
from minivan.oracle.compare import Report
from minivan.oracle.recorded import Recorded
from minivan.van import VAN
from minivan.variants import Config, variant
from support import torch_van
from support.judge import torch
from support.planted import PLANTS
from support.ports import CONFIG, TENSORS, X, as_port, recorded_layers, reference, run

FORMS = {"float32": None, "float16": "float16", "bfloat16": "bfloat16"}
NONE = ("float16 accumulation", "float16 rounding", "bfloat16 rounding")  # faults of a float32 port alone


@dataclass(frozen=True)
class Sound:
    """What a port without a fault was found to add: the most that any layer did, and how many layers there are."""

    port: str
    network: str
    most: float
    layers: int


@dataclass(frozen=True)
class Planted:
    """What became of the planted faults of one format."""

    form: str
    planted: int
    found: int  # the fault's layer is the first offender
    others: int  # another layer is named first
    beside: int  # layers that are offenders beside the fault's


def networks(large: bool) -> Iterator[tuple[str, Config, dict[str, np.ndarray], np.ndarray]]:
    """Yield name, shape, weights and images of the networks that are measured."""
    yield "small, 64 x 48", CONFIG, TENSORS, X
    yield "tiny, 40 x 36", TINY, seeded.tensors(TINY), seeded.images((1, 3, 40, 36))
    model = minivan.load(bundled()[0])
    side = model.card.preprocessing.crop
    yield f"bundled, {side} x {side}", model.config, model.tensors, seeded.images((1, 3, side, side))
    for name, size in (("b0", 64), ("b0", 224), ("b3", 64)) if large else ():
        config = variant(name)
        yield f"{name}, {size} x {size}", config, seeded.tensors(config), seeded.images((1, 3, size, size))


def torch_layers(config: Config, tensors: dict[str, np.ndarray], x: np.ndarray, dtype: torch.dtype) -> dict[str, Recorded]:
    """The layers of PyTorch's modules, computed and stored in a dtype."""
    net = torch_van.load(config, tensors, dtype)
    layers: dict[str, Recorded] = {}
    for name, module in net.named_modules():

        def keep(module, inputs, output, name=name):
            values = output.detach()
            form = str(values.dtype).removeprefix("torch.")
            layers[name] = Recorded((values.float() if form == "bfloat16" else values).numpy(), form)

        if name:
            module.register_forward_hook(keep)
    with torch.inference_mode():
        net(torch.from_numpy(x).to(dtype))
    return layers


def sound(large: bool = False) -> Iterator[Sound]:
    """Run every sound port on every network."""
    for name, config, tensors, x in networks(large):
        exact = VAN(config, tensors)
        right = trace.record(exact, x)
        baseline = Baseline(right, lambda config=config, tensors=tensors, x=x: (_run(config, tensors, x), ""))
        ports = {
            f"PyTorch, {form}": torch_layers(config, tensors, x, dtype)
            for form, dtype in (("float32", torch.float32), ("float16", torch.float16), ("bfloat16", torch.bfloat16))
        }
        for form in ("float16", "bfloat16"):
            ports[f"{form}, every output rounded"] = as_port(trace.record(exact, x, arithmetic=Arithmetic(form)).layers)
        ports["NumPy, float64"] = as_port(trace.record(VAN(config, tensors, "numpy"), x).layers)
        ports["fast, stages and logits"] = as_port(trace.record(VAN(config, tensors, "fast"), x).layers)
        for port, layers in ports.items():
            own = [row.own for row in baseline.judge(layers).report.rows]
            yield Sound(port, name, float(np.max(own)), len(own))


def _run(config, tensors, x):
    def run(engine, hook):
        VAN(config, tensors, engine)(hook("input", x), hook)

    return run


def judged(form: str, plant) -> Report:
    """The report on a port that computes in a format and has a fault."""
    layers = recorded_layers(form=FORMS[form], **plant())
    return Baseline(reference(), lambda: (run, "")).judge(as_port(layers)).report


def planted() -> Iterator[Planted]:
    """Plant every fault in every format."""
    for form in FORMS:
        counts = {"planted": 0, "found": 0, "others": 0, "beside": 0}
        for text, (path, plant) in PLANTS.items():
            if text in NONE:
                continue
            offenders = [row.path for row in judged(form, plant).offenders]
            counts["planted"] += 1
            counts["found"] += offenders[:1] == [path]
            counts["others"] += bool(offenders) and offenders[0] != path
            counts["beside"] += len(set(offenders) - {path})
        yield Planted(form, **counts)
