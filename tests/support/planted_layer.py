"""A fault in one layer, and what the oracle says of that layer alone: the networks run once for all of them."""

import functools
import math
from dataclasses import replace

import numpy as np

from minivan.oracle import hints
from minivan.oracle.compare import compare
from minivan.oracle.measure import measure, rms
from minivan.oracle.own import LINES, weighed
from minivan.oracle.replay import Made, watch
from minivan.oracle.stored import Layers
from minivan.oracle.tolerance import DEFAULTS
from minivan.oracle.ulp import one_rounding
from support.judge import torch_ops
from support.ports import as_port, reference, run, sound_port


@functools.cache
def replayed():
    """What a replay with a sound port's layers shows, all of it kept, and the report on that port."""
    report = compare(reference(), as_port(sound_port()))
    _, seen = weighed(report, reference(), run)
    values, given, calls = Made(), Made(), {}

    def keep(path, value, call, fed):
        values.put(path, value.shape, lambda: value)
        given.put(path, fed.shape, lambda: fed)
        if call is not None:
            calls[path] = call

    watch(run, report.arrays, keep)
    return replace(seen, values=values, given=given, elsewhere=reference().arrays, calls=calls), report


def layer_with(path, tensors=None, ops=None, change=None, x=None):
    """The layer at `path` in a port that is sound before it and has this fault, as `ports.layers_of` takes it, there."""
    call = replayed()[0].calls.get(path)
    if ops is not None:
        made = ops.replacement(call.x, **call.parameters)
    elif tensors is not None:
        own = {name: tensors[f"{path}.{name}"] for name in call.parameters if f"{path}.{name}" in tensors}
        made = getattr(torch_ops, call.operator)(call.x, **{**call.parameters, **own})
    else:
        made = sound_port()[path] if x is None else x
    changed = None if change is None else change(path, made, sound_port())
    return np.asarray(made if changed is None else changed, np.float32)


def said_of(path, effort=None, **plant):
    """Return how many times the line of a sound layer a planted layer's own error is, and the hint that an effort allows."""
    seen, report = replayed()
    theirs, right = layer_with(path, **plant), seen.values[path]
    finite = np.isfinite(theirs).all()
    own = rms(theirs.astype(np.float64) - right) / one_rounding(right, "float32") if finite else math.inf
    row = measure(0, path, right, theirs, "float32", DEFAULTS["float32"])
    row = replace(row, own=own, line=LINES["float32"])
    return own / row.line, hints.hint(row, replace(report, arrays=Layers({path: theirs})), seen, True, effort or hints.Effort())
