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

import numpy as np

from ..variants import Config
from .network import BLOCK, NETWORK, STAGE
from .simd import PAIR

ALIGNMENT = 16  # floats: 64 bytes, a cache line and the widest vector
STEM_ROW = 8  # the stem's kernel rows of 7, filled up: see border.gather_image
STEM_ROWS = 22  # 3 channels x 7 rows, and one more to end on a block of 16


class Packer:
    """Collects float arrays into one, and hands out where each begins."""

    def __init__(self, lanes: int):
        self.lanes, self.parts, self.size = lanes, [], 0

    def add(self, array) -> int:
        """Round to float32 and append; return the offset in floats."""
        flat = np.asarray(array, np.float32).ravel()
        offset = self.size
        self.parts.append((offset, flat))
        self.size += -(-flat.size // ALIGNMENT) * ALIGNMENT
        return offset

    def padded(self, channels: int) -> int:
        """Channels filled up to whole pairs of blocks."""
        pair = PAIR * self.lanes
        return -(-channels // pair) * pair

    def vector(self, values, channels: int | None = None) -> int:
        """(C,) -> (C filled up with zeros,)"""
        values = np.asarray(values, np.float64)
        whole = np.zeros(self.padded(len(values) if channels is None else channels))
        whole[: len(values)] = values
        return self.add(whole)

    def matrix(self, weight) -> int:
        """(N, K) -> [pairs][K][2][V], K and N filled up with zeros; K where it is not that of a map must be whole already."""
        n, k = weight.shape
        whole = np.zeros((self.padded(n), k))
        whole[:n] = weight
        return self.add(whole.reshape(-1, PAIR, self.lanes, k).transpose(0, 3, 1, 2))

    def pointwise(self, weight) -> int:
        """A 1x1 convolution (N, C, 1, 1)."""
        n, c = weight.shape[:2]
        whole = np.zeros((n, self.padded(c)))
        whole[:, :c] = weight.reshape(n, c)
        return self.matrix(whole)

    def depthwise(self, weight) -> int:
        """(C, 1, K, K) -> [blocks][K * K][V]"""
        c, taps = len(weight), weight[0].size
        whole = np.zeros((self.padded(c), taps))
        whole[:c] = weight.reshape(c, taps)
        return self.add(whole.reshape(-1, self.lanes, taps).transpose(0, 2, 1))

    def stem(self, weight) -> int:
        """(N, 3, 7, 7) -> a matrix over 22 rows of 8"""
        whole = np.zeros((len(weight), STEM_ROWS, STEM_ROW))
        whole[:, :21, :7] = weight.reshape(-1, 21, 7)
        return self.matrix(whole.reshape(len(weight), -1))

    def rows_of_three(self, weight) -> int:
        """(N, C, 3, 3) -> three matrices one behind the other, one per kernel row, over (kernel column, channel)"""
        n, c = weight.shape[:2]
        whole = np.zeros((n, 3, 3, self.padded(c)))
        whole[..., :c] = weight.transpose(0, 2, 3, 1)
        first, _, _ = (self.matrix(whole[:, row].reshape(n, -1)) for row in range(3))
        return first

    def finish(self) -> np.ndarray:
        """Return the array, its first float at a multiple of 64 bytes."""
        whole = aligned(self.size)
        for offset, part in self.parts:
            whole[offset : offset + part.size] = part
        return whole


def aligned(size: int) -> np.ndarray:
    """Return `size` zeros, float32, beginning at a multiple of 64 bytes."""
    array = np.zeros(size + ALIGNMENT, np.float32)
    start = -(array.ctypes.data // 4) % ALIGNMENT
    return array[start : start + size]


def batch_norm(tensors, name, eps):
    """Return a, b with norm(x) = a x + b, float64."""
    weight, bias, mean, var = (
        np.asarray(tensors[f"{name}.{part}"], np.float64) for part in ("weight", "bias", "running_mean", "running_var")
    )
    a = weight / np.sqrt(var + eps)
    return a, bias - mean * a


def pack(config: Config, tensors: dict, lanes: int):
    """Return (weights, network, stages, blocks): the packed array, and records whose addresses point into it."""
    packer = Packer(lanes)
    network, stages, blocks = np.zeros(1, NETWORK), np.zeros(config.stages, STAGE), np.zeros(sum(config.depths), BLOCK)

    def get(name):
        return np.asarray(tensors[name], np.float64)

    index = 0
    for i, (dim, depth, ratio) in enumerate(zip(config.dims, config.depths, config.mlp_ratios, strict=True), start=1):
        a, b = batch_norm(tensors, f"patch_embed{i}.norm", config.batch_norm_eps)
        kernel = get(f"patch_embed{i}.proj.weight") * a[:, None, None, None]
        stage = stages[i - 1]
        stage["channels"], stage["pairs"] = dim, packer.padded(dim) // (PAIR * lanes)
        stage["hidden_pairs"] = packer.padded(ratio * dim) // (PAIR * lanes)
        stage["depth"], stage["first_block"] = depth, index
        stage["embed_w"] = packer.stem(kernel) if i == 1 else packer.rows_of_three(kernel)
        stage["embed_b"] = packer.vector(a * get(f"patch_embed{i}.proj.bias") + b)
        stage["embed_blocks"] = STEM_ROWS * STEM_ROW // lanes
        widest = max(dim, ratio * dim)
        stage["zeros"], stage["ones"] = packer.vector([], widest), packer.vector(np.ones(widest))
        stage["norm_w"], stage["norm_b"] = packer.vector(get(f"norm{i}.weight")), packer.vector(get(f"norm{i}.bias"))
        for j in range(depth):
            fold_block(packer, blocks[index], get, f"block{i}.{j}", tensors, config.batch_norm_eps)
            index += 1
    network["stages"], network["classes"], network["eps"] = config.stages, config.classes, config.layer_norm_eps
    if config.classes:
        network["head_w"], network["head_b"] = packer.add(get("head.weight").T), packer.add(get("head.bias"))
    weights = packer.finish()
    base = weights.ctypes.data // 4
    for records in (network, stages, blocks):
        for name in records.dtype.names:
            if name.endswith(("_w", "_b")) or name in ("zeros", "ones", "scale"):
                records[name] += base
    return weights, network, stages, blocks


def fold_block(packer, record, get, name, tensors, eps) -> None:
    """Fold and pack one block's tensors; note where they lie."""
    attn, lka, mlp = f"{name}.attn", f"{name}.attn.spatial_gating_unit", f"{name}.mlp"

    matrices = {}

    def pointwise(field, weight, bias):
        matrices[f"{field}_w"], record[f"{field}_b"] = weight, packer.vector(bias)

    def depthwise(field, path):
        record[f"{field}_w"] = packer.depthwise(get(f"{path}.weight"))
        record[f"{field}_b"] = packer.vector(get(f"{path}.bias"))

    def after_norm(field, path, a, b):
        weight = get(f"{path}.weight")[:, :, 0, 0]
        pointwise(field, weight * a, get(f"{path}.bias") + weight @ b)

    a, b = batch_norm(tensors, f"{name}.norm1", eps)
    s = get(f"{name}.layer_scale_1")
    after_norm("proj_1", f"{attn}.proj_1", a, b)
    depthwise("conv0", f"{lka}.conv0")
    depthwise("spatial", f"{lka}.conv_spatial")
    pointwise("conv1", get(f"{lka}.conv1.weight"), get(f"{lka}.conv1.bias"))
    pointwise("proj_2", get(f"{attn}.proj_2.weight")[:, :, 0, 0] * s[:, None], s * (get(f"{attn}.proj_2.bias") + b))
    record["scale"] = packer.vector(1 + s * a)

    a, b = batch_norm(tensors, f"{name}.norm2", eps)
    s = get(f"{name}.layer_scale_2")
    after_norm("fc1", f"{mlp}.fc1", a, b)
    depthwise("dwconv", f"{mlp}.dwconv.dwconv")
    pointwise("fc2", get(f"{mlp}.fc2.weight")[:, :, 0, 0] * s[:, None], s * get(f"{mlp}.fc2.bias"))
    for field, weight in matrices.items():  # one behind the other in the order of their use: see matmul on what lies ahead
        record[field] = packer.pointwise(weight)
