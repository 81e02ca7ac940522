"""The lesson's chapters on what attention is, and on what looking far costs."""

from __future__ import annotations

from collections.abc import Iterator

from ..geometry import CONV_SPATIAL, LARGE_KERNEL, PATCH_EMBEDS
from .numbers import Numbers
from .pictures import paragraph, table
from .wording import all_channels, counted, narrow_unit

PAPERS_OWN = LARGE_KERNEL, CONV_SPATIAL.dilation
PAPER = "K = {} and d = {}".format(*PAPERS_OWN)


def words(n: Numbers) -> Iterator[str]:
    size, C = n["size"], n["C"]
    yield from paragraph(
        f"""A network for images works in *layers*, one after another. What they hand on is a *map*, a grid of numbers;
        every layer turns one map into the next. Ours here is {size} x {size}, so it has {n["positions"]:,} *positions*,
        and at each position it holds not one number but C = {C}: the *channels*. The photo itself is such a map with
        three channels (red, green, blue); later channels stand for things the network has learned to notice, edges at
        first, eyes or wheels in the end. This map is {n["positions"]:,} x {C} = {n["positions"] * C:,} numbers."""
    )
    yield ""
    yield from paragraph(
        """A *convolution* makes a new map from a map. Each new number is a sum over a small square of positions: every
        number in the square times a *weight*, all added up. The square of weights is the *kernel*; it slides over the
        map and is the same everywhere. Where it hangs over the edge, it reads zeros: the *padding*. A weight is also
        called a *parameter*. *Training* finds it, by showing the network many examples and nudging every weight until the
        answers come out right; after that it stays as it is. One product and its addition to the sum is one
        *multiply-add*: parameters are the price in memory, multiply-adds the price in time."""
    )


def neighbours(n: Numbers) -> Iterator[str]:
    r, size = n["reach"], n["size"]
    if n["K"] == 1:
        ours = "The kernel of this lesson sees 1 position, its own: however many follow one another, they see no further."
    else:
        ours = f"""With the kernel of this lesson, {n["K"]} x {n["K"]} = {r["seen_by_K"]:,} positions by its name,
        {counted(r["layers_of_K"], "layer")} will do."""
    yield from paragraph(
        """*Attention* means: at each position, decide from the surroundings how much each number there matters, and
        scale it by that. A dark dot may be a cat's pupil or a hole in a wall; the dot itself does not say which. So
        the deciding must look far around."""
    )
    yield ""
    yield from paragraph(
        f"""A 3 x 3 kernel sees {r["seen_by_3x3"]} positions. A second 3 x 3 on top of it sees one more on each side, and
        so on: before one number in the middle of our {size} x {size} map depends on both of its edges,
        {counted(r["layers_of_3x3"], "layer")} must follow one another. {ours}"""
    )


def prices(n: Numbers) -> Iterator[str]:
    C, K = n["C"], n["K"]
    here = n["growth"][1]
    unit, divisor = narrow_unit(min(n["growth"][0]["multiply_adds"].values()))
    digits = int(divisor > 1)
    yield from paragraph(
        f"""*Self-attention*, the way of the *transformers* behind chat programs, lets every position look at every other:
        each pair gets a score. {counted(here["positions"], "position")} {"makes" if here["positions"] == 1 else "make"}
        {here["positions"]:,} x {here["positions"]:,} = {counted(here["scores"], "score")}; each takes
        C = {counted(C, "multiply-add")} to make and as many to use, and every position takes
        4 x {C:,} x {C:,} more, four layers that prepare and finish. That is {here["multiply_adds"]["self_attention"]:,}."""
    )
    yield ""
    yield from paragraph(
        f"""A *dense* K x K kernel looks at a square of
        {K} x {K} = {counted(K * K, "position")}, reads {all_channels(C)} there, and has a set of weights of its own for each
        of the {C:,} new ones: {K * K:,} x {C:,} x {C:,} = {counted(n["forms"]["parameters"]["dense"], "weight")}, each used
        once per position.
        *LKA*, large kernel attention, is what this lesson builds, from
        {n["forms"]["parameters"]["lka"]:,} weights. The network of the paper, VAN, has two layers of {C:,} x {C:,} around
        it that prepare and finish: with them it is VAN's attention, to be set beside self-attention. {unit}:"""
    )
    yield ""
    rows = []
    for row in n["growth"]:
        costs = row["multiply_adds"]
        cells = (f"{costs[form] / divisor:,.{digits}f}" for form in ("self_attention", "van_attention", "dense", "lka"))
        rows.append([f"{row['side']} x {row['side']}", f"{row['positions']:,}", *cells])
    yield from table(["map", "positions", "self-\nattention", "VAN's\nattention", f"dense\n{K} x {K}", "LKA\nalone"], rows)
    yield ""
    last, half = n["growth"][2]["multiply_adds"], n["growth"][1]["multiply_adds"]
    times = half["dense"] / half["lka"]
    compared = f"""The dense kernel grows gently but starts high: {times:,.0f} times LKA. How LKA gets away with so little is
        next."""
    if times < 1.5:
        compared = "Here LKA saves next to nothing; it pays for large kernels and many channels, and how is next."
    yield from paragraph(
        f"""Going from {n["size"]} to {2 * n["size"]}, the map has 4 times the positions. The dense kernel and LKA then
        cost {last["lka"] / half["lka"]:.1f} times as much: *linear* growth. Self-attention costs
        {last["self_attention"] / half["self_attention"]:.1f} times as much, on the way to 16: *quadratic* growth, the pairs
        being the square of the positions. It takes {_ratio(n["growth"][0])} times the work of VAN's attention on the smallest
        of these maps, {_ratio(n["growth"][3])} times on the largest. {compared}"""
    )
    yield ""
    stride = PATCH_EMBEDS[0].stride
    yield from paragraph(
        f"""Neither kind of network starts on maps as large as its photo. VAN's first layer steps {stride} positions at a
        time: a photo of {stride * n["size"]} x {stride * n["size"]} makes the {n["size"]} x {n["size"]} of this lesson.
        Transformers for images usually step further, for the reason in the table."""
    )


def _ratio(row: Numbers) -> str:
    return f"{row['multiply_adds']['self_attention'] / row['multiply_adds']['van_attention']:,.1f}"


def cost_table(n: Numbers) -> Iterator[str]:
    K, d = n["K"], n["d"]
    yield from paragraph(
        f"""MobileNet, a network made for telephones, had gone half of the way before: one
        depthwise {K} x {K} kernel, then a 1 x 1. Parameters of the
        three forms (multiply-adds are these times the positions), and how many times LKA's the others are:"""
    )
    yield ""
    rows = []
    for row in n["paper_table"]:
        p = row["parameters"]
        rows.append(
            [f"{row['C']}"]
            + [f"{p[form]:,}" for form in ("dense", "mobilenet", "lka")]
            + [f"{p[form] / p['lka']:.1f}" for form in ("dense", "mobilenet")]
        )
    header = ["C", f"dense\n{K} x {K}", "MobileNet", f"LKA\nd = {d}", "dense\n/ LKA", "MobileNet\n/ LKA"]
    yield from table(header, rows)
    yield ""
    narrow, wide = n["paper_table"][0], n["paper_table"][-1]
    shares = [100 * row["pointwise_parameters"] / row["parameters"]["lka"] for row in (narrow, wide)]
    told = f"""At C = {narrow["C"]} the 1 x 1 has {shares[0]:.0f} % of LKA's weights, at C = {wide["C"]} it has
        {shares[1]:.0f} %."""
    if shares[1] > 50:
        told = f"""What may surprise: the large kernel soon is the small part of the bill. {told} Looking far is nearly free;
        mixing channels is what costs."""
    else:
        told = f"""{told} With these two kernels looking far stays the larger part of the bill; for {PAPER} it soon is the
        smaller one."""
    own = f"For {PAPER} these are the paper's own numbers, to the digit. " if (K, d) == PAPERS_OWN else ""
    yield from paragraph(own + told)
