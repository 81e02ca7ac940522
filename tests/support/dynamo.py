"""A small VAN as torch.onnx.export(dynamo=True) of PyTorch 2.13 wrote it, and what a port makes of such a file.

tests/oracle/dynamo.onnx is the network of the test vectors (`minivan.oracle.cases.TINY`, seeded weights) for an image of 40 by
36, optimised as the exporter does unless told otherwise. Of its metadata the scopes are left, which `record_onnx` reads.
"""

import ast

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from support import ROOT

FILE = ROOT / "tests" / "oracle" / "dynamo.onnx"
MERGED = ("block2.0.norm1.weight", "block2.0.norm2.weight")  # of one shape
ROUNDED = ("Conv", "Gemm", "LayerNormalization", "Gelu")  # whose outputs `quantised` rounds


def load():
    return onnx.load(FILE)


def save(model, path):
    onnx.save(model, path)


def with_scopes_in_names(model):
    """Say each node's scope in its name, as the older exporter does, and as it stays when onnxruntime saves a graph."""
    for i, node in enumerate(model.graph.node):
        for entry in node.metadata_props:
            scopes = ast.literal_eval(entry.value)
            node.name = f"/{scopes[-2]}/{node.op_type}_{i}" if len(scopes) > 1 else ""
        del node.metadata_props[:]
    return model


def without_scopes(model):
    for node in model.graph.node:
        del node.metadata_props[:]
    return model


def with_merged_norms(model):
    """Let two BatchNorms read one array of weights, as tools do that merge equal ones."""
    for node in model.graph.node:
        node.input[:] = [MERGED[1] if name == MERGED[0] else name for name in node.input]
    arrays = {tensor.name: tensor for tensor in model.graph.initializer}
    arrays[MERGED[0]].CopyFrom(arrays[MERGED[1]])
    arrays[MERGED[0]].name = MERGED[0]
    return model


def halved(model):
    """Compute in float16, from an input to an output in float16."""
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    del model.graph.value_info[:]
    return model


def with_layer_norm_eps(model, eps):
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "LayerNormalization" and attribute.name == "epsilon":
                attribute.f = eps
    return model


def fused(path, to, level="EXTENDED"):
    """Write the graph as onnxruntime optimises it."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_ENABLE_{level}")
    options.optimized_model_filepath = str(to)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def quantised(model, x, coarse):
    """Put a QuantizeLinear and a DequantizeLinear behind every layer of ROUNDED, with a scale from all that x makes of it.

    The scale behind the convolution with the weights `coarse` is eight times that.
    """
    made = [node for node in model.graph.node if node.op_type in ROUNDED]
    seen = onnx.ModelProto()
    seen.CopyFrom(model)
    del seen.graph.output[:]
    seen.graph.output.extend(onnx.ValueInfoProto(name=node.output[0]) for node in made)
    session = onnxruntime.InferenceSession(seen.SerializeToString(), providers=["CPUExecutionProvider"])
    values = session.run(None, {session.get_inputs()[0].name: x})
    nodes = []
    behind = {}
    for node in model.graph.node:
        node.input[:] = [behind.get(name, name) for name in node.input]
        nodes.append(node)
        if node in made:
            name, value = node.output[0], values[made.index(node)]
            low, high = min(float(value.min()), 0), max(float(value.max()), 0)
            scale = (8 if f"{coarse}.weight" in node.input else 1) * (high - low) / 255
            parts = {"scale": np.float32(scale), "zero_point": np.uint8(round(-low / scale))}
            model.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), f"{name}_{k}") for k, v in parts.items())
            given = [f"{name}_{part}" for part in parts]
            nodes.append(helper.make_node("QuantizeLinear", [name, *given], [f"{name}_q"], f"{name}_QuantizeLinear"))
            nodes.append(
                helper.make_node("DequantizeLinear", [f"{name}_q", *given], [f"{name}_dq"], f"{name}_DequantizeLinear")
            )
            behind[name] = f"{name}_dq"
    for output in model.graph.output:
        output.name = behind.get(output.name, output.name)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model
