"""Weights as the kernels want them: BatchNorm and layer scale folded in, in blocks of V channels, in one aligned array.

All folding happens in float64 and is rounded to float32 once, so a fold whose result is a float32 number is exact:
identity statistics, powers of two, small integers.

    norm(x)   = a x + b                       a = weight / sqrt(var + eps),  b = bias - mean a
    proj_1    = W (a x + b) + c               = (W a) x + (W b + c); fc1 likewise; no padding, so it holds at every position
    attention = x + s (a x + b + W g + c)     = (1 + s a) x + (s W) g + s (b + c), s = layer_scale_1, W and c of proj_2
    mlp       = x + s (W h + c)               = x + (s W) h + s c, s = layer_scale_2, W and c of fc2
    embed     = a (W x + c) + b               = (a W) x + (a c + b)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import paths
from ..variants import Config
from .addresses import ALIGNMENT, Address, address_of, aligned, records, relocate
from .halves import paired, rounded
from .lanes import FLOATS, PAIR, Shape, pairs_for
from .maps import Parameters
from .tables import Block, Network, Packed, Stage
from .windows import STEM, STEM_ROW, stem_rows

Doubles = NDArray[np.float64]


class Packer:
    """Collects arrays in one of float32, and hands out where each begins: an Address counted from the array's beginning."""

    def __init__(self, shape: Shape, expected: int) -> None:
        """`expected` is about how many floats will come: the array grows where that is too few, which copies it."""
        self.lanes, self.halved, self.size = shape.lanes, shape.operands != FLOATS, 0
        self._room = aligned(expected + expected // 8)  # what is never written takes no memory

    def add(self, array: NDArray[np.floating[Any]]) -> Address:
        """Round to float32 and append; return the offset in floats."""
        offset = self.size
        self.size += -(-array.size // ALIGNMENT) * ALIGNMENT
        if self.size > self._room.size:
            before, self._room = self._room, aligned(2 * self.size)
            self._room[:offset] = before[:offset]
        self._room[offset : offset + array.size].reshape(array.shape)[...] = array
        return offset

    def padded(self, channels: int) -> int:
        """Channels filled up to whole pairs of blocks."""
        return pairs_for(channels, self.lanes) * PAIR * self.lanes

    def vector(self, values: ArrayLike, channels: int | None = None) -> Address:
        """(C,) -> (C filled up with zeros,)"""
        values = np.asarray(values, np.float64)
        return self.add(filled(values, self.padded(len(values) if channels is None else channels)))

    def matrix(self, weight: NDArray[np.floating[Any]]) -> Address:
        """(N, K) -> [pairs][K][2][V], K and N filled up with zeros; K where it is not that of a map must be whole already.

        In bfloat16 [pairs][K / 2][2][V], in 32 bits two channels.
        """
        n, k = weight.shape
        whole = filled(weight, self.padded(n), k)
        words = paired(rounded(whole)) if self.halved else whole
        return self.add(words.reshape(-1, PAIR, self.lanes, words.shape[1]).transpose(0, 3, 1, 2))

    def pointwise(self, weight: NDArray[np.floating[Any]]) -> Address:
        """A 1x1 convolution (N, C)."""
        n, c = weight.shape
        return self.matrix(filled(weight, n, self.padded(c)))

    def depthwise(self, weight: NDArray[np.floating[Any]]) -> Address:
        """(C, 1, K, K) -> [blocks][K * K][V]"""
        c, taps = len(weight), weight[0].size
        whole = filled(weight.reshape(c, taps), self.padded(c), taps)
        return self.add(whole.reshape(-1, self.lanes, taps).transpose(0, 2, 1))

    def stem(self, weight: Doubles) -> Address:
        """(N, colours, 7, 7) -> a matrix over rows of 8, 22 of them for three colours: see windows.py"""
        colours = weight.shape[1]
        whole = filled(weight.reshape(-1, colours * STEM.side, STEM.side), len(weight), stem_rows(colours), STEM_ROW)
        return self.matrix(whole.reshape(len(weight), -1))

    def embed(self, weight: Doubles) -> Address:
        """(N, C, 3, 3) -> three matrices one behind the other, one per kernel row, over (kernel column, channel)"""
        n, c, rows, columns = weight.shape
        whole = filled(weight.transpose(0, 2, 3, 1), n, rows, columns, self.padded(c))
        first, *_ = [self.matrix(whole[:, row].reshape(n, -1)) for row in range(rows)]
        return first

    def finish(self) -> NDArray[np.float32]:
        """Return the array, its first float at a multiple of 64 bytes."""
        return self._room[: self.size]


def filled(array: NDArray[Any], *shape: int) -> NDArray[Any]:
    """Return an array filled up with zeros to a shape, the same array where it has that already."""
    if array.shape == shape:
        return array
    whole = np.zeros(shape, array.dtype)
    whole[tuple(map(slice, array.shape))] = array
    return whole


class Source:
    """A network's tensors under their names in the checkpoint, as float64."""

    def __init__(self, tensors: Mapping[str, ArrayLike], eps: float) -> None:
        self.tensors, self.eps = tensors, eps

    def unfolded(self, path: str) -> NDArray[np.floating[Any]]:
        """A tensor that is packed as it is: no need to make it longer first."""
        found = np.asarray(self.tensors[path])
        return found if found.dtype == np.float32 else self(path)

    @property
    def floats(self) -> int:
        """All floats of all tensors."""
        return sum(np.size(tensor) for tensor in self.tensors.values())

    def __call__(self, path: str) -> Doubles:
        return np.asarray(self.tensors[path], np.float64)

    def pointwise(self, path: str) -> Doubles:
        """A 1x1 convolution's weight, (N, C)."""
        weight = self(f"{path}.weight")
        return weight.reshape(weight.shape[:2])

    def batch_norm(self, path: str) -> tuple[Doubles, Doubles]:
        """a, b with norm(x) = a x + b."""
        weight, bias, mean, var = (self(f"{path}.{part}") for part in ("weight", "bias", "running_mean", "running_var"))
        a = weight / np.sqrt(var + self.eps)
        return a, bias - mean * a


def pack(config: Config, tensors: Mapping[str, ArrayLike], shape: Shape) -> Packed:
    """Return a network packed for vectors of a shape."""
    source = Source(tensors, config.batch_norm_eps)
    packer = Packer(shape, source.floats)
    stages: list[Stage] = []
    blocks: list[Block] = []
    for i in range(config.stages):
        stages.append(pack_stage(packer, source, config, i, len(blocks)))
        blocks += [pack_block(packer, source, paths.block(i + 1, j)) for j in range(config.depths[i])]
    head = Parameters(0, 0)
    if config.classes:
        head = Parameters(
            packer.add(source.unfolded(f"{paths.HEAD}.weight").T), packer.add(source.unfolded(f"{paths.HEAD}.bias"))
        )
    network = Network(config.stages, config.classes, config.channels, stem_rows(config.channels), head, config.layer_norm_eps)
    weights = packer.finish()
    packed = Packed(weights, records([network], Network), records(stages, Stage), records(blocks, Block))
    for array, table in ((packed.network, Network), (packed.stages, Stage), (packed.blocks, Block)):
        relocate(array, table, address_of(weights))
    return packed


def pack_stage(packer: Packer, source: Source, config: Config, i: int, first_block: int) -> Stage:
    """Fold and pack a stage's patch embedding and LayerNorm; i: 0 for the first."""
    dim, hidden = config.dims[i], config.mlp_ratios[i] * config.dims[i]
    embed, norm = paths.patch_embed(i + 1), paths.norm(i + 1)
    proj = f"{embed}.proj"
    a, b = source.batch_norm(f"{embed}.norm")
    kernel = source(f"{proj}.weight") * a[:, None, None, None]
    widest = max(dim, hidden)
    return Stage(
        channels=dim,
        pairs=pairs_for(dim, packer.lanes),
        hidden_pairs=pairs_for(hidden, packer.lanes),
        depth=config.depths[i],
        first_block=first_block,
        embed=Parameters(
            packer.stem(kernel) if i == 0 else packer.embed(kernel), packer.vector(a * source(f"{proj}.bias") + b)
        ),
        zeros=packer.vector([], widest),
        ones=packer.vector(np.ones(widest)),
        norm=Parameters(packer.vector(source(f"{norm}.weight")), packer.vector(source(f"{norm}.bias"))),
    )


def pack_block(packer: Packer, source: Source, path: str) -> Block:
    """Fold and pack one block's tensors."""
    attn, lka, mlp = f"{path}.attn", f"{path}.{paths.UNIT}", f"{path}.mlp"
    (a_1, b_1), (a_2, b_2) = source.batch_norm(f"{path}.norm1"), source.batch_norm(f"{path}.norm2")
    s_1, s_2 = source(f"{path}.layer_scale_1"), source(f"{path}.layer_scale_2")
    proj_1, proj_2, conv1 = source.pointwise(f"{attn}.proj_1"), source.pointwise(f"{attn}.proj_2"), f"{lka}.conv1.weight"
    fc1, fc2 = source.pointwise(f"{mlp}.fc1"), source.pointwise(f"{mlp}.fc2")

    def bias(name: str) -> Doubles:
        return source(f"{name}.bias")

    def depthwise(name: str) -> Parameters:
        return Parameters(packer.depthwise(source.unfolded(f"{name}.weight")), packer.vector(bias(name)))

    # The small ones in the order of their use, then the matrices in theirs: each matrix asks memory for what lies behind it
    # (matmul.py), the last one for the next block's small ones.
    proj_1_bias = packer.vector(bias(f"{attn}.proj_1") + proj_1 @ b_1)
    conv0, conv_spatial = depthwise(f"{lka}.conv0"), depthwise(f"{lka}.conv_spatial")
    conv1_bias = packer.vector(bias(f"{lka}.conv1"))
    proj_2_bias = packer.vector(s_1 * (bias(f"{attn}.proj_2") + b_1))
    scale = packer.vector(1 + s_1 * a_1)
    fc1_bias = packer.vector(bias(f"{mlp}.fc1") + fc1 @ b_2)
    dwconv = depthwise(f"{mlp}.dwconv.dwconv")
    fc2_bias = packer.vector(s_2 * bias(f"{mlp}.fc2"))
    return Block(
        proj_1=Parameters(packer.pointwise(proj_1 * a_1), proj_1_bias),
        conv0=conv0,
        conv_spatial=conv_spatial,
        conv1=Parameters(packer.pointwise(source.unfolded(conv1)[..., 0, 0]), conv1_bias),
        proj_2=Parameters(packer.pointwise(proj_2 * s_1[:, None]), proj_2_bias),
        scale=scale,
        fc1=Parameters(packer.pointwise(fc1 * a_2), fc1_bias),
        dwconv=dwconv,
        fc2=Parameters(packer.pointwise(fc2 * s_2[:, None]), fc2_bias),
    )
