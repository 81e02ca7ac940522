"""The lesson's chapter about one number of a photo, which `minivan.lesson.photo` followed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

from ..geometry import CONV0, CONV_SPATIAL, LARGE_KERNEL
from ..typesetting import joined, to_left
from .language import Language
from .numbers import Numbers
from .pictures import columns, framed, grey, paragraph, signed, table


def chapter(w: Numbers, say: Language) -> Iterator[str]:
    """Yield the chapter's lines from what `minivan.lesson.photo.walk` returned."""
    H, W = w["map"]
    hand, net = w["by_hand"], w["network"]
    network = {name: w[name] for name in ("image", "weights", "classes", "blocks", "stages", "channels", "channel")}
    sides = {"height": w["input"][0], "width": w["input"][1], "H": H, "W": W}
    yield from paragraph(say("photo.network", K=LARGE_KERNEL, d=CONV_SPATIAL.dilation, **network, **sides))
    yield ""
    light = np.asarray(w["maps"]["seen"].convert("L").resize((W, H), Image.Resampling.BOX)) / 255
    scale = abs(w["maps"]["attention"]).max()
    for line in columns(framed(grey(light, 34)), framed(signed(w["maps"]["attention"], scale, 34))):
        yield "  " + line
    yield ""
    place = {"row": w["row"], "column": w["column"], "channel": w["channel"]}
    yield from paragraph(say("photo.near", products=_of(hand["near_on_map"], CONV0.taps, say), **place))
    yield ""
    yield from products(_named(w, hand["near_terms"], say), hand["near_bias"], say)
    yield ""
    yield from paragraph(say("photo.far", products=_of(hand["far_on_map"], CONV_SPATIAL.taps, say)))
    yield ""
    yield from products(_named(w, hand["far_terms"], say), hand["far_bias"], say)
    yield ""
    yield from paragraph(say("photo.mix", channels=w["channels"]))
    yield ""
    mixed = [(say("photo.channel", channel=c), value, weight) for c, value, weight in hand["mix_terms"]]
    yield from products(mixed, hand["mix_bias"], say)
    yield ""
    yield from paragraph(say("photo.once_more"))
    yield ""
    names = {
        "conv0": say("photo.step_1"),
        "conv_spatial": say("photo.step_2", met=hand["far_on_map"], taps=CONV_SPATIAL.taps),
        "conv1": say("photo.step_3", channels=w["channels"]),
        "gated": say("photo.gate", u=f"{hand['u']:+.5f}", attention=f"{hand['conv1']:+.5f}"),
    }
    rows = [[to_left(text, 46), f"{hand[name]:+.5f}", f"{net[name]:+.5f}"] for name, text in names.items()]
    yield from table(["", say("photo.by_hand"), say("photo.of_network")], rows)
    yield ""
    apart = w["furthest_apart"]
    found = {
        "lowest": f"{w['lowest']:.2f}",
        "highest": f"{w['highest']:+.2f}",
        "negative": f"{100 * w['negative_share']:.0f}",
        "above_one": f"{100 * w['above_one_share']:.0f}",
        "doubled": f"{w['doubled']:.2f}",
    }
    agreed = say("photo.apart", apart=f"{apart:.0e}") if apart else say("photo.same")
    any_sign = say("photo.any_sign", values=w["attention_values"], blocks=w["blocks"], **found)
    yield from paragraph(joined([agreed, any_sign]))
    yield ""
    last, taps = w["last_map"], CONV_SPATIAL.taps
    yield from paragraph(say("photo.last_maps", H=last[0], W=last[1], taps=taps, met=w["last_taps"]))
    yield ""
    answer, opened = w["answer"], w["answer_with_open_gates"]
    label, then = answer["label"], f"{opened['probability']:.3f}"
    if label != opened["label"]:
        left = f"{w['answer_then']:.3f}"
        told = say("photo.other_answer", opened=opened["label"], opened_probability=then, label=label, left=left)
    else:
        told = say("photo.stays", opened_probability=then)
    yield from paragraph(say("photo.matters", label=label, probability=f"{answer['probability']:.3f}", then=told))


def products(terms: list[tuple[str, float, float]], bias: float, say: Language, shown: int = 4) -> Iterator[str]:
    """Yield a sum's lines: the first products, where each was read, the others in one line, and the bias."""
    lines = []
    for where, value, weight in terms[:shown]:
        made_of = say.lines("photo.product", value=f"{value:+9.5f}", weight=f"{weight:+.5f}")
        lines.append((where, made_of, f"{value * weight:+.5f}"))
    rest = terms[shown:]
    if rest:
        others = sum(value * weight for _, value, weight in rest)
        lines.append((say("photo.others", count=len(rest)), "", f"{others:+.5f}"))
    lines.append((say("photo.bias"), "", f"{bias:+.5f}"))
    for where, made_of, result in lines:
        yield f"  {to_left(where, 18)}  {to_left(made_of, 27)} = {result}"


def _named(w: Numbers, terms: list[tuple[int, int, float, float]], say: Language) -> list[tuple[str, float, float]]:
    """Return the products of a kernel with the place that each reads, in words."""
    places = [(w["row"] + r, w["column"] + c, value, weight) for r, c, value, weight in terms]
    return [(say("photo.place", row=row, column=column), value, weight) for row, column, value, weight in places]


def _of(met: int, taps: int, say: Language) -> str:
    """Return how many products there are, where some of a kernel's weights may hang over the edge."""
    return say("photo.products", met=met) if met == taps else say("photo.products_off", met=met, off=taps - met)
