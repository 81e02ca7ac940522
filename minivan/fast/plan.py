"""A network ready to run: packed weights, workspaces that are reused, and the division of a batch among threads."""

from __future__ import annotations

import threading

import numba
import numpy as np

from ..geometry import stage_sizes
from ..variants import Config
from .network import MEMBER, run
from .pack import PAIR, STEM_ROW, STEM_ROWS, aligned, pack
from .simd import SHAPES, host_lanes
from .team import YIELD, Team

# Bytes of the wide map that a band of rows may take, both before and after its 3x3 convolution. Bands of 1, 3, 4 and 6 rows
# of VAN-B2's first stage: 2333, 2227, 2151 and 2186 microseconds; no bands, by channels: 2190.
CACHE = 1200 << 10
# Bytes of a whole wide map that is computed at once, by channels. One thread: VAN-B0's first stage 633 against 653
# microseconds by rows. A team then passes half of the map from core to core: 6.8 against 6.0 milliseconds for the network.
SMALL_MAP, SMALL_SHARED_MAP = 4 << 20, 1 << 20
CHUNK = 784  # positions of a stage that are worked on at once: small maps of several images together
SOLO_IMAGES = 4  # images that a thread takes through the network at once
SOLO_POSITIONS = 4 * 56 * 56  # and positions of the first stage: larger images are shared by the team


class Plan:
    """`plan(x)` is VAN's forward pass for one set of weights; see VAN for what x may be.

    The bits of an image's logits depend on the weights, the image and the vector width, not on the number of threads nor on
    the batch that the image is in. Calls from several Python threads take turns. `lanes` is a vector width of simd.py;
    without it, this machine's.
    """

    def __init__(self, config: Config, tensors: dict, lanes=None):
        self.config, self.lanes = config, host_lanes() if lanes is None else lanes
        self.shape = SHAPES[type(self.lanes)]
        self.weights, self.network, self.stages, self.blocks = pack(config, tensors, self.shape.lanes)
        self._lock, self._team = threading.Lock(), Team()
        self._room = aligned(0)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Float32 images (N, 3, H, W) -> float32 logits (N, classes)."""
        logits = np.empty((len(x), self.config.classes), np.float32)
        self._run(x, logits)
        return logits

    def features(self, x: np.ndarray) -> list[np.ndarray]:
        """Each stage's output after its LayerNorm, float32 (N, C, H / 4, W / 4) first."""
        n, _, h, w = x.shape
        shapes = zip(self.config.dims, stage_sizes(self.config.stages, h, w), strict=True)
        maps = [np.empty((n, c, *size), np.float32) for c, size in shapes]
        self._run(x, np.empty((n, self.config.classes), np.float32), maps)
        return maps

    def _run(self, x, logits, maps=None):
        x = np.ascontiguousarray(x, np.float32)
        _, _, h, w = x.shape
        with self._lock:
            for teams in rounds(len(x), h, w, numba.get_num_threads()):
                jobs, members = self._jobs(teams, x, logits)
                self._team.run(run, jobs)
                if maps is not None:
                    for (first, images, _), team in zip(teams, members, strict=True):
                        self._unpack(team[0], first, images, h, w, maps)

    def _jobs(self, teams, x, logits):
        """Lay out a workspace for teams that run side by side; return their threads' arguments, and each team's members."""
        _, _, h, w = x.shape
        layouts = [self._layout(images, size, h, w) for _, images, size in teams]
        self.stages["chunk"], self.stages["band"] = layouts[0][2], layouts[0][3]
        needed = sum(
            sum(shared.values()) + size * sum(own.values())
            for (_, _, size), (shared, own, *_) in zip(teams, layouts, strict=True)
        )
        if self._room.size < needed:
            self._room = aligned(0)
            self._room = aligned(needed)
        at = self._room.ctypes.data // 4
        jobs, members = [], []
        for (first, images, size), (shared, own, *_) in zip(teams, layouts, strict=True):
            counter = np.zeros(16, np.int64)
            members.append([])
            places = {}
            for name, floats in shared.items():
                places[name], at = at, at + floats
            for rank in range(size):
                member = np.zeros(1, MEMBER)
                member["rank"], member["size"], member["give_way"] = rank, size, YIELD
                member["counter"] = counter.ctypes.data
                members[-1].append(member)
                for name, place in places.items():
                    member[name] = place
                for name, floats in own.items():
                    member[name], at = at, at + floats
                jobs.append((
                    self.lanes, *self.shape, self.network, self.stages, self.blocks, member, images, h, w,
                    x[first:].ctypes.data // 4, logits[first:].ctypes.data // 4,
                ))  # fmt: skip
            members[-1].append(counter)
        return jobs, members

    def _layout(self, images, size, h, w):
        """Floats of each buffer for `size` threads and some images: shared, then each thread's own; every stage's tiling."""
        v, rows = self.shape
        slack = rows * v  # a tile may read that far beyond the last position
        pair = PAIR * v
        largest = dict.fromkeys(("x", "y", "u", "near", "far", "hidden", "columns", "wide", "active"), 0)
        features, chunks, bands = 0, [], []
        before = 0
        for s, (height, width) in enumerate(stage_sizes(self.config.stages, h, w)):
            positions = height * width
            channels, hidden = int(self.stages[s]["pairs"]) * pair, int(self.stages[s]["hidden_pairs"]) * pair
            chunk = max(1, min(images, CHUNK // positions))
            band = 0
            if 4 * hidden * positions > (SMALL_MAP if size == 1 else SMALL_SHARED_MAP):
                chunk = 1
                band = min(height, max(1, (CACHE // (4 * hidden * width) - 2) // 2))
            chunks.append(chunk)
            bands.append(band)
            sized = {
                "x": channels * images * positions,
                "u": channels * chunk * positions,
                "hidden": 0 if band else hidden * chunk * positions,
                "columns": 8 * rows * STEM_ROWS * STEM_ROW if s == 0 else 16 * rows * 3 * before,
                "wide": hidden * (band + 2) * width if band else pair * chunk * positions,
                "active": hidden * band * width,
            }
            sized["y"] = sized["x"]
            sized["near"] = sized["far"] = sized["u"]
            for name, floats in sized.items():
                largest[name] = max(largest[name], floats)
            features += channels * images * positions
            before = channels
        floats = {**largest, "features": features, "spare": rows * pair, "pooled": max(self.config.dims)}
        floats["sums"] = 2 * self.config.classes
        floats = {name: -(-(size + slack) // 16) * 16 for name, size in floats.items()}
        own = {name: floats.pop(name) for name in ("columns", "wide", "active", "spare", "pooled", "sums")}
        return floats, own, chunks, bands

    def _unpack(self, member, first, images, h, w, maps):
        """Copy a team's stage outputs, [blocks][positions][V], into (N, C, H, W) arrays."""
        at = int(member["features"][0]) - self._room.ctypes.data // 4
        v = self.shape.lanes
        for s, (height, width) in enumerate(stage_sizes(self.config.stages, h, w)):
            blocks = PAIR * int(self.stages[s]["pairs"])
            size = blocks * images * height * width * v
            packed = self._room[at : at + size].reshape(blocks, images, height, width, v)
            whole = packed.transpose(1, 0, 4, 2, 3).reshape(images, blocks * v, height, width)
            maps[s][first : first + images] = whole[:, : self.config.dims[s]]
            at += size


def rounds(images: int, height: int, width: int, threads: int):
    """Yield what happens at once: a list of teams (first image, images, threads).

    While every thread can have images of its own, it does, and never waits for another; what is left over, and images too
    large to have several in memory at once, is computed by all threads together.
    """
    positions = (height // 4 + 1) * (width // 4 + 1)
    alone = max(1, min(SOLO_IMAGES, SOLO_POSITIONS // positions)) if positions <= SOLO_POSITIONS else 0
    first = 0
    while first < images:
        left = images - first
        each = min(alone, left // threads)
        if each and threads > 1:
            yield [(first + i * each, each, 1) for i in range(threads)]
            first += each * threads
        else:
            count = min(max(alone, 1), left)
            yield [(first, count, threads)]
            first += count
