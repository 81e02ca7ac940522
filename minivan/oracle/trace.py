"""Recording: every operator's output of one forward pass, under its path in the checkpoint, with a SHA-256 each.

A trace is a safetensors file. Its tensors are the layers, and the network's input under the name 'input'. Its metadata
(text, as safetensors demands) says the rest; see `Trace`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .. import __version__
from ..checkpoint import safetensors_file
from ..checkpoint.budget import Budget
from ..checkpoint.json_text import parse_json
from ..checks import Floating
from ..engines import EXACT
from ..errors import quote, shown
from ..hooks import Callback
from ..operators import Array
from ..paths import HEAD, INPUT, all_paths, norms
from ..van import VAN, undisturbed
from ..variants import Config, parameter_shapes, said
from .arithmetic import ROUNDED, Arithmetic
from .stored import Layers, Spool, as_layers

FORMAT = "minivan-trace 1"
HASHED = 1 << 18  # numbers that are looked at together
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


def digest(array: Floating) -> str:
    """Return the SHA-256 of an array's numbers: little-endian, in C order, without its shape.

    Every NaN counts as the quiet positive one: which NaN inf - inf gives is the processor's choice (x86 sets the sign, ARM
    does not), and the contract says NaN, not which.
    """
    array = np.ascontiguousarray(array).reshape(-1)
    return _digest(array[begin : begin + HASHED] for begin in range(0, array.size, HASHED))


def _digest(pieces: Iterable[Floating]) -> str:
    """Return the digest of an array that comes piece by piece."""
    sha256 = hashlib.sha256()
    for piece in pieces:
        strange = np.isnan(piece)
        if strange.any():
            piece = np.where(strange, piece.dtype.type(np.nan), piece)
        sha256.update(piece.astype(piece.dtype.newbyteorder("<"), copy=False).data)
    return sha256.hexdigest()


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
    spool: Spool | None = None,
) -> Trace:
    """Run a VAN on images (N, C, H, W) and keep the output of every operator whose path matches one of the globs `layers`.

    An engine that compiles the network as a whole has no operators to show: its traces hold the stages' outputs and the
    logits. `source` is how the model is found again (a name or a file), for hints that need the weights. With an `arithmetic`
    the layers are those of `exact` in a port's own precision, whatever the model's engine. With a `spool` they are put aside
    there as they are made, and nowhere else. Raises ValueError where no path
    matches, for no images at all, and, where it has to be `finite`, for an input with NaN or infinities: in what comes of those
    most layers cannot be told apart.
    """
    given, hook = model, None
    if arithmetic is not None:
        _check_scales(arithmetic, given)
        model = VAN(given.config, arithmetic.tensors(given.tensors), arithmetic.engine, given.card)
        hook = arithmetic.at
    elif model.engine.choose is not None:  # what a trace holds does not depend on what an engine is worth at the moment
        model = model.on(EXACT)
    paths = _paths(model)
    chosen = {path for path in paths if any(fnmatchcase(path, glob) for glob in layers)}
    if not chosen:  # known before the network runs: that may take minutes
        raise ValueError(f"no layer matches {', '.join(layers)}; the paths run from {paths[0]} to {paths[-1]}")
    images = np.asarray(x)
    if not images.size:
        raise ValueError(f"nothing to record: the input of shape {images.shape} holds no numbers")
    with undisturbed():  # a float64 may be too large for float32
        single = np.asarray(images, np.float32) if np.issubdtype(images.dtype, np.floating) else np.zeros(1, np.float32)
    if finite and (strange := int((~np.isfinite(single)).sum())):
        beyond = "" if not np.isfinite(images).all() else " in float32, which ends at 3.4e38"
        raise ValueError(
            f"{strange:,} of the input's {images.size:,} numbers are NaN or infinite{beyond}; to record what comes of them, "
            "say --allow-nonfinite (in Python finite=False)"
        )
    held = (_every if model.engine.hooks else _whole)(model, x, hook, _Kept(chosen, spool))
    kept = held.layers
    with undisturbed():  # a float64 may be too large for float32, and decimal fractions are written as it is set to round
        images, config = np.asarray(images, np.float32), json.dumps(said(model.config))
    named = Layers({INPUT: images, **kept.parts})
    return Trace(
        held.held if spool is None else kept,
        images,
        {
            "format": FORMAT,
            "minivan": __version__,
            "engine": model.engine.name,
            "model": source or model.card.name,
            "config": config,
            "weights_sha256": tensors_digest(given.tensors),
            "weights_file_sha256": model.card.sha256,
            "order": json.dumps(list(kept)),
            "shapes": json.dumps({path: named.shape(path) for path in named}),
            "sha256": json.dumps({INPUT: digest(images), **held.digests}),
            **({} if arithmetic is None else arithmetic.metadata()),
        },
    )


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


class _Kept:
    """The layers that were chosen, in a spool or in memory, and the digest of each."""

    def __init__(self, chosen: set[str], spool: Spool | None) -> None:
        self.chosen, self.spool = chosen, spool
        self.held: dict[str, Floating] = {}
        self.digests: dict[str, str] = {}

    def put(self, path: str, array: Array) -> None:
        if path not in self.chosen:
            return
        self.digests[path] = digest(np.asarray(array))  # while its numbers are near, and before the spool puts them far away
        if self.spool is not None:
            self.spool.put(path, np.asarray(array))
        else:
            self.held[path] = np.asarray(array)

    @property
    def layers(self) -> Layers:
        return Layers(self.held) if self.spool is None else self.spool.layers


def _every(model: VAN, x: npt.ArrayLike, change: Callback | None, kept: _Kept) -> _Kept:
    """Keep operators' outputs, through a hook; `change` may put another array in an array's place."""

    def hook(path: str, array: Array) -> Array | None:
        changed = None if change is None else change(path, array)
        kept.put(path, array if changed is None else changed)
        return changed

    changed = None if change is None else change(INPUT, x)
    x = x if changed is None else changed
    if model.config.classes:
        model(x, hook)
    else:  # a bare backbone has no logits
        model.features(x, hook)
    return kept


def _whole(model: VAN, x: npt.ArrayLike, change: Callback | None, kept: _Kept) -> _Kept:
    """Keep what an engine that compiles the network as a whole can show: each stage's output, and the logits."""
    for path, array in zip(norms(model.config.stages), model.features(x), strict=True):
        kept.put(path, array)
    if model.config.classes:
        kept.put(HEAD, model(x))
    return kept


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
    for path in held:
        if digests.get(path) != _digest(held.pieces(path, HASHED)):
            raise ValueError(f"damaged trace, {shown(path)} does not have the SHA-256 it was recorded with")
    return Trace(Layers({path: held.parts[path] for path in order}), held.get(INPUT), dict(metadata))


def hashes(trace: Trace) -> str:
    """Return a trace's digests as text to commit: comment lines, then SHA-256, shape, dtype and path per layer, in order."""
    m = trace.metadata
    lines = [f"# {m['format']}, engine {m['engine']}, model {m['model']}{_rounding(m)}", f"# weights {m['weights_sha256']}"]
    lines += [f"{digest(a)} {shape_text(a.shape)} {a.dtype} {path}" for path, a in trace.arrays.items()]
    return "\n".join(lines) + "\n"


def _rounding(metadata: Mapping[str, str]) -> str:
    """What is rounded beside an engine's outputs: ', its input and weights rounded too', or the scales of int8."""
    if metadata.get("rounded") == "everything":
        return ", its input and weights rounded too"
    return f", scales {metadata['scales_sha256']}" if "scales_sha256" in metadata else ""
