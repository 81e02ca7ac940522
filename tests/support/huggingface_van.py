"""VAN with the modules, and under the names, of Hugging Face's VanForImageClassification, written from its state dictionary.

What the network, its backbone and its encoder give is a dataclass, as there, or a dict or a tuple.
"""

from dataclasses import dataclass

import torch
from torch import nn

from support.saved import huggingface_name

OUTPUTS = ("dataclass", "dict", "tuple")


@dataclass
class Output:
    loss: torch.Tensor | None
    main: torch.Tensor
    more: tuple


class Named(nn.Module):
    """Modules by name, called by whoever holds them."""

    def __init__(self, **modules):
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)


class Chain(Named):
    """Modules by name, one after the other."""

    def forward(self, x):
        for module in self.children():
            x = module(x)
        return x


class Gate(Named):
    def forward(self, u):
        return u * self.attention(u)


class Attention(Named):
    def forward(self, z):
        return z + self.post_projection(self.attention_layer(self.pre_projection(z)))


class Scaling(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x):
        return self.weight[:, None, None] * x


class Layer(Named):
    def forward(self, x):
        x = x + self.attention_scaling(self.attention(self.pre_normomalization(x)))
        return x + self.mlp_scaling(self.mlp(self.post_normalization(x)))


class Stage(Named):
    def forward(self, x):
        x = self.layers(self.embeddings(x))
        return self.normalization(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Giving(Named):
    """A module that gives (None, a tensor and more) in the form `gives`."""

    gives = "dataclass"

    def given(self, main, *more):
        if self.gives == "tuple":
            return None, main, *more
        return Output(None, main, more) if self.gives == "dataclass" else {"loss": None, "main": main, "more": more}

    def main(self, output):
        return output[1] if self.gives == "tuple" else output.main if self.gives == "dataclass" else output["main"]


class Encoder(Giving):
    def forward(self, x):
        maps = []
        for stage in self.stages:
            maps.append(x := stage(x))
        return self.given(x, maps)


class Van(Giving):
    def forward(self, x):
        last = self.main(self.encoder(x))
        return self.given(last, last.mean((2, 3)))


class Classifier(Giving):
    def forward(self, x):
        return self.given(self.classifier(self.main(self.van(x)).mean((2, 3))))


def depthwise(dim, kernel, padding, dilation=1):
    return nn.Conv2d(dim, dim, kernel, padding=padding, dilation=dilation, groups=dim)


def layer(dim, ratio, eps):
    wide = dim * ratio
    near, far, mixed = depthwise(dim, 5, 2), depthwise(dim, 7, 9, 3), nn.Conv2d(dim, dim, 1)
    gate = Gate(attention=Chain(depth_wise=near, depth_wise_dilated=far, point_wise=mixed))
    before = Chain(conv=nn.Conv2d(dim, dim, 1), act=nn.GELU())
    return Layer(
        pre_normomalization=nn.BatchNorm2d(dim, eps=eps),
        attention=Attention(pre_projection=before, attention_layer=gate, post_projection=nn.Conv2d(dim, dim, 1)),
        attention_scaling=Scaling(dim),
        post_normalization=nn.BatchNorm2d(dim, eps=eps),
        mlp=Chain(
            in_dense=nn.Conv2d(dim, wide, 1), depth_wise=depthwise(wide, 3, 1), activation=nn.GELU(),
            out_dense=nn.Conv2d(wide, dim, 1),
        ),
        mlp_scaling=Scaling(dim),
    )  # fmt: skip


def load(config, tensors, gives="dataclass", batch_norm_eps=None):
    """Build the network from NumPy tensors under the authors' names; `batch_norm_eps` may be another one than theirs."""
    eps = config.batch_norm_eps if batch_norm_eps is None else batch_norm_eps
    stages, c_in = [], config.channels
    for i, (dim, depth, ratio) in enumerate(zip(config.dims, config.depths, config.mlp_ratios, strict=True), 1):
        kernel, stride = (7, 4) if i == 1 else (3, 2)
        embeddings = Chain(
            convolution=nn.Conv2d(c_in, dim, kernel, stride, kernel // 2), normalization=nn.BatchNorm2d(dim, eps=eps)
        )
        layers = nn.Sequential(*(layer(dim, ratio, eps) for _ in range(depth)))
        norm = nn.LayerNorm(dim, eps=config.layer_norm_eps)
        stages.append(Stage(embeddings=embeddings, layers=layers, normalization=norm))
        c_in = dim
    encoder = Encoder(stages=nn.ModuleList(stages))
    net = Classifier(van=Van(encoder=encoder), classifier=nn.Linear(c_in, config.classes))
    state = {huggingface_name(name): torch.from_numpy(tensor.copy()) for name, tensor in tensors.items()}
    missing, unexpected = net.load_state_dict(state, strict=False)
    assert not unexpected and all(name.endswith("num_batches_tracked") for name in missing), (missing, unexpected)
    net.gives = net.van.gives = encoder.gives = gives
    return net.eval()
