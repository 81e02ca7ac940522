"""The lesson's chapters on the three steps: what each reads, which d is best, how far they see, what they equal."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .. import lka
from ..typesetting import joined
from .language import Language
from .numbers import Numbers
from .pictures import WIDTH, bar, beside, columns, grid, paragraph, table, taps
from .wording import all_channels


def three_steps(n: Numbers, say: Language) -> Iterator[str]:
    K, d, C = n["K"], n["d"], n["C"]
    k, s, S = n["local_side"], n["dilated_side"], n["support"]
    f = n["forms"]
    masks = lka.read_by(K, d)
    middle = tuple(int(i[0]) for i in np.nonzero(masks["pointwise"]))
    yield from paragraph(joined([say("three_steps.pictures"), *([say("three_steps.not_itself")] if s % 2 == 0 else [])]))
    room = WIDTH - 2
    if room < S:
        yield ""
        yield from paragraph(say("three_steps.too_wide", S=S, page=WIDTH))
    yield ""
    near = say("three_steps.near", k=k, taps=k * k, C=C, weights=f["local_parameters"])
    yield from beside(grid(taps(masks["local"], middle), room), near)
    yield ""
    far = {"s": s, "taps": s * s, "C": C, "weights": f["dilated_parameters"]}
    yield from beside(
        grid(taps(masks["dilated"], middle), room),
        say("three_steps.far", d=d, spread=spread(s, d, say), k=k, **far),
    )
    yield ""
    tile = np.full((5, 5), ".")
    stacks = []
    for number in (1, 2, 3):
        cells = tile.copy()
        cells[2, 2] = "#"
        stacks.append([say("three_steps.channel", number=number), *grid(cells, 20)])
    dots = ["", "", "", "...", "", ""]
    result = tile.copy()
    result[2, 2] = "@"
    new = [say("three_steps.new"), *grid(result, 20)]
    mix = say("three_steps.mix", channels=all_channels(C, say), C=C, weights=f["pointwise_parameters"])
    yield from beside(columns(*stacks[: min(C, 3)], *([dots] if C > 3 else []), new, gap=3), mix)
    yield ""
    steps = {"near": f["local_parameters"], "far": f["dilated_parameters"], "mix": f["pointwise_parameters"]}
    yield from paragraph(say("three_steps.together", total=f["parameters"]["lka"], dense=f["parameters"]["dense"], **steps))


def spread(s: int, d: int, say: Language) -> str:
    """Say how the far kernel's weights are set apart."""
    if s == 1:
        return say("three_steps.single", d=d) if d > 1 else ""
    return say("three_steps.apart", d=d, skipped=d - 1) if d > 1 else say("three_steps.side_by_side")


def why_this_d(n: Numbers, say: Language) -> Iterator[str]:
    K, d, o = n["K"], n["d"], n["optimum"]
    smooth = o["smooth_d"]
    yield from paragraph(say("best_d.rule", K=K))
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
    header = [say("best_d.far"), say("best_d.near"), say("best_d.weights"), say.lines("best_d.near_d")]
    mark = f"  {say('best_d.fewest')}"
    papers = next(row for row in o["tried"] if row["d"] == o["best_d"])
    marks = [bar(row["weights"], most, 24) + mark * (row["weights"] == papers["weights"]) for row in o["tried"]]
    yield from columns(table(["d", *header], rows), ["", "", "", *marks], gap=2)
    yield ""
    yield from paragraph(say("best_d.slope"))
    yield ""
    yield f"    4 d^4 - 2 d^3 = K^2 = {K * K:,}"
    yield ""
    fourth, third = 4 * smooth**4, 2 * smooth**3
    solved = {"fourth": f"{fourth:.2f}", "third": f"{third:.2f}", "result": f"{fourth - third:.2f}"}
    slopes = {"below": f"{o['slope_below']:.1f}", "above": f"{o['slope_above']:+.1f}"}
    asked = "" if o["best_d"] == d else say("best_d.asked", d=d)
    best = {"best": o["best_d"], "also": _as_few(o["tried"], papers, "weights", say), "asked": asked}
    yield from paragraph(say("best_d.holds", smooth=f"{smooth:.4f}", **best, **solved, **slopes))
    yield ""
    tiled = next(row for row in o["tried"] if row["d"] == o["best_tiling_d"])
    also = _as_few(o["tried"], tiled, "tiling_weights", say)
    fewest = {"also": also, "tiled": tiled["d"], "weights": tiled["tiling_weights"], "across": tiled["tiling_support"]}
    if tiled["d"] == papers["d"]:
        verdict = say("best_d.both", best=papers["d"])
    else:
        overlap = {"weights": papers["weights"], "tiled": tiled["tiling_weights"]}
        verdict = say("best_d.papers_choice", best=papers["d"], **overlap)
    yield from paragraph(joined([say("best_d.rests", root=f"{K**0.5:.2f}", **fewest), verdict]))


def _as_few(tried: list[Numbers], best: Numbers, weights: str, say: Language) -> str:
    """Name the other d that have as few weights as the best one; nothing where there is none."""
    others = [row["d"] for row in tried if row[weights] == best[weights] and row is not best]
    return say.lines("best_d.also", others=say.listed(others)) if others else ""


def true_square(n: Numbers, say: Language) -> Iterator[str]:
    K, d = n["K"], n["d"]
    k, s, S = n["local_side"], n["dilated_side"], n["support"]
    fp = n["footprint"]
    span = {"d": d, "gaps": s - 1, "span": d * (s - 1)}
    yield from paragraph(
        joined(
            [
                say("square.row", s=s, d=d) if s > 1 else say("square.row_of_one"),
                say("square.derived", further=(k - 1) // 2, S=S, pixels=fp["pixels"], **span),
                say("square.truth", K=K, named=K * K, S=S) if S != K else say("square.as_named"),
                say("square.ways", middle="" if S % 2 else say("square.even"), k=k),
            ]
        )
    )
    yield ""
    by = [say("square.by", pixels=pixels, paths=paths) for paths, pixels in fp["pixels_by_paths"].items()]
    numbers = k * k + s * s
    reached = {"far": s * s, "near": k * k, "paths": fp["paths"], "S": S, "pixels": fp["pixels"], "numbers": numbers}
    family = "square.reached_by_fewer" if numbers < fp["pixels"] else "square.reached"
    no_gap = say("square.no_gap", k=k, d=d) if s > 1 else say("square.no_gap_of_one")
    picture = grid(lka.footprint(K, d).astype("U1"), WIDTH - 2)
    yield from beside(picture, joined([no_gap, say(family, spread=say.lines("lists.between").join(by), **reached)]))


def border(n: Numbers, say: Language) -> Iterator[str]:
    b = n["border"]
    outputs = {"side": b["side"], "outputs": b["positions"], "equal": b["equal"], "differ": b["differ"]}
    yield from paragraph(say("border.tried", S=n["support"], **outputs))
    if not b["differ"]:
        return
    yield ""
    rows = b["rows_from_top"]
    listed = say.listed(rows)
    if rows == list(range(rows[-1] + 1)) and len(rows) > 2:
        listed = say("border.range", last=rows[-1])
    where = say("border.near_the_edge", differ=b["differ"]) if b["equal"] else say("border.edge_everywhere")
    unforeseen = b["differ_unforeseen"]
    outside = say("border.some", count=unforeseen) if unforeseen else say("border.none")
    stripes = "" if rows == list(range(len(rows))) else say("border.stripes")
    seen = {"skipped": n["d"] - 1, "foreseen": b["foreseen"], "rows": listed}
    yield from paragraph(joined([where, say("border.cause", outside=outside, stripes=stripes, **seen)]))
