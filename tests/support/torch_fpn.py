"""VAN with Semantic FPN as torch.nn.Modules with mmsegmentation's names: the judge of segmentation.

Written from mmsegmentation's `FPN`, `FPNHead` and `EncoderDecoder`, as VAN-Segmentation configures them; it imports nothing of
minivan. A state_dict has the backbone's tensors under `backbone.`, then neck's and head's.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from support.torch_van import TorchVAN


class ConvModule(nn.Module):
    """mmcv's: a convolution, and with `norm` BatchNorm, in the place of its bias, and ReLU."""

    def __init__(self, c_in, c_out, kernel, norm=False, eps=1e-5):
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2, bias=not norm)
        self.bn = nn.BatchNorm2d(c_out, eps=eps) if norm else None

    def forward(self, x):
        x = self.conv(x)
        return x if self.bn is None else F.relu(self.bn(x))


class FPN(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.lateral_convs = nn.ModuleList(ConvModule(c, out_channels, 1) for c in in_channels)
        self.fpn_convs = nn.ModuleList(ConvModule(out_channels, out_channels, 3) for _ in in_channels)

    def forward(self, inputs):
        laterals = [conv(x) for conv, x in zip(self.lateral_convs, inputs, strict=True)]
        for i in range(len(laterals) - 1, 0, -1):
            laterals[i - 1] = laterals[i - 1] + F.interpolate(laterals[i], size=laterals[i - 1].shape[2:], mode="nearest")
        return [conv(x) for conv, x in zip(self.fpn_convs, laterals, strict=True)]


class FPNHead(nn.Module):
    def __init__(self, in_channels, channels, classes, strides=(4, 8, 16, 32), eps=1e-5):
        super().__init__()
        self.scale_heads = nn.ModuleList()
        for stride in strides:
            steps = []
            for k in range(max(1, int(math.log2(stride) - math.log2(strides[0])))):
                steps.append(ConvModule(in_channels if k == 0 else channels, channels, 3, norm=True, eps=eps))
                if stride != strides[0]:
                    steps.append(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False))
            self.scale_heads.append(nn.Sequential(*steps))
        self.conv_seg = nn.Conv2d(channels, classes, 1)

    def forward(self, inputs):
        output = self.scale_heads[0](inputs[0])
        for scale_head, x in zip(self.scale_heads[1:], inputs[1:], strict=True):
            output = output + F.interpolate(scale_head(x), size=output.shape[2:], mode="bilinear", align_corners=False)
        return self.conv_seg(output)


class TorchSegmentor(nn.Module):
    """`config` is as for TorchVAN, `fpn` needs the fields dims, channels, head_channels, classes and batch_norm_eps."""

    def __init__(self, config, fpn):
        super().__init__()
        self.backbone = TorchVAN(config)
        self.neck = FPN(fpn.dims, fpn.channels)
        self.decode_head = FPNHead(fpn.channels, fpn.head_channels, fpn.classes, eps=fpn.batch_norm_eps)
        self.eval()

    def forward(self, x):
        return self.decode_head(self.neck(self.backbone.features(x)))


def load(config, tensors, fpn, fpn_tensors, dtype=torch.float32):
    """Build a TorchSegmentor from NumPy tensors: the backbone's under the authors' names, the rest under mmsegmentation's."""
    net = TorchSegmentor(config, fpn)
    named = {**{f"backbone.{name}": tensor for name, tensor in tensors.items()}, **fpn_tensors}
    missing, unexpected = net.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in named.items()}, strict=False)
    assert not unexpected and all(k.endswith("num_batches_tracked") or ".head." in k for k in missing), (missing, unexpected)
    return net.to(dtype)
