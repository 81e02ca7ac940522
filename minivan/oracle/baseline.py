"""What a port is compared with: a trace, or a test vector; and the network behind it, where its weights can be had."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import recorded, vectors
from .trace import INPUT, Trace, tensors_digest


@dataclass(frozen=True)
class Subject:
    """`run()` returns (a function for `replay.replay`, '') or (None, why there is none)."""

    trace: Trace
    run: Callable[[], tuple[Callable | None, str]]


def open_subject(path: str | Path, model: str | None = None) -> Subject:
    """Open a trace, or the folder of a test vector that holds several layers. Raises ValueError for anything else, OSError.

    `model` says where the trace's weights are, if not under the name or path that the trace gives.
    """
    path = Path(path)
    if path.is_dir():
        trace, run = vectors.read_case(path)
        return Subject(trace, lambda: (run, ""))
    trace = recorded.read_trace(path)
    return Subject(trace, lambda: network(trace, model))


def network(trace: Trace, model: str | None) -> tuple[Callable | None, str]:
    """Return a function that runs the trace's network on its input, or why that is not possible."""
    from ..checkpoint import load
    from ..van import VAN

    name = model or trace.metadata.get("model", "")
    if trace.input is None:
        return None, "the trace does not hold its input, so no fault can be tried"
    try:
        weights = load(name)
    except (ValueError, OSError) as error:
        return None, f"name the trace's weights with --model to have more faults tried ({' '.join(str(error).split())})"
    if tensors_digest(weights.tensors) != trace.metadata.get("weights_sha256"):
        return None, f"the weights of {name} are not those of the trace; name them with --model to have more faults tried"

    def run(engine, hook):
        model = VAN(weights.config, weights.tensors, engine)
        forward = model if model.config.classes else model.features
        given = hook(INPUT, trace.input)
        forward(trace.input if given is None else given, hook)

    return run, ""
