"""The forward pass as every thread of a team runs it: the paper's figure, operator by operator, with its barriers.

Compare model.py: patch embedding, blocks of attention and MLP, LayerNorm, four times; mean and head. What differs is
folded into the weights beforehand (pack.py) or happens on the way out of a matrix product (matmul.py):

    attention:  u = gelu(proj_1 x);  far = conv_spatial(conv0 u);  x = x * scale + proj_2(u * conv1 far)
    mlp:        y = x + fc2(gelu(dwconv(fc1 x)))

BatchNorm is inside proj_1 and fc1, the layer scales inside proj_2 and fc2; `scale` holds the block's residual and the one
inside attention.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..geometry import DWCONV
from ..jit import inline, njit
from ..registers import flushing, put_back, restore, standard
from .addresses import Address
from .amx import begin_tiles, end_tiles
from .barrier import meet, share
from .bfloat16 import operand_block, operands_at, operands_from, operands_in, operands_of, round_map
from .depthwise import Band, Conv0, Convolution, ConvSpatial, Dwconv, depthwise, multiplied, of_block, out_width
from .gather import gather_image, gather_row
from .head import head, pool
from .lanes import PAIR, Lanes
from .maps import Grid, Map, Parameters, Part
from .matmul import ACTIVATED, NO_MAP, STORED, added_to, gated, matmul
from .norm import layer_norm
from .simd import halved, operand_steps, operand_width, tile_rows, vector_width
from .tables import Block, Member, Network, Packed, Stage, Tiling
from .views import map_at, moved, pair_of, plane
from .windows import EMBED, EMBED_TILES, STEM_ROW, STEM_TILES

REACH = DWCONV.reach  # rows of the MLP's wide map that its depthwise convolution sees above and below
BALANCED = 1.05  # a product is divided by channels where the thread with most then has so many times less to do
PROJECTION_TILES = 16  # matrix tiles of positions: few enough for the gated map to stay in the second-level cache


class Both(NamedTuple):
    """A map, and the same as matrix products read it: in float32 that is the map itself."""

    map: Map
    operands: Map


@inline
def both_at(lanes: Lanes, address: Address, operands: Address, blocks: int, grid: Grid) -> Both:
    """The map of a grid's positions at one address and its operands at another."""
    x = map_at(lanes, address, blocks, grid)
    return Both(x, operands_at(lanes, operands if halved(lanes) else address, blocks, grid))


@inline
def both_from(lanes: Lanes, x: Both, position: int) -> Both:
    """The same from a later position on."""
    return Both(moved(x.map, position * vector_width(lanes)), operands_from(lanes, x.operands, position))


@inline
def share_of_product(lanes: Lanes, positions: int, pairs: int, me: Member) -> Part:
    """This thread's part of a matrix product: some positions of all pairs or, where that balances better, the reverse.

    By channels each thread reads what the others wrote. Two threads that did so for a gain of a 660th, in VAN-B1's first stage
    at 384 x 384, took 54.8 milliseconds for the network, and take 53.3.
    """
    rows = tile_rows(lanes)
    tiles = (positions + rows - 1) // rows
    if BALANCED * -(-pairs // me.size) * tiles < -(-tiles // me.size) * pairs:
        first, last = share(pairs, me)
        return Part(0, positions, first, last)
    first, last = share(tiles, me)
    return Part(first * rows, min(last * rows, positions), 0, pairs)


@inline
def share_of_positions(lanes: Lanes, positions: int, me: Member) -> tuple[int, int]:
    """This thread's part of some positions, in whole matrix tiles."""
    rows = tile_rows(lanes)
    first, last = share((positions + rows - 1) // rows, me)
    return first * rows, min(last * rows, positions)


@inline
def embed_images(
    lanes: Lanes, me: Member, net: Network, stage: Stage, images: Address, pixels: Grid, out: Both, grid: Grid
) -> None:
    """The first patch embedding: windows laid out as rows, a few hundred positions at a time, times the kernel."""
    v, rows = vector_width(lanes), STEM_TILES * tile_rows(lanes)
    each = grid.height * grid.width
    start, stop = share_of_positions(lanes, grid.images * each, me)
    for first in range(start, stop, rows):
        last = min(first + rows, stop)
        image = first // each
        while first < last:
            end = min(last, (image + 1) * each)
            source = images + image * net.colours * pixels.height * pixels.width
            columns = Map(me.scratch.columns, (end - first) * v, net.stem_rows * STEM_ROW // v)
            gather_image(lanes, source, pixels, net.colours, columns, grid, first - image * each, end - image * each)
            operands = operands_in(lanes, columns)
            round_map(lanes, columns, operands, 0, end - first)
            part = Part(0, end - first, 0, stage.pairs)
            matmul(lanes, operands, stage.embed, moved(out.map, first * v), STORED, part, me.scratch.spare)
            round_map(lanes, out.map, out.operands, first, end)
            first = end
            image += 1


@inline
def embed_maps(lanes: Lanes, me: Member, stage: Stage, x: Map, pixels: Grid, out: Both, grid: Grid) -> None:
    """The other patch embeddings, on operands of `pixels`: one row of the kernel after the other, added up in `out`."""
    v, width, rows = vector_width(lanes), operand_width(lanes), EMBED_TILES * tile_rows(lanes)
    matrix = stage.pairs * EMBED.side * x.blocks * operand_steps(lanes) * PAIR * v  # the kernel's rows lie one behind the other
    start, stop = share_of_positions(lanes, grid.images * grid.height * grid.width, me)
    for first in range(start, stop, rows):
        last = min(first + rows, stop)
        columns = Map(me.scratch.columns, (last - first) * width, EMBED.side * x.blocks)
        to, part = moved(out.map, first * v), Part(0, last - first, 0, stage.pairs)
        operands = operands_from(lanes, out.operands, first)
        for row in range(EMBED.side):
            gather_row(lanes, x, pixels, row, columns.address, grid, first, last)
            parameters = Parameters(stage.embed.weight + row * matrix, stage.embed.bias if row == 0 else stage.zeros)
            ending = STORED if row == 0 else added_to(to, stage.ones, operands)
            matmul(lanes, columns, parameters, to, ending, part, me.scratch.spare)


@inline
def depthwise_of(
    lanes: Lanes, convolution: Convolution, parameters: Parameters, x: Map, out: Map, grid: Grid, item: int, band: Band
) -> None:
    """A band of one block of one image, from x to its place in out; items count the blocks, image by image."""
    block, image = item % x.blocks, item // x.blocks
    position = (image * grid.height + band.first) * grid.width
    begin = operand_block(lanes, out, block) if multiplied(convolution) else out.address + block * out.step
    to = begin + position * out_width(lanes, convolution)
    weights = of_block(lanes, convolution, parameters, block)
    depthwise(lanes, convolution, plane(lanes, x, block, image, grid), grid, weights, to, band)


@inline
def attention(lanes: Lanes, me: Member, stage: Stage, block: Block, x: Both, grid: Grid) -> None:
    """x = x * scale + proj_2(u * conv1(conv_spatial(conv0 u))), u = gelu(proj_1 x), on the maps of some images."""
    positions, spare = grid.images * grid.height * grid.width, me.scratch.spare
    blocks = x.map.blocks
    u, near = map_at(lanes, me.maps.u, blocks, grid), map_at(lanes, me.maps.near, blocks, grid)
    far, gate = operands_at(lanes, me.maps.far, blocks, grid), operands_at(lanes, me.maps.near, blocks, grid)
    part = share_of_product(lanes, positions, stage.pairs, me)
    matmul(lanes, x.operands, block.proj_1, u, ACTIVATED, part, spare)
    meet(me)
    # Each thread's rows of every map, so that what one operator wrote is in the cache of the core that reads it next; or,
    # where that balances better, all rows of its maps: then conv_spatial reads what the same thread wrote.
    items = grid.images * blocks
    by_maps = me.size == 1 or -(-items // me.size) * grid.height < -(-grid.height // me.size) * items
    start, stop = share(items, me) if by_maps else (0, items)
    top, bottom = (0, grid.height) if by_maps else share(grid.height, me)
    band = Band(top, bottom, 0, grid.height)
    for item in range(start, stop):
        depthwise_of(lanes, Conv0(), block.conv0, u, near, grid, item, band)
        if by_maps:
            depthwise_of(lanes, ConvSpatial(), block.conv_spatial, near, far, grid, item, band)
    meet(me)
    if not by_maps:
        for item in range(start, stop):
            depthwise_of(lanes, ConvSpatial(), block.conv_spatial, near, far, grid, item, band)
        meet(me)
    length = PROJECTION_TILES * tile_rows(lanes)
    alone = part.pair == 0 and part.end == stage.pairs
    if not alone:  # split by channels: proj_2 needs those of the others
        length = positions
    for first in range(part.first, part.last, length):
        some = Part(first, min(first + length, part.last), part.pair, part.end)
        matmul(lanes, far, block.conv1, gate, gated(u), some, spare)
        if not alone:
            meet(me)
        matmul(lanes, gate, block.proj_2, x.map, added_to(x.map, block.scale, x.operands), some, spare)
    meet(me)


class Ring(NamedTuple):
    """Rows of the MLP's wide map, `top` and those below it; where the ring ends, the next ones from its beginning on."""

    map: Map
    rows: int  # that there is room for
    top: int


@inline
def widen(lanes: Lanes, me: Member, stage: Stage, block: Block, x: Both, grid: Grid, ring: Ring, first: int, last: int) -> None:
    """Rows first..last of the wide map, fc1 x, into the ring. A pair's weights stay in the cache for both of its parts."""
    at = first - ring.top if first < ring.top + ring.rows else first - ring.top - ring.rows
    turn = min(last, first + ring.rows - at)  # rows from here on go to the beginning of the ring
    to = moved(ring.map, at * grid.width * vector_width(lanes))
    above, below = operands_from(lanes, x.operands, first * grid.width), operands_from(lanes, x.operands, turn * grid.width)
    for pair in range(stage.hidden_pairs):
        part = Part(0, (turn - first) * grid.width, pair, pair + 1)
        matmul(lanes, above, block.fc1, to, STORED, part, me.scratch.spare)
        if turn < last:
            part = Part(0, (last - turn) * grid.width, pair, pair + 1)
            matmul(lanes, below, block.fc1, ring.map, STORED, part, me.scratch.spare)


@inline
def mlp_by_rows(lanes: Lanes, me: Member, stage: Stage, block: Block, x: Both, y: Both, grid: Grid, most: int) -> None:
    """y = x + fc2(gelu(dwconv(fc1 x))) for one image, bands of at most so many rows at a time: the wide map stays in the cache.

    A band's 3x3 taps need one row of the wide map above and one below; the last two rows of a band stay for the next, in a ring
    of rows, so only the rows where two threads meet are computed twice.
    """
    line, hidden = grid.width * vector_width(lanes), PAIR * stage.hidden_pairs
    start, stop = share(grid.height, me)
    bands = -(-(stop - start) // most)  # as high as one another, to a row: a low one would wait for its weights
    height = -(-(stop - start) // max(bands, 1))
    rows = height + 2 * REACH  # of the ring
    wide = Map(me.scratch.wide, rows * line, hidden)
    active = operands_of(lanes, Map(me.scratch.active, height * grid.width * operand_width(lanes), hidden))
    done = top = max(start - REACH, 0)  # rows of the wide map up to `done` are computed
    for i in range(bands):
        first, last = start + (stop - start) * i // bands, start + (stop - start) * (i + 1) // bands
        if first - REACH >= top + rows:
            top += rows
        need = min(last + REACH, grid.height)
        widen(lanes, me, stage, block, x, grid, Ring(wide, rows, top), done, need)
        done = need
        for c in range(hidden):
            depthwise(
                lanes, Dwconv(), wide.address + c * wide.step, grid, of_block(lanes, Dwconv(), block.dwconv, c),
                operand_block(lanes, active, c), Band(first, last, top, rows),
            )  # fmt: skip
        part = Part(0, (last - first) * grid.width, 0, stage.pairs)
        operands = operands_from(lanes, y.operands, first * grid.width)
        residual = added_to(moved(x.map, first * line), stage.ones, operands)
        matmul(lanes, active, block.fc2, moved(y.map, first * line), residual, part, me.scratch.spare)
    meet(me)


@inline
def mlp_by_channels(lanes: Lanes, me: Member, stage: Stage, block: Block, x: Both, y: Both, grid: Grid) -> None:
    """y = x + fc2(gelu(dwconv(fc1 x))) on the maps of some images, a pair of blocks of the wide map at a time.

    For the small maps of the last stages: the weights are large there, and each is read once.
    """
    positions, spare = grid.images * grid.height * grid.width, me.scratch.spare
    wide = map_at(lanes, me.scratch.wide, PAIR, grid)
    hidden = operands_at(lanes, me.maps.hidden, PAIR * stage.hidden_pairs, grid)
    first, last = share(stage.hidden_pairs, me)
    for pair in range(first, last):
        out = pair_of(wide, -pair)  # so that this pair of fc1's outputs comes to lie where `wide` begins
        matmul(lanes, x.operands, block.fc1, out, STORED, Part(0, positions, pair, pair + 1), spare)
        for c in range(PAIR):
            weights = of_block(lanes, Dwconv(), block.dwconv, PAIR * pair + c)
            for image in range(grid.images):
                to = operands_from(lanes, hidden, image * grid.height * grid.width)
                depthwise(
                    lanes, Dwconv(), plane(lanes, wide, c, image, grid), grid, weights,
                    operand_block(lanes, to, PAIR * pair + c), Band(0, grid.height, 0, grid.height),
                )  # fmt: skip
    meet(me)
    part = share_of_product(lanes, positions, stage.pairs, me)
    matmul(lanes, hidden, block.fc2, y.map, added_to(x.map, stage.ones, y.operands), part, spare)
    meet(me)


@njit(nogil=True, cache=False)  # the only one that is called from outside, and kept: by plan.py, as object code
def run(
    lanes: Lanes, packed: Packed, tilings: NDArray[np.void], member: NDArray[np.void], images: Address, pixels: Grid,
    logits: Address,
) -> None:  # fmt: skip
    """One thread's part of a forward pass: images (colours, height, width) at `images`, as many as `pixels` says, to logits.

    tilings: Tiling per stage; member: one Member. The stages' outputs stay at `features`, one behind the other.
    """
    was = flushing() if halved(lanes) else standard()
    v = vector_width(lanes)
    stages, blocks = packed.stages, packed.blocks
    me: Member = member[0]
    begin_tiles(lanes, me.scratch.spare)
    net: Network = packed.network[0]
    x_address, y_address, features = me.maps.x, me.maps.y, me.maps.features
    x_operands, y_operands = me.maps.x_operands, me.maps.y_operands
    output, source, before = NO_MAP, NO_MAP, pixels
    for s in range(net.stages):
        stage: Stage = stages[s]
        tiling: Tiling = tilings[s]
        grid = Grid(pixels.images, tiling.height, tiling.width)
        each = grid.height * grid.width
        width = PAIR * stage.pairs
        x, y = both_at(lanes, x_address, x_operands, width, grid), both_at(lanes, y_address, y_operands, width, grid)
        if s == 0:
            embed_images(lanes, me, net, stage, images, pixels, x, grid)
        else:
            embed_maps(lanes, me, stage, source, before, x, grid)
        meet(me)
        for j in range(stage.first_block, stage.first_block + stage.depth):
            block: Block = blocks[j]
            for first in range(0, grid.images, tiling.chunk):
                some = Grid(min(tiling.chunk, grid.images - first), grid.height, grid.width)
                x_some, y_some = both_from(lanes, x, first * each), both_from(lanes, y, first * each)
                attention(lanes, me, stage, block, x_some, some)
                if tiling.band > 0:
                    one = Grid(1, grid.height, grid.width)
                    for i in range(some.images):
                        x_one, y_one = both_from(lanes, x_some, i * each), both_from(lanes, y_some, i * each)
                        mlp_by_rows(lanes, me, stage, block, x_one, y_one, one, tiling.band)
                else:
                    mlp_by_channels(lanes, me, stage, block, x_some, y_some, some)
            x, y = y, x
        output, before = map_at(lanes, features, width, grid), grid
        first, last = share(grid.images * grid.height * grid.width, me)
        layer_norm(lanes, x.map, stage.channels, net.eps, stage.norm, output, first, last)
        source = output
        if halved(lanes):
            source = y.operands  # read by no block any more
            round_map(lanes, output, source, first, last)
        meet(me)
        x_address, y_address = x.map.address, y.map.address
        x_operands, y_operands = x.operands.address, y.operands.address
        features += width * output.step
    first, last = share(net.classes, me)
    positions, channels = before.height * before.width, stages[net.stages - 1].channels
    for i in range(pixels.images):
        pool(lanes, moved(output, i * positions * v), channels, positions, me.scratch.pooled)
        to = logits + i * net.classes
        head(me.scratch.pooled, channels, net.head, net.classes, me.scratch.sums, to, first, last)
    end_tiles(lanes, me.scratch.spare)
    if halved(lanes):
        put_back(was)
    else:
        restore(was)
