"""What the names in an ONNX graph stand for: the operator that makes an array, or the numbers that a parameter has."""

from __future__ import annotations

from ..errors import quote
from .budget import Budget
from .error import CheckpointError
from .onnx_file import Graph, Node
from .tensor import StoredTensor

VIEWS = ("Identity", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Dropout", "Cast")  # the numbers stay the same
OWN = ("", "ai.onnx")  # the domain of the operators that ONNX itself defines
STEP = 3  # steps that it takes to look at one node
MOST_FACTORS = 8  # of a product


class Wiring:
    """A graph's arrays. Views of an array count as the array itself: axes exchanged, joined or parted."""

    def __init__(self, graph: Graph, budget: Budget) -> None:
        self.graph, self.budget = graph, budget
        self.producers = _producers(graph, budget)

    def origin(self, name: str) -> str:
        """Return the array that a name is a view of, or the name itself."""
        while True:
            self.budget.step(STEP)
            node = self.producers.get(name)
            if node is None or node.operator not in VIEWS or node.domain not in OWN or not node.inputs:
                return name
            name = node.inputs[0]

    def node(self, name: str, *operators: str) -> Node:
        """Return the operator that makes an array; CheckpointError for another than these."""
        node = self.producers.get(self.origin(name))
        if node is None or node.operator not in operators or node.domain not in OWN:
            raise self.unlike(name, " or ".join(operators))
        return node

    def makes(self, name: str, operator: str) -> bool:
        """Tell whether an operator makes an array."""
        node = self.producers.get(self.origin(name))
        return node is not None and node.operator == operator and node.domain in OWN

    def unlike(self, name: str, wanted: str) -> CheckpointError:
        """Return the error that names what is there, and what a VAN has in its place."""
        node = self.producers.get(self.origin(name))
        here = f"{node.domain + '.' if node.domain else ''}{node.operator}" if node else self.origin(name)
        return CheckpointError(f"an ONNX graph with {quote(here)} where a VAN has {wanted}")

    def is_image(self, name: str) -> bool:
        """Tell whether an array is what the graph is given."""
        origin = self.origin(name)
        return origin in self.graph.inputs and origin not in self.graph.tensors

    def constant(self, name: str) -> StoredTensor | None:
        """Return the numbers that a name stands for, None for an array that is computed."""
        origin = self.origin(name)
        if origin in self.graph.tensors:
            return self.graph.tensors[origin]
        node = self.producers.get(origin)
        value = node.attributes.get("value") if node is not None and node.operator == "Constant" else None
        return value if isinstance(value, StoredTensor) else None

    def parameter(self, name: str, what: str) -> StoredTensor:
        tensor = self.constant(name)
        if tensor is None:
            raise self.unlike(name, f"the numbers of {what}")
        return tensor

    def vector(self, name: str, what: str) -> StoredTensor:
        """Return numbers with one side, whatever sides of one they have besides."""
        tensor = self.parameter(name, what)
        if tensor.count != max(tensor.shape, default=1) or tensor.strides:
            raise CheckpointError(f"{what} of the shape {tensor.shape} in an ONNX graph", "one number a channel is wanted")
        return StoredTensor((tensor.count,), tensor.dtype, tensor.fetch, tensor.offset)

    def number(self, name: str) -> float | None:
        """Return the one number that a name stands for, None where it is something else."""
        node = self.producers.get(self.origin(name))
        if node is not None and node.operator == "Constant" and isinstance(value := node.attributes.get("value_float"), float):
            return value
        tensor = self.constant(name)
        if tensor is None or tensor.count != 1 or tensor.unreadable or not tensor.dtype.startswith(("float", "bfloat")):
            return None
        return float(tensor.read().ravel()[0])

    def with_number(self, node: Node) -> tuple[str, float | None]:
        """Return the operand of a sum or product that is computed, and the number that is the other one."""
        left, right = inputs_of(node, 2)
        number = self.number(left)
        return (right, number) if number is not None else (left, self.number(right))

    def with_vector(self, node: Node, what: str) -> tuple[str, StoredTensor]:
        """Return the operand of a sum or product that is computed, and the parameter that is the other one."""
        left, right = inputs_of(node, 2)
        if self.constant(right) is None:
            left, right = right, left
        return left, self.vector(right, what)

    def is_turned(self, name: str) -> bool:
        """Tell whether the axes of a matrix of numbers are exchanged before it is used."""
        turned = False
        while name not in self.graph.tensors and (node := self.producers.get(name)) and node.inputs:
            self.budget.step(STEP)
            turned ^= node.operator == "Transpose"
            name = node.inputs[0]
        return turned

    def same(self, name: str, other: str) -> None:
        if self.origin(name) != self.origin(other):
            raise self.unlike(name, f"what {quote(self.origin(other))} is")

    def factors(self, node: Node) -> tuple[float, list[str]]:
        """Return the numbers that a product consists of, multiplied, and the arrays."""
        scale, arrays, left = 1.0, list[str](), [node]
        while left:
            product = left.pop()
            for index, name in enumerate(inputs_of(product, 2)):
                number = self.number(name)
                divides = product.operator == "Div" and index == 1
                if number is not None and not (divides and number == 0):
                    scale = scale / number if divides else scale * number
                elif not divides and (self.makes(name, "Mul") or (self.makes(name, "Div") and self._divides(name))):
                    left.append(self.node(name, "Mul", "Div"))
                else:
                    arrays.append(name)
            if len(arrays) + len(left) > MOST_FACTORS:
                break
        return scale, arrays

    def _divides(self, name: str) -> bool:
        return self.number(inputs_of(self.node(name, "Div"), 2)[1]) is not None


def _producers(graph: Graph, budget: Budget) -> dict[str, Node]:
    """Return which node makes each array; CheckpointError where one reads what is made after it, as in a circle."""
    producers: dict[str, Node] = {}
    made = {name for node in graph.nodes for name in node.outputs}
    for node in graph.nodes:
        budget.step(1 + len(node.inputs) + len(node.outputs))
        late = next((name for name in node.inputs if name in made and name not in producers and name), None)
        if late is not None:
            raise CheckpointError(f"an ONNX graph that reads {quote(late)} before it is made")
        for name in node.outputs:
            if name and (name in producers or name in graph.tensors):
                raise CheckpointError(f"an ONNX graph that makes {quote(name)} twice")
            producers[name] = node
    return producers


def inputs_of(node: Node, count: int) -> list[str]:
    """Return a node's first inputs; CheckpointError where it has fewer."""
    if len(node.inputs) < count:
        raise CheckpointError(f"an ONNX graph with {quote(node.operator)} of {len(node.inputs)} inputs", f"it has {count}")
    return node.inputs[:count]
