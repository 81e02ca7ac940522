"""Who computes: the built-in engines, and `Engine` for one of your own.

An engine is a value; a model takes it in the place of a name. This one counts the operators it is asked for:

>>> from minivan import reference, seeded
>>> from minivan.engines import Engine
>>> from minivan.van import VAN
>>> from minivan.variants import Config
>>> class Counted:
...     calls = 0
...     def __getattr__(self, operator):
...         Counted.calls += 1
...         return getattr(reference, operator)
>>> config = Config(dims=(4,), depths=(1,), mlp_ratios=(2,), classes=2)
>>> model = VAN(config, seeded.tensors(config), Engine("counted", ops=Counted()))
>>> model(seeded.images((1, 3, 32, 32))).shape, Counted.calls
((1, 2), 17)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from ..fpn import FPNConfig
from ..operators import Derivatives, Operators
from ..variants import Config
from .engine import Deferred, Engine, MapPlan, Plan

__all__ = [
    "AUTO",
    "ENGINES",
    "EXACT",
    "FAST",
    "FAST_BFLOAT16",
    "NAMED",
    "NUMPY",
    "PRECISIONS",
    "Engine",
    "MapPlan",
    "Plan",
    "find",
]


def _compile_fast(config: Config, tensors: Mapping[str, npt.NDArray[np.float32]]) -> Plan:
    from .. import fast

    return fast.Plan(config, tensors)


def _compile_fast_fpn(
    config: Config,
    tensors: Mapping[str, npt.NDArray[np.float32]],
    fpn_config: FPNConfig,
    fpn_tensors: Mapping[str, npt.NDArray[np.float32]],
) -> MapPlan:
    from ..fast.fpn_plan import FPNPlan

    return FPNPlan(config, tensors, fpn_config, fpn_tensors)


def _compile_bfloat16_fpn(
    config: Config,
    tensors: Mapping[str, npt.NDArray[np.float32]],
    fpn_config: FPNConfig,
    fpn_tensors: Mapping[str, npt.NDArray[np.float32]],
) -> MapPlan:
    from ..fast.fpn_plan import FPNPlan
    from ..fast.lanes import bfloat16_lanes

    return FPNPlan(config, tensors, fpn_config, fpn_tensors, bfloat16_lanes())


def _compile_bfloat16(config: Config, tensors: Mapping[str, npt.NDArray[np.float32]]) -> Plan:
    from .. import fast
    from ..fast.lanes import bfloat16_lanes

    return fast.Plan(config, tensors, bfloat16_lanes())


def _plan_numpy(config: Config, tensors: Mapping[str, npt.NDArray[np.float32]]) -> Plan:
    plan: Plan = _AUTO.NumpyPlan(config, tensors)
    return plan


def _plan_numpy_fpn(
    config: Config,
    tensors: Mapping[str, npt.NDArray[np.float32]],
    fpn_config: FPNConfig,
    fpn_tensors: Mapping[str, npt.NDArray[np.float32]],
) -> MapPlan:
    plan: MapPlan = _AUTO.NumpyFPNPlan(config, tensors, fpn_config, fpn_tensors)
    return plan


def _halved() -> Engine:
    return FAST_BFLOAT16


def _choose(config: Config, images: int | None, height: int, width: int) -> Engine:
    return FAST if _AUTO.choice.of(config, images, height, width) == "fast" else WHOLE_NUMPY


def _choose_fpn(config: Config, fpn_config: FPNConfig, images: int | None, height: int, width: int) -> Engine:
    return FAST if _AUTO.choice.of(config, images, height, width, fpn_config) == "fast" else WHOLE_NUMPY


_AUTO: Any = Deferred("minivan.engines.auto")
_EXACT_OPS = cast(Operators, Deferred("minivan.ops"))
_EXACT_GRAD = cast(Derivatives, Deferred("minivan.grad"))

NUMPY = Engine(  # what an operator means: plain NumPy, float64
    "numpy",
    ops=cast(Operators, Deferred("minivan.reference.operators")),
    grad=cast(Derivatives, Deferred("minivan.reference.derivatives")),
)
EXACT = Engine("exact", ops=_EXACT_OPS, grad=_EXACT_GRAD)  # Numba, float64 sums in one written order: the same bits anywhere
FAST = Engine(  # the network as one compiled function, neck and head as another
    "fast", ops=_EXACT_OPS, grad=_EXACT_GRAD, compile=_compile_fast, compile_fpn=_compile_fast_fpn, bfloat16=_halved
)
FAST_BFLOAT16 = Engine(  # the same, with the operands of its matrix products in bfloat16
    "fast-bfloat16",
    ops=_EXACT_OPS,
    grad=_EXACT_GRAD,
    compile=_compile_bfloat16,
    compile_fpn=_compile_bfloat16_fpn,
    bfloat16=_halved,
)
WHOLE_NUMPY = Engine(  # whose hooks see what those of fast do
    "numpy", ops=_EXACT_OPS, grad=_EXACT_GRAD, compile=_plan_numpy, compile_fpn=_plan_numpy_fpn, one_by_one=True
)
AUTO = Engine(  # numpy or fast, whichever answers first: see auto
    "auto", ops=_EXACT_OPS, grad=_EXACT_GRAD, choose=_choose, choose_fpn=_choose_fpn, bfloat16=_halved
)

ENGINES = {engine.name: engine for engine in (AUTO, FAST, EXACT, NUMPY)}
NAMED = {**ENGINES, FAST_BFLOAT16.name: FAST_BFLOAT16}
PRECISIONS = ("auto", "float32", "bfloat16")


def find(engine: str | Engine, precision: str = "auto") -> Engine:
    """Return the built-in engine of a name; an engine of your own as it is. ValueError for any other.

    `precision` 'bfloat16' asks for 'fast-bfloat16' in the place of 'fast' or 'auto'; no other engine computes in that:
    ValueError. 'float32' and 'auto' leave every engine as it is.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"no precision is called {precision!r}; there are {', '.join(PRECISIONS)}")
    found = engine if isinstance(engine, Engine) else _named(engine)
    if precision == "float32" and found.halved:
        raise ValueError(f"the engine {found} does not compute in float32: fast does")
    if precision != "bfloat16":
        return found
    if found.bfloat16 is None:
        raise ValueError(f"the engine {found} does not compute in bfloat16: fast does")
    return found.bfloat16()


def _named(engine: str) -> Engine:
    if engine not in NAMED:
        raise ValueError(f"no engine is called {engine!r}; the engines are {', '.join(NAMED)}, or an Engine of your own")
    return NAMED[engine]
