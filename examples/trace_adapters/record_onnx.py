"""Record an ONNX file, run by onnxruntime, under minivan's layer names, to be compared with minivan's trace:

    python -m minivan oracle record cat.jpg --model WEIGHTS -o trace.safetensors
    python examples/trace_adapters/record_onnx.py trace.safetensors van.onnx -o port.npz
    python -m minivan oracle compare trace.safetensors port.npz

A node's layer is told by the parameter that it alone reads (`block1.0.attn.proj_1.weight`; Hugging Face's and OpenMMLab's
names do as well), or by its scope, as PyTorch's exporters write it: in the node's name (`/block1.0/attn/proj_1/Conv`), or in
its metadata (`dynamo=True`). The last node of a scope makes the layer's output. Where an optimiser has dropped the scopes,
GELUs, products and sums are told by what they read. In a QDQ model a layer is what its dequantised output stands for. Every
such output is added to the graph's, so that onnxruntime computes it; with --optimise 0 it fuses nothing else either. Layers of
the trace that the graph does not show, or shows in an order of memory that is onnxruntime's own, and nodes that belong to no
layer, or by their parameter to one and by their scope to another, are named. The input is the trace's own.
`compare` exits with 1 where layers went unchecked: a trace recorded with --layers for what the port shows has none.
"""

import argparse
import ast
import collections
import itertools
import re
from collections.abc import Iterable, Mapping

import numpy as np
import onnx
import onnxruntime

from minivan.oracle import read_trace
from minivan.oracle.naming import known, of_library
from minivan.paths import INPUT, POOL, block_of

SCOPES = "pkg.torch.onnx.name_scopes"  # where the exporter of torch.onnx.export(dynamo=True) says it: torch/onnx/_internal
LONGEST = 10_000  # characters of that
WEIGHT = re.compile(r"(.+)\.weight(?:_Transposed)?(?:_quantized|_DequantizeLinear_Output)?")  # the endings are onnxruntime's
WHOLE = " in whole numbers"  # what ConvInteger and MatMulInteger give: cast, and times its scale, it is the layer
SCALE = "a scale of one tensor"
PLACE = re.compile(r"^(block|norm|patch_embed)\d+(\.\d+)?")  # a stage, and a block in it
SCALED = " scaled"
FOLLOWS = {  # (operator, what of a block it reads) -> what of the block it gives
    ("Gelu", ".attn.proj_1"): ".attn.activation",
    ("Mul", ".attn.spatial_gating_unit.conv1"): ".attn.spatial_gating_unit",
    ("Add", ".attn.proj_2"): ".attn",
    ("Mul", ".attn"): f".attn{SCALED}",
    ("Add", f".attn{SCALED}"): ".layer_scale_1",
    ("Gelu", ".mlp.dwconv.dwconv"): ".mlp.act",
    ("Mul", ".mlp.fc2"): f".mlp.fc2{SCALED}",
    ("Add", f".mlp.fc2{SCALED}"): "",
}
BLOCKS = "com.microsoft.nchwc"  # the domain of operators on channels in blocks, which onnxruntime saves at its highest level
FLOATS = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
}  # what images can be given in
SHAPES = ("Constant", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")  # that compute nothing


def scope_of(node: onnx.NodeProto) -> str:
    """Return the path of the module that a node belongs to, '' where the file does not say."""
    said = next((entry.value for entry in node.metadata_props if entry.key == SCOPES), "")
    try:
        scopes = ast.literal_eval(said) if 0 < len(said) < LONGEST else []
    except (ValueError, SyntaxError):
        scopes = []
    if isinstance(scopes, list) and len(scopes) > 1 and isinstance(scopes[-2], str):  # the last is the node's own name
        return scopes[-2]
    parts = node.name.strip("/").split("/")
    parts = [part for part, after in itertools.pairwise([*parts, ""]) if not after.startswith(f"{part}.")]  # layers/layers.0
    if parts[-1].endswith("Fusion"):  # which onnxruntime puts behind the name of a node that it fused with others
        parts.pop()
    return ".".join(parts[:-1])  # without the operator's own name


def by_inputs(node: onnx.NodeProto, made: Mapping[str, str]) -> str:
    """Return what a node computes by what it reads, '' for nothing known; `made` says what each tensor is."""
    operator = "Gelu" if node.op_type.endswith("Gelu") else node.op_type  # there are FastGelu and BiasGelu, too
    for layer in (made.get(name, "") for name in node.input):
        if layer.endswith(WHOLE):
            return layer.removesuffix(WHOLE) if operator == "Mul" else layer
        block = block_of(layer)
        if block and (follows := FOLLOWS.get((operator, layer.removeprefix(block)))) is not None:
            return block + follows
    return ""


class Names:
    """What the tensors of a graph are, node by node in the graph's order; `paths` are the layers of the trace."""

    def __init__(self, graph: onnx.GraphProto, paths: Iterable[str]) -> None:
        self.paths = frozenset(paths)
        self.named: dict[str, str] = {}  # layer -> the tensor that holds its output
        self.made: dict[str, str] = {}  # tensor -> what it is: a layer, or a part of one that `by_inputs` knows
        self.restored: dict[str, str] = {}  # tensor -> the one whose eight bits it stands for
        self.blocked: set[str] = set()  # tensors that lie in onnxruntime's blocks of channels: no layer's shape
        self.sums: dict[str, list[str]] = {}  # block -> what its scope's sums give
        self.guessed: dict[str, str] = {}  # tensor -> the layer that it is if both sums of its block are there
        self.seen: set[str] = set()  # layers
        self.unknown: set[tuple[str, str]] = set()  # (tensor, operator of a node of no layer that reads it)
        self.strangers: list[str] = []
        self.reshaped = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Reshape"}
        readers = collections.Counter(name for node in graph.node for name in set(self._parameters(node)))
        self.shared = {name for name, count in readers.items() if count > 1}  # equal ones that a tool has merged: no one's
        said = {layer: layer for node in graph.node for layer in (self.by_parameter(node), scope_of(node)) if layer}
        library = known(said, self.paths)
        self.ours = {name: path for path, name in of_library(said, library, self.paths).items()} if library else {}

    def _parameters(self, node: onnx.NodeProto) -> list[str]:
        names = [self.reshaped.get(name, name) for name in node.input]
        weights = [name for name in names[1:] if WEIGHT.fullmatch(name)]
        return weights or [name for name in names if node.op_type == "Add" and name.endswith(".bias")]

    def by_parameter(self, node: onnx.NodeProto) -> str:
        """Return the path of the module whose weight a node reads, or whose bias it adds, if no other node does; else ''."""
        name = next(iter(self._parameters(node)), "")
        if name in self.shared:
            return ""
        weight = WEIGHT.fullmatch(name)
        return weight[1] if weight else name.removesuffix(".bias")

    def layer(self, node: onnx.NodeProto) -> str:
        """Return the layer that a node computes, '' where the file does not say, or says two."""
        parameter, scope = (self.ours.get(name, name) for name in (self.by_parameter(node), scope_of(node)))
        if {parameter, scope} <= self.paths and parameter.replace(".proj", ".norm") != scope.replace(".proj", ".norm"):
            return ""
        layer = parameter or scope
        return layer if layer in self.paths else by_inputs(node, self.made) or layer

    def read(self, node: onnx.NodeProto) -> None:
        """Tell what a node's output is, by what was told of those before it."""
        output, source = node.output[0], node.input[0] if node.input else ""
        if node.op_type == "ReorderOutput":
            return self.name(self.made.get(source, ""), output)
        if node.domain == BLOCKS or not self.blocked.isdisjoint(node.input):
            self.blocked.add(output)
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            self.made[output], self.restored[output] = self.made.get(source, ""), self.restored.get(source, source)
        elif node.op_type == "DynamicQuantizeLinear":
            self.made[node.output[1]] = SCALE
        elif node.op_type in ("Cast", "ReorderInput"):
            self.made[output] = self.made.get(source, "")
        else:
            self.computed(node, self.layer(node))

    def computed(self, node: onnx.NodeProto, layer: str) -> None:
        """Tell what the output of a node is that computes something, and belongs to this layer, or to none."""
        output = node.output[0]
        if not layer and any(self.made.get(name) == SCALE for name in node.input):
            self.made[output] = SCALE
            return
        self.seen.add(layer)
        if not layer and node.op_type in ("ReduceMean", "GlobalAveragePool"):
            layer = POOL
        if node.op_type in ("ConvInteger", "MatMulInteger"):
            layer += WHOLE
        if node.op_type == "FusedConv" or node.domain == BLOCKS:
            layer = fused(node, layer)
        if layer and layer == block_of(layer):
            layer = self.of_block(layer, node)
        if layer and node.op_type != "Constant":
            self.name(layer, output)
        elif not layer and node.op_type not in SHAPES:
            self.strangers.append(f"{node.op_type} {node.name or output}")
            self.unknown |= {(name, node.op_type) for name in node.input}

    def of_block(self, block: str, node: onnx.NodeProto) -> str:
        """Return what a node of a block itself gives: by what it reads, else, of two sums, the first or the second."""
        told = by_inputs(node, self.made)
        if node.op_type != "Add":
            return told or f"{block}{SCALED}"
        sums = self.sums.setdefault(block, [])
        sums.append(node.output[0])
        if not told:
            self.guessed[node.output[0]] = told = block if len(sums) > 1 else f"{block}.layer_scale_1"
        return told

    def name(self, layer: str, output: str) -> None:
        """Note that a tensor is a layer, the last that is said to be, or a part of one."""
        self.made[output] = layer
        if not layer or layer.endswith((SCALED, WHOLE)):
            return
        self.named.pop(layer, None)
        if output not in self.blocked:
            self.named[layer] = output

    def found(self) -> dict[str, str]:
        """Return the tensor that holds each layer's output, when all nodes have been read."""
        alone = {output for outputs in self.sums.values() if len(outputs) != 2 for output in outputs}
        found: dict[str, str] = {}
        last = {source: output for output, source in self.restored.items()}  # the last in the file: the dequantised one
        for layer, tensor in self.named.items():
            certain = tensor not in alone or self.guessed.get(tensor) != layer
            if certain and (path := self.unfolded(layer)):
                found[path] = last.get(tensor, tensor)
        return found

    def unfolded(self, layer: str) -> str:
        """Return a patch embedding's norm for a convolution into which its BatchNorm was folded; other layers are themselves.

        '' where a node that reads the convolution may be the BatchNorm.
        """
        norm = layer.replace(".proj", ".norm")
        if not layer.startswith("patch_embed") or norm in self.seen:
            return layer
        readers = {operator for tensor, operator in self.unknown if self.made.get(tensor) == layer}
        return norm if not readers else layer if "BatchNormalization" in readers else ""


def fused(node: onnx.NodeProto, layer: str) -> str:
    """Return the layer whose output a convolution gives that does what follows it, too; '' for none of minivan's."""
    block = block_of(layer) or ""
    what = layer.removeprefix(block)
    if any(attribute.name == "activation" for attribute in node.attribute):
        what = FOLLOWS.get(("Gelu", what), "")
    if node.op_type.endswith("Conv") and len(node.input) > 3:  # a sum
        what = ".attn" if what == ".attn.proj_2" else ""
    return block + what if what else ""


def layers_of(graph: onnx.GraphProto, paths: Iterable[str] = ()) -> tuple[dict[str, str], list[str]]:
    """Return the tensor that holds each layer's output, layer -> tensor, in the graph's order, and the nodes that have none.

    `paths` are those that a trace has, by which libraries' names are known again.
    """
    names = Names(graph, paths)
    for node in graph.node:
        names.read(node)
    return names.found(), names.strangers


def in_eight_bits(graph: onnx.GraphProto) -> bool:
    """Tell whether a graph rounds what it computes to eight bits."""
    return any(node.op_type in ("QuantizeLinear", "DynamicQuantizeLinear") for node in graph.node)


def alike(names: Iterable[str]) -> list[str]:
    """Return names for people: those that only their stage and block tell apart once, with how many they are."""
    counts = collections.Counter(PLACE.sub(lambda found: f"{found[1]}*{'.*' if found[2] else ''}", name) for name in names)
    return [f"{name} ({count})" if count > 1 else name for name, count in counts.items()]


def as_wanted(x: np.ndarray, wanted: onnxruntime.NodeArg) -> np.ndarray:
    """Return images as a graph's input wants them; ValueError, in one line, where it wants others."""
    if wanted.type not in FLOATS:
        raise ValueError(f"the graph's input {wanted.name!r} is a {wanted.type}, not images in floating point")
    shape = wanted.shape
    if len(shape) != x.ndim or any(isinstance(side, int) and side != given for side, given in zip(shape, x.shape, strict=True)):
        sides = " x ".join(str(side) if isinstance(side, int) else "any" for side in shape)
        raise ValueError(
            f"the graph takes images of {sides}, and the trace's input is {' x '.join(map(str, x.shape))}: "
            "export it with these sizes, or open ones"
        )
    return x.astype(FLOATS[wanted.type])


def record(
    path: str, x: np.ndarray, optimise: bool = True, threads: int = 0, paths: Iterable[str] = ()
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Run an ONNX file on images; return every layer's output under its name, and the nodes that belong to none.

    A graph in float16 is given the images in float16. Raises ValueError, in one line, where it takes no such images.
    """
    model = onnx.load(path)
    layers, strangers = layers_of(model.graph, paths)
    present = {output.name for output in model.graph.output}
    tensors = list(dict.fromkeys(layers.values()))
    model.graph.output.extend(onnx.ValueInfoProto(name=tensor) for tensor in tensors if tensor not in present)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    wanted = session.get_inputs()[0]
    values = dict(zip(tensors, session.run(tensors, {wanted.name: as_wanted(x, wanted)}), strict=True))
    return {INPUT: x, **{layer: values[tensor] for layer, tensor in layers.items()}}, strangers


def main() -> None:
    parser = argparse.ArgumentParser(description="Record an ONNX file under minivan's layer names.")
    parser.add_argument("trace", help="a trace of minivan's: its input is used, and its layers' names")
    parser.add_argument("model", help="an ONNX file")
    parser.add_argument("-o", "--output", required=True, help="the .npz to write")
    parser.add_argument("--optimise", type=int, choices=[0, 1], default=1, help="let onnxruntime fuse operators (default: 1)")
    parser.add_argument("--all", action="store_true", help="keep layers whose names are not in the trace, for a --map")
    args = parser.parse_args()
    trace = read_trace(args.trace)
    if trace.input is None:
        parser.error(f"{args.trace} does not hold its input")
    try:
        layers, strangers = record(args.model, trace.input, bool(args.optimise), paths=trace.layers)
    except ValueError as error:
        parser.error(f"{args.model}: {error}")
    kept = {name: array for name, array in layers.items() if args.all or name in trace.layers or name == INPUT}
    np.savez(args.output, **kept)
    print(f"{args.output}: {len(kept)} of {len(layers)} arrays; the trace has {len(trace.layers)} layers")
    if lost := [name for name in trace.layers if name not in layers]:
        print(f"not found in the graph: {len(lost)} layers: {', '.join(alike(lost))}")
    if in_eight_bits(onnx.load(args.model, load_external_data=False).graph):
        print("the graph rounds to eight bits: compare with --precision int8")
    if strangers:
        print(f"nodes of no layer: {len(strangers)} ({', '.join(strangers[:3])}{', ...' if len(strangers) > 3 else ''})")


if __name__ == "__main__":
    main()
