"""How much the maps of the bundled weights mean: the measured rows of docs/explain.md, written there. After these change:

    python benchmarks/maps.py

Some ten minutes on two cores; needs the extra `test` and MINIVAN_LABELLED (see make_labelled.py). The measures themselves,
and what the tests demand of them, are in tests/support/sanity.py and tests/explain.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support import sanity  # noqa: E402

import minivan  # noqa: E402
from minivan import explain, labelled  # noqa: E402
from minivan.checkpoint.hub import bundled  # noqa: E402
from minivan.van import VAN  # noqa: E402

PAGE = ROOT / "docs" / "explain.md"


def rewrite(text: str, pattern: str, said: str) -> str:
    """Replace what the pattern matches, once; SystemExit where it does not match once."""
    text, found = re.subn(pattern, lambda _: said, text, flags=re.DOTALL)
    if found != 1:
        sys.exit(f"{PAGE}: the pattern {pattern!r} was found {found} times, not once")
    return text


def checks(model: VAN) -> dict[str, str]:
    """Measure each check on the labelled photographs: how its row begins -> what was measured."""
    x, target = labelled.inputs(labelled.given(), model.card)
    tenth = x[::10], target[::10]
    head, stage = (sanity.shuffled(model, *tenth, part) for part in sanity.PARTS)
    pairs = sanity.side_by_side(model, x, target)
    blurred, grey = (sanity.falls(model, x, target, blurred) for blurred in (True, False))
    areas = sanity.areas(model, x, target)
    fall = {name: [f"{found[name].mean():.3f}" for name in ("top", "moved", "scattered")]
            for name, found in (("blurred", blurred), ("grey", grey))}  # fmt: skip
    n = f"{len(x):,}"
    left, right, ordered = 100 * pairs.left.mean(), 100 * pairs.right.mean(), 100 * pairs.in_order
    return {
        "head shuffled": f"| head shuffled, stage 4 shuffled ({len(tenth[0])} images) "
        f"| maps correlate by {head:.2f}, {stage:.2f} with their own |",
        r"\d+ pairs": f"| {len(pairs.left)} pairs of recognised photos side by side | {left:.0f} % of the left class's map "
        f"lies left, {right:.0f} % of the right class's; in the right order in {ordered:.0f} % |",
        "a tenth of the pixels": f"| a tenth of the pixels blurred, {n} labelled images: the class's probability "
        f"({blurred['whole'].mean():.3f}) falls by | {{}} top tenth, {{}} same shape elsewhere, {{}} scattered pixels |".format(
            *fall["blurred"]
        ),
        "the same with grey": "| the same with grey in place of blur | {} top tenth, {} same shape elsewhere, {} scattered "
        "pixels |".format(*fall["grey"]),
        "deletion area": f"| deletion area, {n} images (lower is better) | {areas['deletion', 'map']:.3f} by the map, "
        f"{areas['deletion', 'chance']:.3f} same shapes elsewhere |",
        "insertion area": f"| insertion area (higher is better) | {areas['insertion', 'map']:.3f} by the map, "
        f"{areas['insertion', 'chance']:.3f} same shapes elsewhere |",
    }


def field_rows(model: VAN) -> dict[str, str]:
    """Measure the receptive fields of the four stages: how a row begins -> the row."""
    fields = explain.fields(model)
    seen = {field.path: field.side for field in fields.theory}
    return {
        f"stage {i} \\|": f"| stage {i} | {seen[path]:,} | " + " | ".join(f"{100 * ratio:.1f} %" for ratio in ratios) + " |"
        for i, (path, ratios) in enumerate(fields.ratios.items(), 1)
    }


def sentences(model: VAN) -> dict[str, str]:
    """Say how the cat is seen, in four.jpg and by itself: pattern of a number and its surroundings -> what it is now."""
    share, area = sanity.share_in_box(model, ROOT / "examples" / "four.jpg", "Egyptian cat", sanity.CAT)[:2]
    seen, four = (explain.look(model, ROOT / "examples" / f"{name}.jpg") for name in ("cat", "four"))
    trained, larger, sheet = (explain.probabilities(model(x))[0] for x in (seen.as_trained, seen.x, four.as_trained))
    likeliest, taken = (model.card.label(int(p.argmax())).short for p in (larger, sheet))
    if model.card.label(int(trained.argmax())).short != "Egyptian cat":
        sys.exit("cat.jpg is another class to these weights: docs/explain.md has to be written anew")
    return {
        r"\d+ % of the map of Egyptian cat": f"{100 * share:.0f} % of the map of Egyptian cat",
        r"a box of \d+ % of the picture": f"a box of {100 * area:.0f} % of the picture",
        r"calls it an Egyptian cat \(\d+ %\)": f"calls it an Egyptian cat ({100 * trained.max():.0f} %)",
        r"is a [^(]* \(\d+ %\) to the\n": f"is a {taken} ({100 * sheet.max():.0f} %) to the\n",
        r"its likeliest class is [^(]*\(\d+ %\)": f"its likeliest class is {likeliest} ({100 * larger.max():.0f} %)",
    }


def main() -> None:
    path = bundled()[0]
    text = PAGE.read_text(encoding="utf-8")
    try:
        measured = checks(minivan.load(path, engine="fast")) | field_rows(minivan.load(path, engine="exact"))
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    for pattern, said in sentences(minivan.load(path, engine="fast")).items():
        text = rewrite(text, pattern, said)
    for start, row in measured.items():
        text = rewrite(text, rf"\| {start}[^\n]*", row)
        print(row)
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
