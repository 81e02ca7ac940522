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
from collections.abc import Mapping
from sys import is_finalizing

import numpy as np
import numpy.typing as npt

from .. import compiling, kernel_cache, kernel_survey, model, paths, space
from ..errors import CannotCompute, NoCompiler, sentence
from ..floating import standard
from ..hooks import Hook
from ..reference import operators
from ..summary import summarise, totals
from ..variants import Config

# Seconds, as `python benchmarks/auto.py` measures them. They need not be right to a third: where they are wrong by that, the
# choice is, and costs as much.
NUMPY = 0.85e-9  # for each multiply-add of the network
FAST = 0.02e-9  # likewise
LOAD = 0.5  # to import Numba, load the compiled network, and fold and pack the weights
COMPILE = float(compiling.SECONDS["fast"])  # to compile it first
MANY = 10_000  # images, where nobody knows how many will come

KERNEL = "fast.network.run"
TINY = Config((8,), (1,), (2,), classes=1)  # the compiled network is every network's


class EngineWarning(UserWarning):
    """`numpy` computes although `fast` would be worth it, and cannot be had."""


class Choice:
    """Decides for one process, and remembers what `numpy` has cost it."""

    def __init__(self) -> None:
        self.spent = 0.0  # seconds of `numpy` so far, as they are counted
        self.usable = True  # whether `fast` can be had, as far as it has been tried
        self.lacking = False  # whether it is known, from Numba, that nothing is kept that could be loaded
        self._renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self._lock = threading.RLock()  # another thread of the parent may have held it

    def of(self, config: Config, images: int | None, height: int, width: int) -> str:
        """Return 'numpy' or 'fast', for as many images of a size; None stands for a number that is not known.

        Where it is 'fast', that is loaded, or compiled, by then.
        """
        if is_finalizing():  # nothing can be loaded any more, and `numpy` is there
            return "numpy"
        if _loaded():
            return "fast"
        work = (MANY if images is None else images) * multiply_adds(config, height, width)
        with self._lock:
            if self._worth(work, self.start()) and self._ready(work):
                return "fast"
            self.spent += NUMPY * work
        return "numpy"

    def start(self) -> float:
        """Return the seconds until `fast` can begin: 0 where it has already, infinity where it never can."""
        if _loaded():
            return 0.0
        if not self.usable:
            return math.inf
        return LOAD if not self.lacking and kernel_survey.kept(KERNEL) else COMPILE

    def _worth(self, work: float, start: float) -> bool:
        return self.spent + NUMPY * work > start + FAST * work

    def _ready(self, work: float) -> bool:
        """Load `fast`, or compile it where that is worth it too; whether it can begin now."""
        if _loaded():  # another thread has, meanwhile
            return True
        try:
            if not space.compiles():
                raise CannotCompute("this process's address space is too small to compile in (ulimit -v)")
            from ..fast.simd import host_lanes

            self.lacking = not kernel_survey.kept(KERNEL, f"({type(host_lanes()).__name__}(")
            if self.lacking:
                if not self._worth(work, COMPILE):
                    return False
                compiling.announce("fast", kernel_cache.state().problem)
            _load()
        except (NoCompiler, CannotCompute) as error:
            self.usable = False
            with contextlib.suppress(EngineWarning):  # where warnings are errors, the answer comes all the same
                warnings.warn(EngineWarning(f"numpy answers, the slowest engine for so much: {sentence(error)}"), stacklevel=2)
            return False
        return True


choice = Choice()


def _loaded() -> bool:
    """Tell whether this process has compiled or loaded `fast`, without importing it."""
    plan = sys.modules.get(f"{__package__.rpartition('.')[0]}.fast.plan")
    return bool(getattr(plan, "loaded", bool)())  # it may be half imported


def _load() -> None:
    """Have `fast` loaded, or compiled, by a pass over one small image."""
    from .. import fast, seeded

    fast.Plan(TINY, seeded.tensors(TINY))(np.zeros((1, TINY.channels, 32, 32), np.float32))


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
