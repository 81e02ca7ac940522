"""What a port is compared with: a trace, or a test vector; and the network behind it, where its weights can be had."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from ..checkpoint import load
from ..engines import Engine
from ..errors import sentence, shown
from ..floating import undisturbed
from ..hooks import Callback, Hook
from ..paths import INPUT
from ..van import check_images
from . import gradients, hints
from .aside import on_engine, put_aside
from .cases import allowed
from .compare import Asked, Report, compare, plain
from .measure import Row
from .naming import rename
from .own import weighed
from .precision import resolve
from .quantised import Budget, budget
from .recorded import Port, Recorded, read_trace
from .replay import Replay, Run
from .scales import Scales
from .sketch import Sketch, sketch
from .stored import Spool
from .tolerance import Tolerance
from .trace import Trace, names_of, tensors_digest
from .vectors import read_case


@dataclass(frozen=True)
class Baseline:
    """What the right layers are, and how they can be computed once more.

    `rerun()` returns a function for `replay.replay` and '', or None and why there is none: it may have to read weights.
    `tolerance` is what is allowed where nobody says otherwise, None for what the port's arithmetic allows; `everything` is
    whether every layer has to be there.
    """

    trace: Trace
    rerun: Callable[[], tuple[Run | None, str]]
    tolerance: Callable[[str], Tolerance] | None = None
    everything: bool = False

    def check_scales(self, scales: Scales, *ports: Port) -> None:
        """Raise ValueError where scales name no layer or tensor of the network and no array of the ports."""
        theirs = [name for port in ports for name in (*port, *port.skipped)]
        there = {*self.trace.arrays, *names_of(self.trace.metadata), *theirs}
        scales.check_names(there, "no layer, no tensor of the weights and no array of the port")

    def judge(self, port: Mapping[str, Recorded], asked: Asked | None = None) -> Judged:
        """Compare a port, and weigh each layer's own error where the network can be run once more.

        Raises ValueError as `compare` does, and for a test vector whose manifest asks for what cannot be computed.
        """
        with undisturbed():
            return self._judged(port, asked or Asked())

    def _judged(self, port: Mapping[str, Recorded], asked: Asked) -> Judged:
        own = asked.tolerance is None and self.tolerance is None
        if self.tolerance is not None and asked.tolerance is None:
            named, least = rename(port, asked.names, self.trace.arrays), self.trace.metadata.get("precision", "float64")
            word = resolve(self.trace.arrays, named, asked.precision, least).word
            asked = replace(asked, tolerance=self.tolerance(word))
        asked = replace(asked, everything=asked.everything or self.everything)
        report = replace(compare(self.trace, port, asked=asked), by_own=own)
        if report.bit_equal and not report.missing:
            return Judged(report, self.trace, Replay(), None, "")
        run, obstacle = self.rerun()
        if run is None:
            return Judged(
                report, self.trace, Replay(), None, obstacle, sketches=self._sketches(report) if asked.sketches else {}
            )
        sketches: dict[str, Sketch] | None = {} if asked.sketches else None
        with Spool() as errors:
            quantised = report.precision.word == "int8"
            found, seen = weighed(report, self.trace, run, errors if quantised else None, sketches)
            spent = budget(found, self.trace, errors.layers, run) if quantised else None
        return Judged(found, self.trace, seen, run, "", spent, sketches or {})

    def _sketches(self, report: Report) -> dict[str, Sketch]:
        """Where the whole errors lie, of layers whose own are not known."""
        ours = self.trace.arrays
        return {row.path: sketch(ours[row.path], report.arrays[row.path], "whole") for row in report.rows if not row.fault}


HINTED = 40  # offenders for which a reason is looked for


@dataclass(frozen=True)
class Judged:
    """A port's report, and what is needed to say why a layer of it is wrong.

    `seen` is what the run behind the report's own errors showed, and `run` runs it once more; where there was none, it is None,
    and `obstacle` says why.
    """

    report: Report
    trace: Trace
    seen: Replay
    run: Run | None
    obstacle: str
    budget: Budget | None = None  # of a quantised port
    sketches: dict[str, Sketch] = field(default_factory=dict)  # where they were asked for, and there is an error

    def hints(self) -> list[tuple[str, list[Row]]]:
        """Return what is wrong with each offender, those with the same fault together: the hint, '' for none, and the layers.

        Hints are looked for at the first HINTED offenders.
        """
        found: dict[str, list[Row]] = {}
        for place, row in enumerate(self.report.offenders):
            found.setdefault(self.hint(row) if place < HINTED else "", []).append(row)
        return list(found.items())

    def plain(self) -> dict[str, Any]:
        """Return the report in types that JSON knows (see `Report.plain`), with the hints and why own errors are not known."""
        hints = {row.path: text for text, rows in self.hints() for row in rows}
        first = self.report.first_divergence
        said = self.report.plain("" if first is None else hints.get(first.path) or self.hint())
        offenders = [{"path": row.path, "hint": hints[row.path]} for row in self.report.offenders]
        spent = None if self.budget is None else plain(asdict(self.budget))
        for row in said["rows"]:
            if row["path"] in self.sketches:
                row["where"] = plain(self.sketches[row["path"]].plain())
        return said | {"offenders": offenders, "obstacle": self.obstacle, "budget": spent}

    def hint(self, row: Row | None = None) -> str:
        """Return why a layer, the first diverging one, differs, or what would let more faults be tried; '' for neither."""
        row = row or self.report.first_divergence
        if row is None:
            return ""
        return self.reasons.get(row.path, "") or self.obstacle

    @cached_property
    def reasons(self) -> dict[str, str]:
        """Why layers differ, by path: the first HINTED offenders, and the first divergence."""
        report = self.report
        first = report.first_divergence
        wanted = report.offenders[:HINTED] + ([] if first is None or first in report.offenders[:HINTED] else [first])
        with undisturbed():
            return hints.reasons(wanted, report, self.trace, self.seen, self.run) if wanted else {}


def open_baseline(path: str | Path, model: str | None = None, key: str | None = None) -> Baseline:
    """Open a trace, or the folder of a test vector that holds several layers. Raises ValueError for anything else, OSError.

    `model` says where the trace's weights are, if not under the name or path that the trace gives, and `key` which of that
    file's networks they are.
    """
    path = Path(path)
    if path.is_dir():
        trace, run, kind = read_case(path)
        return Baseline(trace, lambda: (run, ""), partial(allowed, kind), everything=True)
    trace = read_trace(path)
    return Baseline(trace, lambda: network(trace, model, key))


def network(trace: Trace, model: str | None, key: str | None = None) -> tuple[Run | None, str]:
    """Return a function that runs the trace's network on its input, or why that is not possible."""
    name, x = model or trace.metadata.get("model", ""), trace.input
    if x is None:
        return None, "the trace does not hold its input, so no fault can be tried"
    try:
        weights = load(name, key=key, allow_nonfinite=True)  # whatever they are, they are the trace's or not
    except (ValueError, OSError) as error:
        return None, f"name the trace's weights with --model to have more faults tried ({sentence(error)})"
    if tensors_digest(weights.tensors) != trace.metadata.get("weights_sha256"):
        wrong = f"the weights of {shown(name)} are not those of the trace"
        return None, f"{wrong}; name them with --model to have more faults tried"
    try:
        check_images(x, weights.config.channels)
    except ValueError as error:
        return None, f"the trace's input is none that its network takes, so no fault can be tried ({error})"

    spool = Spool().__enter__()
    weights = put_aside(weights, spool)
    loss = gradients.said_in(trace.metadata)

    def run(engine: Engine, hook: Callback) -> None:
        van = on_engine(weights, weights.tensors, engine)
        if loss is not None:
            gradients.run(van, Hook(hook)(INPUT, x), loss, hook)
            return
        forward = van if van.config.classes else van.features
        forward(Hook(hook)(INPUT, x), hook)

    weakref.finalize(run, spool.file.close)
    return run, ""
