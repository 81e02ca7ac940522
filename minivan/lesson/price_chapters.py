"""The lesson's chapters on what attention is, and on what looking far costs."""

from __future__ import annotations

from collections.abc import Iterator

from ..geometry import CONV_SPATIAL, LARGE_KERNEL, PATCH_EMBEDS
from ..typesetting import joined
from .language import Language
from .numbers import Numbers
from .pictures import paragraph, table
from .wording import all_channels, narrow_unit

PAPERS_OWN = LARGE_KERNEL, CONV_SPATIAL.dilation


def words(n: Numbers, say: Language) -> Iterator[str]:
    size, positions, C = n["size"], n["positions"], n["C"]
    yield from paragraph(say("words.map", size=size, positions=positions, C=C, numbers=positions * C))
    yield ""
    yield from paragraph(say("words.convolution"))


def neighbours(n: Numbers, say: Language) -> Iterator[str]:
    r, K = n["reach"], n["K"]
    ours = say("neighbours.ours", K=K, seen=r["seen_by_K"], layers=r["layers_of_K"]) if K > 1 else say("neighbours.own")
    yield from paragraph(say("neighbours.attention"))
    yield ""
    layers = say("neighbours.layers", seen=r["seen_by_3x3"], size=n["size"], layers=r["layers_of_3x3"])
    yield from paragraph(joined([layers, ours]))


def prices(n: Numbers, say: Language) -> Iterator[str]:
    C, K, size = n["C"], n["K"], n["size"]
    here = n["growth"][1]
    smallest = min(n["growth"][0]["multiply_adds"].values())
    unit, divisor = narrow_unit(smallest, say)
    digits = int(divisor > 1 and smallest < 100 * divisor)
    pairs = {"positions": here["positions"], "scores": here["scores"]}
    yield from paragraph(say("prices.self_attention", C=C, total=here["multiply_adds"]["self_attention"], **pairs))
    yield ""
    weights = {"weights": n["forms"]["parameters"]["dense"], "lka": n["forms"]["parameters"]["lka"]}
    yield from paragraph(say("prices.dense", K=K, taps=K * K, C=C, channels=all_channels(C, say), unit=unit, **weights))
    yield ""
    rows = []
    for row in n["growth"]:
        costs = row["multiply_adds"]
        cells = (f"{costs[form] / divisor:,.{digits}f}" for form in ("self_attention", "van_attention", "dense", "lka"))
        rows.append([f"{row['side']} x {row['side']}", f"{row['positions']:,}", *cells])
    forms = [say.lines("prices.of_self_attention"), say.lines("prices.of_van"), say.lines("prices.of_dense", K=K)]
    yield from table([say("prices.map"), say("prices.positions"), *forms, say.lines("prices.of_lka")], rows)
    yield ""
    last, half = n["growth"][2]["multiply_adds"], n["growth"][1]["multiply_adds"]
    grown = {
        "linear": f"{last['lka'] / half['lka']:.1f}",
        "quadratic": f"{last['self_attention'] / half['self_attention']:.1f}",
        "smallest": _ratio(n["growth"][0]),
        "largest": _ratio(n["growth"][3]),
    }
    times = half["dense"] / half["lka"]
    compared = say("prices.saves_nothing") if times < 1.5 else say("prices.starts_high", times=f"{times:,.0f}")
    yield from paragraph(joined([say("prices.growth", size=size, twice=2 * size, **grown), compared]))
    yield ""
    stride = PATCH_EMBEDS[0].stride
    yield from paragraph(say("prices.stride", stride=stride, side=stride * size, size=size))


def _ratio(row: Numbers) -> str:
    return f"{row['multiply_adds']['self_attention'] / row['multiply_adds']['van_attention']:,.1f}"


def cost_table(n: Numbers, say: Language) -> Iterator[str]:
    K, d = n["K"], n["d"]
    paper = say("paper.pair", K=PAPERS_OWN[0], d=PAPERS_OWN[1])
    yield from paragraph(say("widths.mobilenet", K=K))
    yield ""
    rows = []
    for row in n["paper_table"]:
        p = row["parameters"]
        rows.append(
            [f"{row['C']}"]
            + [f"{p[form]:,}" for form in ("dense", "mobilenet", "lka")]
            + [f"{p[form] / p['lka']:.1f}" for form in ("dense", "mobilenet")]
        )
    forms = [say.lines("prices.of_dense", K=K), "MobileNet", say.lines("widths.of_lka", d=d)]
    yield from table(["C", *forms, say.lines("widths.dense_ratio"), say.lines("widths.mobilenet_ratio")], rows)
    yield ""
    narrow, wide = n["paper_table"][0], n["paper_table"][-1]
    shares = [100 * row["pointwise_parameters"] / row["parameters"]["lka"] for row in (narrow, wide)]
    at = {"narrow": narrow["C"], "narrow_share": f"{shares[0]:.0f}", "wide": wide["C"], "wide_share": f"{shares[1]:.0f}"}
    told = say("widths.shares", **at)
    told = say("widths.surprise", shares=told) if shares[1] > 50 else say("widths.far_is_dear", shares=told, paper=paper)
    yield from paragraph(joined([*([say("widths.papers_own", paper=paper)] if (K, d) == PAPERS_OWN else []), told]))
