"""The lesson's last chapter: the text about one number of a photo, which `minivan.lesson.photo` followed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

from ..geometry import CONV0, CONV_SPATIAL, LARGE_KERNEL
from .numbers import Numbers
from .pictures import columns, framed, grey, paragraph, signed, table


def chapter(w: Numbers) -> Iterator[str]:
    """Yield the chapter's lines from what `minivan.lesson.photo.walk` returned."""
    H, W = w["map"]
    hand, net = w["by_hand"], w["network"]
    yield from paragraph(
        f"""Now {w["image"]}, through a network that was really trained ({w["weights"]}): it tells {w["classes"]} kinds of
        things apart, its *classes*. It has {w["blocks"]} *blocks*, each one LKA with pointwise layers around it and always
        K = {LARGE_KERNEL} and d = {CONV_SPATIAL.dilation}, in {w["stages"]} *stages*, each with smaller maps than the last.
        The photo goes in at {w["input"][0]} x {w["input"][1]}; the first layer makes a map of {H} x {W} positions with
        {w["channels"]} channels. On the left the photo at that size. On the right channel {w["channel"]} of the first
        block's attention, of all the one that lifts much and turns much over: '#'
        far above zero, '+' above, blank near zero, '-' below, '=' far below."""
    )
    yield ""
    light = np.asarray(w["maps"]["seen"].convert("L").resize((W, H), Image.Resampling.BOX)) / 255
    scale = abs(w["maps"]["attention"]).max()
    for line in columns(framed(grey(light, 34)), framed(signed(w["maps"]["attention"], scale, 34))):
        yield "  " + line
    yield ""
    yield from paragraph(
        f"""Follow this channel's attention value furthest from zero: row {w["row"]}, column {w["column"]}, counted from 0
        at the top and at the left. Step 1 adds {_of(hand["near_on_map"], CONV0.taps)} of channel {w["channel"]}, here the
        largest first, and its bias:"""
    )
    yield ""
    yield from products(_named(w, hand["near_terms"]), hand["near_bias"])
    yield ""
    yield from paragraph(f"Step 2 does the same on the map that step 1 made, {_of(hand['far_on_map'], CONV_SPATIAL.taps)}:")
    yield ""
    yield from products(_named(w, hand["far_terms"]), hand["far_bias"])
    yield ""
    yield from paragraph(f"Step 3 stays at the place and mixes what step 2 made there in all {w['channels']} channels:")
    yield ""
    yield from products([(f"channel {c}", value, weight) for c, value, weight in hand["mix_terms"]], hand["mix_bias"])
    yield ""
    yield from paragraph("All the steps once more, computed by hand on the left, as the network had it on the right:")
    yield ""
    names = {
        "conv0": "step 1, near",
        "conv_spatial": f"step 2, far ({hand['far_on_map']} of {CONV_SPATIAL.taps} on the map)",
        "conv1": f"step 3, {w['channels']} channels mixed: the attention",
        "gated": f"the gate: {hand['u']:+.5f} x {hand['conv1']:+.5f}",
    }
    rows = [[text.ljust(46), f"{hand[name]:+.5f}", f"{net[name]:+.5f}"] for name, text in names.items()]
    yield from table(["", "by hand", "network"], rows)
    yield ""
    apart = f"at most {w['furthest_apart']:.0e} apart, rounding" if w["furthest_apart"] else "the same to the last digit"
    yield from paragraph(
        f"""They are {apart}. In this block attention runs from {w["lowest"]:.2f} to
        {w["highest"]:+.2f}; of all {w["attention_values"]:,} attention values of the {w["blocks"]} blocks
        {100 * w["negative_share"]:.0f} % are negative, and {100 * w["above_one_share"]:.0f} % lie further than 1 from zero.
        No sigmoid and no softmax could have said that. And twice the input gives {w["doubled"]:.2f} times the output of this
        gate, measured by the root of the sum of squares: the 4 of chapter 9, but for the biases."""
    )
    yield ""
    yield from paragraph(
        f"""And one thing hardly anyone expects: maps shrink from stage to stage, the kernels do not. In the last blocks the map
        is {w["last_map"][0]} x {w["last_map"][1]}, and of the {CONV_SPATIAL.taps} weights of step 2 at most {w["last_taps"]}
        can meet it; the others multiply padding. The large kernel earns its keep on large maps."""
    )
    yield ""
    answer, opened = w["answer"], w["answer_with_open_gates"]
    changed = answer["label"] != opened["label"]
    left = f"leaves {answer['label']} {w['answer_then']:.3f}"
    then = f"answers {opened['label']} instead, at {opened['probability']:.3f}, and {left}"
    yield from paragraph(
        f"""Does the gate matter? The network's answer is {answer["label"]}, with probability {answer["probability"]:.3f}; the
        probabilities of all classes add up to 1. With
        every attention value replaced by 1, so that the gates stand open and the large kernels have no say, it
        {then if changed else f"stays with it, at {opened['probability']:.3f}"}."""
    )


def products(terms: list[tuple[str, float, float]], bias: float, shown: int = 4) -> Iterator[str]:
    """Yield a sum's lines: the first products, where each was read, the others in one line, and the bias."""
    for where, value, weight in terms[:shown]:
        yield f"  {where:<18}  {value:+9.5f} x weight {weight:+.5f} = {value * weight:+.5f}"
    rest = terms[shown:]
    if rest:
        yield f"  {f'the other {len(rest)}':<18}  {'':<27} = {sum(value * weight for _, value, weight in rest):+.5f}"
    yield f"  {'and the bias':<18}  {'':<27} = {bias:+.5f}"


def _named(w: Numbers, terms: list[tuple[int, int, float, float]]) -> list[tuple[str, float, float]]:
    """Return the products of a kernel with the place that each reads, in words."""
    return [(f"row {w['row'] + r}, column {w['column'] + c}", value, weight) for r, c, value, weight in terms]


def _of(met: int, taps: int) -> str:
    """Return how many products there are, where some of a kernel's weights may hang over the edge."""
    return f"{met} products" if met == taps else f"{met} products (its other {taps - met} weights meet padding)"
