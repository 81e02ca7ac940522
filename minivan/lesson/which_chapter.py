"""The lesson's chapter on what attention says more of, where or which channel, from what `minivan.lesson.which` computed."""

from __future__ import annotations

from collections.abc import Iterator

from .numbers import Numbers
from .pictures import bar, columns, paragraph, table

BAR = 30  # columns


def chapter(w: Numbers) -> Iterator[str]:
    """Yield the chapter's lines from what `minivan.lesson.photo.walk` returned."""
    H, W = w["map"]
    C = w["channels"]
    yield from paragraph(
        f"""There are three ways to give attention out. *SENet*, a network of 2017, weighs channels: C numbers, each for a whole
        map, so that it says which. Self-attention weighs positions: for each position H x W numbers, each for all channels
        of another one, so that it says where. LKA has a number for every channel at every position, C x H x W, and can say
        both. On the first block's map these are {C}, {H} x {W} = {H * W:,} and {C} x {H} x {W} = {C * H * W:,} numbers."""
    )
    yield ""
    yield from paragraph(
        """What do trained weights make of that freedom? The *variance* of a block's attention values, the mean of their squared
        distances from their mean, is the sum of two, without a remainder: how far apart the channels lie, each taken as its
        mean over the map (which), and how far the positions of a channel lie from that mean (where). The share of the first,
        on this photo:"""
    )
    yield ""
    blocks = w["variance"]["blocks"]
    rows = [
        [each["block"], "{} x {} x {}".format(*each["shape"]), f"{100 * each['between_channels']:.0f} %"] for each in blocks
    ]
    bars = [bar(each["between_channels"], 1, BAR) for each in blocks]
    yield from columns(table(["block", "attention", "which"], rows), ["", "", *bars], gap=2)
    yield ""
    yield from paragraph(shares(w["variance"]["stages"]) + " " + chosen(w))
    yield ""
    answer, then = w["answer"], w["answers_without"]
    yield from paragraph(
        f"""What varies little may still decide. So leave one of the two out, in every block: in the place of each map its mean,
        which leaves only which; or in the place of all channels the mean of them, which leaves only where. The answer,
        {answer["label"]} at {answer["probability"]:.3f}, {kept(answer, then["which"])} with the first, and
        {kept(answer, then["where"])} with the second."""
    )
    if w["measured"]:
        yield ""
        yield from paragraph(bought(w["measured"]))


def shares(stages: list[float]) -> str:
    """Say of which stages' attention more than half of the variance lies between channels, whatever the shares are."""
    told = f"Stage by stage it is {listed([f'{100 * share:.0f}' for share in stages])} %."
    which, where = ([str(i) for i, share in enumerate(stages, 1) if (share > 0.5) == most] for most in (True, False))
    if not where:
        return f"{told} In every stage attention says more about which channel it is than about where."
    if not which:
        return f"{told} In every stage attention says more about where than about which channel it is."
    return f"""{told} So attention says more about which channel it is in {counted_stages(which)}, and more about where in
        {counted_stages(where)}."""


def listed(words: list[str]) -> str:
    """Set words in a row: 'a', 'a and b', 'a, b and c'."""
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last


def counted_stages(numbers: list[str]) -> str:
    return f"stage{'s' if len(numbers) > 1 else ''} {listed(numbers)}"


def chosen(w: Numbers) -> str:
    """Say how far the channel that an earlier chapter shows is from being typical."""
    more = w["variance"]["shown_rank"] - 1
    others = "no other varies" if more == 0 else "one other varies" if more == 1 else f"{more} others vary"
    return f"""The map of chapter 10 is one channel of {w["channels"]}, chosen for lifting much and turning much over; {others}
        more from position to position. Do not take it for all."""


def kept(answer: Numbers, then: Numbers) -> str:
    """Say what became of an answer."""
    if then["label"] == answer["label"]:
        return f"stays, at {then['probability']:.3f},"
    return f"becomes {then['label']} at {then['probability']:.3f}"


def bought(measured: Numbers) -> str:
    """Say what was measured of these weights on many photos."""
    top = {name: 100 * right / measured["images"] for name, right in measured["right"].items()}
    where, which = top["as trained"] - top["which"], top["as trained"] - top["fixed levels"]
    more, less = ("which channels", "where") if which > where else ("where", "which channels")
    return f"""Over many photos: of {measured["images"]:,} labelled ones these weights get {top["as trained"]:.1f} % right;
        without where, each map its mean, {top["which"]:.1f} %. One map for all channels leaves {top["where"]:.1f} %: it has
        lost, too, that channels differ in any photo. To take from a photo no more than its say in which channels, each map
        keeps its shape and gets the mean that it has in other photos: {top["fixed levels"]:.1f} %. With one number for each
        channel, the same in all photos, it is {top["fixed numbers"]:.1f} %. So these answers owe more to a photo's say in
        {more}, worth {max(where, which):.1f} points, than to its say in {less}, worth {min(where, which):.1f}."""
