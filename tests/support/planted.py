"""Every fault that the oracle can name, as `ports.layers_of` takes it: what the hint must say, the layer, and what makes it.

The faults are written here a second time, in other words than minivan.oracle.faults uses; PyTorch computes them.
"""

import numpy as np

from support.judge import F, torch, torch_ops
from support.ports import CONFIG, PLANTED, TENSORS, Faulty, half_sums, instead, shifted, torch_conv, with_tensor

GATE = f"{PLANTED}.attn.spatial_gating_unit"


def weight(layer, change):
    return dict(tensors=with_tensor(f"{layer}.weight", change))


def bias(layer, change):
    return dict(tensors=with_tensor(f"{layer}.bias", change))


def operator(name, layer, replacement):
    return dict(ops=Faulty(name, layer, replacement))


def layer(path, make):
    return dict(change=instead(path, make))


def geometry(**wrong):
    """PyTorch's convolution with some attributes wrong."""
    return lambda x, weight, bias=None, **right: torch_ops.conv2d(x, weight, bias, **{**right, **wrong})


def normalise(**wrong):
    def batch_norm(x, running_mean, running_var, weight, bias, eps):
        given = dict(running_mean=running_mean, running_var=running_var, weight=weight, bias=bias, eps=eps)
        return torch_ops.batch_norm(x, **{**given, **wrong})

    return batch_norm


def training_mode(x, running_mean, running_var, weight, bias, eps):
    x, weight, bias = (torch.from_numpy(np.array(v)) for v in (x, weight, bias))
    return F.batch_norm(x, None, None, weight, bias, training=True, eps=eps).numpy()


def gelu(function):
    """GELU has no weights: the layer after MLP's depthwise convolution is replaced."""
    return lambda a, layers: function(torch.from_numpy(layers[f"{PLANTED}.mlp.dwconv.dwconv"])).numpy()


def folded_before(layer, norm):
    """Weights of a 1x1 convolution that take over the BatchNorm before it."""
    t = {part: TENSORS[f"{norm}.{part}"].astype(np.float64) for part in ("weight", "bias", "running_mean", "running_var")}
    scale = t["weight"] / np.sqrt(t["running_var"] + CONFIG.batch_norm_eps)
    shift = t["bias"] - t["running_mean"] * scale
    w, b = TENSORS[f"{layer}.weight"], TENSORS[f"{layer}.bias"]
    folded = {f"{layer}.weight": w * scale[:, None, None], f"{layer}.bias": b + w[..., 0, 0] @ shift}
    return dict(tensors={**TENSORS, **{name: array.astype(np.float32) for name, array in folded.items()}})


def folded_after(layer, norm):
    """Weights of a convolution that take over the BatchNorm after it."""
    t = {part: TENSORS[f"{norm}.{part}"].astype(np.float64) for part in ("weight", "bias", "running_mean", "running_var")}
    scale = t["weight"] / np.sqrt(t["running_var"] + CONFIG.batch_norm_eps)
    w, b = TENSORS[f"{layer}.weight"], TENSORS[f"{layer}.bias"]
    folded = {f"{layer}.weight": w * scale[:, None, None, None], f"{layer}.bias": (b - t["running_mean"]) * scale + t["bias"]}
    return dict(tensors={**TENSORS, **{name: array.astype(np.float32) for name, array in folded.items()}})


def layer_norm(axes, ddof):
    def wrong(x, weight, bias, eps):
        normal = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True, ddof=ddof) + eps)
        return (normal * weight[:, None, None] + bias[:, None, None]).astype(np.float32)

    return wrong


def scale(name):
    return TENSORS[f"{PLANTED}.{name}"][:, None, None]


def transposed(array, layers):
    return array.transpose(0, 2, 3, 1).reshape(array.shape)  # NHWC memory under an NCHW shape


def from_nhwc(array, layers):
    n, c, h, w = array.shape
    return array.reshape(n, h, w, c).transpose(0, 3, 1, 2)


NORM, FC1, FC2, PROJ = f"{PLANTED}.norm1", f"{PLANTED}.mlp.fc1", f"{PLANTED}.mlp.fc2", f"{PLANTED}.attn.proj_1"
ACT, ATTENTION, SCALED = f"{PLANTED}.mlp.act", f"{PLANTED}.attn", f"{PLANTED}.layer_scale_1"
GATED, PROJ_2 = f"{PLANTED}.attn.activation", f"{PLANTED}.attn.proj_2"
SPATIAL, CONV0, EMBED = f"{GATE}.conv_spatial", f"{GATE}.conv0", "patch_embed2.proj"

PLANTS = {  # what the hint must say -> where it is planted, and what makes it
    "missing bias": (FC1, lambda: bias(FC1, np.zeros_like)),
    "the bias is added twice": (FC1, lambda: bias(FC1, lambda b: 2 * b)),
    "the weight matrix is transposed (C_in, C_out)": (PROJ, lambda: weight(PROJ, lambda w: w.transpose(1, 0, 2, 3))),
    "missing dilation: 1 instead of 3": (SPATIAL, lambda: operator("conv2d", SPATIAL, geometry(dilation=1, padding=3))),
    "dilation 2 instead of 3": (SPATIAL, lambda: operator("conv2d", SPATIAL, geometry(dilation=2, padding=6))),
    "dilation 4 instead of 3": (SPATIAL, lambda: operator("conv2d", SPATIAL, geometry(dilation=4, padding=12))),
    "padding off by one: 10 above and 8 below, 10 left and 8 right": (SPATIAL, lambda: operator(
        "conv2d", SPATIAL, shifted(1, 1))),
    "padding off by one: 8 above and 10 below, 9 left and 9 right": (SPATIAL, lambda: operator(
        "conv2d", SPATIAL, shifted(-1, 0))),
    "padding off by one: 0 above and 2 below, 0 left and 2 right": (EMBED, lambda: operator("conv2d", EMBED, shifted(-1, -1))),
    "the kernel's rows and columns are swapped": (CONV0, lambda: weight(CONV0, lambda w: w.transpose(0, 1, 3, 2))),
    "the kernel is turned by 180 degrees": (CONV0, lambda: weight(CONV0, lambda w: w[:, :, ::-1, ::-1])),
    f"BatchNorm unfolded twice: {NORM} is folded into": (PROJ, lambda: folded_before(PROJ, NORM)),
    "BatchNorm unfolded twice: patch_embed2.norm is folded into": (EMBED, lambda: folded_after(EMBED, "patch_embed2.norm")),
    f"{NORM} was left out": (PROJ, lambda: layer(PROJ, lambda a, layers: torch_conv(
        layers["block2.0"], TENSORS[f"{PROJ}.weight"], TENSORS[f"{PROJ}.bias"]))),
    "BatchNorm unfolded twice: it is applied to its own output": (NORM, lambda: operator(
        "batch_norm", NORM, lambda x, **p: torch_ops.batch_norm(torch_ops.batch_norm(x, **p), **p))),
    "missing bias: beta is not added": (NORM, lambda: bias(NORM, np.zeros_like)),
    "missing scale: gamma is not applied": (NORM, lambda: operator(
        "batch_norm", NORM, normalise(weight=np.ones(16, np.float32)))),
    "the running mean is not subtracted": (NORM, lambda: operator("batch_norm", NORM, normalise(
        running_mean=np.zeros(16, np.float32)))),
    "the network is in training mode": (NORM, lambda: operator("batch_norm", NORM, training_mode)),
    "the square root is missing": (NORM, lambda: operator("batch_norm", NORM, normalise(
        running_var=TENSORS[f"{NORM}.running_var"] ** 2, eps=0.0))),
    "wrong eps: 0.001 instead of 1e-05": (NORM, lambda: operator("batch_norm", NORM, normalise(eps=1e-3))),
    "tanh GELU instead of erf": (ACT, lambda: layer(ACT, gelu(lambda x: F.gelu(x, approximate="tanh")))),
    "GELU as x * sigmoid(1.702 x)": (ACT, lambda: layer(ACT, gelu(lambda x: x * torch.sigmoid(1.702 * x)))),
    "SiLU instead of GELU": (ACT, lambda: layer(ACT, gelu(F.silu))),
    "ReLU instead of GELU": (ACT, lambda: layer(ACT, gelu(F.relu))),
    "mean and variance over channels and positions": ("norm2", lambda: operator(
        "layer_norm", "norm2", layer_norm((1, 2, 3), 0))),
    "the variance divides by C - 1": ("norm2", lambda: operator("layer_norm", "norm2", layer_norm((1,), 1))),
    "the attention is not multiplied": (GATE, lambda: layer(GATE, lambda a, layers: layers[f"{GATE}.conv1"])),
    "the attention is added to its input": (GATE, lambda: layer(GATE, lambda a, layers: layers[GATED]
                                                        + layers[f"{GATE}.conv1"])),
    "a sigmoid on the attention": (GATE, lambda: layer(GATE, lambda a, layers: layers[GATED]
                                               * torch.sigmoid(torch.from_numpy(layers[f"{GATE}.conv1"])).numpy())),
    "missing inner residual": (ATTENTION, lambda: layer(ATTENTION, lambda a, layers: layers[PROJ_2])),
    "wrong inner residual": (ATTENTION, lambda: layer(ATTENTION, lambda a, layers: layers["block2.0"]
                                                      + layers[PROJ_2])),
    "the inner residual is added twice": (ATTENTION, lambda: layer(ATTENTION, lambda a, layers: a + layers[NORM])),
    "missing outer residual: the block's input is not added to attention's": (SCALED, lambda: layer(
        SCALED, lambda a, layers: scale("layer_scale_1") * layers[ATTENTION])),
    "missing outer residual: the block's input is not added to the MLP's": (PLANTED, lambda: layer(
        PLANTED, lambda a, layers: scale("layer_scale_2") * layers[FC2])),
    "missing layer_scale_1": (SCALED, lambda: layer(
        SCALED, lambda a, layers: layers["block2.0"] + layers[ATTENTION])),
    "missing layer_scale_2": (PLANTED, lambda: layer(PLANTED, lambda a, layers: layers[SCALED] + layers[FC2])),
    "channels-last (NHWC) memory was read as if it were NCHW": (FC1, lambda: layer(FC1, transposed)),
    "NCHW memory was read as if it were channels-last (NHWC)": (FC1, lambda: layer(FC1, from_nhwc)),
    "the map is upside down": (FC1, lambda: layer(FC1, lambda a, layers: a[:, :, ::-1])),
    "the map is mirrored": (FC1, lambda: layer(FC1, lambda a, layers: a[..., ::-1])),
    f"these are the numbers of {PLANTED}.mlp.dwconv.dwconv": (ACT, lambda: layer(
        ACT, lambda a, layers: layers[f"{PLANTED}.mlp.dwconv.dwconv"])),
    "the maximum over positions": ("pool", lambda: layer("pool", lambda a, layers: layers["norm4"].max((2, 3)))),
    "the sum over positions": ("pool", lambda: layer("pool", lambda a, layers: layers["norm4"].sum((2, 3)))),
    "the weight matrix is transposed": ("head", lambda: weight("head", np.transpose)),
    "softmax is applied already": ("head", lambda: layer("head", lambda a, layers: torch_ops.softmax(a))),
    "float16 accumulation": (FC1, lambda: operator("conv2d", FC1, half_sums)),
    "float16 rounding": (FC1, lambda: layer(FC1, lambda a, layers: a.astype(np.float16))),
    "bfloat16 rounding": (FC1, lambda: layer(FC1, lambda a, layers: torch.from_numpy(a).bfloat16().float().numpy())),
}  # fmt: skip
