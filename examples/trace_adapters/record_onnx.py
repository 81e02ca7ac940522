"""Record an ONNX file, run by onnxruntime, under minivan's layer names, to be compared with minivan's trace:

    python -m minivan oracle record cat.jpg --model WEIGHTS -o trace.safetensors
    python examples/trace_adapters/record_onnx.py trace.safetensors van.onnx -o port.npz
    python -m minivan oracle compare trace.safetensors port.npz

A node's layer is told by the parameter it reads (`block1.0.attn.proj_1.weight`) or by its scope, as PyTorch's exporters write
it: in the node's name (`/block1.0/attn/proj_1/Conv`), or in its metadata (`dynamo=True`). The last node of a scope makes the
layer's output. What a fused graph shows of neither is named, and left out. Every such output is added to the
graph's, so onnxruntime computes it; with --optimise 0 it fuses nothing else either. The input is the trace's own.
`compare` exits with 1 where layers went unchecked: a trace recorded with --layers for what the port shows has none.
"""

import argparse
import ast

import numpy as np
import onnx
import onnxruntime

from minivan.oracle import read_trace
from minivan.paths import INPUT, POOL, block_of

SCOPES = "pkg.torch.onnx.name_scopes"  # where the exporter of torch.onnx.export(dynamo=True) says it: torch/onnx/_internal
LONGEST = 10_000  # characters of that


def scope_of(node: onnx.NodeProto) -> str:
    """Return the path of the module that a node belongs to, '' where the file does not say."""
    said = next((entry.value for entry in node.metadata_props if entry.key == SCOPES), "")
    try:
        scopes = ast.literal_eval(said) if 0 < len(said) < LONGEST else []
    except (ValueError, SyntaxError):
        scopes = []
    if isinstance(scopes, list) and len(scopes) > 1 and isinstance(scopes[-2], str):  # the last is the node's own name
        return scopes[-2]
    return ".".join(node.name.strip("/").split("/")[:-1])  # without the operator's own name


def layers_of(graph: onnx.GraphProto) -> dict[str, str]:
    """Return the tensor that holds each layer's output: layer -> tensor, in the graph's order."""
    named: dict[str, str] = {}
    scopes: set[str] = set()
    for node in graph.node:
        parameter = next((name for name in node.input[1:] if name.endswith(".weight")), None)
        layer = parameter.removesuffix(".weight") if parameter else scope_of(node)
        scopes.add(layer)
        if not layer and node.op_type in ("ReduceMean", "GlobalAveragePool"):
            layer = POOL
        if node.op_type == "Add" and layer and layer == block_of(layer):
            named.setdefault(f"{layer}.layer_scale_1", node.output[0])  # a block's first sum; its second is the block's output
        if layer and node.op_type != "Constant":
            named[layer] = node.output[0]
    for layer in list(named):
        folded = layer.replace(".proj", ".norm")
        if layer.startswith("patch_embed") and folded not in scopes:  # the exporter folds this BatchNorm into its convolution
            named[folded] = named.pop(layer)
    return named


def record(path: str, x: np.ndarray, optimise: bool = True, threads: int = 0) -> dict[str, np.ndarray]:
    """Run an ONNX file on images and return every layer's output under its name."""
    model = onnx.load(path)
    layers = layers_of(model.graph)
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
    return {INPUT: x, **{layer: values[tensor] for layer, tensor in layers.items()}}


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
    layers = record(args.model, trace.input, bool(args.optimise))
    kept = {name: array for name, array in layers.items() if args.all or name in trace.layers or name == INPUT}
    np.savez(args.output, **kept)
    print(f"{args.output}: {len(kept)} of {len(layers)} arrays; the trace has {len(trace.layers)} layers")
    lost = [name for name in trace.layers if name not in layers]
    if lost:
        print(f"not found in the graph: {len(lost)} layers ({', '.join(lost[:3])}{', ...' if len(lost) > 3 else ''})")


if __name__ == "__main__":
    main()
