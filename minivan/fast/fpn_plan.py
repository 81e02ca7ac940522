"""A backbone with neck and head ready to run: a plan whose answer is a map of logits, and the memory for that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import paths
from ..compiler import thread_count
from ..fpn import FPNConfig, step_count
from ..geometry import stage_sizes
from ..native import Kernel
from ..variants import Config
from .addresses import ALIGNMENT, address_of, aligned, records
from .fpn_pack import pack_fpn
from .fpn_tables import LevelMaps, PackedPyramid, SharedMaps, Worker, Workplace, band_positions
from .lanes import PAIR, SHAPES, Lanes, Shape, host_lanes, in_float32, pairs_for
from .plan import Floats, Plan, run
from .rounds import Portion
from .winograd import PRODUCTS, SEEN, tiles_at_once
from .workspace import Place, addresses, release


def _source() -> Any:
    from .fpn import run_fpn

    return run_fpn


run_fpn = Kernel("fast.fpn.run_fpn", _source)


def loaded() -> bool:
    """Tell whether this process has compiled or loaded the kernel of neck and head."""
    return run_fpn.loaded(type(host_lanes()))


class Sizes(NamedTuple):
    """How many floats each buffer has, in the tables that will hold their addresses; the backbone's maps are not among them."""

    levels: tuple[LevelMaps, ...]
    shared: SharedMaps
    own: Workplace

    def total(self, threads: int) -> int:
        """Floats that a team of so many threads needs."""
        levels = sum(level.lateral + level.last + level.doubled for level in self.levels)
        return levels + sum(self.shared) + threads * sum(self.own)


@lru_cache(maxsize=64)
def sizes_of(config: FPNConfig, shape: Shape, grids: tuple[tuple[int, int], ...]) -> Sizes:
    """The buffers for maps of these (H, W), the finest first."""
    v, rows = shape.lanes, shape.rows
    neck, head, classes = (pairs_for(c, v) * PAIR * v for c in (config.channels, config.head_channels, config.classes))

    def filled(floats: int) -> int:
        """As many as keep the next buffer aligned; a matrix tile may read that far beyond the last position."""
        return -(-(floats + rows * v) // ALIGNMENT) * ALIGNMENT

    levels, step, twice = [], 0, 0
    for i, (height, width) in enumerate(grids):
        places, doublings = height * width, step_count(i) - 1  # before the head's last convolution of this map
        apart = i > 0 and (height << i, width << i) != grids[0]
        levels.append(
            LevelMaps(
                height,
                width,
                features=0,
                lateral=filled(neck * places),
                last=filled(head * places << 2 * doublings),
                doubled=filled(head * places << 2 * i) if apart else 0,
                apart=apart,
            )
        )
        if doublings:
            step, twice = max(step, places << 2 * (doublings - 1)), max(twice, places << 2 * doublings)
    tiles = {c: tiles_at_once(c, shape) for c in (neck, head)}
    own = Workplace(
        inputs=max(PRODUCTS * c * count for c, count in tiles.items()),
        products=max(PRODUCTS * PAIR * v * count for count in tiles.values()),
        patch=SEEN * SEEN * v,
        spare=rows * PAIR * v,
        logits=classes * max(band_positions(shape, width) for _, width in grids),
    )
    shared = SharedMaps(filled(neck * grids[0][0] * grids[0][1]), filled(head * step), filled(head * twice))
    return Sizes(tuple(levels), shared, Workplace(*map(filled, own)))


@dataclass(frozen=True)
class FPNPlace:
    """What neck and head compute on beside a team's place, and everything that addresses in it point to."""

    backbone: Place
    packed: PackedPyramid
    room: NDArray[np.float32]
    levels: NDArray[np.void]
    workers: list[NDArray[np.void]]
    logits: NDArray[np.float32]

    def jobs(self, lanes: Lanes) -> list[tuple[Any, ...]]:
        """Return the arguments of `fpn.run_fpn` for each thread."""
        where = len(self.logits), address_of(self.logits)
        members = zip(self.backbone.members, self.workers, strict=True)
        return [(lanes, self.packed, self.levels, member, worker, *where) for member, worker in members]


class FPNWorkspace:
    """A plan's memory for neck and head: one room, as large as the largest image so far needed, used again by every call."""

    def __init__(self, config: FPNConfig, packed: PackedPyramid, shape: Shape) -> None:
        self.config, self.packed, self.shape = config, packed, shape
        self._room = aligned(0)

    def place(self, backbone: Place, logits: NDArray[np.float32]) -> FPNPlace:
        """Lay out the room for a team; drop every place before. logits: (N, classes, H, W), C-contiguous, of its images."""
        grids = tuple((int(tiling["height"]), int(tiling["width"])) for tiling in backbone.tilings)
        sizes, threads = sizes_of(self.config, self.shape, grids), len(backbone.members)
        if self._room.size < sizes.total(threads):
            self._room = aligned(0)  # the old one goes before the new one comes
            self._room = aligned(sizes.total(threads))
        at, features = address_of(self._room), int(backbone.members[0]["maps"]["features"][0])
        levels, workers = [], []
        for level, pairs in zip(sizes.levels, self.packed.levels["pairs"].tolist(), strict=True):
            buffers = level.lateral, level.last, level.doubled
            lateral, last, doubled = addresses(buffers, at)
            levels.append(replace(level, features=features, lateral=lateral, last=last, doubled=doubled))
            at += sum(buffers)
            features += PAIR * self.shape.lanes * pairs * len(logits) * level.height * level.width
        shared, at = SharedMaps(*addresses(sizes.shared, at)), at + sum(sizes.shared)
        for _ in range(threads):
            own, at = Workplace(*addresses(sizes.own, at)), at + sum(sizes.own)
            workers.append(records([Worker(shared, own)], Worker))
        return FPNPlace(backbone, self.packed, self._room, records(levels, LevelMaps), workers, logits)


class FPNPlan(Plan):
    """`plan(x)` is the forward pass of VAN, neck and head for one set of weights; see Plan, and SegmentationVAN for x.

    Neck and head compute in float32, also where the backbone's products read bfloat16. Images are taken one after another, each
    by all threads together: it is the maps of one that memory has to hold.
    """

    def __init__(
        self,
        config: Config,
        tensors: Mapping[str, ArrayLike],
        fpn_config: FPNConfig,
        fpn_tensors: Mapping[str, ArrayLike],
        lanes: Lanes | None = None,
    ) -> None:
        bare = {name: tensor for name, tensor in tensors.items() if not name.startswith(f"{paths.HEAD}.")}
        super().__init__(replace(config, classes=0), bare, lanes)
        self.fpn_config = fpn_config
        self._fpn_lanes = in_float32(self.lanes)
        shape = SHAPES[type(self._fpn_lanes)]
        self._maps = FPNWorkspace(fpn_config, pack_fpn(fpn_config, fpn_tensors, shape), shape)

    def __call__(self, x: NDArray[np.floating]) -> Floats:
        """Images (N, colours, H, W), any layout in memory -> float32 logits (N, classes, H / 4, W / 4)."""
        x = np.require(x, np.float32, ["C_CONTIGUOUS", "ALIGNED"])  # an address counts floats: it cannot point between them
        size = stage_sizes(self.config.stages, *x.shape[2:])[0]
        none, logits = np.empty((len(x), 0), np.float32), np.empty((len(x), self.fpn_config.classes, *size), np.float32)
        with self._team.turn:
            self._load(x, none)
            self._load_fpn(x, none, logits)
            for i in range(len(x)):
                threads = self._team.gather(thread_count())
                (place,) = self._workspace.places([Portion(i, 1, threads)], x, none)
                maps = self._maps.place(place, logits[i : i + 1])
                self._team.run(run, place.jobs(self.lanes), partial(release, [place]))
                self._team.run(run_fpn, maps.jobs(self._fpn_lanes), partial(release, [place]))
        return logits

    def _load_fpn(self, x: Floats, none: Floats, logits: Floats) -> None:
        """Load `run_fpn`, or compile it, as `_load` does `run`."""
        if run_fpn.lacks(type(self._fpn_lanes)):
            (place,) = self._workspace.places([Portion(0, 0, 1)], x, none)
            run_fpn.load(*self._maps.place(place, logits[:0]).jobs(self._fpn_lanes)[0])
