"""How far a port's numbers may lie from a trace's: what is allowed, and what is where nothing is said."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .precision import step
from .ulp import SMALLEST


@dataclass(frozen=True)
class Tolerance:
    """How far a port's number b may lie from the trace's a, in a layer whose numbers have the root mean square m.

    |a - b| <= atol + rtol * max(|a|, m), or at most `max_ulp` numbers of the port's format between them. The m lets a
    number that cancelled to almost nothing err as its neighbours do. `bits` asks for equal bits instead, and so does a
    `max_ulp` of 0 by itself: the sign of a zero counts, and every NaN is the same. With `least_db` the layer's ratio of signal
    to noise has to be above that, too: where numbers may be off by more than they are, zeros would pass.
    """

    rtol: float = 0.0
    atol: float = 0.0
    max_ulp: float | None = None
    bits: bool = False
    least_db: float | None = None

    @property
    def equal_bits(self) -> bool:
        """Whether nothing but the same bits will do."""
        return self.bits or (self.max_ulp == 0 and not self.rtol and not self.atol)


# What PyTorch and ONNX Runtime were measured to need for whole networks (b0 and b3 seeded, the bundled weights, 64 and 224
# pixels) is 1.3e-5 in float32, 2.3e-2 in float16 and 2.2e-1 in bfloat16 throughout; a float64 port still differs from
# `exact` by the float32 rounding of every layer of the latter. tf32 rounds as float16 does. Rounding every output and weight of
# the bundled weights to eight bits, with scales from the smallest and largest number, needs 2.0.
DEFAULTS = {
    "float64": Tolerance(5e-5),
    "float32": Tolerance(5e-5),
    "tf32": Tolerance(5e-2),
    "float16": Tolerance(5e-2),
    "bfloat16": Tolerance(4e-1),
    "int8": Tolerance(4.0, least_db=0.0),
}


def default(precision: str, form: str) -> Tolerance:
    """Return what a layer computed in `precision` and stored in `form` is allowed: storing may round it once more."""
    allowed = DEFAULTS[precision]
    stored = step(form) if form in ("float16", "bfloat16") and DEFAULTS[form].rtol > allowed.rtol else 0.0
    return replace(allowed, rtol=allowed.rtol + stored, atol=2.0 ** SMALLEST[form] if stored else 0.0)
