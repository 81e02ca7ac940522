"""The lesson's chapter on the gate."""

from __future__ import annotations

from collections.abc import Iterator

from .language import Language
from .numbers import Numbers
from .pictures import paragraph, table


def gate(n: Numbers, say: Language) -> Iterator[str]:
    g = n["gate"]
    a, b, c = (f"{weight:g}" for weight in g["kernel"])
    left, own, right = (f"{value:g}" for value in g["third_reads"])
    gated = f"{g['gated'][2]:g}"
    yield from paragraph(say("gate.multiplies"))
    yield ""
    rows = [
        [say("gate.u"), *(f"{v:g}" for v in g["u"])],
        [say("gate.a"), *(f"{v:g}" for v in g["a"])],
        [say("gate.gated"), *(f"{v:g}" for v in g["gated"])],
        [say("gate.doubled"), *(f"{v:g}" for v in g["doubled"])],
        [say("gate.sigmoid"), *(f"{v:.2f}" for v in g["sigmoid"])],
        [say("gate.sigmoid_gated"), *(f"{v:.2f}" for v in g["sigmoid_gated"])],
        [say("gate.softmax"), *(f"{v:.2f}" for v in g["softmax"])],
    ]
    yield from table([say("gate.position"), *"123456"], rows)
    yield ""
    attention = f"{g['third_attention']:g}"
    read = {"a": a, "b": b, "c": c, "left": left, "own": own, "right": right}
    yield from paragraph(say("gate.by_hand", **read, attention=attention, gated=gated))
    yield ""
    ratio = g["doubled"][2] / g["gated"][2]
    yield from paragraph(say("gate.no_convolution", sum=f"{sum(g['softmax']):g}", ratio=f"{ratio:g}"))
