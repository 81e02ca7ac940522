"""VAN as a torch.nn.Module with the authors' parameter names: the judge of whole networks, independent of minivan's model.

Written from the paper and the published parameter names; it imports nothing of minivan.
"""

import torch
from torch import nn


class Attention(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.proj_1 = nn.Conv2d(dim, dim, 1)
        self.activation = nn.GELU()
        self.spatial_gating_unit = LKA(dim)
        self.proj_2 = nn.Conv2d(dim, dim, 1)

    def forward(self, z):
        return z + self.proj_2(self.spatial_gating_unit(self.activation(self.proj_1(z))))


class LKA(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.conv0 = nn.Conv2d(dim, dim, 5, padding=2, groups=dim)
        self.conv_spatial = nn.Conv2d(dim, dim, 7, padding=9, dilation=3, groups=dim)
        self.conv1 = nn.Conv2d(dim, dim, 1)

    def forward(self, u):
        return u * self.conv1(self.conv_spatial(self.conv0(u)))


class DWConv(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.dwconv = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)

    def forward(self, x):
        return self.dwconv(x)


class Mlp(nn.Module):
    def __init__(self, dim, ratio):
        super().__init__()
        self.fc1 = nn.Conv2d(dim, ratio * dim, 1)
        self.dwconv = DWConv(ratio * dim)
        self.act = nn.GELU()
        self.fc2 = nn.Conv2d(ratio * dim, dim, 1)

    def forward(self, z):
        return self.fc2(self.act(self.dwconv(self.fc1(z))))


class Block(nn.Module):
    def __init__(self, dim, ratio, eps):
        super().__init__()
        self.norm1, self.attn = nn.BatchNorm2d(dim, eps=eps), Attention(dim)
        self.norm2, self.mlp = nn.BatchNorm2d(dim, eps=eps), Mlp(dim, ratio)
        self.layer_scale_1, self.layer_scale_2 = nn.Parameter(torch.ones(dim)), nn.Parameter(torch.ones(dim))

    def forward(self, x):
        x = x + self.layer_scale_1[:, None, None] * self.attn(self.norm1(x))
        return x + self.layer_scale_2[:, None, None] * self.mlp(self.norm2(x))


class PatchEmbed(nn.Module):
    def __init__(self, c_in, dim, kernel, stride, eps):
        super().__init__()
        self.proj = nn.Conv2d(c_in, dim, kernel, stride, kernel // 2)
        self.norm = nn.BatchNorm2d(dim, eps=eps)

    def forward(self, x):
        return self.norm(self.proj(x))


class TorchVAN(nn.Module):
    """`config` needs the fields dims, depths, mlp_ratios, classes, layer_norm_eps, batch_norm_eps and channels."""

    def __init__(self, config):
        super().__init__()
        c_in = config.channels
        self.stages = len(config.dims)
        for i, (dim, depth, ratio) in enumerate(zip(config.dims, config.depths, config.mlp_ratios, strict=True), 1):
            kernel, stride = (7, 4) if i == 1 else (3, 2)
            setattr(self, f"patch_embed{i}", PatchEmbed(c_in, dim, kernel, stride, config.batch_norm_eps))
            setattr(self, f"block{i}", nn.ModuleList(Block(dim, ratio, config.batch_norm_eps) for _ in range(depth)))
            setattr(self, f"norm{i}", nn.LayerNorm(dim, eps=config.layer_norm_eps))
            c_in = dim
        self.head = nn.Linear(c_in, config.classes)
        self.eval()

    def features(self, x):
        outputs = []
        for i in range(1, self.stages + 1):
            x = getattr(self, f"patch_embed{i}")(x)
            for block in getattr(self, f"block{i}"):
                x = block(x)
            x = getattr(self, f"norm{i}")(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            outputs.append(x)
        return outputs

    def forward(self, x):
        return self.head(self.features(x)[-1].mean((2, 3)))


def load(config, tensors, dtype=torch.float32):
    """Build a TorchVAN from NumPy tensors under the authors' names."""
    net = TorchVAN(config)
    missing, unexpected = net.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in tensors.items()}, strict=False)
    assert not unexpected and all(k.endswith("num_batches_tracked") for k in missing), (missing, unexpected)
    return net.to(dtype)
