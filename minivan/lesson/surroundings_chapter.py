"""The lesson's chapter on what one attention value is made of, which `minivan.lesson.surroundings` split."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

from ..typesetting import joined, to_left
from .language import Language
from .numbers import Numbers
from .pictures import bar, columns, framed, grey, paragraph, signed, table


def chapter(w: Numbers, say: Language) -> Iterator[str]:
    """Yield the chapter's lines from what `minivan.lesson.photo.walk` returned."""
    s, mean = w["surroundings"], w["average"]
    H, W = w["map"]
    bias, own, around = s["bias"], s["own"], s["around"]
    yield from paragraph(say("surroundings.split", row=w["row"], column=w["column"], channels=w["channels"]))
    yield ""
    parts = (("surroundings.biases", bias), ("surroundings.own", own), ("surroundings.else", around))
    rows = [(say(part), value) for part, value in parts]
    rows.append((say("surroundings.together"), bias + own + around))
    yield from table(["", say("surroundings.adds")], [[to_left(name, 24), f"{value:+.5f}"] for name, value in rows])
    yield ""
    yield from paragraph(joined([verdict(own, around, say), say("surroundings.pictures")]))
    yield ""
    light = np.asarray(w["maps"]["seen"].convert("L").resize((W, H), Image.Resampling.BOX)) / 255
    places = w["maps"]["sources"]
    picture = signed(places, abs(places).max(), 34)
    if 2 * W <= 34:  # else rows and columns were left out, and its own may be among them
        line, at = picture[w["row"]], 2 * w["column"]
        picture[w["row"]] = line[:at] + "@@" + line[at + 2 :]
    for line in columns(framed(grey(light, 34)), framed(picture)):
        yield "  " + line
    yield ""
    yield from paragraph(say("surroundings.by_distance"))
    yield ""
    here = s["by_distance"] + [0.0] * (len(mean["by_distance"]) - len(s["by_distance"]))
    average = [*mean["by_distance"]]
    lines = table(
        [say("surroundings.distance"), say("surroundings.this_value"), say("surroundings.average")],
        [[f"{k}", f"{a:+.5f}", f"{b:.5f}"] for k, (a, b) in enumerate(zip(here, average, strict=True))],
    )
    yield from columns(lines, ["", "", *(bar(value, max(average), 30) for value in average)], gap=2)
    yield ""
    yield from paragraph(say("surroundings.overruled", share=f"{100 * mean['overruled']:.0f}"))


def verdict(own: float, around: float, say: Language) -> str:
    """Say in a sentence how a value's own place and its surroundings stand to each other."""
    yes, no = say("surroundings.yes"), say("surroundings.no")
    if own <= 0:
        yes, no = no, yes
    if own * around >= 0:
        return say("surroundings.agree", yes=yes)
    return say("surroundings.overrule" if abs(around) > abs(own) else "surroundings.prevail_not", yes=yes, no=no)
