"""The lesson's text. Each chapter turns the numbers of `minivan.lesson.numbers` into lines of at most 78 columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from .. import lka
from ..geometry import CONV_SPATIAL, LARGE_KERNEL
from . import photo_chapter
from .numbers import Numbers
from .pictures import WIDTH, bar, beside, columns, grid, paragraph, table, taps

PAPERS_OWN = LARGE_KERNEL, CONV_SPATIAL.dilation
PAPER = "K = {} and d = {}".format(*PAPERS_OWN)


def lesson(n: Numbers, walked: Numbers | None = None) -> Iterator[str]:
    """Yield the lesson's lines from the numbers that `minivan.lesson.numbers.numbers` made.

    `walked`, what `minivan.lesson.photo.walk` returned, adds the last chapter, about a photo.
    """
    title = f"Large kernel attention, K = {n['K']}, d = {n['d']}"
    yield from (title, "=" * len(title), "")
    yield from paragraph(
        """Every number below was computed a moment ago on this machine. No earlier knowledge is needed: a word in
        *stars* is explained where it stands. Once you know what they mean, change K, d, C and the size with -K, -d, -C
        and --size, and read it again."""
    )
    for number, (title, chapter) in enumerate(CHAPTERS.items(), start=1):
        yield from heading(number, title)
        yield from chapter(n)
    if walked is not None:
        yield from heading(len(CHAPTERS) + 1, photo_chapter.TITLE)
        yield from photo_chapter.chapter(walked)


def heading(number: int, text: str) -> list[str]:
    """Return a chapter's heading with the air around it."""
    line = f"{number}. {text}"
    return ["", "", line, "-" * len(line), ""]


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
    if n["support"] == 1:
        ours = "The kernel of this lesson sees 1 position, its own: however many follow one another, they see no further."
    else:
        ours = f"""With the kernel of this lesson, which sees {r["seen_by_lka"]:,} positions at once,
        {_count(r["layers_of_lka"], "layer")} will do."""
    yield from paragraph(
        """*Attention* means: at each position, decide from the surroundings how much each number there matters, and
        scale it by that. A dark dot may be a cat's pupil or a hole in a wall; the dot itself does not say which. So
        the deciding must look far around."""
    )
    yield ""
    yield from paragraph(
        f"""A 3 x 3 kernel sees {r["seen_by_3x3"]} positions. A second 3 x 3 on top of it sees one more on each side, and
        so on: before one number in the middle of our {size} x {size} map depends on both of its edges,
        {_count(r["layers_of_3x3"], "layer")} must follow one another. {ours}"""
    )


def prices(n: Numbers) -> Iterator[str]:
    C, K = n["C"], n["K"]
    here = n["growth"][1]
    unit, divisor = _unit(min(n["growth"][0]["multiply_adds"].values()))
    digits = int(divisor > 1)
    yield from paragraph(
        f"""*Self-attention*, the way of the *transformers* behind chat programs, lets every position look at every other:
        each pair gets a score. {_count(here["positions"], "position")} {"makes" if here["positions"] == 1 else "make"}
        {here["positions"]:,} x {here["positions"]:,} = {_count(here["scores"], "score")}; each takes
        C = {_count(C, "multiply-add")} to make and as many to use, and every position takes
        4 x {C:,} x {C:,} more to prepare and to finish. That is {here["multiply_adds"]["self_attention"]:,}."""
    )
    yield ""
    yield from paragraph(
        f"""A *dense* K x K kernel looks at a square of
        {K} x {K} = {_count(K * K, "position")}, reads {_all(C)} there, and has a set of weights of its own for each of the
        {C:,} new ones: {K * K:,} x {C:,} x {C:,} = {_count(n["forms"]["parameters"]["dense"], "weight")}, each used once per
        position.
        *LKA*, large kernel attention, is what this lesson builds, from
        {n["forms"]["parameters"]["lka"]:,} weights. {unit} for one layer:"""
    )
    yield ""
    rows = []
    for row in n["growth"]:
        costs = row["multiply_adds"]
        cells = (f"{costs[form] / divisor:,.{digits}f}" for form in ("self_attention", "dense", "lka"))
        rows.append([f"{row['side']} x {row['side']}", f"{row['positions']:,}", *cells])
    yield from table(["map", "positions", "self-attention", f"dense {K} x {K}", "LKA"], rows)
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
        being the square of the positions. {compared}"""
    )


def three_steps(n: Numbers) -> Iterator[str]:
    K, d, C = n["K"], n["d"], n["C"]
    k, s, S = n["local_side"], n["dilated_side"], n["support"]
    f = n["forms"]
    masks = lka.read_by(K, d)
    middle = tuple(int(i[0]) for i in np.nonzero(masks["pointwise"]))
    yield from paragraph(
        f"""The pictures show which positions one step reads ('#') to make the one number at '@'. The dots are not
        read.{" Where that step does not read the place itself, it is an 'o'." if s % 2 == 0 else ""}"""
    )
    room = WIDTH - 2
    if room < S:
        yield ""
        yield from paragraph(f"(The pictures of steps 1 and 2 would be {S} columns wide: too wide for a page of {WIDTH}.)")
    yield ""
    yield from beside(
        grid(taps(masks["local"], middle), room),
        f"""STEP 1: NEAR. A {k} x {k} kernel, {_count(k * k, "weight")}. It is *depthwise*: each channel is worked on
        by itself, with weights of its own. {_count(C, "channel")}: {_count(f["local_parameters"], "weight")}.""",
    )
    yield ""
    skipped = f"between two of them {_count(d - 1, 'position')} {'is' if d == 2 else 'are'} skipped"
    spread = f": its weights are set {d} apart, {skipped}" if d > 1 else ", so that its weights stand side by side"
    if s == 1:
        spread = f": it could set its weights {d} apart, but with d = K it has only one" if d > 1 else ""
    yield from beside(
        grid(taps(masks["dilated"], middle), room),
        f"""STEP 2: FAR. A {s} x {s} kernel, {_count(s * s, "weight")}, depthwise too, but *dilated* by
        d = {d}{spread}. It reads the map that step 1 made, where every number already sums up a {k} x {k} square, so
        nothing in between is lost. {_count(C, "channel")}: {_count(f["dilated_parameters"], "weight")}.""",
    )
    yield ""
    tile = np.full((5, 5), ".")
    stacks = []
    for name in ("channel 1", "channel 2", "channel 3"):
        cells = tile.copy()
        cells[2, 2] = "#"
        stacks.append([name, *grid(cells, 20)])
    dots = ["", "", "", "...", "", ""]
    result = tile.copy()
    result[2, 2] = "@"
    picture = columns(*stacks[: min(C, 3)], *([dots] if C > 3 else []), ["new", *grid(result, 20)], gap=3)
    yield from beside(
        picture,
        f"""STEP 3: MIX. A 1 x 1 kernel, or *pointwise*: it stays at its position and reads {_all(C)} there, with
        {_count(C, "weight")} for each of the {C:,} new ones: {_count(f["pointwise_parameters"], "weight")}.""",
    )
    yield ""
    total = f["parameters"]["lka"]
    yield from paragraph(
        f"""Together {f["local_parameters"]:,} + {f["dilated_parameters"]:,} + {f["pointwise_parameters"]:,} = {total:,}
        weights, where the dense kernel has {f["parameters"]["dense"]:,}. Nothing is free: steps 1 to 3 can only form
        kernels that split this way, not every kernel. The bet of the paper is that those are enough."""
    )


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


def why_this_d(n: Numbers) -> Iterator[str]:
    K, d, o = n["K"], n["d"], n["optimum"]
    smooth = o["smooth_d"]
    yield from paragraph(
        f"""The near kernel must bridge the gaps of the far one, so it is 2d - 1 wide; the far one must span K in steps of
        d, so it is K/d wide, rounded up. That makes (K/d)^2 + (2d - 1)^2 weights per channel: a small d makes the far
        kernel large, a large d the near one. For K = {K}, each row one choice of d:"""
    )
    yield ""
    most = max(row["weights"] for row in o["tried"])
    rows = [
        [
            f"{row['d']}",
            f"{row['dilated_side']} x {row['dilated_side']}",
            f"{row['local_side']} x {row['local_side']}",
            f"{row['weights']:,}",
        ]
        for row in o["tried"]
    ]
    lines = table(["d", "far", "near", "weights"], rows)
    marks = ["", ""] + [
        bar(row["weights"], most, 30) + ("  <- fewest" if row["d"] == o["best_d"] else "") for row in o["tried"]
    ]
    yield from columns(lines, marks, gap=2)
    yield ""
    yield from paragraph(
        """One can also find it without trying. Forget the rounding and let d be any number, so that the cost is a smooth
        curve. At its lowest point the curve is level: its *derivative*, the slope, is zero. The slope of
        (K/d)^2 + (2d - 1)^2 is -2 K^2 / d^3 + 4 (2d - 1). Set to zero, and multiplied by d^3 / 2, this reads"""
    )
    yield ""
    yield f"    4 d^4 - 2 d^3 = K^2 = {K * K}"
    yield ""
    verdict = f"d = {o['best_d']}"
    yield from paragraph(
        f"""and it holds at d = {smooth:.4f}, for 4 x {smooth:.4f}^4 - 2 x {smooth:.4f}^3 = {4 * smooth**4:.2f} -
        {2 * smooth**3:.2f} = {4 * smooth**4 - 2 * smooth**3:.2f}. A quarter below that the slope is {o["slope_below"]:.1f},
        downhill; a quarter above it is {o["slope_above"]:+.1f}, uphill. The whole number with the fewest weights is
        {verdict}{"" if o["best_d"] == d else f", where this lesson was asked for d = {d}"}."""
    )


def true_square(n: Numbers) -> Iterator[str]:
    K, d = n["K"], n["d"]
    k, s, S = n["local_side"], n["dilated_side"], n["support"]
    fp = n["footprint"]
    middle = "" if S % 2 else ", as far as an even width has one"
    numbers = k * k + s * s
    decided = f"that {'only ' if numbers < fp['pixels'] else ''}{numbers:,} numbers decide"
    row = f"Step 2's {s} weights in a row are {d} apart" if s > 1 else "Step 2 has one weight"
    nothing_lost = f"squares {k} wide set {d} apart leave no gap" if s > 1 else "step 1 has no gap"
    yield from paragraph(
        f"""How far does '@' see through both steps? {row}: from the first to the last it is
        {d} x {s - 1} = {_count(d * (s - 1), "position")}. At each end stands a number of step 1, which
        sees {(k - 1) // 2} further. So {d * (s - 1)} + 1 + 2 x {(k - 1) // 2} = {S}: an output reads {S} x {S} =
        {_count(fp["pixels"], "position")}. """
        + (
            f"""The name says {K} x {K}, which would be {K * K:,}; the truth is {S} x {S}. """
            if S != K
            else "With d = 1 that is what the name says; with any other d it is more. "
        )
        + f"""Each digit counts the ways from that position to '@', which stands in the middle{middle}: the number of step 2's
        weights whose {k} x {k} square covers it."""
    )
    yield ""
    counts = lka.footprint(K, d)
    picture = grid(counts.astype("U1"), WIDTH - 2)
    spread = ", ".join(f"{pixels:,} by {_count(paths, 'way')}" for paths, pixels in fp["pixels_by_paths"].items())
    yield from beside(
        picture,
        f"""No position is missed, since {nothing_lost}. Reached: {spread}; together {s * s:,} x {k * k:,} =
        {_count(fp["paths"], "way")}. The two kernels work as one {S} x {S} kernel with {_count(fp["pixels"], "weight")}
        {decided}.""",
    )


def border(n: Numbers) -> Iterator[str]:
    b = n["border"]
    S, d, side = n["support"], n["d"], b["side"]
    yield from paragraph(
        f"""That one {S} x {S} kernel can be written out (`minivan.lka.equivalent_kernel`): every weight of step 2 stamps a
        copy of step 1's kernel, scaled, and overlapping copies add up. Is it really the same? Tried just now, on a
        {side} x {side} map of random whole numbers, where no rounding can blur the answer: of
        {_count(b["positions"], "output")} {b["equal"]:,} {"is" if b["equal"] == 1 else "are"} equal to the last digit and
        {b["differ"]:,} {"differs" if b["differ"] == 1 else "differ"}."""
    )
    if not b["differ"]:
        return
    yield ""
    rows = b["rows_from_top"]
    listed = ", ".join(map(str, rows[:-1])) + (" and " if len(rows) > 1 else "") + str(rows[-1])
    if rows == list(range(rows[-1] + 1)) and len(rows) > 2:
        listed = f"0 to {rows[-1]}"
    where = f"The {b['differ']:,} near the edge differ, and" if b["equal"] else "On so small a map the edge is near everywhere;"
    yield from paragraph(
        f"""{where} the reason is the padding. Two steps pad twice: step 2 finds zeros
        all around step 1's map. But just outside, within {_count(d - 1, "position")} of the edge, step 1's square
        would still overlap the map and give a number; the one big kernel counts it, the two steps do not. Computed from
        that cause, exactly {_count(b["foreseen"], "position")} should differ, and {_none(b["differ_unforeseen"])} outside
        does. Down the middle of the map the rows that differ are, from the top, {listed}{_stripes(rows)}."""
    )


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
        with u: twice the input gives {ratio:g} times the output. No convolution can do that; this is what the gate adds."""
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _all(channels: int) -> str:
    return "its one channel" if channels == 1 else f"all {channels:,} channels"


def _unit(smallest: float) -> tuple[str, float]:
    """Return the name and the size of the unit that keeps a table with this smallest number narrow."""
    for name, size in (("billions", 1e15), ("millions", 1e12), ("thousands", 1e9)):
        if smallest >= 10 * size:
            return f"In {name} of millions of multiply-adds", size
    return ("In millions of multiply-adds", 1e6) if smallest >= 1e6 else ("Multiply-adds", 1)


def _none(number: int) -> str:
    return "not one" if number == 0 else f"{number:,}"


def _stripes(rows: list[int]) -> str:
    if rows == list(range(len(rows))):
        return ""
    return ": stripes, because weights set apart step over the edge in some rows and land on it in others"


CHAPTERS: dict[str, Callable[[Numbers], Iterator[str]]] = {  # in the order in which each needs the one before
    "The words": words,
    "Why attention needs many neighbours": neighbours,
    "What looking far costs": prices,
    "Three cheap steps instead of one dear one": three_steps,
    "The bill for other widths": cost_table,
    "Which d is best": why_this_d,
    "How far it really sees": true_square,
    "The same thing in one step": border,
    "The gate: multiply": gate,
}
