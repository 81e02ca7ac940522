"""A network ready to run: its packed weights, a workspace and a team of threads."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..compiler import compiles, thread_count
from ..errors import CannotCompute
from ..geometry import stage_sizes
from ..native import Kernel
from ..variants import Config
from .lanes import SHAPES, Lanes, host_lanes
from .pack import pack
from .rounds import Portion, rounds
from .team import Team
from .workspace import Workspace, release

Floats = NDArray[np.float32]


def _source() -> Any:
    from .network import run

    return run


run = Kernel("fast.network.run", _source)


def loaded() -> bool:
    """Tell whether this process has compiled or loaded the network's kernel in float32."""
    return run.loaded(type(host_lanes()))


class Plan:
    """`plan(x)` is VAN's forward pass for one set of weights; see VAN for what x may be.

    The bits of an image's logits depend on the weights, the image and the vector width, not on the number of threads nor on
    the batch that the image is in. Calls from several Python threads take turns. `lanes` is a vector width of lanes.py;
    without it, this machine's. CannotCompute where Numba is told not to compile.
    """

    def __init__(self, config: Config, tensors: Mapping[str, ArrayLike], lanes: Lanes | None = None) -> None:
        if not compiles():
            raise CannotCompute(
                "NUMBA_DISABLE_JIT is set, and nothing of the engine fast can run uncompiled: exact and numpy can"
            )
        self.config, self.lanes = config, host_lanes() if lanes is None else lanes
        self.shape = SHAPES[type(self.lanes)]
        self._workspace = Workspace(config, pack(config, tensors, self.shape), self.shape)
        self._team = Team()

    def __call__(self, x: NDArray[np.floating]) -> Floats:
        """Images (N, colours, H, W), any layout in memory -> float32 logits (N, classes)."""
        return self._run(x, None)

    def features(self, x: NDArray[np.floating]) -> list[Floats]:
        """Each stage's output after its LayerNorm, float32 (N, C, H / 4, W / 4) first."""
        n, _, h, w = x.shape
        shapes = zip(self.config.dims, stage_sizes(self.config.stages, h, w), strict=True)
        maps = [np.empty((n, c, *size), np.float32) for c, size in shapes]
        self._run(x, maps)
        return maps

    def _run(self, x: NDArray[np.floating], maps: list[Floats] | None) -> Floats:
        """Return the logits; fill in `maps`, each stage's, where they are wanted."""
        x = np.require(x, np.float32, ["C_CONTIGUOUS", "ALIGNED"])  # an address counts floats: it cannot point between them
        logits = np.empty((len(x), self.config.classes), np.float32)
        with self._team.turn:
            self._load(x, logits)
            for portions in rounds(len(x), x.shape[2], x.shape[3], self._team.gather(thread_count())):
                places = self._workspace.places(portions, x, logits)
                jobs = [job for place in places for job in place.jobs(self.lanes)]
                self._team.run(run, jobs, partial(release, places))
                for portion, place in zip(portions, places, strict=True):
                    for whole, part in zip(maps or (), place.features(self.shape.lanes), strict=False):
                        whole[portion.first : portion.first + portion.images] = part[:, : whole.shape[1]]
        return logits

    def _load(self, x: Floats, logits: Floats) -> None:
        """Load `run`, or compile it, once per process and vector width, in this thread alone.

        So that no helper waits at a barrier while another thread compiles, and whatever ends the compiling is raised here.
        """
        if run.lacks(type(self.lanes)):  # asked before tables are made: at Python's end they cannot be
            (place,) = self._workspace.places([Portion(0, 0, 1)], x, logits)
            run.load(*place.jobs(self.lanes)[0])
