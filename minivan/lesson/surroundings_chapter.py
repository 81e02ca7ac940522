"""The lesson's chapter on what one attention value is made of, which `minivan.lesson.surroundings` split."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

from .numbers import Numbers
from .pictures import bar, columns, framed, grey, paragraph, signed, table


def chapter(w: Numbers) -> Iterator[str]:
    """Yield the chapter's lines from what `minivan.lesson.photo.walk` returned."""
    s, mean = w["surroundings"], w["average"]
    H, W = w["map"]
    bias, own, around = s["bias"], s["own"], s["around"]
    yield from paragraph(
        f"""The three steps only add and weigh: nothing in them bends a number. So the attention value of row {w["row"]}, column
        {w["column"]} can be taken apart without a remainder into what each position of the map adds to it, all its
        {w["channels"]} channels together, and what the biases would give if the map were zero everywhere:"""
    )
    yield ""
    rows = {"the biases": bias, "its own position": own, "everything else": around}
    rows["together: the attention"] = sum(rows.values())
    yield from table(["", "adds"], [[name.ljust(24), f"{value:+.5f}"] for name, value in rows.items()])
    yield ""
    yield from paragraph(
        verdict(own, around)
        + """ Where that comes from: the photo again, and beside it what each position
        adds, in the signs of the picture above, the largest being their measure; @@ is the position itself."""
    )
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
    yield from paragraph(
        """By distance: 0 is the position itself, 1 the eight around it, and so on. In the middle what they add to this value;
        on the right how much they add to any value of this block on this photo, whatever its sign, on average:"""
    )
    yield ""
    here = s["by_distance"] + [0.0] * (len(mean["by_distance"]) - len(s["by_distance"]))
    average = [*mean["by_distance"]]
    lines = table(
        ["distance", "this value", "average"],
        [[f"{k}", f"{a:+.5f}", f"{b:.5f}"] for k, (a, b) in enumerate(zip(here, average, strict=True))],
    )
    yield from columns(lines, ["", "", *(bar(value, max(average), 30) for value in average)], gap=2)
    yield ""
    yield from paragraph(
        f"""Of all attention values of this block, {100 * mean["overruled"]:.0f} % are overruled: their own position adds a
        number of one sign, and with the surroundings, the biases left out, it is of the other. A kernel of 1 x 1 could not
        have done that: the own position is one vote among many."""
    )


def verdict(own: float, around: float) -> str:
    """Say in a sentence how a value's own place and its surroundings stand to each other."""
    yes, no = ("yes", "no") if own > 0 else ("no", "yes")
    if own * around >= 0:
        return f"Its own position says {yes}, and its surroundings say so too."
    if abs(around) > abs(own):
        return f"Its own position says {yes}, and its surroundings overrule it: {no}."
    return f"Its own position says {yes}; its surroundings say {no}, and do not prevail."
