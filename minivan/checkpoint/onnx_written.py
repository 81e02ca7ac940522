"""ONNX files that minivan writes: the network of minivan.model, the weights as they are, and all that their card says.

The package `onnx` makes the file and checks it. Before there is one, it is read again as any other ONNX file is, and where
onnxruntime is installed, what that computes of one image is compared with `exact`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import __version__, model, paths
from ..card import Card
from ..errors import quote, reason
from ..floating import undisturbed
from ..hooks import Hook
from ..input import amount
from ..output import replacing
from ..seeded import images
from ..van import VAN
from ..variants import Config, title
from . import layouts, own_metadata
from .budget import Budget
from .error import CheckpointError
from .extra import library
from .onnx_file import LARGEST, graph_of
from .onnx_graph import CLOSE, Network
from .onnx_operators import OPSET, OnnxOperators, Value
from .tensor import StoredTensor

IR_VERSION = 8  # of opset 17's time; every runtime that knows the one knows the other
GRAPH = 16 << 20  # bytes that are left for what is not numbers: B6's nodes and 21,841 class names take about 2 MB
LOGITS = "logits"
TRIED = (96, 128)  # height and width of the image that is tried: the largest kernel lies within stage 1's map of it
TOLERANCE = 1e-4  # of the largest number, between onnxruntime's float32 and `exact`

Tensors = Mapping[str, npt.NDArray[np.float32]]


def write(path: str | Path, config: Config, tensors: Tensors, card: Card) -> str:
    """Write a network as an ONNX file and return a sentence on how it was tried; equal arguments give equal bytes.

    Its input is `input`, (N, C, H, W) of any N and, from 32 on, any H and W; its output is `logits`, (N, classes), or those of
    a backbone its maps, `norm1` first. Raises CheckpointError where the package `onnx` is not installed, where the file would
    have more than 2 GiB, and where it is not the same network any more, when it is read again or when onnxruntime computes it;
    OSError where it cannot be written.
    """
    size = sum(tensor.nbytes for tensor in tensors.values())
    if size > LARGEST - GRAPH:
        raise CheckpointError(f"an ONNX file of {amount(size)}", "2 GiB is protobuf's limit: write safetensors")
    data = _serialised(config, tensors, card)
    _check_reading(data, Path(path), config, tensors, card)
    tried = _tried(data, config, tensors, card)
    with replacing(path) as file:
        file.write(data)
    return tried


def graph(config: Config, tensors: Tensors) -> tuple[OnnxOperators, list[Value]]:
    """Return a network as a graph, and its outputs: the logits, or the maps of a backbone."""
    ops = OnnxOperators()
    hook = Hook(ops.named)
    parameters = paths.nested({name: ops.parameter(name, tensor) for name, tensor in tensors.items()})
    x = Value(ops, (None, config.channels, None, None), paths.INPUT)
    maps = model.features(ops, hook, x, parameters, config)
    if not config.classes:
        return ops, maps
    logits = model.classifier(ops, hook, maps[-1], head=parameters[paths.HEAD])
    logits.name = LOGITS
    return ops, [logits]


def _serialised(config: Config, tensors: Tensors, card: Card) -> bytes:
    """Return the bytes of the file, which the package `onnx` has checked."""
    onnx = library("onnx", "onnx", "an ONNX file", "writes")
    make = onnx.helper
    ops, outputs = graph(config, tensors)
    nodes = [
        make.make_node(step.operator, [value.name for value in step.inputs], [step.output.name], step.name, **step.attributes)
        for step in ops.steps
    ]
    sides = ("N", config.channels, "H", "W")
    given = [make.make_tensor_value_info(paths.INPUT, onnx.TensorProto.FLOAT, sides)]
    made = [make.make_tensor_value_info(value.name, onnx.TensorProto.FLOAT, _sides(value)) for value in outputs]
    stored = [onnx.numpy_helper.from_array(numbers, name) for name, numbers in ops.stored().items()]
    whole = make.make_model(
        make.make_graph(nodes, title(config), given, made, stored),
        opset_imports=[make.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="minivan",
        producer_version=__version__,
    )
    make.set_model_props(whole, own_metadata.describe(config, card, usual=True))
    onnx.checker.check_model(whole, full_check=True)
    data: bytes = whole.SerializeToString(deterministic=True)
    return data


def _sides(value: Value) -> list[int | str]:
    """Return the axes of an output: those that the images decide have names, H1 and W1 for stage 1."""
    stage = paths.stage_of(value.name) or ""
    names = "N", "", f"H{stage}", f"W{stage}"
    return [name if side is None else side for side, name in zip(value.shape, names, strict=False)]


def _check_reading(data: bytes, path: Path, config: Config, tensors: Tensors, card: Card) -> None:
    """Read the file again before there is one; CheckpointError where it would be refused or is not what it should be."""
    with ExitStack() as stack:
        budget = Budget(len(data))
        read = graph_of(BytesIO(data), path, stack, budget)
        network = Network(read, budget)
        said, written = own_metadata.understand(card.name, read.metadata, budget)
        if said != config or replace(written, activation=network.activation or written.activation) != card:
            raise CheckpointError("the ONNX file's metadata are not what was to be said of it", "nothing was written")
        wanted = config.layer_norm_eps, config.batch_norm_eps
        computed = network.layer_norm_eps, network.batch_norm_eps
        if any(abs(a - b) > CLOSE * b for a, b in zip(computed, wanted, strict=True)):
            raise CheckpointError("the ONNX file has the epsilons {:g} and {:g}".format(*computed), "nothing was written")
        stored: dict[str, StoredTensor] = layouts.complete(config, network.tensors)
        changed = next((name for name, tensor in stored.items() if not _equal(tensor.read(), tensors[name])), None)
    if changed:
        raise CheckpointError(f"{quote(changed)} is not what it was when the ONNX file is read again", "nothing was written")


def _equal(read: npt.NDArray[Any], tensor: npt.NDArray[np.float32]) -> bool:
    return read.tobytes() == tensor.tobytes()


def _tried(data: bytes, config: Config, tensors: Tensors, card: Card) -> str:
    """Say how far onnxruntime and `exact` lie apart on one image; CheckpointError where it is further than rounding makes."""
    try:
        onnxruntime = importlib.import_module("onnxruntime")
    except Exception as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == "onnxruntime"
        why = "is not installed" if missing else f"cannot be imported: {reason(error)}"
        return f"it was not compared with exact: the package onnxruntime, which would run it, {why}"
    x = images((1, config.channels, *TRIED))
    with undisturbed():
        network = VAN(config, tensors, "exact", card)
        ours = [network(x)] if config.classes else network.features(x)
        if not all(np.isfinite(array).all() for array in ours):
            return "it was not compared with exact, whose answer has NaN or infinities in it"
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors: what it would do better with other settings is nothing to be said here
        try:
            theirs = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"]).run(None, {paths.INPUT: x})
        except Exception as error:  # it has a dozen kinds of its own
            raise CheckpointError("onnxruntime cannot run the ONNX file", f"{reason(error)}; nothing was written") from None
        apart = _distance(ours, theirs)
    said = f"onnxruntime {onnxruntime.__version__} and exact are {apart:.1e} of the largest number apart on one image"
    if not apart <= TOLERANCE:
        raise CheckpointError(said, f"more than {TOLERANCE:g}; nothing was written")
    return said


def _distance(ours: Sequence[npt.NDArray[np.float32]], theirs: Sequence[npt.NDArray[np.float32]]) -> float:
    """Return the largest difference between two lists of arrays, each relative to the largest number of `ours`."""
    pairs = zip(ours, theirs, strict=True)
    return float(np.max([np.abs(a - b).max() / (np.abs(a).max() or 1) for a, b in pairs]))  # Python's max passes NaN over
