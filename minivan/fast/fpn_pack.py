"""A Semantic FPN's weights as its kernels want them: see pack.py. All folding happens in float64 and is rounded once.

relu(norm(W x)) = relu((a W) x + b)       a, b of BatchNorm; the head's convolutions have no bias of their own
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from .. import fpn
from ..fpn import FPNConfig
from .addresses import address_of, records, relocate
from .fpn_tables import Level, PackedPyramid, Pyramid, Smoothing
from .lanes import PAIR, Shape, pairs_for
from .maps import Parameters
from .pack import Doubles, Packer, Source
from .winograd import MIDDLE, PRODUCTS, tiles_at_once, transform_kernel


def pack_fpn(config: FPNConfig, tensors: Mapping[str, ArrayLike], shape: Shape) -> PackedPyramid:
    """Return a neck and a head packed for vectors of a shape."""
    source = Source(tensors, config.batch_norm_eps)
    packer = Packer(shape, 2 * source.floats)  # 16 products of a kernel of 9
    levels: list[Level] = []
    steps: list[Smoothing] = []
    for i in range(len(config.dims)):
        lateral, smooth = f"{fpn.NECK}.lateral_convs.{i}.conv", f"{fpn.NECK}.fpn_convs.{i}.conv"
        levels.append(
            Level(
                pairs=pairs_for(config.dims[i], shape.lanes),
                lateral=Parameters(packer.pointwise(source.pointwise(lateral)), packer.vector(source(f"{lateral}.bias"))),
                smoothing=pack_smoothing(packer, source(f"{smooth}.weight"), source(f"{smooth}.bias"), shape),
                first_step=len(steps),
                steps=fpn.step_count(i),
            )
        )
        for k in range(fpn.step_count(i)):
            a, b = source.batch_norm(f"{fpn.step_of(i, k)}.bn")
            kernel = source(f"{fpn.step_of(i, k)}.conv.weight") * a[:, None, None, None]
            steps.append(pack_smoothing(packer, kernel, b, shape))
    pyramid = Pyramid(
        levels=len(levels),
        pairs=pairs_for(config.channels, shape.lanes),
        head_pairs=pairs_for(config.head_channels, shape.lanes),
        class_pairs=pairs_for(config.classes, shape.lanes),
        classes=config.classes,
        conv_seg=Parameters(packer.pointwise(source.pointwise(fpn.CONV_SEG)), packer.vector(source(f"{fpn.CONV_SEG}.bias"))),
        ones=packer.vector(np.ones(config.channels)),
    )
    weights = packer.finish()
    packed = PackedPyramid(weights, records([pyramid], Pyramid), records(levels, Level), records(steps, Smoothing))
    for array, table in ((packed.pyramid, Pyramid), (packed.levels, Level), (packed.steps, Smoothing)):
        relocate(array, table, address_of(weights))
    return packed


def pack_smoothing(packer: Packer, weight: Doubles, bias: Doubles, shape: Shape) -> Smoothing:
    """A 3x3 convolution (N, C, 3, 3): [pairs][16][C][2][V], pair by pair the matrices of Winograd's 16 products."""
    n, c = weight.shape[:2]
    v, pairs, inputs = shape.lanes, pairs_for(n, shape.lanes), packer.padded(c)
    whole = np.zeros((PRODUCTS, pairs * PAIR * v, inputs))
    whole[:, :n, :c] = transform_kernel(weight)
    biases = np.zeros((pairs, PRODUCTS, PAIR * v))
    biases[:, MIDDLE] = np.pad(bias, (0, pairs * PAIR * v - n)).reshape(pairs, PAIR * v)
    return Smoothing(
        weight=packer.add(whole.reshape(PRODUCTS, pairs, PAIR, v, inputs).transpose(1, 0, 4, 2, 3)),
        bias=packer.add(biases),
        tiles=tiles_at_once(inputs, shape),
    )
