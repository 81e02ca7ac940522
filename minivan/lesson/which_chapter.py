"""The lesson's chapter on what attention says more of, where or which channel, from what `minivan.lesson.which` computed."""

from __future__ import annotations

from collections.abc import Iterator

from ..typesetting import joined
from .language import Language
from .numbers import Numbers
from .pictures import bar, columns, paragraph, table

BAR = 30  # columns


def chapter(w: Numbers, say: Language) -> Iterator[str]:
    """Yield the chapter's lines from what `minivan.lesson.photo.walk` returned."""
    H, W = w["map"]
    C = w["channels"]
    yield from paragraph(say("which.three_ways", C=C, H=H, W=W, places=H * W, all=C * H * W))
    yield ""
    yield from paragraph(say("which.variance"))
    yield ""
    blocks = w["variance"]["blocks"]
    rows = [
        [each["block"], "{} x {} x {}".format(*each["shape"]), say("which.share", share=percent(each["between_channels"]))]
        for each in blocks
    ]
    bars = [bar(each["between_channels"], 1, BAR) for each in blocks]
    header = [say("which.block"), say("which.attention"), say("which.which")]
    yield from columns(table(header, rows), ["", "", *bars], gap=2)
    yield ""
    yield from paragraph(joined([shares(w["variance"]["stages"], say), chosen(w, say)]))
    yield ""
    answer, then = w["answer"], w["answers_without"]
    without = {"only_which": kept(answer, then["which"], say), "only_where": kept(answer, then["where"], say)}
    yield from paragraph(say("which.without", label=answer["label"], probability=f"{answer['probability']:.3f}", **without))
    if w["measured"]:
        yield ""
        yield from paragraph(bought(w["measured"], say))


def percent(share: float) -> str:
    return f"{100 * share:.0f}"


def shares(stages: list[float], say: Language) -> str:
    """Say of which stages' attention more than half of the variance lies between channels, whatever the shares are."""
    told = say("which.stages", shares=say.listed([percent(share) for share in stages]))
    which, where = ([i for i, share in enumerate(stages, 1) if (share > 0.5) == most] for most in (True, False))
    if not where:
        return joined([told, say("which.everywhere_which")])
    if not which:
        return joined([told, say("which.everywhere_where")])
    many = [
        say.lines(f"which.{'stage' if len(some) == 1 else 'many_stages'}", stages=say.listed(some)) for some in (which, where)
    ]
    return joined([told, say("which.divided", which=many[0], where=many[1])])


def chosen(w: Numbers, say: Language) -> str:
    """Say how far the channel that an earlier chapter shows is from being typical."""
    more = w["variance"]["shown_rank"] - 1
    others = say("which.others_vary", count=more) if more else say("which.no_other")
    return say("which.chosen", C=w["channels"], others=others)


def kept(answer: Numbers, then: Numbers, say: Language) -> str:
    """Say what became of an answer."""
    probability = f"{then['probability']:.3f}"
    if then["label"] == answer["label"]:
        return say("which.stays", probability=probability)
    return say("which.becomes", label=then["label"], probability=probability)


def bought(measured: Numbers, say: Language) -> str:
    """Say what was measured of these weights on many photos."""
    top = {name: 100 * right / measured["images"] for name, right in measured["right"].items()}
    where, which = top["as trained"] - top["which"], top["as trained"] - top["fixed levels"]
    keys = {"as trained": "trained", "which": "which", "where": "where"}
    keys |= {"fixed levels": "fixed_levels", "fixed numbers": "fixed_numbers"}
    right = {key: f"{top[name]:.1f}" for name, key in keys.items()}
    names = [say("which.say_which"), say("which.say_where")]
    more, less = names if which > where else reversed(names)
    points = {"more_points": f"{max(where, which):.1f}", "less_points": f"{min(where, which):.1f}"}
    owed = say("which.owed", more=more, less=less, **points)
    return joined([say("which.measured", images=measured["images"], **right), owed])
