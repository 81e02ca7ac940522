"""Every fault that the oracle can name, planted in a port that PyTorch computes: it is found at its own layer, by its name."""

import math

import numpy as np
import pytest
from support.judge import F, torch, torch_ops
from support.ports import (
    CONFIG,
    PLANTED,
    TENSORS,
    Faulty,
    as_port,
    half_sums,
    instead,
    numpy_layers,
    recorded_layers,
    reference,
    run,
    shifted,
    sound_port,
    torch_conv,
    with_tensor,
)  # fmt: skip

from minivan.oracle.compare import Tolerance, compare
from minivan.oracle.hints import hint
from minivan.oracle.replay import replay

GATE = f"{PLANTED}.attn.spatial_gating_unit"
TIGHT = Tolerance(1e-6, 1e-6)  # for faults milder than the default tolerance


def verdict(layers, tolerance=None, form=None):
    """Return where a port diverges first, and the hint."""
    report = compare(reference(), as_port(layers, form), tolerance)
    first = report.first_divergence
    return (None, "") if first is None else (first.path, hint(report, reference(), run))


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


def test_a_sound_port_diverges_nowhere_and_gets_no_hint():
    assert verdict(recorded_layers()) == (None, "")


@pytest.mark.parametrize("text", PLANTS)
def test_a_planted_fault_is_named_at_its_own_layer(text):
    path, plant = PLANTS[text]
    found, said = verdict(recorded_layers(**plant()))
    assert (found, text in said) == (path, True), said


def test_the_linear_layers_bias_and_layer_norms_parameters():
    assert verdict(numpy_layers(**bias("head", np.zeros_like))) == ("head", "missing bias")
    assert verdict(numpy_layers(**bias("norm3", np.zeros_like))) == ("norm3", "missing bias")
    assert verdict(numpy_layers(**weight("norm3", np.ones_like))) == ("norm3", "missing scale: gamma is not applied")


def test_layer_norms_eps_is_told_from_openmmlabs():
    """1e-5 instead of 1e-6 is milder than the tolerance on features of ordinary size: a tighter one finds it."""
    plant = operator("layer_norm", "norm1", lambda x, weight, bias, eps: torch_ops.layer_norm(x, weight, bias, 1e-5))
    assert verdict(recorded_layers(**plant), TIGHT) == ("norm1", "wrong eps: 1e-05 instead of 1e-06")


@pytest.mark.parametrize("padding, size", [(8, (6, 4)), (10, (10, 8))])
def test_a_padding_that_changes_the_maps_size_is_named(padding, size):
    layers = recorded_layers()
    x = layers[CONV0]
    layers[SPATIAL] = torch_conv(
        x, TENSORS[f"{SPATIAL}.weight"], TENSORS[f"{SPATIAL}.bias"], padding=padding, dilation=3, groups=16
    )
    assert layers[SPATIAL].shape[2:] == size
    assert verdict(layers) == (SPATIAL, f"padding {padding} instead of 9")


def test_swapped_rows_and_columns_on_a_square_map():
    square = {path: np.ascontiguousarray(a[:, :, :4, :4]) if a.ndim == 4 else a for path, a in sound_port().items()}
    trace = type(reference())({p: square[p] for p in reference().layers}, None, reference().metadata)
    port = {**square, "norm2": square["norm2"].transpose(0, 1, 3, 2)}
    report = compare(trace, as_port(port))
    assert report.first_divergence.path == "norm2"
    assert hint(report, trace, None) == "transposed layout: rows and columns of the map are swapped"


def test_colours_in_the_wrong_order():
    layers = numpy_layers(x=np.ascontiguousarray(reference().input[:, ::-1]))
    colours = "the colours are in the order BGR instead of RGB"
    assert verdict(layers) == ("input", colours)
    assert hint(compare(reference(), as_port(layers)), reference(), None) == colours  # it takes no weights to see that


def test_numbers_that_are_not_finite_are_called_so():
    layers = numpy_layers()
    layers[FC1] = np.where(np.abs(layers[FC1]) > 1, np.inf, layers[FC1]).astype(np.float32)
    path, said = verdict(layers)
    assert path == FC1 and "of the port's numbers are infinite: overflow" in said
    layers[FC1] = np.full_like(layers[FC1], np.nan)
    assert "100.0% of the port's numbers are NaN" in verdict(layers)[1]


def test_errors_that_came_from_earlier_layers_are_not_blamed_on_this_one():
    """Every layer a little off, none by a fault of its own: the layers before the first one over the limit passed it on."""
    noisy = reference().input + np.float32(2e-5) * np.sign(reference().input)
    layers = numpy_layers(x=noisy)
    report = compare(reference(), as_port(layers), Tolerance(4e-5))
    assert report.first_divergence.path != "input"
    assert "right for what it was fed" in hint(report, reference(), run)


def test_an_unknown_fault_is_not_given_a_name():
    rng = np.random.default_rng(1)
    layers = numpy_layers(**layer(FC1, lambda a, layers: rng.normal(size=a.shape)))
    assert verdict(layers) == (FC1, "")


def test_without_the_weights_the_faults_that_need_none_are_still_named():
    layers = numpy_layers(**layer(FC1, transposed))
    report = compare(reference(), as_port(layers))
    assert "NHWC" in hint(report, reference(), None)
    layers = numpy_layers(**layer(ATTENTION, lambda a, layers: layers[PROJ_2]))
    assert "missing inner residual" in hint(compare(reference(), as_port(layers)), reference(), None)


def test_eps_candidates_hold_every_eps_in_use():
    from minivan.oracle.faults import EPSILONS

    assert {1e-3, 1e-5, 1e-6, 1e-12} <= set(EPSILONS) and all(math.isfinite(e) for e in EPSILONS)


def test_the_engine_that_takes_notes_does_not_pass_for_exact():
    names = []
    replay(lambda engine, hook: names.append(engine.name), {})
    assert names == ["exact, watched"]
