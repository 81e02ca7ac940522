"""One number of a real photo followed through the first block's attention, for the lesson's last chapter."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL.Image import Image

from .. import checkpoint, image, lka, paths, reference, shipped
from ..checkpoint import hub
from ..checks import Float64, Integers
from ..geometry import CONV0, CONV_SPATIAL, Kernel
from ..van import VAN
from . import surroundings, which
from .numbers import Numbers

Place = tuple[int, int]  # row, column
Tensors: TypeAlias = Mapping[str, npt.NDArray[np.float32]]

BLOCK = paths.block(1, 0)
GATED = f"{BLOCK}.{paths.GATED}"  # u, what the first gate multiplies
UNIT = f"{BLOCK}.{paths.UNIT}"


def example() -> Path:
    """Return the path of the photo that the lesson follows."""
    return shipped.photo("coffee.jpg")


def bundled_model() -> VAN:
    """Return the bundled weights on the NumPy engine: it compiles nothing.

    Raises FileNotFoundError where an installation has lost them, and otherwise as minivan.checkpoint.load does.
    """
    files = hub.bundled()
    if not files:
        raise FileNotFoundError(errno.ENOENT, "the weights that come with minivan are missing", str(hub.bundled_folder()))
    return checkpoint.load(files[0], engine="numpy")


def walk(model: VAN, path: str | Path, decode: Callable[[str | Path], Image] = image.decode) -> Numbers:
    """Run a photo through the network and recompute one number of its first attention by hand.

    Returns plain values and, under 'maps', the arrays that the chapter draws. Raises as `decode`, which makes a
    picture of the file.
    """
    preprocessing = model.card.preprocessing
    seen = image.view(decode(path), preprocessing)
    x = image.normalise(seen, preprocessing.mean, preprocessing.std)[None]
    first: dict[str, Float64] = {}  # what the first block makes
    factors: dict[str, npt.NDArray[np.floating]] = {}  # what each block's gate multiplies by

    def keep(name: str, array: npt.NDArray[np.floating]) -> None:
        if paths.lies_under(name, BLOCK):
            first[name] = array[0].astype(np.float64)
        block = paths.block_of(name)
        if block is not None and paths.is_factor(name):
            factors[block] = array

    probabilities = reference.softmax(model(x, hook=keep).astype(np.float64))[0]
    u, attention = first[GATED], first[f"{BLOCK}.{paths.FACTOR}"]
    channel = most_divided(attention)
    row, column = (int(i) for i in np.unravel_index(abs(attention[channel]).argmax(), attention.shape[1:]))
    steps = by_hand(model.tensors, u, channel, (row, column))
    network = {name: first[f"{UNIT}.{name}"][channel, row, column] for name in ("conv0", "conv_spatial", "conv1")}
    network |= {"gated": first[UNIT][channel, row, column]}
    doubled = np.linalg.norm(gated(model.tensors, 2 * u)) / np.linalg.norm(gated(model.tensors, u))
    parameters = paths.branch(model.parameters, UNIT)
    split = surroundings.one(u, parameters, channel, (row, column))
    open_gates = reference.softmax(model(x, hook=hold_gates_open).astype(np.float64))[0]
    every = np.concatenate([factor.ravel() for factor in factors.values()])
    last = [*factors.values()][-1].shape[2:]
    varied, spreads = which.varied(factors), attention.std(axis=(1, 2))
    return {
        "image": Path(path).name,
        "weights": model.card.name,
        "classes": len(probabilities),
        "input": list(x.shape[2:]),
        "map": list(attention.shape[1:]),
        "channels": len(u),
        "channel": channel,
        "row": row,
        "column": column,
        "by_hand": steps,
        "network": {name: float(value) for name, value in network.items()},
        "doubled": float(doubled),
        "surroundings": {name: value for name, value in split.items() if name != "places"},
        "average": surroundings.average(u[None], parameters),
        "furthest_apart": float(max(abs(network[name] - steps[name]) for name in network)),
        "lowest": float(attention.min()),
        "highest": float(attention.max()),
        "negative_share": float((every < 0).mean()),
        "above_one_share": float((abs(every) > 1).mean()),
        "attention_values": int(every.size),
        "blocks": len(factors),
        "stages": model.config.stages,
        "last_map": list(last),
        "last_taps": int(on_map(CONV_SPATIAL, *last).max()),
        "attention_map": attention[channel].tolist(),
        "answer": best(model, probabilities),
        "answer_with_open_gates": best(model, open_gates),
        "answer_then": float(open_gates[probabilities.argmax()]),
        "answers_without": {left: best(model, chances) for left, chances in which.without(model, x).items()},
        "variance": {
            "blocks": varied,
            "stages": which.by_stage(varied),
            "shown_rank": int((spreads > spreads[channel]).sum()) + 1,
        },
        "measured": which.measured(model),
        "maps": {"seen": seen, "attention": attention[channel], "u": u[channel], "sources": split["places"]},
    }


def plain(walked: Numbers) -> Numbers:
    """Return what `walk` found as JSON can hold it: without the arrays that the chapter draws."""
    return {name: value for name, value in walked.items() if name != "maps"}


def by_hand(tensors: Tensors, u: Float64, channel: int, place: Place) -> Numbers:
    """Recompute the first block's attention at one place of one channel, weight by weight in float64."""

    weight, bias = _parameters(tensors)
    near, far, mixed = three_steps(tensors, u)
    attention = float(mixed[channel][place])
    mix = weight("conv1")[channel, :, 0, 0]
    at_place = far[:, place[0], place[1]]
    H, W = u.shape[1:]
    return {
        "u": float(u[channel][place]),
        "near_terms": _terms(u[channel], weight("conv0")[channel, 0], place, CONV0.dilation),
        "near_on_map": int(on_map(CONV0, H, W)[place]),
        "far_on_map": int(on_map(CONV_SPATIAL, H, W)[place]),
        "near_bias": float(bias("conv0")[channel]),
        "far_terms": _terms(near[channel], weight("conv_spatial")[channel, 0], place, CONV_SPATIAL.dilation),
        "far_bias": float(bias("conv_spatial")[channel]),
        "mix_terms": [(int(c), float(at_place[c]), float(mix[c])) for c in np.argsort(-abs(at_place * mix), kind="stable")],
        "mix_bias": float(bias("conv1")[channel]),
        "conv0": float(near[channel][place]),
        "conv_spatial": float(far[channel][place]),
        "conv1": attention,
        "gated": float(u[channel][place] * attention),
    }


def three_steps(tensors: Tensors, u: Float64) -> tuple[Float64, Float64, Float64]:
    """Return what the three steps of the first block's attention make of u, float64 (C, H, W) each, biases added."""
    weight, bias = _parameters(tensors)
    near = lka.depthwise(u, weight("conv0"), CONV0.dilation) + bias("conv0")[:, None, None]
    far = lka.depthwise(near, weight("conv_spatial"), CONV_SPATIAL.dilation) + bias("conv_spatial")[:, None, None]
    mixed = np.tensordot(weight("conv1")[:, :, 0, 0], far, axes=1) + bias("conv1")[:, None, None]
    return near, far, mixed


def gated(tensors: Tensors, u: Float64) -> Float64:
    """Return what the first block's gate makes of u."""
    product: Float64 = u * three_steps(tensors, u)[2]
    return product


def _parameters(tensors: Tensors) -> tuple[Callable[[str], Float64], Callable[[str], Float64]]:
    """Return what gives the weight and the bias of a step of the first block's attention, by its name, in float64."""

    def weight(name: str) -> Float64:
        return tensors[f"{UNIT}.{name}.weight"].astype(np.float64)

    def bias(name: str) -> Float64:
        return tensors[f"{UNIT}.{name}.bias"].astype(np.float64)

    return weight, bias


def on_map(kernel: Kernel, height: int, width: int) -> Integers:
    """Return how many of a kernel's taps fall on the map from each position: int64 (height, width)."""
    rows, columns = (lka.taps_on_map(kernel.side, kernel.dilation, length) for length in (height, width))
    counts: Integers = np.multiply.outer(rows, columns)
    return counts


def _terms(values: Float64, kernel: Float64, place: Place, dilation: int) -> list[tuple[int, int, float, float]]:
    """Return the products of one output, the tap's row and column first, largest magnitude first: the taps on the map."""
    offsets = lka.tap_offsets(len(kernel), dilation)
    terms = [
        (int(r), int(c), float(values[place[0] + r, place[1] + c]), float(kernel[i, j]))
        for i, r in enumerate(offsets)
        for j, c in enumerate(offsets)
        if 0 <= place[0] + r < values.shape[0] and 0 <= place[1] + c < values.shape[1]
    ]
    return sorted(terms, key=lambda term: -abs(term[2] * term[3]))


def most_divided(attention: npt.NDArray[np.floating]) -> int:
    """Return the channel of (C, H, W) that lifts some places and turns others over: both signs, both large."""
    lifted, turned = (np.maximum(sign * attention, 0).mean(axis=(1, 2)) for sign in (1, -1))
    return int(np.minimum(lifted, turned).argmax())


def hold_gates_open(path: str, array: npt.NDArray[np.floating]) -> npt.NDArray[np.floating] | None:
    """A hook that makes every attention value 1, so that each gate passes what came in."""
    return np.ones_like(array) if paths.is_factor(path) else None


def best(model: VAN, probabilities: Float64) -> Numbers:
    """Return the class with the highest probability: its name and the probability."""
    index = int(probabilities.argmax())
    return {"label": model.card.label(index).short, "probability": float(probabilities[index])}
