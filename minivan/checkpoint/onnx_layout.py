"""What the axes of an ONNX graph's arrays mean, followed from the image on through every operator.

Two arrays of the same shape may have other axes in it: a LayerNorm over the height is none over the channels. So each operator
of a VAN is looked at with the axes that it works along, and an array whose axes cannot be told, or are not those that a VAN has
there, is lost: with the reason, which all that is computed from it has too. Sides of one do not count, for what is done along
them changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..errors import quote
from .budget import Budget
from .error import CheckpointError
from .onnx_file import MOST_INTEGERS, Graph, Node
from .onnx_sizes import ENDLESS, Axis, Layout, Size, Sizes, computed, integers, size_of, stored
from .tensor import StoredTensor

OWN = ("", "ai.onnx")  # the domain of the operators that ONNX itself defines
MOST_AXES = 8
STEP, MEMORY = 4, 600  # what following one node takes
SIDE, SIZE = 250, 150  # bytes that a side of a stored array takes, and an integer
FLOATING = (1, 10, 11, 16)  # TensorProto.DataType
CHANNELS, BATCH = "C", "0"
ORDERS = (("0", "1", "2", "3"), ("0", "3", "1", "2"), ("0", "C", "2", "3"), ("0", "C", "1", "2"))  # what convolutions may read
IMAGE = 4  # axes of a batch of images; one image has the last three
STORED = "stored"  # before the number of an axis: the kind of those of arrays that are stored

Rule = Callable[["Layouts", Node], Layout]


class Lost(NamedTuple):
    """Why an array's axes are not known."""

    what: str
    why: str


class _LostError(Exception):
    """An array whose axes are not known; its only argument is a Lost."""


class Layouts:
    """The axes of all arrays in a graph that are computed from the image, and of those that are stored."""

    def __init__(self, graph: Graph, budget: Budget) -> None:
        self.means: dict[str, frozenset[bool]] = {}  # of arrays that are means: over the channels (True), over all positions
        self._budget = budget
        self._tensors, self._sizes = graph.tensors, dict[str, Sizes | None]()
        self._names = ORDERS[0], ("N", "C", "H", "W")  # what the image's axes are called: NCHW, until a convolution says more
        budget.hold(sum(MEMORY + SIDE * len(tensor.shape) for tensor in graph.tensors.values()))
        self._found: dict[str, Layout | Lost] = {name: _laid(tensor.shape) for name, tensor in graph.tensors.items()}
        for name, shape in graph.inputs.items():
            if name not in graph.tensors:
                self._found[name] = _image(shape)
        for node in graph.nodes:
            budget.step(STEP + len(node.inputs))
            budget.hold(MEMORY)
            if node.outputs:
                self._follow(node)

    def of(self, name: str) -> Layout:
        """Return an array's axes; CheckpointError where they are lost, which says at which operator."""
        try:
            return self._of(name)
        except _LostError as lost:
            raise CheckpointError(*lost.args[0]) from None

    def is_stored(self, name: str, tensor: StoredTensor) -> bool:
        """Tell whether a name stands for a tensor as it is stored, with no axes exchanged, joined or parted."""
        return self.of(name) == _laid(tensor.shape)

    def is_turned(self, name: str, tensor: StoredTensor) -> bool:
        """Tell whether a name stands for a stored matrix whose two axes are exchanged."""
        return self.of(name) == _laid(tensor.shape)[::-1]

    def is_plain(self, layout: Layout) -> bool:
        """Tell whether axes are N, C, H and W in this order, or some of them, none joined."""
        kinds = [axis.kind for joined in layout for axis in joined]
        orders = ([kind for kind in order if kind in kinds] for order in ORDERS if CHANNELS in order)
        return all(len(joined) <= 1 for joined in layout) and kinds in orders

    def said(self, layout: Layout) -> str:
        """Return axes in words: 'N, H*W, C'."""
        names = {CHANNELS: "C"} | dict(zip(*self._names, strict=True))
        return ", ".join("*".join(names.get(axis.kind, str(axis.size)) for axis in joined) or "1" for joined in layout)

    def _of(self, name: str) -> Layout:
        found = self._found.get(name, Lost(f"an ONNX graph with the array {quote(name)}", "its axes cannot be told"))
        if isinstance(found, Lost):
            raise _LostError(found)
        return found

    def _follow(self, node: Node) -> None:
        name, own = node.outputs[0], node.domain in OWN
        found = self._found.get(node.inputs[0]) if node.inputs else None
        if own:
            sizes = computed(node, None if isinstance(found, Lost) else found, self._read)
            self._budget.step(len(sizes or ()))
            self._budget.hold(SIZE * len(sizes or ()))
            self._sizes[name] = sizes
        try:
            rule = RULES.get(node.operator) if own else None
            if rule is None:
                raise _lost(node, "where a VAN has none")
            layout = rule(self, node)
            if len(layout) > MOST_AXES:
                raise _lost(node, f"to more than {MOST_AXES} axes")
            self._found[name] = layout
        except _LostError as lost:
            self._found[name] = lost.args[0]

    def _read(self, name: str) -> Sizes | None:
        if name not in self._sizes:
            self._budget.step(MOST_INTEGERS)
            self._sizes[name] = stored(self._tensors[name]) if name in self._tensors else None
        return self._sizes[name]

    # rules: each returns the axes of what a node gives

    def _kept(self, node: Node) -> Layout:
        return self._of(_input(node, 0))

    def _cast(self, node: Node) -> Layout:
        if node.attributes.get("to") not in FLOATING:
            raise _lost(node, "to numbers that are not floating", "a VAN computes with floating ones from the image on")
        return self._kept(node)

    def _dropout(self, node: Node) -> Layout:
        if any(node.inputs[2:]):
            raise _LostError(Lost("an ONNX graph that was exported for training", "export it after model.eval()"))
        return self._kept(node)

    def _constant(self, node: Node) -> Layout:
        value = next(iter(node.attributes.values()), None)
        if isinstance(value, StoredTensor):
            return _laid(value.shape)
        if isinstance(value, (int, float)):
            return ()
        raise _lost(node, "of a kind that a VAN has not")

    def _transpose(self, node: Node) -> Layout:
        layout = self._kept(node)
        order = _axes(node, len(layout), node.attributes.get("perm", tuple(range(len(layout)))[::-1]))
        if len(order) != len(layout):
            raise _lost(node, f"of {self.said(layout)} to {len(order)} axes")
        return tuple(layout[index] for index in order)

    def _reshape(self, node: Node) -> Layout:
        layout = self._kept(node)
        sizes = self._read(_input(node, 1))
        if sizes is None:
            raise _lost(node, "to a shape that is computed", "how is not followed")
        if len(sizes) > MOST_AXES:
            raise _lost(node, f"to more than {MOST_AXES} axes")
        reshaped = _reshaped(layout, sizes, bool(node.attributes.get("allowzero")))
        if reshaped is None:
            raise _lost(node, f"of {self.said(layout)} that parts or mixes axes", "a VAN's are joined, and parted again")
        return reshaped

    def _flatten(self, node: Node) -> Layout:
        layout = self._kept(node)
        axis = node.attributes.get("axis", 1)
        if isinstance(axis, int) and axis < 0:  # counted from the last axis, though one more place can be meant
            axis += len(layout)
        if not isinstance(axis, int) or not 0 <= axis <= len(layout):
            raise _lost(node, "along an axis that cannot be told")
        return sum(layout[:axis], ()), sum(layout[axis:], ())

    def _squeeze(self, node: Node) -> Layout:
        layout = self._kept(node)
        axes = self._given_axes(node, len(layout))
        if axes is None:  # every side of one goes, so each must be known
            axes = {index for index, joined in enumerate(layout) if size_of(joined) == size_of(())}
            axes |= {index for index, joined in enumerate(layout) if size_of(joined).axes}
        if any(layout[index] for index in axes):
            raise _lost(node, f"of {self.said(layout)}", "only sides that are one in every image can be left out")
        return tuple(joined for index, joined in enumerate(layout) if index not in axes)

    def _unsqueeze(self, node: Node) -> Layout:
        layout = self._kept(node)
        given = integers(self._read(node.inputs[1])) if len(node.inputs) > 1 else node.attributes.get("axes")
        count = len(layout) + (len(given) if isinstance(given, tuple) else 0)
        axes = set(_axes(node, count, given)) if count <= MOST_AXES else set()
        rest = iter(layout)
        if len(axes) != count - len(layout):
            raise _lost(node, "by axes that are not to be told")
        return tuple(() if index in axes else next(rest) for index in range(count))

    def _convolution(self, node: Node) -> Layout:
        layout = self._map(node)
        strides = node.attributes.get("strides", (1, 1))
        stride = strides[0] if isinstance(strides, tuple) and strides else 1  # sides that differ are refused elsewhere
        weight = self._of(_input(node, 1))
        largest = max((axis.divisor for joined in layout for axis in joined), default=1)
        if not isinstance(stride, int) or not 0 < stride * largest < ENDLESS or not weight:
            raise _lost(node, f"of stride {stride}")
        return layout[0], _channels(weight[0]), *(_strided(joined, stride) for joined in layout[2:])

    def _map(self, node: Node) -> Layout:
        """Return the axes of a map that a node reads, which must be a VAN's."""
        layout = self._kept(node)
        for order in ORDERS:
            if len(layout) == len(order) and all(_is(joined, kind) for joined, kind in zip(layout, order, strict=True)):
                self._names = (order, self._names[1]) if CHANNELS not in order else self._names
                return layout
        raise _lost(node, f"of the axes {self.said(layout)}", "a VAN's are N, C, H, W")

    def _batch_norm(self, node: Node) -> Layout:
        return self._map(node)

    def _global_pool(self, node: Node) -> Layout:
        layout = self._kept(node)
        if len(layout) < 3 or not _is(layout[0], BATCH) or not _is(layout[1], CHANNELS):
            raise _lost(node, f"of the axes {self.said(layout)}", "a VAN's are N, C, H, W")
        self.means[node.outputs[0]] = frozenset({False})
        return *layout[:2], *((),) * (len(layout) - 2)

    def _mean(self, node: Node) -> Layout:
        layout = self._kept(node)
        axes = self._given_axes(node, len(layout))
        axes = set(range(len(layout))) if axes is None else axes
        if not axes and node.attributes.get("noop_with_empty_axes"):
            raise _lost(node, "over no axes")
        over, every = {axis for index in axes for axis in layout[index]}, set(sum(layout, ()))
        channels = {axis for axis in every if axis.kind == CHANNELS}
        means = {True: channels, False: every - channels - {axis for axis in every if axis.kind == BATCH}}
        self.means[node.outputs[0]] = frozenset(key for key, wanted in means.items() if wanted == over)
        if not self.means[node.outputs[0]]:
            taken = self.said(tuple(layout[index] for index in sorted(axes)))
            raise _lost(node, f"over {taken} of {self.said(layout)}", "a VAN's are over C (LayerNorm) or H and W (pooling)")
        if node.attributes.get("keepdims", 1):
            return tuple(() if index in axes else joined for index, joined in enumerate(layout))
        return tuple(joined for index, joined in enumerate(layout) if index not in axes)

    def _layer_norm(self, node: Node) -> Layout:
        layout = self._kept(node)
        (axis,) = _axes(node, len(layout), (node.attributes.get("axis", -1),))
        over, every = layout[axis:], sum(layout, ())
        if set(sum(over, ())) != {axis for axis in every if axis.kind == CHANNELS}:
            raise _lost(node, f"over {self.said(over)} of {self.said(layout)}", "a VAN's is over C")
        for name in node.inputs[1:3]:
            if self._broadcast(node, layout, self._of(name)) != layout:
                raise _lost(node, f"of {self.said(layout)} with numbers of more axes")
        return layout

    def _softmax(self, node: Node) -> Layout:
        layout = self._kept(node)
        if len(layout) != 2 and "axis" not in node.attributes:
            raise _lost(node, f"of {self.said(layout)} without an axis")
        (axis,) = _axes(node, len(layout), (node.attributes.get("axis", 1),))
        over = layout[axis : axis + 1]
        if not over[0] or not _is(over[0], CHANNELS):
            raise _lost(node, f"over {self.said(over)} of {self.said(layout)}", "a VAN's is over the classes")
        return layout

    def _product(self, node: Node) -> Layout:
        layout, matrix = self._kept(node), self._of(_input(node, 1))
        if len(layout) < 2 or len(matrix) != 2 or not _is(layout[-1], CHANNELS) or not _is(layout[0], BATCH):
            raise _lost(node, f"of {self.said(layout)}", "a VAN's head is one of N, C with a matrix")
        result = *layout[:-1], _channels(matrix[0 if node.attributes.get("transB") else 1])
        return self._broadcast(node, result, self._of(node.inputs[2])) if any(node.inputs[2:3]) else result

    def _elementwise(self, node: Node) -> Layout:
        return self._broadcast(node, self._kept(node), self._of(_input(node, 1)))

    def _broadcast(self, node: Node, layout: Layout, other: Layout) -> Layout:
        """Return the axes of what two arrays give number by number: stored ones lie along C, others along their own axes."""
        rank, result = max(len(layout), len(other)), list[tuple[Axis, ...]]()
        for left, right in zip(*(((),) * (rank - len(axes)) + axes for axes in (layout, other)), strict=True):
            one, two = (right, left) if _is_stored(left) else (left, right)
            along = one and _is_stored(two) and _is(one, CHANNELS) and size_of(one) == size_of(two)
            if one and two and one != two and not along:
                raise _lost(node, f"of {self.said(layout)} and {self.said(other)}", "the same axes are wanted, or C")
            result.append(one or two)
        return tuple(result)

    def _given_axes(self, node: Node, rank: int) -> set[int] | None:
        """Return the axes that an attribute or the second input names, None where neither is there."""
        if any(node.inputs[1:2]):
            return set(_axes(node, rank, integers(self._read(node.inputs[1]))))
        return set(_axes(node, rank, node.attributes["axes"])) if "axes" in node.attributes else None


RULES: dict[str, Rule] = {
    **dict.fromkeys(("Identity", "Gelu", "Erf", "Sqrt", "Sigmoid"), Layouts._kept),
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Pow"), Layouts._elementwise),
    **dict.fromkeys(("Gemm", "MatMul"), Layouts._product),
    "Cast": Layouts._cast, "Dropout": Layouts._dropout, "Constant": Layouts._constant, "Transpose": Layouts._transpose,
    "Reshape": Layouts._reshape, "Flatten": Layouts._flatten, "Squeeze": Layouts._squeeze, "Unsqueeze": Layouts._unsqueeze,
    "Conv": Layouts._convolution, "BatchNormalization": Layouts._batch_norm, "GlobalAveragePool": Layouts._global_pool,
    "ReduceMean": Layouts._mean, "LayerNormalization": Layouts._layer_norm, "Softmax": Layouts._softmax,
}  # fmt: skip


def _lost(node: Node, text: str, why: str = "") -> _LostError:
    return _LostError(Lost(f"an ONNX graph with {quote(node.operator)} {text}", why))


def _input(node: Node, index: int) -> str:
    if len(node.inputs) <= index:
        raise _lost(node, f"of {len(node.inputs)} inputs")
    return node.inputs[index]


def _axes(node: Node, rank: int, given: object) -> tuple[int, ...]:
    """Return axes that a node names, counted from the first, each once."""
    if isinstance(given, tuple):
        axes = tuple(axis + rank if axis < 0 else axis for axis in given if isinstance(axis, int))
        if len(set(axes)) == len(given) and all(0 <= axis < rank for axis in axes):
            return axes
    raise _lost(node, "along axes that cannot be told")


def _laid(shape: tuple[int, ...]) -> Layout:
    """Return the axes of a tensor that is stored."""
    return tuple((Axis(f"{STORED} {index}", size=size),) if size != 1 else () for index, size in enumerate(shape))


def _image(shape: tuple[int | None, ...] | None) -> Layout | Lost:
    shape = (None,) * IMAGE if shape is None else shape
    if not IMAGE - 1 <= len(shape) <= IMAGE:
        return Lost(f"an ONNX graph whose input has {len(shape)} axes", "a batch of images has four")
    sizes = zip(ORDERS[0][-len(shape) :], shape, strict=True)
    return tuple((Axis(kind, size=size),) if size != 1 else () for kind, size in sizes)


def _channels(stored_axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    """Return the axis of channels that a parameter's side gives."""
    return tuple(Axis(CHANNELS, size=axis.size) for axis in stored_axes)


def _strided(joined: tuple[Axis, ...], stride: int) -> tuple[Axis, ...]:
    """Return an axis of a map after a convolution: padded so that its size is divided by the stride and rounded up."""
    axes = (Axis(a.kind, a.divisor * stride, None if a.size is None else -(-a.size // stride)) for a in joined)
    return tuple(axis for axis in axes if axis.size != 1)


def _is(joined: tuple[Axis, ...], kind: str) -> bool:
    return len(joined) <= 1 and all(axis.kind == kind for axis in joined)


def _is_stored(joined: tuple[Axis, ...]) -> bool:
    return len(joined) == 1 and joined[0].kind.startswith(STORED)


def _reshaped(layout: Layout, sizes: Sizes, keeps_zero: bool) -> Layout | None:
    """Return the axes after a Reshape to some sizes, None where it does more than to join and to part whole axes."""
    left = [axis for joined in layout for axis in joined]
    wanted = [None if size == Size(-1) else size for size in sizes]
    for index, size in enumerate(sizes):
        if size == Size(0):
            if keeps_zero or index >= len(layout):
                return None
            wanted[index] = size_of(layout[index])
    rest = wanted.index(None) if None in wanted else len(wanted)
    before = [_taken(left, size, 0) for size in wanted[:rest]]
    after = [_taken(left, size, -1) for size in wanted[:rest:-1]]
    if rest < len(wanted):
        before.append(tuple(left))
        left.clear()
    result = [*before, *after[::-1]]
    return None if left or None in result else tuple(joined for joined in result if joined is not None)


def _taken(left: list[Axis], size: Size | None, end: int) -> tuple[Axis, ...] | None:
    """Take axes of a size together from one end of those that are left, None where no whole axes have it."""
    taken: list[Axis] = []
    while size_of(tuple(taken)) != size:
        if not left:
            return None
        taken.append(left.pop(end))
    return tuple(taken if end == 0 else taken[::-1])
