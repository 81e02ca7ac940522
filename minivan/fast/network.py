"""The forward pass as every thread of a team runs it: the paper's figure, operator by operator, with its barriers.

Compare model.py: patch embedding, blocks of attention and MLP, LayerNorm, four times; mean and head. What differs is
folded into the weights beforehand (pack.py) or happens on the way out of a matrix product (matmul.py):

    attention:  u = gelu(proj_1 x);  far = conv_spatial(conv0 u);  x = x * scale + proj_2(u * conv1 far)
    mlp:        y = x + fc2(gelu(dwconv(fc1 x)))

BatchNorm is inside proj_1 and fc1, the layer scales inside proj_2 and fc2; `scale` holds the block's residual and the one
inside attention.
"""

from __future__ import annotations

import numpy as np

from ..jit import inline, njit
from .border import gather_image, gather_row, head, layer_norm, pool
from .depthwise import depthwise
from .matmul import GATE, GELU, RESIDUAL, STORE, copy, matmul
from .team import barrier


def record(integers: str, floats: str = "") -> np.dtype:
    return np.dtype([(name, np.int64) for name in integers.split()] + [(name, np.float64) for name in floats.split()])


# What compiled code knows of a network. Addresses count floats; a block is V channels, a pair two blocks.
NETWORK = record("stages classes head_w head_b", "eps")
STAGE = record("channels pairs hidden_pairs depth first_block chunk band embed_w embed_b embed_blocks zeros ones norm_w norm_b")
BLOCK = record(
    "proj_1_w proj_1_b conv0_w conv0_b spatial_w spatial_b conv1_w conv1_b proj_2_w proj_2_b scale "
    "fc1_w fc1_b dwconv_w dwconv_b fc2_w fc2_b"
)
# One thread's place in its team, the maps that the team shares (x to features) and its own scratch (columns to sums).
MEMBER = record("rank size counter give_way arrived x y u near far hidden features columns wide active spare pooled sums")


@inline
def meet(me):
    """Wait until every thread of the team is here."""
    if me.size > 1:
        me.arrived += me.size
        barrier(me.counter, me.arrived, me.give_way)


@inline
def share(count, me):
    """This thread's part of range(count)."""
    return count * me.rank // me.size, count * (me.rank + 1) // me.size


@inline
def rectangle(positions, pairs, rows, me):
    """This thread's part of a matrix product: some positions of all pairs or, where that balances better, the reverse."""
    tiles = (positions + rows - 1) // rows
    if -(-pairs // me.size) * tiles < -(-tiles // me.size) * pairs:
        first, last = share(pairs, me)
        return 0, positions, first, last
    first, last = share(tiles, me)
    return first * rows, min(last * rows, positions), 0, pairs


@inline
def embed(lanes, v, rows, me, stage, first_stage, source, source_step, blocks, images, height, width, h, w, out):
    """Patch embedding: windows laid out as rows, a few hundred positions at a time, times the kernel."""
    positions = images * h * w
    step = positions * v
    tiles = (positions + rows - 1) // rows
    start, stop = share(tiles, me)
    start, stop = start * rows, min(stop * rows, positions)
    if first_stage:
        for first in range(start, stop, 8 * rows):
            last = min(first + 8 * rows, stop)
            image = first // (h * w)
            while first < last:
                end = min(last, (image + 1) * h * w)
                gather_image(
                    lanes, source + image * 3 * height * width, height, width, me.columns, w,
                    first - image * h * w, end - image * h * w,
                )  # fmt: skip
                matmul(
                    lanes, STORE, me.columns, (end - first) * v, stage.embed_blocks, stage.embed_w, stage.embed_b,
                    out + first * v, step, out, step, stage.ones, 0, end - first, 0, stage.pairs, me.spare,
                )  # fmt: skip
                first = end
                image += 1
        return
    for first in range(start, stop, 16 * rows):
        last = min(first + 16 * rows, stop)
        to = out + first * v
        for row in range(3):
            weights = stage.embed_w + row * stage.pairs * 3 * blocks * v * 2 * v
            gather_row(lanes, source, source_step, blocks, height, width, row, me.columns, h, w, first, last)
            ending, bias = (STORE, stage.embed_b) if row == 0 else (RESIDUAL, stage.zeros)
            matmul(
                lanes, ending, me.columns, (last - first) * v, 3 * blocks, weights, bias,
                to, step, to, step, stage.ones, 0, last - first, 0, stage.pairs, me.spare,
            )  # fmt: skip


@inline
def conv0(lanes, v, x, h, w, block, c, out, top, bottom):
    """Rows top..bottom of one block of channels, 5x5."""
    weight, bias = block.conv0_w + c * 25 * v, block.conv0_b + c * v
    depthwise(lanes, 5, x, 0, h, w, weight, bias, out + top * w * v, top, bottom)


@inline
def conv_spatial(lanes, v, x, h, w, block, c, out, top, bottom):
    """Rows top..bottom of one block of channels, 7x7 with dilation 3."""
    weight, bias = block.spatial_w + c * 49 * v, block.spatial_b + c * v
    depthwise(lanes, 7, x, 0, h, w, weight, bias, out + top * w * v, top, bottom)


@inline
def attention(lanes, v, rows, me, stage, block, x, x_step, images, h, w):
    """x = x * scale + proj_2(u * conv1(conv_spatial(conv0 u))), u = gelu(proj_1 x), on the maps of some images."""
    positions = images * h * w
    step, blocks = positions * v, 2 * stage.pairs
    first, last, pair, end = rectangle(positions, stage.pairs, rows, me)
    matmul(
        lanes, GELU, x, x_step, blocks, block.proj_1_w, block.proj_1_b, me.u, step, me.u, step, stage.ones,
        first, last, pair, end, me.spare,
    )  # fmt: skip
    meet(me)
    # Each thread's rows of every map, so that what one operator wrote is in the cache of the core that reads it next; or,
    # where that balances better, all rows of its maps: then conv_spatial reads what the same thread wrote.
    maps = images * blocks
    by_maps = me.size == 1 or -(-maps // me.size) * h < -(-h // me.size) * maps
    start, stop = share(maps, me) if by_maps else (0, maps)
    top, bottom = (0, h) if by_maps else share(h, me)
    for item in range(start, stop):
        c, at = item % blocks, item // blocks * h * w * v + item % blocks * step
        conv0(lanes, v, me.u + at, h, w, block, c, me.near + at, top, bottom)
        if by_maps:
            conv_spatial(lanes, v, me.near + at, h, w, block, c, me.far + at, top, bottom)
    meet(me)
    if not by_maps:
        for item in range(start, stop):
            c, at = item % blocks, item // blocks * h * w * v + item % blocks * step
            conv_spatial(lanes, v, me.near + at, h, w, block, c, me.far + at, top, bottom)
        meet(me)
    part = 16 * rows  # few enough positions for the gated map to stay in the second-level cache
    if pair > 0 or end < stage.pairs:  # split by channels: proj_2 needs those of the others
        part = positions
    for start in range(first, last, part):
        stop = min(start + part, last)
        matmul(
            lanes, GATE, me.far, step, blocks, block.conv1_w, block.conv1_b, me.near, step, me.u, step, stage.ones,
            start, stop, pair, end, me.spare,
        )  # fmt: skip
        if part == positions:
            meet(me)
        matmul(
            lanes, RESIDUAL, me.near, step, blocks, block.proj_2_w, block.proj_2_b, x, x_step, x, x_step, block.scale,
            start, stop, pair, end, me.spare,
        )  # fmt: skip
    meet(me)


@inline
def mlp_by_rows(lanes, v, rows, me, stage, block, x, x_step, y, y_step, h, w):
    """y = x + fc2(gelu(dwconv(fc1 x))) for one image, a band of rows at a time: the wide map stays in the cache.

    A band's 3x3 taps need one row of the wide map above and one below; the last two rows of a band are kept for the next,
    so only the rows where two threads meet are computed twice.
    """
    band, hidden = stage.band, 2 * stage.hidden_pairs
    wide_step, active_step = (band + 2) * w * v, band * w * v
    start, stop = share(h, me)
    done = max(start - 1, 0)  # rows of the wide map up to here are computed
    top_before = 0
    for first in range(start, stop, band):
        last = min(first + band, stop)
        top = max(first - 1, 0)  # the row of the map at the beginning of me.wide
        if first > start:
            for c in range(hidden):
                copy(me.wide + c * wide_step, me.wide + c * wide_step + (top - top_before) * w * v, (done - top) * w * v)
        need = min(last + 1, h)
        matmul(
            lanes, STORE, x + done * w * v, x_step, 2 * stage.pairs, block.fc1_w, block.fc1_b,
            me.wide + (done - top) * w * v, wide_step, me.wide, wide_step, stage.ones,
            0, (need - done) * w, 0, stage.hidden_pairs, me.spare,
        )  # fmt: skip
        done, top_before = need, top
        for c in range(hidden):
            depthwise(
                lanes, 3, me.wide + c * wide_step, top, h, w, block.dwconv_w + c * 9 * v, block.dwconv_b + c * v,
                me.active + c * active_step, first, last,
            )  # fmt: skip
        matmul(
            lanes, RESIDUAL, me.active, active_step, hidden, block.fc2_w, block.fc2_b,
            y + first * w * v, y_step, x + first * w * v, x_step, stage.ones,
            0, (last - first) * w, 0, stage.pairs, me.spare,
        )  # fmt: skip
    meet(me)


@inline
def mlp_by_channels(lanes, v, rows, me, stage, block, x, x_step, y, y_step, images, h, w):
    """y = x + fc2(gelu(dwconv(fc1 x))) on the maps of some images, a pair of blocks of the wide map at a time.

    For the small maps of the last stages: the weights are large there, and each is read once.
    """
    positions = images * h * w
    step = positions * v
    first, last = share(stage.hidden_pairs, me)
    for pair in range(first, last):
        matmul(
            lanes, STORE, x, x_step, 2 * stage.pairs, block.fc1_w, block.fc1_b, me.wide - 2 * pair * step, step,
            me.wide, step, stage.ones, 0, positions, pair, pair + 1, me.spare,
        )  # fmt: skip
        for c in range(2 * pair, 2 * pair + 2):
            for image in range(images):
                depthwise(
                    lanes, 3, me.wide + (c - 2 * pair) * step + image * h * w * v, 0, h, w,
                    block.dwconv_w + c * 9 * v, block.dwconv_b + c * v, me.hidden + c * step + image * h * w * v, 0, h,
                )  # fmt: skip
    meet(me)
    first, last, pair, end = rectangle(positions, stage.pairs, rows, me)
    matmul(
        lanes, RESIDUAL, me.hidden, step, 2 * stage.hidden_pairs, block.fc2_w, block.fc2_b, y, y_step, x, x_step, stage.ones,
        first, last, pair, end, me.spare,
    )  # fmt: skip
    meet(me)


@njit(nogil=True)  # the only one that is cached: the others are compiled into it
def run(lanes, v, rows, network, stages, all_blocks, member, images, height, width, image, logits):
    """One thread's part of a forward pass: `images` images (3, height, width) at `image`, to `images` rows of logits.

    The stages' outputs stay at `features`, one behind the other.
    """
    me, net = member[0], network[0]
    x, y, features = me.x, me.y, me.features
    source, source_step, blocks = image, 0, 0
    for s in range(net.stages):
        stage = stages[s]
        stride = 4 if s == 0 else 2
        h, w = (height - 1) // stride + 1, (width - 1) // stride + 1
        step = images * h * w * v
        embed(lanes, v, rows, me, stage, s == 0, source, source_step, blocks, images, height, width, h, w, x)
        meet(me)
        blocks = 2 * stage.pairs
        for j in range(stage.first_block, stage.first_block + stage.depth):
            for first in range(0, images, stage.chunk):
                count = min(stage.chunk, images - first)
                at = first * h * w * v
                attention(lanes, v, rows, me, stage, all_blocks[j], x + at, step, count, h, w)
                if stage.band > 0:
                    for i in range(count):
                        here = at + i * h * w * v
                        mlp_by_rows(lanes, v, rows, me, stage, all_blocks[j], x + here, step, y + here, step, h, w)
                else:
                    mlp_by_channels(lanes, v, rows, me, stage, all_blocks[j], x + at, step, y + at, step, count, h, w)
            x, y = y, x
        start, stop = share(images * h * w, me)
        layer_norm(lanes, x, step, blocks, stage.channels, net.eps, stage.norm_w, stage.norm_b, features, step, start, stop)
        meet(me)
        source, source_step = features, step
        features += blocks * step
        height, width = h, w
    last = stages[net.stages - 1]
    start, stop = share(net.classes, me)
    for i in range(images):
        pool(v, source + i * height * width * v, source_step, last.channels, height * width, me.pooled)
        head(me.pooled, last.channels, net.head_w, net.classes, net.head_b, me.sums, logits + i * net.classes, start, stop)
