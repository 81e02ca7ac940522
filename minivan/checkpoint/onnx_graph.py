"""A VAN in an ONNX graph: every operator from the output back to the image, whatever the exporter called it.

The graph is followed backwards, and each operator must be the one that the authors' code has there, with its kernel, stride,
padding, dilation and groups: so no other network passes for a VAN. Exporters differ in three things, and all are understood:
GELU and LayerNorm may be written out in simpler operators (torch.onnx, opsets below 20 and 17), axes are exchanged and joined
on the way into LayerNorm and pooling, and a BatchNorm may be folded into the convolution beside it, whose numbers then hold
both: in its place stands one that changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .. import paths
from ..errors import quote
from ..geometry import CONV0, CONV_SPATIAL, DWCONV, PATCH_EMBEDS, POINTWISE, Kernel
from ..variants import LARGEST_DIMENSION
from .budget import Budget
from .error import CheckpointError
from .onnx_file import Graph, Node
from .onnx_wiring import Wiring, inputs_of
from .paddle import transposed
from .tensor import Bytes, StoredTensor

BATCH_NORM = ("weight", "bias", "running_mean", "running_var")
CLOSE = 1e-5  # how near a constant must be to what it stands for, relative

FOLDED = "{} of its BatchNorms are folded into the convolutions beside them; those in their place change nothing"
ENDINGS = ("Softmax", "Sigmoid")  # operators that make probabilities of logits

Module = dict[str, StoredTensor]  # parameters by their names below a block or a stage


class Network(Wiring):
    """What a graph computes, taken apart: a VAN's tensors by the authors' names, its epsilons, and what is to be said.

    Raises CheckpointError, naming the operator, where the graph computes something else.
    """

    def __init__(self, graph: Graph, budget: Budget) -> None:
        super().__init__(graph, budget)
        self.layer_norm_eps = self.batch_norm_eps = 0.0  # 0: none was seen
        self.activation = ""  # what the graph makes probabilities of logits with, if it does
        self.notes: tuple[str, ...] = ()
        self._folded: list[tuple[Module, str, int]] = []  # where a BatchNorm's parameters belong, its path, its channels
        self._maps: list[str] = []  # what LayerNorms give, the last stage's first
        self.tensors: dict[str, StoredTensor] = {}
        if not graph.outputs:
            raise CheckpointError("an ONNX graph without an output")
        name = self._classifier(graph.outputs[-1])
        reversed_stages: list[tuple[Kernel, Module, list[Module]]] = []
        while not self.is_image(name):
            if len(reversed_stages) == len(PATCH_EMBEDS):
                raise self.unlike(name, "the image after four stages")
            name, stage = self._stage(name)
            reversed_stages.append(stage)
        self._check_outputs()
        self._name(reversed_stages[::-1])

    # the network, from its end to its beginning

    def _classifier(self, name: str) -> str:
        """Take the head and the pooling, where there are any, and return what the last stage gives."""
        for ending in ENDINGS:
            if self.makes(name, ending):
                self.activation = ending.lower()
                self.notes += (f"the graph ends in a {self.activation}, which minivan computes by itself",)
                name = inputs_of(self.node(name, ending), 1)[0]
                break
        node = self.producers.get(self.origin(name))
        if node is not None and node.operator in POOLS:  # a backbone whose features are pooled
            return inputs_of(node, 1)[0]
        if node is None or node.operator not in ("Gemm", "Add", "MatMul", "Conv"):
            return name
        bias: StoredTensor | None
        if node.operator == "Add":
            product, bias = self.with_vector(node, "head.bias")
            if not self.makes(product, "MatMul"):
                return name  # a LayerNorm written out: a backbone
            node = self.node(product, "MatMul")
        else:
            bias = self._bias(node, 2)
        x, weight = inputs_of(node, 2)
        matrix = self.parameter(weight, "head.weight")
        if node.operator == "Conv":
            self._check_kernel(node, POINTWISE, "head", False)
            matrix = StoredTensor(matrix.shape[:2], matrix.dtype, matrix.fetch, matrix.offset)
        elif len(matrix.shape) != 2 or node.attributes.get("transA") or {node.attributes.get(k, 1.0) for k in SCALES} != {1.0}:
            raise CheckpointError("an ONNX graph whose head is no linear layer")
        elif bool(node.attributes.get("transB")) == self.is_turned(weight):
            matrix = transposed(matrix)
        self.tensors = {f"{paths.HEAD}.weight": matrix, f"{paths.HEAD}.bias": bias or _filled(matrix.shape[0], 0)}
        pool = self.node(x, *POOLS)
        return inputs_of(pool, 1)[0]

    def _stage(self, name: str) -> tuple[str, tuple[Kernel, Module, list[Module]]]:
        """Take a stage, and return what it reads, its embedding's kernel, its parameters and its blocks', the first first."""
        stage: Module = {}
        blocks: list[Module] = []
        self._maps.append(self.origin(name))
        name = self._layer_norm(name, stage)
        while self.makes(name, "Add"):
            name, block = self._block(name)
            blocks.append(block)
        if self.makes(name, "BatchNormalization"):
            name = self._batch_norm(name, stage, "patch_embed.norm")
        else:
            self._fold(stage, "patch_embed.norm", name)
        node = self.node(name, "Conv")
        kernel = self._convolution(node, stage, "patch_embed.proj", False)
        return node.inputs[0], (kernel, stage, blocks[::-1])

    def _block(self, name: str) -> tuple[str, Module]:
        """Take a block, and return what it reads and its parameters."""
        block: Module = {}
        between, inside = self._residual(name, block, "layer_scale_2")
        hidden = self._conv(inside, block, "mlp.fc2", POINTWISE)
        hidden = self._conv(self._gelu(hidden), block, "mlp.dwconv.dwconv", DWCONV, True)
        hidden = self._conv(hidden, block, "mlp.fc1", POINTWISE)
        if self.origin(hidden) == self.origin(between):
            self._folded.append((block, "norm2", block["mlp.fc1.weight"].shape[1]))
        else:
            self.same(self._batch_norm(hidden, block, "norm2"), between)
        before, inside = self._residual(between, block, "layer_scale_1")
        left, right = inputs_of(self.node(inside, "Add"), 2)
        projected, z = (left, right) if self.makes(left, "Conv") else (right, left)
        gated = self._conv(projected, block, "attn.proj_2", POINTWISE)
        left, right = inputs_of(self.node(gated, "Mul"), 2)
        factor, u = (left, right) if self.makes(left, "Conv") or self.makes(right, "Mul") else (right, left)
        far = self._conv(factor, block, f"{paths.UNIT}.conv1", POINTWISE)
        near = self._conv(far, block, f"{paths.UNIT}.conv_spatial", CONV_SPATIAL, True)
        self.same(self._conv(near, block, f"{paths.UNIT}.conv0", CONV0, True), u)
        self.same(self._conv(self._gelu(u), block, "attn.proj_1", POINTWISE), z)
        self.same(self._batch_norm(z, block, "norm1"), before)
        return before, block

    def _residual(self, name: str, block: Module, scale: str) -> tuple[str, str]:
        """Take a sum of an array and what is computed from it and scaled; return both, the second before it is scaled."""
        left, right = inputs_of(self.node(name, "Add"), 2)
        if not (self.makes(right, "Mul") and any(self.constant(factor) for factor in self.node(right, "Mul").inputs)):
            left, right = right, left
        inside, block[scale] = self.with_vector(self.node(right, "Mul"), scale)
        return left, inside

    # its operators

    def _conv(self, name: str, into: Module, path: str, kernel: Kernel, depthwise: bool = False) -> str:
        """Take a convolution of a kernel that is known, and return what it reads."""
        node = self.node(name, "Conv")
        self._check_kernel(node, kernel, path, depthwise)
        self._convolution(node, into, path, depthwise)
        return node.inputs[0]

    def _convolution(self, node: Node, into: Module, path: str, depthwise: bool) -> Kernel:
        weight = self.parameter(inputs_of(node, 2)[1], f"{path}.weight")
        into[f"{path}.weight"] = weight
        into[f"{path}.bias"] = self._bias(node, 2) or _filled(weight.shape[0] if weight.shape else 0, 0)
        return self._kernel(node, path, depthwise)

    def _check_kernel(self, node: Node, wanted: Kernel, path: str, depthwise: bool) -> None:
        found = self._kernel(node, path, depthwise)
        if found != wanted:
            raise CheckpointError(f"an ONNX graph whose {path} has the {_said(found)}", f"a VAN's has the {_said(wanted)}")

    def _kernel(self, node: Node, path: str, depthwise: bool) -> Kernel:
        """Return how a convolution lies over its map; CheckpointError for one that is not square, or has other groups."""
        weight = self.parameter(inputs_of(node, 2)[1], f"{path}.weight")
        if len(weight.shape) != 4 or node.attributes.get("auto_pad", "NOTSET") not in ("NOTSET", ""):
            raise CheckpointError(f"an ONNX graph whose {path} is no convolution of maps with sides that are padded alike")
        sides = [weight.shape[2:], *(node.attributes.get(key, usual) for key, usual in CONV_ATTRIBUTES)]
        numbers = [set(side) if isinstance(side, tuple) else {side if isinstance(side, int) else -1} for side in sides]
        groups = node.attributes.get("group", 1)
        if any(len(side) != 1 for side in numbers) or groups != (weight.shape[0] if depthwise else 1):
            raise CheckpointError(f"an ONNX graph whose {path} has the shape {weight.shape} and {groups} groups", "not a VAN's")
        side, stride, padding, dilation = (number.pop() for number in numbers)
        return Kernel(side, stride, padding, dilation)

    def _bias(self, node: Node, index: int) -> StoredTensor | None:
        has_one = len(node.inputs) > index and node.inputs[index]
        return self.vector(node.inputs[index], "a bias") if has_one else None

    def _batch_norm(self, name: str, into: Module, path: str) -> str:
        node = self.node(name, "BatchNormalization")
        x, *parameters = inputs_of(node, 5)
        if node.attributes.get("training_mode") or not node.attributes.get("is_test", 1):
            raise CheckpointError("an ONNX graph that was exported for training", "export it after model.eval()")
        for key, parameter in zip(BATCH_NORM, parameters, strict=True):
            into[f"{path}.{key}"] = self.vector(parameter, f"{path}.{key}")
        self.batch_norm_eps = _agreed("BatchNorm", self.batch_norm_eps, node.attributes.get("epsilon", 1e-5))
        return x

    def _fold(self, into: Module, path: str, name: str) -> None:
        """Note that a BatchNorm is missing behind a convolution, which it is then folded into."""
        weight = self.parameter(inputs_of(self.node(name, "Conv"), 2)[1], "a convolution")
        self._folded.append((into, path, weight.shape[0] if weight.shape else 0))

    def _layer_norm(self, name: str, into: Module) -> str:
        node = self.node(name, "LayerNormalization", "Add")
        if node.operator == "LayerNormalization":
            x, weight, bias = inputs_of(node, 3)
            into["norm.weight"], into["norm.bias"] = self.vector(weight, "norm.weight"), self.vector(bias, "norm.bias")
            eps = node.attributes.get("epsilon", 1e-5)
        else:
            scaled, into["norm.bias"] = self.with_vector(node, "norm.bias")
            divided, into["norm.weight"] = self.with_vector(self.node(scaled, "Mul"), "norm.weight")
            centred, deviation = inputs_of(self.node(divided, "Div"), 2)
            variance, eps = self.with_number(self.node(inputs_of(self.node(deviation, "Sqrt"), 1)[0], "Add"))
            squared = self.node(inputs_of(self.node(variance, "ReduceMean"), 1)[0], "Pow", "Mul")
            x, mean = inputs_of(self.node(centred, "Sub"), 2)
            self.same(inputs_of(self.node(mean, "ReduceMean"), 1)[0], x)
            base, exponent = inputs_of(squared, 2)
            self.same(base, centred)
            if squared.operator == "Mul":
                self.same(exponent, centred)
            elif not _near(self.number(exponent), 2):
                raise self.unlike(variance, "the mean of squares")
        self.layer_norm_eps = _agreed("LayerNorm", self.layer_norm_eps, eps)
        return x

    def _gelu(self, name: str) -> str:
        """Take a GELU, one operator or x/2 * (1 + erf(x / sqrt 2)) in any order, and return what it reads."""
        node = self.node(name, "Gelu", "Mul")
        if node.operator == "Gelu":
            if node.attributes.get("approximate", "none") != "none":
                raise CheckpointError(
                    f"an ONNX graph with the GELU {quote(node.attributes['approximate'])}", "minivan's is exact"
                )
            return inputs_of(node, 1)[0]
        scale, arrays = self.factors(node)
        sums = [array for array in arrays if self.makes(array, "Add")]
        others = [array for array in arrays if array not in sums]
        if len(sums) != 1 or len(others) != 1 or not _near(scale, 0.5):
            raise self.unlike(name, "a GELU")
        erf, one = self.with_number(self.node(sums[0], "Add"))
        scale, argument = self.factors(self.node(inputs_of(self.node(erf, "Erf"), 1)[0], "Div", "Mul"))
        if len(argument) != 1 or not _near(one, 1) or not _near(scale, math.sqrt(0.5)):
            raise self.unlike(name, "a GELU")
        self.same(argument[0], others[0])
        return others[0]

    # names

    def _check_outputs(self) -> None:
        """Of several outputs the last was followed; the others must be maps that were met on the way."""
        other = next((name for name in self.graph.outputs[:-1] if self.origin(name) not in self._maps), None)
        if other is not None:
            raise CheckpointError(f"an ONNX graph with the output {quote(other)}", "it is none of the stages' maps")

    def _name(self, stages: list[tuple[Kernel, Module, list[Module]]]) -> None:
        """Put all tensors under the authors' names, now that it is known how many stages and blocks there are."""
        self.batch_norm_eps = self.batch_norm_eps or 1e-5
        for into, path, channels in self._folded:
            one = 1 - self.batch_norm_eps
            values = {"weight": 1, "bias": 0, "running_mean": 0, "running_var": one}
            into |= {f"{path}.{key}": _filled(channels, value) for key, value in values.items()}
        if self._folded:
            self.notes += (FOLDED.format(len(self._folded)),)
        for i, (kernel, stage, blocks) in enumerate(stages, start=1):
            if kernel != PATCH_EMBEDS[i - 1]:
                said = f"an ONNX graph whose {paths.patch_embed(i)}.proj has the {_said(kernel)}"
                raise CheckpointError(said, f"a VAN's has the {_said(PATCH_EMBEDS[i - 1])}")
            for key, tensor in stage.items():
                module, _, rest = key.partition(".")
                self.tensors[f"{module}{i}.{rest}"] = tensor
            for j, block in enumerate(blocks):
                self.tensors |= {f"{paths.block(i, j)}.{key}": tensor for key, tensor in block.items()}


POOLS = ("ReduceMean", "GlobalAveragePool")
SCALES = ("alpha", "beta")  # what Gemm multiplies the product and the bias by
CONV_ATTRIBUTES = (("strides", 1), ("pads", 0), ("dilations", 1))


def _near(number: float | None, wanted: float) -> bool:
    return number is not None and abs(number - wanted) <= CLOSE * wanted


def _agreed(what: str, before: float, eps: object) -> float:
    """Return an epsilon as a decimal number of six digits, what it was before float32; all of one kind must agree."""
    if not isinstance(eps, float) or not 0 < eps < 1:
        raise CheckpointError(f"an ONNX graph whose {what} has no epsilon between 0 and 1")
    eps = float(f"{eps:.6g}")
    if before and eps != before:
        raise CheckpointError(f"an ONNX graph with the {what} epsilons {before:g} and {eps:g}", "a VAN has one")
    return eps


def _filled(count: int, value: float) -> StoredTensor:
    """Return a tensor of equal numbers."""
    if count > LARGEST_DIMENSION:
        raise CheckpointError(f"an ONNX graph with a convolution of {count} channels", f"the limit is {LARGEST_DIMENSION}")
    data = np.full(count, value, "<f4").view(np.uint8)
    fetch: Callable[[int, int], Bytes] = lambda start, size: data[start : start + size].copy()  # noqa: E731
    return StoredTensor((count,), "float32", fetch)


def _said(kernel: Kernel) -> str:
    return f"kernel {kernel.side}, stride {kernel.stride}, padding {kernel.padding}, dilation {kernel.dilation}"
