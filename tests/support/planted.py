"""Every fault that the oracle can name, as `ports.layers_of` takes it: what the hint must say, the layer, and what makes it.

The faults are written here a second time, in other words than minivan.oracle.faults uses; PyTorch computes them.
"""

import numpy as np

from support.judge import F, torch, torch_ops
from support.ports import CONFIG, PLANTED, TENSORS, Faulty, X, half_sums, instead, shifted, torch_conv, with_tensor

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


def padded_with(mode):
    """A depthwise convolution whose map is continued over its border in another way than with zeros."""

    def conv2d(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        around = F.pad(torch.from_numpy(np.array(x)), (padding,) * 4, mode=mode).numpy()
        return torch_conv(around, weight, bias, stride=stride, dilation=dilation, groups=groups)

    return conv2d


def same(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """A convolution as TensorFlow pads it: nothing that stride and size do not need, the odd pixel below and on the right."""
    pads = []
    for size in reversed(x.shape[2:]):
        total = max((-(-size // stride) - 1) * stride + dilation * (weight.shape[2] - 1) + 1 - size, 0)
        pads += [total // 2, total - total // 2]
    around = F.pad(torch.from_numpy(np.array(x)), pads).numpy()
    return torch_conv(around, weight, bias, stride=stride, dilation=dilation, groups=groups)


def instance_norm(x, running_mean, running_var, weight, bias, eps):
    x, weight, bias = (torch.from_numpy(np.array(v)) for v in (x, weight, bias))
    return F.instance_norm(x, weight=weight, bias=bias, eps=eps).numpy()


def of_another(layer, other):
    """The weights, with all of one layer's taken from another."""
    own = {name for name in TENSORS if name.startswith(f"{layer}.") and name.count(".") == layer.count(".") + 1}
    return dict(tensors={n: TENSORS[n.replace(layer, other)] if n in own else tensor for n, tensor in TENSORS.items()})


def tail(array, layers):
    """The last third of the memory was never written."""
    written = array.copy().ravel()
    written[2 * len(written) // 3 :] = 0
    return written.reshape(array.shape)


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

IMAGENET_MEAN, IMAGENET_STD = (np.float32(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
PIXELS = X * IMAGENET_STD + IMAGENET_MEAN  # what X is made of, if it was normalised so

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
    "the maximum over positions": ("pool", lambda: layer("pool", lambda a, layers: layers["norm3"].max((2, 3)))),
    "the sum over positions": ("pool", lambda: layer("pool", lambda a, layers: layers["norm3"].sum((2, 3)))),
    "the weight matrix is transposed": ("head", lambda: weight("head", np.transpose)),
    "softmax is applied already": ("head", lambda: layer("head", lambda a, layers: torch_ops.softmax(a))),
    "the running mean and the running variance are swapped": (NORM, lambda: operator("batch_norm", NORM, normalise(
        running_mean=TENSORS[f"{NORM}.running_var"], running_var=TENSORS[f"{NORM}.running_mean"]))),
    "gamma and beta are swapped": (NORM, lambda: operator("batch_norm", NORM, normalise(
        weight=TENSORS[f"{NORM}.bias"], bias=TENSORS[f"{NORM}.weight"]))),
    "eps is added to the deviation": (NORM, lambda: operator("batch_norm", NORM, normalise(
        running_var=(np.sqrt(TENSORS[f"{NORM}.running_var"]) + np.float32(1e-5)) ** 2, eps=0.0))),
    f"the parameters of {PLANTED}.norm2 are used here": (NORM, lambda: of_another(NORM, f"{PLANTED}.norm2")),
    "the parameters of block2.0.mlp.fc1 are used here": (FC1, lambda: of_another(FC1, "block2.0.mlp.fc1")),
    f"{PLANTED}'s layer_scale_2 is used here": (SCALED, lambda: layer(
        SCALED, lambda a, layers: layers["block2.0"] + scale("layer_scale_2") * layers[ATTENTION])),
    "layer_scale_1 is applied to the sum": (SCALED, lambda: layer(
        SCALED, lambda a, layers: scale("layer_scale_1") * (layers["block2.0"] + layers[ATTENTION]))),
    "InstanceNorm": (NORM, lambda: operator("batch_norm", NORM, instance_norm)),
    "padding with the border's pixels (edge)": (CONV0, lambda: operator("conv2d", CONV0, padded_with("replicate"))),
    "padding with the opposite side (wrap)": (CONV0, lambda: operator("conv2d", CONV0, padded_with("circular"))),
    "padding with the map mirrored (reflect)": (CONV0, lambda: operator("conv2d", CONV0, padded_with("reflect"))),
    "SAME padding, as TensorFlow has it: 1 above and 2 below": ("patch_embed1.proj", lambda: operator(
        "conv2d", "patch_embed1.proj", same)),
    "GELU after the gate": (GATE, lambda: layer(GATE, lambda a, layers: F.gelu(torch.from_numpy(
        layers[GATED] * layers[f"{GATE}.conv1"])).numpy())),
    "GELU before the gate once more": (GATE, lambda: layer(GATE, lambda a, layers: F.gelu(torch.from_numpy(
        layers[GATED])).numpy() * layers[f"{GATE}.conv1"])),
    "GELU is applied twice": (ACT, lambda: layer(ACT, gelu(lambda x: F.gelu(F.gelu(x))))),
    "the channels are in another order: reversed": (FC1, lambda: layer(FC1, lambda a, layers: a[:, ::-1])),
    "the channels are in another order: shuffled as 2 groups": (FC1, lambda: layer(
        FC1, lambda a, layers: a.reshape(len(a), 2, -1, *a.shape[2:]).swapaxes(1, 2).reshape(a.shape))),
    "the classes are in another order": ("head", lambda: layer("head", lambda a, layers: np.roll(a, -3, axis=1))),
    "the kernel is turned by 90 degrees, clockwise": (CONV0, lambda: weight(CONV0, lambda w: np.rot90(w, -1, (2, 3)))),
    "the kernel is mirrored": (CONV0, lambda: weight(CONV0, lambda w: w[..., ::-1])),
    "(C, K, K), and are read as (K, K, C)": (CONV0, lambda: weight(
        CONV0, lambda w: w.reshape(5, 5, 16).transpose(2, 0, 1)[:, None])),
    "the weights lie in memory as (K, K, C_in, C_out)": (EMBED, lambda: weight(
        EMBED, lambda w: np.ascontiguousarray(w.transpose(2, 3, 1, 0)).reshape(w.shape))),
    "the pixels are not normalised: they run from 0 to 1": ("input", lambda: dict(x=PIXELS)),
    "the pixels are not normalised: they run from 0 to 255; and in the order BGR": ("input", lambda: dict(
        x=np.ascontiguousarray(255 * PIXELS[:, ::-1]))),
    "the mean divides by another count of positions": ("pool", lambda: layer("pool", lambda a, layers: a * np.float32(4 / 49))),
    "the numbers are clipped": (ACT, lambda: layer(ACT, lambda a, layers: np.minimum(a, 1))),
    "numbers in memory are zeros: never written": (FC1, lambda: layer(FC1, tail)),
    "float16 accumulation": (FC1, lambda: operator("conv2d", FC1, half_sums)),
    "float16 rounding": (FC1, lambda: layer(FC1, lambda a, layers: a.astype(np.float16))),
    "bfloat16 rounding": (FC1, lambda: layer(FC1, lambda a, layers: torch.from_numpy(a).bfloat16().float().numpy())),
}  # fmt: skip


def both(first, second):
    """Two faults in one port, of which at most one changes what a layer gives."""
    joined = {**first, **second}
    if "tensors" in first and "tensors" in second:
        changed = {name: tensor for name, tensor in second["tensors"].items() if tensor is not TENSORS[name]}
        joined["tensors"] = {**first["tensors"], **changed}
    return joined


PAIRS = {  # two faults on one layer: what the hint must say of both -> where, and what makes them
    ("missing bias", "transposed (C_in, C_out)"): (PROJ, lambda: both(
        bias(PROJ, np.zeros_like), weight(PROJ, lambda w: w.transpose(1, 0, 2, 3)))),
    ("missing bias", "turned by 180 degrees"): (CONV0, lambda: both(
        bias(CONV0, np.zeros_like), weight(CONV0, lambda w: w[:, :, ::-1, ::-1]))),
    ("missing bias", "missing dilation: 1 instead of 3"): (SPATIAL, lambda: both(
        bias(SPATIAL, np.zeros_like), operator("conv2d", SPATIAL, lambda x, weight, bias=None, **right: torch_ops.conv2d(
            x, weight, np.zeros_like(bias), **{**right, "dilation": 1, "padding": 3})))),
    ("the bias is added twice", "rows and columns are swapped"): (CONV0, lambda: both(
        bias(CONV0, lambda b: 2 * b), weight(CONV0, lambda w: w.transpose(0, 1, 3, 2)))),
    ("missing bias: beta", "the running mean is not subtracted"): (NORM, lambda: operator("batch_norm", NORM, normalise(
        bias=np.zeros(16, np.float32), running_mean=np.zeros(16, np.float32)))),
    ("missing scale: gamma", "wrong eps: 0.001"): (NORM, lambda: operator("batch_norm", NORM, normalise(
        weight=np.ones(16, np.float32), eps=1e-3))),
    ("missing bias", "the map is upside down"): (FC1, lambda: both(
        bias(FC1, np.zeros_like), layer(FC1, lambda a, layers: a[:, :, ::-1]))),
    ("missing bias", "channels-last (NHWC) memory was read as if it were NCHW"): (FC1, lambda: both(
        bias(FC1, np.zeros_like), layer(FC1, transposed))),
    ("missing bias", "the weight matrix is transposed"): ("head", lambda: both(
        bias("head", np.zeros_like), weight("head", np.transpose))),
    ("the square root is missing", "missing bias: beta"): (NORM, lambda: operator("batch_norm", NORM, normalise(
        running_var=TENSORS[f"{NORM}.running_var"] ** 2, eps=0.0, bias=np.zeros(16, np.float32)))),
}  # fmt: skip
