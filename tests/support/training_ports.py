"""Ports of VAN that train, in PyTorch, with one fault each: autograd, with one module's way back written wrong on purpose."""

import functools
from dataclasses import replace

import numpy as np

from minivan import paths, seeded
from minivan.hooks import Hook
from minivan.oracle import gradients, trace
from minivan.oracle.baseline import Baseline
from minivan.oracle.recorded import Recorded
from minivan.van import VAN
from minivan.variants import Config
from support.judge import F, torch, torch_van

CONFIG = Config((8, 16, 12), (1, 2, 1), (2, 2, 2), classes=12)
TENSORS = seeded.tensors(CONFIG)
X = seeded.images((2, 3, 48, 32))
LOSS = gradients.Loss()


@functools.cache
def baseline(loss=LOSS):
    """What the ports are compared with, and the targets that it was recorded for."""
    recorded = trace.record(VAN(CONFIG, TENSORS), X, loss=loss)
    said = gradients.said_in(recorded.metadata)

    def run(engine, hook):
        gradients.run(VAN(CONFIG, TENSORS, engine), Hook(hook)("input", X), said, hook)

    return Baseline(recorded, lambda: (run, "")), said


def gradients_of(change=None, loss=LOSS, dtype=None, losses=None, finish=None):
    """Train a port for one step and return what it shows: layers, running statistics, gradients by arrays and by parameters.

    `change(net)` plants a fault in the network, `losses(logits, target)` in the loss, `finish(found)` in what comes of it.
    """
    net = torch_van.load(CONFIG, TENSORS, dtype or torch.float32).train(loss.form == "training")
    if change is not None:
        change(net)
    outputs = {}

    def keep(name):
        def hook(module, inputs, output):
            output.retain_grad()
            outputs[name] = output

        return hook

    for name, module in net.named_modules():
        if name and not isinstance(module, torch.nn.ModuleList):
            module.register_forward_hook(keep(name))
    x = torch.from_numpy(X).to(dtype or torch.float32).requires_grad_()
    target = torch.tensor(baseline(loss)[1].target)
    logits = net(x)
    (F.cross_entropy(logits, target, reduction=loss.reduction) if losses is None else losses(logits, target)).backward()
    found = {"input": x, **outputs}
    found |= {name: buffer for name, buffer in net.named_buffers() if "running" in name and loss.form == "training"}
    found |= {f"gradient.{name}": output.grad for name, output in found.items() if output.grad is not None}
    found |= {f"gradient.{paths.parameter(name)}": p.grad for name, p in net.named_parameters()}
    arrays = {name: tensor.detach().numpy().copy() for name, tensor in found.items()}
    return arrays if finish is None else finish(arrays)


def judged(arrays, loss=LOSS):
    """What the oracle says of a port's arrays."""
    return baseline(loss)[0].judge({name: Recorded(array, array.dtype.name) for name, array in arrays.items()})


def parameters_alone(arrays):
    """What most ports show: the logits, the running statistics, and the gradients by parameters."""
    own = {f"gradient.{paths.parameter(name)}" for name in TENSORS}
    return {name: a for name, a in arrays.items() if name in own or name.endswith(("running_mean", "running_var", "head"))}


class _Wrong(torch.autograd.Function if torch else object):
    @staticmethod
    def forward(ctx, forward, backward, x, weight, bias):
        ctx.save_for_backward(x, weight, bias)
        ctx.way_back = backward
        return forward(x)

    @staticmethod
    def backward(ctx, dy):
        return None, None, *ctx.way_back(dy, *ctx.saved_tensors)


def wrong_way_back(name, backward):
    """Plant `backward(dy, x, weight, bias) -> dx, dweight, dbias` in the module of this name."""

    def change(net):
        module = net.get_submodule(name)
        right = module.forward

        def forward(x):
            def plain(x):
                with torch.no_grad():
                    return right(x)

            return _Wrong.apply(plain, backward, x, module.weight, module.bias)

        module.forward = forward

    return change


def other_loss(**changed):
    return replace(LOSS, **changed)


def conv2d(**wrong):
    """A depthwise convolution's way back by another geometry."""

    def backward(dy, x, weight, bias):
        how = dict(stride=1, groups=x.shape[1], **wrong)
        return (
            torch.nn.grad.conv2d_input(x.shape, weight, dy, **how),
            torch.nn.grad.conv2d_weight(x, weight.shape, dy, **how),
            dy.sum((0, 2, 3)),
        )

    return backward


def batch_norm(of_variance=None, through=(True, True), eps=1e-5):
    """BatchNorm's way back in training form: another variance, or statistics that are taken for constants."""

    def backward(dy, x, weight, bias):
        axes, count = (0, 2, 3), x[:, 0].numel()
        mean, var = x.mean(axes, keepdim=True), x.var(axes, keepdim=True, unbiased=False)
        if of_variance == "unbiased":
            var = var * count / (count - 1)
        z = (x - mean) / (var + eps).sqrt()
        g = dy * weight[:, None, None]
        dx = g
        if through[0]:
            dx = dx - g.mean(axes, keepdim=True)
        if through[1]:
            dx = dx - z * (g * z).mean(axes, keepdim=True)
        right = (x - mean) / (x.var(axes, keepdim=True, unbiased=False) + eps).sqrt()
        return dx / (var + eps).sqrt(), (dy * right).sum(axes), dy.sum(axes)

    return backward


def with_gradient(name, make):
    """A port whose gradient by one parameter, or by all that end so, is another."""

    def finish(arrays):
        return {n: np.ascontiguousarray(make(a), np.float32) if n.endswith(name) else a for n, a in arrays.items()}

    return finish
