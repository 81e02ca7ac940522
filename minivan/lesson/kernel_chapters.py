"""The lesson's chapters on the three steps: what each reads, which d is best, how far they see, what they equal."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .. import lka
from .numbers import Numbers
from .pictures import WIDTH, bar, beside, columns, grid, paragraph, table, taps
from .wording import all_channels, counted, none_or


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
        f"""STEP 1: NEAR. A {k} x {k} kernel, {counted(k * k, "weight")}. It is *depthwise*: each channel is worked on
        by itself, with weights of its own. {counted(C, "channel")}: {counted(f["local_parameters"], "weight")}.""",
    )
    yield ""
    skipped = f"between two of them {counted(d - 1, 'position')} {'is' if d == 2 else 'are'} skipped"
    spread = f": its weights are set {d} apart, {skipped}" if d > 1 else ", so that its weights stand side by side"
    if s == 1:
        spread = f": it could set its weights {d} apart, but with d = K it has only one" if d > 1 else ""
    yield from beside(
        grid(taps(masks["dilated"], middle), room),
        f"""STEP 2: FAR. A {s} x {s} kernel, {counted(s * s, "weight")}, depthwise too, but *dilated* by
        d = {d}{spread}. It reads the map that step 1 made, where every number already sums up a {k} x {k} square, so
        nothing in between is lost. {counted(C, "channel")}: {counted(f["dilated_parameters"], "weight")}.""",
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
        f"""STEP 3: MIX. A 1 x 1 kernel, or *pointwise*: it stays at its position and reads {all_channels(C)} there, with
        {counted(C, "weight")} for each of the {C:,} new ones: {counted(f["pointwise_parameters"], "weight")}.""",
    )
    yield ""
    total = f["parameters"]["lka"]
    yield from paragraph(
        f"""Together {f["local_parameters"]:,} + {f["dilated_parameters"]:,} + {f["pointwise_parameters"]:,} = {total:,}
        weights, where the dense kernel has {f["parameters"]["dense"]:,}. Nothing is free: steps 1 to 3 can only form
        kernels that split this way, not every kernel. The bet of the paper is that those are enough."""
    )


def why_this_d(n: Numbers) -> Iterator[str]:
    K, d, o = n["K"], n["d"], n["optimum"]
    smooth = o["smooth_d"]
    yield from paragraph(
        f"""The far kernel must span K in steps of d, so it is K/d wide, rounded up. The near one must leave no gap between
        two weights of the far one: any width from d on does that. The paper takes 2d - 1, with which neighbouring squares
        overlap. That makes (K/d)^2 + (2d - 1)^2 weights per channel: a small d makes the far kernel large, a large d the
        near one. For K = {K}, each row one choice of d; the last column has the weights if the near kernel were d wide:"""
    )
    yield ""
    most = max(row["weights"] for row in o["tried"])
    rows = [
        [
            f"{row['d']}",
            f"{row['dilated_side']} x {row['dilated_side']}",
            f"{row['local_side']} x {row['local_side']}",
            f"{row['weights']:,}",
            f"{row['tiling_weights']:,}",
        ]
        for row in o["tried"]
    ]
    lines = table(["d", "far", "near", "weights", "near\nd wide"], rows)
    marks = ["", "", ""] + [
        bar(row["weights"], most, 24) + ("  <- fewest" if row["d"] == o["best_d"] else "") for row in o["tried"]
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
    yield ""
    tiled = next(row for row in o["tried"] if row["d"] == o["best_tiling_d"])
    papers = next(row for row in o["tried"] if row["d"] == o["best_d"])
    across = counted(tiled["tiling_support"], "position")
    what = f"d = {tiled['d']} with {tiled['tiling_weights']:,} weights, reading {across} across"
    if tiled["d"] == papers["d"]:
        rests = f"Both rules choose d = {papers['d']} for this K; the overlap alone costs the difference of the columns."
    else:
        rests = f"""So d = {papers["d"]} rests on the paper's choice of 2d - 1, which is no necessity. Whether the overlap is
        worth {papers["weights"]:,} weights where {tiled["tiling_weights"]:,} would do, arithmetic cannot say: only training
        both ways could."""
    yield from paragraph(
        f"""What does that d rest on? Were the near kernel d wide, its squares would lie side by side: each position would
        have exactly one way to '@', and the smooth cost, (K/d)^2 + d^2, would be lowest at the square root of K,
        d = {K**0.5:.2f}. The fewest weights in the last column are those of {what}. {rests}"""
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
        {d} x {s - 1} = {counted(d * (s - 1), "position")}. At each end stands a number of step 1, which
        sees {(k - 1) // 2} further. So {d * (s - 1)} + 1 + 2 x {(k - 1) // 2} = {S}: an output reads {S} x {S} =
        {counted(fp["pixels"], "position")}. """
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
    spread = ", ".join(f"{pixels:,} by {counted(paths, 'way')}" for paths, pixels in fp["pixels_by_paths"].items())
    yield from beside(
        picture,
        f"""No position is missed, since {nothing_lost}. Reached: {spread}; together {s * s:,} x {k * k:,} =
        {counted(fp["paths"], "way")}. The two kernels work as one {S} x {S} kernel with {counted(fp["pixels"], "weight")}
        {decided}.""",
    )


def border(n: Numbers) -> Iterator[str]:
    b = n["border"]
    S, d, side = n["support"], n["d"], b["side"]
    yield from paragraph(
        f"""That one {S} x {S} kernel can be written out (`minivan.lka.equivalent_kernel`): every weight of step 2 stamps a
        copy of step 1's kernel, scaled, and overlapping copies add up. Is it really the same? Tried just now, on a
        {side} x {side} map of random whole numbers, where no rounding can blur the answer: of
        {counted(b["positions"], "output")} {b["equal"]:,} {"is" if b["equal"] == 1 else "are"} equal to the last digit and
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
        all around step 1's map. But just outside, within {counted(d - 1, "position")} of the edge, step 1's square
        would still overlap the map and give a number; the one big kernel counts it, the two steps do not. Computed from
        that cause, exactly {counted(b["foreseen"], "position")} should differ, and {none_or(b["differ_unforeseen"])} outside
        does. Down the middle of the map the rows that differ are, counted from 0 at the top, {listed}{stripes(rows)}."""
    )


def stripes(rows: list[int]) -> str:
    if rows == list(range(len(rows))):
        return ""
    return ": stripes, because weights set apart step over the edge in some rows and land on it in others"
