"""The engine `auto`: whichever of `numpy` and `fast` answers first, decided at each call by what both are expected to cost.

`numpy` begins at once and is slow. `fast` is some forty times as quick once it runs, and has to be loaded first, or compiled,
once in a process. It is taken as soon as the seconds of `numpy`, those that this call needs and those that it has cost this
process before, are more than those until `fast` would be done. So a program that asks for one image after another waits at most
about twice as long in all as if it had known from the beginning how many would come: the ski rental problem (Karlin, Manasse,
Rudolph and Sleator 1988, "Competitive snoopy caching"). The costs are counted, not timed: the same calls get the same engines.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import sys
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from sys import is_finalizing
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .. import compiling, fpn, model, paths, space
from ..compiler import numba
from ..errors import CannotCompute, NoCompiler, sentence
from ..floating import standard
from ..geometry import stage_sizes
from ..hooks import Hook
from ..reference import operators
from ..summary import summarise, totals
from ..variants import Config

# Seconds, as `python benchmarks/auto.py` measures them. They need not be right to a third: where they are wrong by that, the
# choice is, and costs as much.
NUMPY = 0.85e-9  # for each multiply-add of the network
FAST = 0.02e-9  # likewise
LOAD = 0.07  # to load the compiled network, and fold and pack the weights
COMPILE = float(compiling.SECONDS["fast"])  # to compile it first
MANY = 10_000  # images, where nobody knows how many will come

TINY = Config((8,), (1,), (2,), classes=1)  # the compiled network is every network's
TINY_PYRAMID = Config((8,) * fpn.MAPS, (1,) * fpn.MAPS, (1,) * fpn.MAPS, classes=0)
TINY_FPN = fpn.FPNConfig(TINY_PYRAMID.dims, channels=8, head_channels=8, classes=1)


class Part(NamedTuple):
    """A part of `fast` that is loaded, or compiled, by itself."""

    name: str  # a key of compiling.SECONDS
    kernel: str
    load_seconds: float
    compile_seconds: float
    loaded: Callable[[], bool]
    load: Callable[[], None]


NETWORK = Part("fast", "fast.network.run", LOAD, COMPILE, lambda: _loaded(), lambda: _load())
SEGMENTATION = Part(
    "fast.fpn", "fast.fpn.run_fpn", LOAD / 5, float(compiling.SECONDS["fast.fpn"]), lambda: _fpn_loaded(), lambda: _load_fpn()
)


class EngineWarning(UserWarning):
    """`numpy` computes although `fast` would be worth it, and cannot be had."""


class Choice:
    """Decides for one process, and remembers what `numpy` has cost it."""

    def __init__(self) -> None:
        self.spent = 0.0  # seconds of `numpy` so far, as they are counted
        self.usable = True  # whether `fast` can be had, as far as it has been tried
        self.lacking: set[str] = set()  # the parts of which it is known, from Numba, that nothing is kept that could be loaded
        self._renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self._lock = threading.RLock()  # another thread of the parent may have held it

    def of(self, config: Config, images: int | None, height: int, width: int, fpn_config: fpn.FPNConfig | None = None) -> str:
        """Return 'numpy' or 'fast', for as many images of a size; None stands for a number that is not known.

        With `fpn_config`, of a network with that neck and head on it. Where it is 'fast', that is loaded or compiled by then.
        """
        parts = [NETWORK] if fpn_config is None else [NETWORK, SEGMENTATION]
        if is_finalizing():  # nothing can be loaded any more, and `numpy` is there
            return "numpy"
        if not _lacking(parts):
            return "fast"
        each = multiply_adds(config, height, width)
        if fpn_config is not None:
            each += fpn.multiply_adds(fpn_config, height, width)
        work = (MANY if images is None else images) * each
        with self._lock:
            worth = self._worth(work, self.least(parts)) and self._worth(work, self.start(parts))
            if worth and self._ready(work, parts):
                return "fast"
            self.spent += NUMPY * work
        return "numpy"

    def least(self, parts: Sequence[Part]) -> float:
        """Return the seconds that `start` gives at best: for one photo nobody has to look whether anything is kept."""
        return sum((min(part.load_seconds, part.compile_seconds) for part in _lacking(parts)), 0.0)

    def start(self, parts: Sequence[Part] = (NETWORK,)) -> float:
        """Return the seconds until `fast` can begin: 0 where it has already, infinity where it never can."""
        lacking = _lacking(parts)
        if lacking and not self.usable:
            return math.inf
        return sum((part.load_seconds if self._kept(part) else part.compile_seconds for part in lacking), 0.0)

    def _kept(self, part: Part) -> bool:
        from .. import kernel_survey

        return part.name not in self.lacking and kernel_survey.kept(part.kernel)

    def _worth(self, work: float, start: float) -> bool:
        return self.spent + NUMPY * work > start + FAST * work

    def _ready(self, work: float, parts: Sequence[Part]) -> bool:
        """Load `fast`, or compile it where that is worth it too; whether it can begin now."""
        wanted = _lacking(parts)
        if not wanted:  # another thread has, meanwhile
            return True
        try:
            if not space.compiles():
                raise CannotCompute("this process's address space is too small to compile in (ulimit -v)")
            from .. import kernel_cache, kernel_survey
            from ..fast.lanes import host_lanes

            for part in wanted:
                kept = kernel_survey.kept(part.kernel, type(host_lanes()).__name__)
                (self.lacking.discard if kept else self.lacking.add)(part.name)
            if not self._worth(work, self.start(parts)):
                return False
            for part in wanted:
                if part.name in self.lacking:
                    numba()  # nobody is told of what cannot be
                    compiling.announce(part.name, kernel_cache.state().problem)
                part.load()
        except (NoCompiler, CannotCompute) as error:
            self.usable = False
            with contextlib.suppress(EngineWarning):  # where warnings are errors, the answer comes all the same
                warnings.warn(EngineWarning(f"numpy answers, the slowest engine for so much: {sentence(error)}"), stacklevel=2)
            return False
        return True


choice = Choice()


def _lacking(parts: Sequence[Part]) -> list[Part]:
    """Return the parts that this process has neither compiled nor loaded."""
    return [part for part in parts if not part.loaded()]


def _loaded(module: str = "plan") -> bool:
    """Tell whether this process has compiled or loaded `fast`, without importing it."""
    plan = sys.modules.get(f"{__package__.rpartition('.')[0]}.fast.{module}")
    try:
        return bool(getattr(plan, "loaded", bool)())  # it may be half imported
    except (NoCompiler, CannotCompute):  # so that it cannot even be told which vectors it would have
        return False


def _fpn_loaded() -> bool:
    """The same of neck and head."""
    return _loaded("fpn_plan")


def _load() -> None:
    """Have `fast` loaded, or compiled, by a pass over one small image."""
    from .. import fast, seeded

    fast.Plan(TINY, seeded.tensors(TINY))(np.zeros((1, TINY.channels, 32, 32), np.float32))


def _load_fpn() -> None:
    """The same with neck and head."""
    from .. import seeded
    from ..fast.fpn_plan import FPNPlan

    tensors, fpn_tensors = seeded.tensors(TINY_PYRAMID), seeded.filled(fpn.parameter_shapes(TINY_FPN))
    FPNPlan(TINY_PYRAMID, tensors, TINY_FPN, fpn_tensors)(np.zeros((1, TINY_PYRAMID.channels, 32, 32), np.float32))


@functools.lru_cache(maxsize=64)
def multiply_adds(config: Config, height: int, width: int) -> int:
    """Return those of one image."""
    return totals(summarise(config, height, width))[1]


class NumpyPlan:
    """The network on `numpy`, an image at a time, as one call."""

    def __init__(self, config: Config, tensors: Mapping[str, npt.NDArray[np.float32]]) -> None:
        self.config, self.parameters = config, paths.nested(tensors)

    def __call__(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return logits (N, classes) for images (N, C, H, W)."""
        logits = np.empty((len(x), self.config.classes), np.float32)
        for image, row in zip(x, logits, strict=True):
            with np.errstate(all="ignore"), standard():
                maps = model.features(operators, Hook(), image[None], self.parameters, self.config)
                row[:] = model.classifier(operators, Hook(), maps[-1], head=self.parameters["head"])[0]
        return logits

    def features(self, x: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
        """Return each stage's output, (N, C, H / 4, W / 4) first."""
        with np.errstate(all="ignore"), standard():
            maps = model.features(operators, Hook(), x, self.parameters, self.config)
            return [np.asarray(each, np.float32) for each in maps]


class NumpyFPNPlan:
    """The same with the neck and head of a Semantic FPN."""

    def __init__(
        self,
        config: Config,
        tensors: Mapping[str, npt.NDArray[np.float32]],
        fpn_config: fpn.FPNConfig,
        fpn_tensors: Mapping[str, npt.NDArray[np.float32]],
    ) -> None:
        self.config, self.parameters = config, paths.nested(tensors)
        self.fpn_config, self.fpn_parameters = fpn_config, paths.nested(fpn_tensors)

    def __call__(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return logits (N, classes, H / 4, W / 4), rounded up, for images (N, C, H, W)."""
        size = stage_sizes(1, *x.shape[2:])[0]
        logits = np.empty((len(x), self.fpn_config.classes, *size), np.float32)
        for image, places in zip(x, logits, strict=True):
            with np.errstate(all="ignore"), standard():
                maps = model.features(operators, Hook(), image[None], self.parameters, self.config)
                places[:] = fpn.segment(operators, Hook(), maps, self.fpn_parameters, self.fpn_config)[0]
        return logits
