"""Record an ONNX file, run by onnxruntime, under minivan's layer names, to be compared with minivan's trace:

    python -m minivan oracle record cat.jpg --model WEIGHTS -o trace.safetensors
    python examples/trace_adapters/record_onnx.py trace.safetensors van.onnx -o port.npz
    python -m minivan oracle compare trace.safetensors port.npz

A node's layer is told by the parameter it reads (`block1.0.attn.proj_1.weight`; Hugging Face's and OpenMMLab's names do as
well), or by its scope, as PyTorch's exporters write it: in the node's name (`/block1.0/attn/proj_1/Conv`), or in its metadata
(`dynamo=True`). The last node of a scope makes the layer's output. Where an optimiser has dropped the scopes, GELUs, products
and sums are told by what they read. In a QDQ model a layer is what its dequantised output stands for. Every such output is
added to the graph's, so that onnxruntime computes it; with --optimise 0 it fuses nothing else either. Layers of the trace that
the graph does not show, and nodes that belong to no layer, are named. The input is the trace's own.
`compare` exits with 1 where layers went unchecked: a trace recorded with --layers for what the port shows has none.
"""

import argparse
import ast
import collections
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
    if parts[-1].endswith("Fusion"):  # which onnxruntime puts behind the name of a node that it fused with others
        parts.pop()
    return ".".join(parts[:-1])  # without the operator's own name


def layer_of(node: onnx.NodeProto, reshaped: Mapping[str, str]) -> str:
    """Return the path of the module that a node computes, by its weight, by a bias that it adds, or by its scope; '' where the
    file does not say. `reshaped` has the parameters that stand behind other tensors.
    """
    names = [reshaped.get(name, name) for name in node.input]
    weight = next((found for name in names[1:] if (found := WEIGHT.fullmatch(name))), None)
    bias = next((name for name in names if name.endswith(".bias")), None) if node.op_type == "Add" else None
    return weight[1] if weight else bias.removesuffix(".bias") if bias else scope_of(node)


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


def layers_of(graph: onnx.GraphProto, paths: Iterable[str] = ()) -> tuple[dict[str, str], list[str]]:
    """Return the tensor that holds each layer's output, layer -> tensor, in the graph's order, and the nodes that have none.

    `paths` are those that a trace has, by which libraries' names are known again.
    """
    reshaped = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Reshape"}
    theirs = {layer: layer for node in graph.node if (layer := layer_of(node, reshaped))}
    library = known(theirs, paths)
    ours = {name: path for path, name in of_library(theirs, library, paths).items()} if library else {}
    named: dict[str, str] = {}
    made: dict[str, str] = {}  # tensor -> what it is: a layer, or a part of one that `by_inputs` knows
    restored: dict[str, str] = {}  # tensor -> the one whose eight bits it stands for
    scopes: set[str] = set()
    strangers: list[str] = []
    for node in graph.node:
        output = node.output[0]
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            source = node.input[0]
            made[output], restored[output] = made.get(source, ""), restored.get(source, source)
            continue
        if node.op_type == "DynamicQuantizeLinear":
            made[node.output[1]] = SCALE
            continue
        layer = layer_of(node, reshaped)
        layer = ours.get(layer, layer) or by_inputs(node, made)
        if not layer and any(made.get(name) == SCALE for name in node.input):
            made[output] = SCALE
            continue
        scopes.add(layer)
        if not layer and node.op_type in ("ReduceMean", "GlobalAveragePool"):
            layer = POOL
        if node.op_type in ("ConvInteger", "MatMulInteger"):
            layer += WHOLE
        if node.op_type == "FusedConv" and len(node.input) > 3:  # a sum is fused into it
            layer = layer.removesuffix(".proj_2") if layer.endswith(".attn.proj_2") else ""
        if node.op_type == "Add" and layer and layer == block_of(layer):
            named.setdefault(f"{layer}.layer_scale_1", output)  # a block's first sum; its second is the block's output
        if layer and node.op_type != "Constant":
            made[output] = layer
            if not layer.endswith((SCALED, WHOLE)):
                named[layer] = output
        elif not layer and node.op_type not in SHAPES:
            strangers.append(f"{node.op_type} {node.name or output}")
    for layer in list(named):
        folded = layer.replace(".proj", ".norm")
        if layer.startswith("patch_embed") and folded not in scopes:  # the exporter folds this BatchNorm into its convolution
            named[folded] = named.pop(layer)
    last = {source: output for output, source in restored.items()}  # the last in the file: the dequantised one
    return {layer: last.get(tensor, tensor) for layer, tensor in named.items()}, strangers


def alike(names: Iterable[str]) -> list[str]:
    """Return names for people: those that only their stage and block tell apart once, with how many they are."""
    counts = collections.Counter(PLACE.sub(lambda found: f"{found[1]}*{'.*' if found[2] else ''}", name) for name in names)
    return [f"{name} ({count})" if count > 1 else name for name, count in counts.items()]


def record(
    path: str, x: np.ndarray, optimise: bool = True, threads: int = 0, paths: Iterable[str] = ()
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Run an ONNX file on images; return every layer's output under its name, and the nodes that belong to none."""
    model = onnx.load(path)
    layers, strangers = layers_of(model.graph, paths)
    present = {output.name for output in model.graph.output}
    for tensor in dict.fromkeys(layers.values()):
        if tensor not in present:
            model.graph.output.append(onnx.ValueInfoProto(name=tensor))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    tensors = list(dict.fromkeys(layers.values()))
    values = dict(zip(tensors, session.run(tensors, {session.get_inputs()[0].name: x}), strict=True))
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
    layers, strangers = record(args.model, trace.input, bool(args.optimise), paths=trace.layers)
    kept = {name: array for name, array in layers.items() if args.all or name in trace.layers or name == INPUT}
    np.savez(args.output, **kept)
    print(f"{args.output}: {len(kept)} of {len(layers)} arrays; the trace has {len(trace.layers)} layers")
    if lost := [name for name in trace.layers if name not in layers]:
        print(f"not found in the graph: {len(lost)} layers: {', '.join(alike(lost))}")
    if strangers:
        print(f"nodes of no layer: {len(strangers)} ({', '.join(strangers[:3])}{', ...' if len(strangers) > 3 else ''})")


if __name__ == "__main__":
    main()
