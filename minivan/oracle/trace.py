"""Recording: every operator's output of one forward pass, under its path in the checkpoint, with a SHA-256 each.

A trace is a safetensors file. Its tensors are the layers, and the network's input under the name 'input'. Its metadata
(text, as safetensors demands) says the rest; see `Trace`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .. import __version__
from ..checkpoint import safetensors_file
from ..checkpoint.budget import Budget
from ..checkpoint.json_text import parse_json
from ..checks import Float32, Floating
from ..engines import EXACT
from ..errors import quote, shown
from ..floating import undisturbed
from ..hooks import Callback
from ..operators import Array
from ..output import replacing
from ..paths import HEAD, INPUT, all_paths, norms
from ..van import VAN, check_images
from ..variants import Config, parameter_shapes, said
from . import gradients
from .arithmetic import ROUNDED, Arithmetic
from .digests import digest, meanwhile
from .digests import digests as recomputed
from .gradients import Loss
from .stored import Layers, Spool, as_layers
from .trace_file import TraceFile, layer_shapes

FORMAT = "minivan-trace 1"
MOST_BLOCKS = 10_000  # of a network whose names are asked for; b6 has 108


@dataclass(frozen=True)
class Trace:
    """What a network computed: `layers` in the order they were made, `input` where it was kept.

    Layers of a trace that was read from a file stay there, and are read whenever they are asked for (see `stored`).

    `metadata` holds text: 'format', 'minivan' (version), 'engine', 'model' (as the user named it), 'config' (JSON),
    'weights_sha256' (see `tensors_digest`), 'weights_file_sha256' (where the weights came from a file), 'order' (JSON list
    of paths), 'shapes' and 'sha256' (JSON, path -> shape and digest, the input included). A reference in a port's precision has
    'precision' and 'rounded' ('outputs' or 'everything') or 'scales_sha256'; weights and input are recorded as they were given.
    """

    layers: Mapping[str, Floating]
    input: Floating | None
    metadata: dict[str, str]

    @property
    def arrays(self) -> Layers:
        """The input, where it was kept, and the layers, in order."""
        first = {} if self.input is None else {INPUT: self.input}
        return Layers({**first, **as_layers(self.layers).parts})


def tensors_digest(tensors: Mapping[str, Floating]) -> str:
    """Return one SHA-256 for a network's weights, whatever file they came in.

    Of one line per tensor, in the network's order: name, shape and the digest of its float32 values, ended by a newline.
    """
    lines = (f"{n} {shape_text(t.shape)} {digest(np.asarray(t, np.float32))}\n" for n, t in tensors.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def shape_text(shape: Sequence[int]) -> str:
    """Return a shape as '1x32x56x56'."""
    return "x".join(str(side) for side in shape)


def record(
    model: VAN,
    x: npt.ArrayLike,
    layers: Sequence[str] = ("*",),
    source: str = "",
    *,
    finite: bool = True,
    arithmetic: Arithmetic | None = None,
    loss: Loss | None = None,
    spool: Spool | None = None,
) -> Trace:
    """Run a VAN on images (N, C, H, W) and keep the output of every operator whose path matches one of the globs `layers`.

    An engine that compiles the network as a whole has no operators to show: its traces hold the stages' outputs and the
    logits. `source` is how the model is found again (a name or a file), for hints that need the weights. With an `arithmetic`
    the layers are those of `exact` in a port's own precision, whatever the model's engine. With a `loss` its gradients follow
    the layers, by every array and parameter (see `gradients`). With a `spool` they are put aside
    there as they are made, and nowhere else. Raises ValueError where no path
    matches, for no images at all, and, where it has to be `finite`, for an input with NaN or infinities: in what comes of those
    most layers cannot be told apart.
    """
    run = _run_of(model, x, layers, source, _How(finite, arithmetic, loss))
    held: dict[str, Floating] = {}
    digests = run.keep(held.__setitem__ if spool is None else spool.put)
    kept = Layers(held) if spool is None else spool.layers
    shapes = {path: kept.shape(path) for path in kept}
    return Trace(held if spool is None else kept, run.images, run.metadata({INPUT: run.images.shape, **shapes}, digests))


def record_to(
    path: str | Path,
    model: VAN,
    x: npt.ArrayLike,
    layers: Sequence[str] = ("*",),
    source: str = "",
    *,
    finite: bool = True,
    arithmetic: Arithmetic | None = None,
    loss: Loss | None = None,
) -> Trace:
    """Do what `record` and `write` do, and write each layer as soon as it is made: none is kept in memory, or written twice.

    The trace's layers are read from the file, whenever they are asked for. Raises as both do.
    """
    run = _run_of(model, x, layers, source, _How(finite, arithmetic, loss))
    every = layer_shapes(model.config, len(run.images), *run.images.shape[2:])
    if loss is not None:
        every |= gradients.shapes(model.config, every, loss.form)
    shapes = {INPUT: every[INPUT], **{name: every[name] for name in run.chosen}}
    with replacing(path) as file:
        written = TraceFile(file, shapes, partial(run.metadata, shapes))
        written.put(INPUT, run.images)
        digests = run.keep(written.put)
        written.finish({INPUT: digest(run.images), **digests})
    tensors, metadata, _ = safetensors_file.lasting(path)
    return Trace(Layers({name: tensors[name] for name in run.chosen}), run.images, metadata)


@dataclass(frozen=True)
class _How:
    """What is asked of a recording, as `record` takes it."""

    finite: bool
    arithmetic: Arithmetic | None
    loss: Loss | None


@dataclass(frozen=True)
class _Run:
    """A forward pass that is to be recorded: `model` on `images`; the layers that are kept, in order."""

    model: VAN
    images: Float32
    chosen: list[str]
    change: Callback | None  # puts another array in a layer's place
    said: dict[str, str]  # the metadata that are known before, or by the end of the run
    loss: Loss | None  # whose gradients are recorded, too

    def keep(self, put: Callable[[str, Floating], None]) -> dict[str, str]:
        """Run, hand over each layer as it is made, and return their digests."""
        found: dict[str, str] = {}
        chosen = set(self.chosen)

        def kept(path: str, array: Array) -> None:
            if path in chosen:
                values = np.asarray(array)
                with meanwhile(partial(put, path, values)):
                    found[path] = digest(values)  # while its numbers are near

        if self.loss is not None:
            target, sizes = gradients.watched(self.model, self.images, self.loss, kept)
            self.said.update(self.loss.metadata(target), **{gradients.SIZES: gradients.sizes_text(self._gradients(), sizes)})
        else:
            (_every if self.model.engine.hooks else _whole)(self.model, self.images, self.change, kept)
        return found

    def _gradients(self) -> list[str]:
        return [path for path in self.chosen if gradients.is_gradient(path)]

    def metadata(self, shapes: Mapping[str, tuple[int, ...]], digests: Mapping[str, str]) -> dict[str, str]:
        """Return what the trace says of itself: of these layers, the input the first of them."""
        order = [path for path in shapes if path != INPUT]
        return self.said | {
            "order": json.dumps(order),
            "shapes": json.dumps(shapes),
            "sha256": json.dumps({INPUT: digest(self.images), **digests}),
        }


def _run_of(model: VAN, x: npt.ArrayLike, layers: Sequence[str], source: str, how: _How) -> _Run:
    """Look at what is asked for before the network runs: that may take minutes. Raises as `record` does."""
    given, hook, arithmetic = model, None, how.arithmetic
    if how.loss is not None:
        _check_gradients(model, how)
    if arithmetic is not None:
        _check_scales(arithmetic, given)
        model = VAN(given.config, arithmetic.tensors(given.tensors), arithmetic.engine, given.card)
        hook = arithmetic.at
    elif model.engine.choose is not None:  # what a trace holds does not depend on what an engine is worth at the moment
        model = model.on(EXACT)
    paths = [*_paths(model), *([] if how.loss is None else gradients.names(model.config, how.loss.form))]
    chosen = [path for path in paths if any(fnmatchcase(path, glob) for glob in layers)]
    if not chosen:
        raise ValueError(f"no layer matches {', '.join(layers)}; the paths run from {paths[0]} to {paths[-1]}")
    images = np.asarray(x)
    if not images.size:
        raise ValueError(f"nothing to record: the input of shape {images.shape} holds no numbers")
    with undisturbed():  # a float64 may be too large for float32
        single = np.asarray(images, np.float32) if np.issubdtype(images.dtype, np.floating) else np.zeros(1, np.float32)
    if how.finite and (strange := int((~np.isfinite(single)).sum())):
        beyond = "" if not np.isfinite(images).all() else " in float32, which ends at 3.4e38"
        raise ValueError(
            f"{strange:,} of the input's {images.size:,} numbers are NaN or infinite{beyond}; to record what comes of them, "
            "say --allow-nonfinite (in Python finite=False)"
        )
    images = check_images(images, model.config.channels)
    if how.loss is not None:
        how.loss.check(len(images), model.config.classes)
    with undisturbed():  # decimal fractions are written as the environment is set to round
        config = json.dumps(said(model.config))
    known = {
        "format": FORMAT,
        "minivan": __version__,
        "engine": model.engine.name,
        "model": source or model.card.name,
        "config": config,
        "weights_sha256": tensors_digest(given.tensors),
        "weights_file_sha256": model.card.sha256,
        **({} if arithmetic is None else arithmetic.metadata()),
        **_of_gradients(how.loss, len(images), chosen),
    }
    return _Run(model, images, chosen, hook, known, how.loss)


def _of_gradients(loss: Loss | None, images: int, chosen: Sequence[str]) -> dict[str, str]:
    """What a trace says of its gradients, as many characters as it will say when they are known."""
    if loss is None:
        return {}
    names = filter(gradients.is_gradient, chosen)
    return {**loss.metadata(np.zeros(images, np.int64)), gradients.SIZES: gradients.sizes_text(names, {})}


def _check_gradients(model: VAN, how: _How) -> None:
    """Raise ValueError where a network, its engine or a precision has no gradients to record."""
    if how.arithmetic is not None:
        raise ValueError("gradients are recorded in float32 alone, as exact computes them: leave --precision out")
    if not (model.config.classes and model.engine.trains and (model.engine.hooks or model.engine.choose)):
        raise ValueError(f"gradients are those of exact or numpy, by a network with classes; not of {model.engine}'s {model}")


def _check_scales(arithmetic: Arithmetic, model: VAN) -> None:
    """Raise ValueError where a file of scales names what the network does not have: nothing would be rounded there."""
    if arithmetic.scales is not None:
        arithmetic.scales.check_names(names_in(model.config), "no layer, nor a tensor of the weights")


def names_in(config: Config) -> set[str]:
    """Return the names of a network's layers, its input among them, and of its tensors."""
    return {*all_paths(config.depths, bool(config.classes)), *(name for name, _ in parameter_shapes(config))}


def names_of(metadata: Mapping[str, str]) -> set[str]:
    """Return `names_in` of the network that a trace's metadata describe; none where they do not, as those of a test vector."""
    text = metadata.get("config", "")
    try:
        config = Config(**parse_json(text, "its config", Budget(len(text))))
        return names_in(config) if sum(config.depths) <= MOST_BLOCKS else set()
    except (TypeError, ValueError, OverflowError):
        return set()


def _paths(model: VAN) -> list[str]:
    """The paths of the layers that a trace can hold, in order."""
    if model.engine.hooks:
        return [path for path in model.paths() if path != INPUT]
    return [*norms(model.config.stages), *([HEAD] if model.config.classes else [])]


def _every(model: VAN, x: npt.ArrayLike, change: Callback | None, keep: Callable[[str, Array], None]) -> None:
    """Keep operators' outputs, through a hook; `change` may put another array in an array's place."""

    def hook(path: str, array: Array) -> Array | None:
        changed = None if change is None else change(path, array)
        keep(path, array if changed is None else changed)
        return changed

    changed = None if change is None else change(INPUT, x)
    x = x if changed is None else changed
    if model.config.classes:
        model(x, hook)
    else:  # a bare backbone has no logits
        model.features(x, hook)


def _whole(model: VAN, x: npt.ArrayLike, change: Callback | None, keep: Callable[[str, Array], None]) -> None:
    """Keep what an engine that compiles the network as a whole can show: each stage's output, and the logits."""
    for path, array in zip(norms(model.config.stages), model.features(x), strict=True):
        keep(path, array)
    if model.config.classes:
        keep(HEAD, model(x))


def write(trace: Trace, path: str | Path) -> None:
    """Write a trace as safetensors, complete or not at all; equal traces give equal bytes. OSError where it cannot be."""
    safetensors_file.write(Path(path), trace.arrays.parts, trace.metadata)


def from_tensors(tensors: Mapping[str, Floating], metadata: Mapping[str, str], budget: Budget) -> Trace:
    """Put a trace together from a file's tensors and metadata; what is left of the file's budget is what that may cost.

    Raises ValueError for another format, for an order that is not that of its tensors, and for a tensor that its own SHA-256
    does not fit.
    """
    if metadata.get("format") != FORMAT:
        raise ValueError(f"not a trace (its metadata do not say {FORMAT!r}); record one with `oracle record`")
    precision = metadata.get("precision")
    if precision not in (None, *ROUNDED, "int8"):
        raise ValueError(f"damaged trace, its precision {quote(precision)} is none of {', '.join(ROUNDED)}, int8")
    unreadable = "damaged trace, its order or digests cannot be read"
    try:
        order, digests = (parse_json(metadata.get(part, ""), f"its {part}", budget) for part in ("order", "sha256"))
    except ValueError as error:
        raise ValueError(f"{unreadable} ({error})") from None
    if not (isinstance(order, list) and isinstance(digests, dict) and all(isinstance(path, str) for path in order)):
        raise ValueError(unreadable)
    stranger = next((path for path in order if path not in tensors), None)
    if stranger is not None:
        raise ValueError(f"{unreadable} ({quote(stranger)} is not in it)")
    held = as_layers(tensors)
    for path, found in recomputed(held).items():
        if digests.get(path) != found:
            raise ValueError(f"damaged trace, {shown(path)} does not have the SHA-256 it was recorded with")
    return Trace(Layers({path: held.parts[path] for path in order}), held.get(INPUT), dict(metadata))


def hashes(trace: Trace) -> str:
    """Return a trace's digests as text to commit: comment lines, then SHA-256, shape, dtype and path per layer, in order."""
    m = trace.metadata
    lines = [f"# {m['format']}, engine {m['engine']}, model {m['model']}{_rounding(m)}", f"# weights {m['weights_sha256']}"]
    layers = trace.arrays
    lines += [
        f"{found} {shape_text(layers.shape(path))} {layers.parts[path].dtype} {path}"
        for path, found in recomputed(layers).items()
    ]
    return "\n".join(lines) + "\n"


def _rounding(metadata: Mapping[str, str]) -> str:
    """What else is recorded, or rounded beside an engine's outputs: gradients, input and weights too, the scales of int8."""
    if metadata.get("rounded") == "everything":
        return ", its input and weights rounded too"
    loss = gradients.said_in(metadata)
    if loss is not None:
        return f", gradients of the cross-entropy's {loss.reduction}, {loss.form} form"
    return f", scales {metadata['scales_sha256']}" if "scales_sha256" in metadata else ""
