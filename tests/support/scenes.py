"""A tiny segmentation network, and small photos for it: what tests of masks need, in milliseconds."""

import numpy as np
from PIL import Image

from minivan import fpn
from minivan.segmentation import SegmentationVAN
from minivan.segmentation.card import SegmentationCard
from minivan.van import VAN
from minivan.variants import Config
from support.networks import random_fpn_tensors, random_tensors

SHAPE = Config((4, 6, 8, 8), (1, 1, 1, 1), (1, 1, 1, 1), classes=0)
HEAD = fpn.FPNConfig(SHAPE.dims, channels=6, head_channels=5, classes=4)
NAMES = ("sky", "road", "<b>tree</b>", "car")
PALETTE = ((70, 130, 180), (128, 64, 128), (107, 142, 35), (0, 0, 142))


def network(engine="numpy", side=64, seed=3):
    """Return one of four classes, each of which some pixels of `photo` have."""
    card = SegmentationCard("four", NAMES, PALETTE, side)
    made = SegmentationVAN(VAN(SHAPE, random_tensors(SHAPE, seed), engine), random_fpn_tensors(HEAD, seed), card)
    tensors = dict(made.tensors)
    x = np.random.default_rng(0).normal(size=(1, 3, 64, 96)).astype(np.float32)
    logits = made(x)
    tensors["decode_head.conv_seg.bias"] -= np.median(logits, axis=(0, 2, 3))  # else one class has them all
    return SegmentationVAN(made.backbone, tensors, card)


def photo(width=90, height=60, seed=0, mode="RGB"):
    """Return a picture of coarse blocks of colour."""
    coarse = np.random.default_rng(seed).integers(0, 256, (max(1, height // 8), max(1, width // 8), 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.NEAREST).convert(mode)
