"""What a port is compared with: a trace, or a test vector; and the network behind it, where its weights can be had."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..checkpoint import load
from ..engines import Engine
from ..errors import sentence, shown
from ..hooks import Callback, Hook
from ..paths import INPUT
from ..van import VAN, check_images
from . import hints
from .compare import Report
from .recorded import read_trace
from .replay import Run
from .trace import Trace, tensors_digest
from .vectors import read_case


@dataclass(frozen=True)
class Baseline:
    """What the right layers are, and how they can be computed once more.

    `rerun()` returns a function for `replay.replay` and '', or None and why there is none. It is asked for only where a
    layer diverges: it may have to read weights.
    """

    trace: Trace
    rerun: Callable[[], tuple[Run | None, str]]

    def hint(self, report: Report) -> str:
        """Return why the first diverging layer of a report differs, or what would let more faults be tried; '' for neither.

        Raises ValueError for a test vector whose manifest asks for what cannot be computed.
        """
        if report.first_divergence is None:
            return ""
        run, obstacle = self.rerun()
        return hints.hint(report, self.trace, run) or obstacle


def open_baseline(path: str | Path, model: str | None = None) -> Baseline:
    """Open a trace, or the folder of a test vector that holds several layers. Raises ValueError for anything else, OSError.

    `model` says where the trace's weights are, if not under the name or path that the trace gives.
    """
    path = Path(path)
    if path.is_dir():
        trace, run = read_case(path)
        return Baseline(trace, lambda: (run, ""))
    trace = read_trace(path)
    return Baseline(trace, lambda: network(trace, model))


def network(trace: Trace, model: str | None) -> tuple[Run | None, str]:
    """Return a function that runs the trace's network on its input, or why that is not possible."""
    name, x = model or trace.metadata.get("model", ""), trace.input
    if x is None:
        return None, "the trace does not hold its input, so no fault can be tried"
    try:
        weights = load(name, allow_nonfinite=True)  # whatever they are, they are the trace's or not
    except (ValueError, OSError) as error:
        return None, f"name the trace's weights with --model to have more faults tried ({sentence(error)})"
    if tensors_digest(weights.tensors) != trace.metadata.get("weights_sha256"):
        wrong = f"the weights of {shown(name)} are not those of the trace"
        return None, f"{wrong}; name them with --model to have more faults tried"
    try:
        check_images(x, weights.config.channels)
    except ValueError as error:
        return None, f"the trace's input is none that its network takes, so no fault can be tried ({error})"

    def run(engine: Engine, hook: Callback) -> None:
        van = VAN(weights.config, weights.tensors, engine)
        forward = van if van.config.classes else van.features
        forward(Hook(hook)(INPUT, x), hook)

    return run, ""
