"""The engine `auto`: whichever of `numpy` and `fast` answers first, decided at each call by what both are expected to cost.

`numpy` begins at once and is slow. `fast` is some forty times as quick once it runs, and has to be loaded first, or compiled,
once in a process. It is taken where the seconds that `numpy` would need, for this call and those before it in this process,
are more than those until `fast` is done: so a program that asks for one image after another never waits for more than about
twice what the better choice for all of them would have taken (the ski rental problem of online algorithms).
"""

from __future__ import annotations

import math
import sys
import threading
import warnings
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from .. import compiling, kernel_survey, model, paths
from ..errors import NoCompiler, sentence
from ..floating import standard
from ..hooks import Hook
from ..reference import operators
from ..summary import summarise, totals
from ..variants import Config

# Seconds on two cores of a Xeon with AVX-512: `python benchmarks/auto.py` measures them. They need not be right to 50 %.
NUMPY = 0.85e-9  # for each multiply-add of the network; more than half of them go into GELU
FAST = 0.02e-9  # likewise
LOAD = 0.5  # to import Numba, load the compiled network, and fold and pack the weights
COMPILE = 14.0  # to compile it first
MANY = 10_000  # images, where nobody knows how many will come

KERNEL = "fast.network.run"


class EngineWarning(UserWarning):
    """`numpy` computes although `fast` would be worth it, and cannot be had."""


class Choice:
    """Decides for one process, which remembers what `numpy` has cost it."""

    def __init__(self) -> None:
        self.spent = 0.0  # seconds of `numpy` so far, as they are estimated
        self.unusable = False
        self._lock = threading.Lock()

    def of(self, config: Config, images: int | None, height: int, width: int) -> str:
        """Return 'numpy' or 'fast', for as many images of a size; None stands for a number that is not known."""
        work = (MANY if images is None else images) * multiply_adds(config, height, width)
        with self._lock:
            if self._worth(work, self.start()) and self._worth(work, start := self._certain()):
                if start == COMPILE:
                    compiling.announce("fast")
                return "fast"
            self.spent += NUMPY * work
            return "numpy"

    def _worth(self, work: float, start: float) -> bool:
        return self.spent + NUMPY * work > start + FAST * work

    def start(self) -> float:
        """Return the seconds until `fast` can begin: 0 where it has already, infinity where it never can."""
        if self.unusable:
            return math.inf
        plan = sys.modules.get(f"{__package__.rpartition('.')[0]}.fast.plan")
        if plan is not None and plan.loaded():
            return 0.0
        return LOAD if kernel_survey.kept(KERNEL) else COMPILE

    def _certain(self) -> float:
        """Import Numba, with which `start` knows for certain what there is to load, and return what it then says."""
        try:
            from ..jit import compiles
        except NoCompiler as error:
            warnings.warn(EngineWarning(f"the engine numpy computes: {sentence(error)}"), stacklevel=2)
            self.unusable = True
            return math.inf
        self.unusable |= not compiles()
        return self.start()


choice = Choice()


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
        with np.errstate(all="ignore"), standard():
            for image, row in zip(x, logits, strict=True):
                maps = model.features(operators, Hook(), image[None], self.parameters, self.config)
                row[:] = model.classifier(operators, Hook(), maps[-1], head=self.parameters["head"])[0]
        return logits

    def features(self, x: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
        """Return each stage's output, (N, C, H / 4, W / 4) first."""
        with np.errstate(all="ignore"), standard():
            maps = model.features(operators, Hook(), x, self.parameters, self.config)
            return [np.asarray(each, np.float32) for each in maps]
