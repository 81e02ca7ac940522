"""ONNX files as the package `onnx` reads them: the graph's nodes and its tensors, those in files beside it too.

protobuf parses the graph's whole file, which has 2 GiB at most: it is held twice meanwhile, and once until the checkpoint is
closed. The messages in it are counted before protobuf makes objects of them. Files of tensors beside it are opened by minivan,
and read when they are asked for.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import Any

from .. import input
from ..errors import quote, reason
from .budget import Budget
from .error import CheckpointError
from .extra import library
from .onnx_tensors import Tensors
from .protobuf import DAMAGED, LONGEST_NAME, name_of, text_of, weigh
from .tensor import StoredTensor

LARGEST = (2 << 30) - 1  # bytes, protobuf's own limit
MOST_INTEGERS = 64  # of one attribute
MEMORY = 1200  # bytes that a node takes
VALUES = {1: "f", 2: "i", 3: "s", 4: "t", 7: "ints"}  # AttributeProto.AttributeType -> the field, of the types that are read

Attribute = int | float | str | tuple[int, ...] | StoredTensor | None


@dataclass
class Node:
    """One operator of the graph."""

    operator: str
    domain: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Attribute]


@dataclass
class Graph:
    """What an ONNX file computes: nodes in an order in which each follows what it reads."""

    size: int  # bytes of the file, and of those that its tensors are in
    nodes: list[Node]
    tensors: dict[str, StoredTensor]
    inputs: dict[str, tuple[int | None, ...] | None]  # their sizes, where they are said; tensors with numbers may be among them
    outputs: list[str]
    metadata: dict[str, str]  # texts, by their keys


def graph_of(file: BufferedIOBase, path: Path, stack: ExitStack, budget: Budget) -> Graph:
    """Return the graph in an ONNX file; its tensors can be read until `stack` closes.

    Raises CheckpointError for a damaged file, for one of more than 2 GiB, and where the package `onnx` is not installed.
    """
    size = file.seek(0, 2)
    if size > LARGEST:
        raise CheckpointError(
            f"an ONNX file of {size:,} bytes", "2 GiB is protobuf's limit: its tensors belong in a file beside it"
        )
    model = _parsed(file, path, budget)
    graph = model.graph
    tensors = Tensors(path.parent, stack, budget)
    nodes = [_node(node, tensors, budget) for node in graph.node]
    stored: dict[str, StoredTensor] = {}
    for tensor in graph.initializer:
        name = name_of(tensor.name, budget)
        if name in stored:
            raise CheckpointError(DAMAGED, f"two tensors are called {quote(name)}")
        stored[name] = tensors.stored(name, tensor)
    inputs = {name_of(value.name, budget): _shape(value, budget) for value in graph.input}
    outputs = [name_of(value.name, budget) for value in graph.output]
    metadata = {name_of(entry.key, budget): text_of(entry.value, budget) for entry in model.metadata_props}
    return Graph(size + tensors.size, nodes, stored, inputs, outputs, metadata)


def _parsed(file: BufferedIOBase, path: Path, budget: Budget) -> Any:
    """Return the ModelProto in a file."""
    onnx = library("onnx", "onnx", "an ONNX file")
    file.seek(0)
    data = input.drained(file, LARGEST, str(path))
    weigh(data, onnx.ModelProto.DESCRIPTOR, budget)
    try:
        model = onnx.load_model_from_string(data)
    except MemoryError:
        raise
    except Exception as error:
        raise CheckpointError(DAMAGED, reason(error)) from None
    if not model.HasField("graph"):
        raise CheckpointError(DAMAGED, "it has no graph")
    return model


def _shape(value: Any, budget: Budget) -> tuple[int | None, ...] | None:
    """Return the sizes that a ValueInfoProto says, None for one that is left open, and None where it says none."""
    if not value.type.HasField("tensor_type") or not value.type.tensor_type.HasField("shape"):
        return None
    sides = value.type.tensor_type.shape.dim
    budget.step(1 + len(sides))
    budget.hold(MEMORY // 4 + 40 * len(sides))
    return tuple(side.dim_value if side.dim_value > 0 else None for side in sides)


def _node(node: Any, tensors: Tensors, budget: Budget) -> Node:
    budget.hold(MEMORY)
    inputs, outputs = ([name_of(name, budget) for name in names] for names in (node.input, node.output))
    attributes = {name_of(attribute.name, budget): _attribute(attribute, tensors, budget) for attribute in node.attribute}
    return Node(name_of(node.op_type, budget), name_of(node.domain, budget), inputs, outputs, attributes)


def _attribute(attribute: Any, tensors: Tensors, budget: Budget) -> Attribute:
    """Return an attribute's value, None for one of a kind that no operator of a VAN has."""
    budget.hold(MEMORY // 4)
    if not attribute.type:
        raise CheckpointError(DAMAGED, f"the attribute {quote(attribute.name)} has no type")
    value = getattr(attribute, VALUES[attribute.type]) if attribute.type in VALUES else None
    if isinstance(value, bytes):
        return name_of(value, budget) if len(value) <= LONGEST_NAME else None
    if value is None or isinstance(value, (int, float)):
        return value
    if VALUES[attribute.type] == "t":
        return tensors.stored(attribute.name, value)
    if len(value) > MOST_INTEGERS:
        raise CheckpointError(DAMAGED, f"a list of more than {MOST_INTEGERS} integers")
    return tuple(value)
