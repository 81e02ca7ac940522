"""The lesson's chapter on the gate."""

from __future__ import annotations

from collections.abc import Iterator

from .numbers import Numbers
from .pictures import paragraph, table


def gate(n: Numbers) -> Iterator[str]:
    g = n["gate"]
    a, b, c = g["kernel"]
    left, own, right = g["third_reads"]
    yield from paragraph(
        """Steps 1 to 3 have made a map of *attention* values: one for each number of the map that came in. LKA now simply
        multiplies the two, number by number: a *gate*, which lets through, dims, swells or turns over. By hand, on a row
        of six positions u, with an attention a of three weights instead of a large kernel. The last rows show what other
        networks would make of a: a *sigmoid* squeezes any number into 0 to 1, a *softmax* makes of several numbers
        positive ones that add up to 1, as self-attention does."""
    )
    yield ""
    rows = [
        ["u, what came in", *(f"{v:g}" for v in g["u"])],
        ["a, attention", *(f"{v:g}" for v in g["a"])],
        ["u x a, the gate", *(f"{v:g}" for v in g["gated"])],
        ["the same for 2 u", *(f"{v:g}" for v in g["doubled"])],
        ["sigmoid(a)", *(f"{v:.2f}" for v in g["sigmoid"])],
        ["u x sigmoid(a)", *(f"{v:.2f}" for v in g["sigmoid_gated"])],
        ["softmax(a)", *(f"{v:.2f}" for v in g["softmax"])],
    ]
    yield from table(["position", *"123456"], rows)
    yield ""
    yield from paragraph(
        f"""The weights are {a:g}, {b:g}, {c:g}: more than your neighbours? At position 3 they read {left:g}, {own:g},
        {right:g}, and {a:g} x {left:g} + {b:g} x {own:g} + {c:g} x {right:g} = {g["third_attention"]:g}. Times u = {own:g}
        that is {g["gated"][2]:g}. The peaks grow, what stands in their shadow turns negative."""
    )
    yield ""
    softmax_sum = sum(g["softmax"])
    ratio = g["doubled"][2] / g["gated"][2]
    yield from paragraph(
        f"""After a sigmoid a gate can only dim, and nothing turns over. After a softmax the positions compete for a fixed
        sum, {softmax_sum:g}. LKA does without both: its attention has any sign and any
        size, so it is no probability. And since the attention comes from u itself, u is multiplied by something that grows
        with u: twice the input gives {ratio:g} times the output. (Exactly so without a *bias*, a learned number that is added
        to every sum; the last chapter measures a trained network, which has some.) No convolution can do that; this is what
        the gate adds."""
    )
