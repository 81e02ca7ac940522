"""A VAN as an ONNX graph, in the forms in which exporters write it; onnxruntime says what it computes."""

import math

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

LKA = "attn.spatial_gating_unit"


class Graph:
    """Nodes with names that say nothing, as exporters give them; `forms` says how GELU, LayerNorm, the head are written."""

    def __init__(self, config, tensors, forms=(), changes=None):
        self.config, self.tensors, self.forms, self.changes = config, tensors, set(forms), changes or {}
        self.nodes, self.initializers = [], {}
        self.tokens = next((form for form in forms if form.startswith("tokens")), "")
        self.count = 0

    def new(self):
        self.count += 1
        return f"v{self.count}"

    def constant(self, array):
        name = f"onnx::w_{len(self.initializers)}"
        self.initializers[name] = np.ascontiguousarray(array, np.float32)
        return name

    def integers(self, *values):
        name = f"onnx::i_{len(self.initializers)}"
        self.initializers[name] = np.array(values, np.int64)
        return name

    def add(self, operator, *inputs, **attributes):
        name = self.new()
        self.nodes.append(helper.make_node(operator, list(inputs), [name], f"n{self.count}", **attributes))
        return name

    def of(self, path, leaf):
        return self.constant(self.tensors[f"{path}.{leaf}"])

    def conv(self, x, path, padding=0, stride=1, dilation=1, group=1):
        weight = self.tensors[f"{path}.weight"]
        side = weight.shape[-1]
        attributes = dict(
            kernel_shape=[side] * 2, pads=[padding] * 4, strides=[stride] * 2, dilations=[dilation] * 2, group=group
        )
        attributes |= self.changes.get(path, {})
        return self.add("Conv", x, self.of(path, "weight"), self.of(path, "bias"), **attributes)

    def batch_norm(self, x, path):
        eps = self.config.batch_norm_eps
        if "folded" in self.forms and (path.startswith("patch_embed") or path.endswith("norm2")):
            return x
        leaves = [self.of(path, leaf) for leaf in ("weight", "bias", "running_mean", "running_var")]
        return self.add("BatchNormalization", x, *leaves, **{"epsilon": eps} | self.changes.get(path, {}))

    def gelu(self, x):
        if "gelu" in self.forms:
            return self.add("Gelu", x)
        if "erf" in self.forms:  # torchlib's order
            inner = self.add("Mul", x, self.constant(math.sqrt(0.5)))
            inner = self.add("Add", self.constant(1), self.add("Erf", inner))
            return self.add("Mul", self.constant(0.5), self.add("Mul", x, inner))
        inner = self.add("Add", self.add("Erf", self.add("Div", x, self.constant(math.sqrt(2)))), self.constant(1))
        return self.add("Mul", self.add("Mul", x, inner), self.constant(0.5))

    def layer_norm(self, x, path):
        if self.tokens:
            sides = self.sides(x, path)
            channels = len(self.tensors[f"{path}.weight"])
            joined = self.integers(0, channels, -1) if self.tokens == "tokens" else self.joined(x)
            x = self.add("Transpose", self.add("Reshape", x, joined), perm=[0, 2, 1])
        else:
            x = self.add("Transpose", x, perm=[0, 2, 3, 1])
        if "written" in self.forms:
            d = self.add("Sub", x, self.add("ReduceMean", x, axes=[-1]))
            variance = self.add("ReduceMean", self.add("Pow", d, self.constant(2)), axes=[-1])
            root = self.add("Sqrt", self.add("Add", variance, self.constant(self.config.layer_norm_eps)))
            x = self.add("Mul", self.add("Div", d, root), self.of(path, "weight"))
            x = self.add("Add", x, self.of(path, "bias"))
        else:
            eps = self.changes.get(path, self.config.layer_norm_eps)
            x = self.add("LayerNormalization", x, self.of(path, "weight"), self.of(path, "bias"), axis=-1, epsilon=eps)
        x = self.add("Reshape", x, sides) if self.tokens else x
        return self.add("Transpose", x, perm=[0, 3, 1, 2])

    def joined(self, x):
        """The shape of flatten(2), as TorchScript's exporter computes it."""
        first = self.add("Slice", self.add("Shape", x), self.integers(0), self.integers(2), self.integers(0))
        return self.add("Concat", first, self.integers(-1), axis=0)

    def sides(self, x, path):
        """The shape N, H, W, -1: numbers; or computed of a map's shape, or of the image's, as PyTorch's two exporters do."""
        stage, order = int(path.removeprefix("norm")), (3, 2) if "exchanged" in self.forms else (2, 3)
        if self.tokens == "tokens":
            return self.integers(-1, 64 >> 1 + stage, 64 >> 1 + stage, len(self.tensors[f"{path}.weight"]))
        if self.tokens == "tokens by shapes":
            shape = self.add("Shape", x)
            parts = [self.add("Gather", shape, self.scalar(index), axis=0) for index in (0, *order)]
            parts = [self.add("Unsqueeze", part, self.integers(0)) for part in parts]
        else:
            less = [self.add("Add", self.scalar(-1), self.add("Squeeze", self.axis(index))) for index in order]
            parts = [self.add("Add", self.scalar(1), self.add("Div", one, self.scalar(2 << stage))) for one in less]
            parts = [self.axis(0), *(self.add("Reshape", part, self.integers(-1)) for part in parts)]
        return self.add("Concat", *parts, self.integers(-1), axis=0)

    def scalar(self, value):
        name = self.integers(value)
        self.initializers[name] = self.initializers[name].reshape(())
        return name

    def axis(self, index):
        return self.add("Shape", "pixels", start=index, end=index + 1)

    def residual(self, x, path, branch):
        scale = self.constant(self.tensors[path].reshape(-1, 1, 1))
        if "swapped" in self.forms:
            return self.add("Add", self.add("Mul", branch, scale), x)
        return self.add("Add", x, self.add("Mul", scale, branch))

    def block(self, x, path, dim, hidden):
        z = self.batch_norm(x, f"{path}.norm1")
        u = self.gelu(self.conv(z, f"{path}.attn.proj_1"))
        gate = self.conv(u, f"{path}.{LKA}.conv0", 2, group=dim)
        gate = self.conv(gate, f"{path}.{LKA}.conv_spatial", 9, dilation=3, group=dim)
        gate = self.conv(gate, f"{path}.{LKA}.conv1")
        gate = self.add("Sigmoid", gate) if "sigmoid" in self.forms else gate
        attn = self.conv(self.add("Mul", gate, u), f"{path}.attn.proj_2")
        attn = attn if "plain" in self.forms else self.add("Add", attn, z)
        x = self.residual(x, f"{path}.layer_scale_1", attn)
        h = self.conv(self.batch_norm(x, f"{path}.norm2"), f"{path}.mlp.fc1")
        h = self.conv(h, f"{path}.mlp.dwconv.dwconv", 1, group=hidden)
        h = self.add("Relu", h) if "relu" in self.forms else self.gelu(h)
        return self.residual(x, f"{path}.layer_scale_2", self.conv(h, f"{path}.mlp.fc2"))

    def stages(self, x):
        """Each stage's map."""
        maps = []
        for i, dim in enumerate(self.config.dims, start=1):
            x = self.conv(x, f"patch_embed{i}.proj", *((3, 4) if i == 1 else (1, 2)))
            x = self.batch_norm(x, f"patch_embed{i}.norm")
            for j in range(self.config.depths[i - 1]):
                x = self.block(x, f"block{i}.{j}", dim, dim * self.config.mlp_ratios[i - 1])
            x = self.layer_norm(x, f"norm{i}")
            maps.append(x)
        return maps

    def model(self, opset=17):
        maps = self.stages("pixels")
        outputs = maps if "maps" in self.forms else [self.head(maps[-1])]
        shape = [1, None] if "maps" not in self.forms else [1, None, None, None]
        sides = [1, 3, 64, 64] if self.tokens in ("", "tokens") else ["n", 3, "h", "w"]
        graph = helper.make_graph(
            self.nodes, "main_graph",
            [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, sides)],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in outputs],
            [numpy_helper.from_array(array, name) for name, array in self.initializers.items()],
        )  # fmt: skip
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8, producer_name="pytorch")

    def head(self, x):
        x = self.add("Flatten", self.add("GlobalAveragePool", x))
        if "pooled" in self.forms:
            return x
        weight = self.tensors["head.weight"]
        if "matmul" in self.forms:
            x = self.add("Add", self.add("MatMul", x, self.constant(weight.T)), self.of("head", "bias"))
        elif "turned" in self.forms:
            turned = self.add("Transpose", self.constant(weight), perm=[1, 0])
            x = self.add("Add", self.of("head", "bias"), self.add("MatMul", x, turned))
        else:
            x = self.add("Gemm", x, self.constant(weight), self.of("head", "bias"), transB=1)
        ending = "Softmax" if "softmax" in self.forms else "Sigmoid" if "several labels" in self.forms else ""
        return self.add(ending, x) if ending else x


def folded(config, tensors):
    """The same network, its patch embeddings' and second BatchNorms worked into the convolutions beside them."""
    new = dict(tensors)
    for name in tensors:
        path = name.removesuffix(".running_var")
        if path == name or not (path.startswith("patch_embed") or path.endswith("norm2")):
            continue
        weight, bias, mean, var = (
            tensors[f"{path}.{leaf}"].astype("f8") for leaf in ("weight", "bias", "running_mean", "running_var")
        )
        factor = weight / np.sqrt(var + config.batch_norm_eps)
        if path.startswith("patch_embed"):
            conv = path.replace("norm", "proj")
            new[f"{conv}.weight"] = tensors[f"{conv}.weight"] * factor[:, None, None, None]
            new[f"{conv}.bias"] = (tensors[f"{conv}.bias"] - mean) * factor + bias
        else:
            conv = path.replace("norm2", "mlp.fc1")
            kernel = tensors[f"{conv}.weight"].astype("f8")
            new[f"{conv}.weight"] = kernel * factor[None, :, None, None]
            new[f"{conv}.bias"] = tensors[f"{conv}.bias"] + kernel[:, :, 0, 0] @ (bias - mean * factor)
    return new


def save(model, path, external=""):
    if external:
        onnx.save(model, path, save_as_external_data=True, location=external, size_threshold=0)
    else:
        path.write_bytes(model.SerializeToString())
    return path


def run(path, x):
    """What onnxruntime computes."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})
