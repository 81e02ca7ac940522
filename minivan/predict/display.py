"""How an answer looks: as a table of text, and as HTML with a small picture of what the network saw, for notebooks.

What comes from files, names of images and of classes, is escaped in both. The HTML needs nothing beside itself.
"""

from __future__ import annotations

import base64
import html
import io
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import printable, shortened

if TYPE_CHECKING:
    from PIL import Image

    from ..image import Bands
    from .answers import Answer, Guess, Unusable

BAR = 24  # characters of a bar at probability 1
LABEL = 32  # characters of a class's name
NAME = 60  # and of an image's
FEW = 3  # classes in a line
SIDE = 96  # pixels of a thumbnail
QUALITY = 80  # of its JPEG: some 3 kB
MOST_SHOWN = 20  # answers of a list in a notebook

CARD = "display:flex;gap:12px;align-items:center;margin:4px 0;font:13px/1.5 system-ui,sans-serif"
ROWS = "display:grid;grid-template-columns:auto auto 120px;gap:1px 10px;align-items:center"
FAINT = "opacity:.65;font-size:12px"


def thumbnail(seen: Image.Image | Bands) -> bytes:
    """Return the square that a network sees as a small JPEG."""
    from ..image import Bands

    picture = seen.shown() if isinstance(seen, Bands) else seen.copy()
    picture.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def line(answer: Answer) -> str:
    """Return an answer in a line: the likeliest classes."""
    few = [f"{_first(guess)} {guess.probability:.1%}" for guess in answer.top[:FEW]]
    more = ["..."] if len(answer.top) > FEW else []
    unsure = "not sure: " if answer.sure is False else ""
    return f"{_image(answer)}: {unsure}{', '.join(few + more)}"


def text(answer: Answer) -> str:
    """Return an answer as a table with a bar for each class."""
    block, dot = ("█", "·") if _utf8() else ("#", "-")
    width = max(len(_name(guess)) for guess in answer.top)
    rows = [_image(answer)]
    for rank, guess in enumerate(answer.top, 1):
        bar = block * round(guess.probability * BAR)
        rows.append(f"{rank:>2}  {_name(guess):<{width}}  {guess.probability:6.1%}  {bar}".rstrip())
    return "\n".join([*rows, f"    {f' {dot} '.join(_remarks(answer))}"])


def page(answer: Answer) -> str:
    """Return an answer as HTML."""
    rows = "".join(map(_row, answer.top))
    below = html.escape(" · ".join(_remarks(answer)))
    picture = base64.b64encode(answer.thumbnail).decode()
    image = f'<img src="data:image/jpeg;base64,{picture}" width="{SIDE}" alt="" style="border-radius:4px">' if picture else ""
    name = f"<div><b>{html.escape(_image(answer))}</b></div>"
    beside = f'{name}<div style="{ROWS}">{rows}</div><div style="{FAINT}">{below}</div>'
    return f'<div style="{CARD}">{image}<div>{beside}</div></div>'


def fault_page(answer: Unusable) -> str:
    """Return as HTML why there is no answer."""
    why = html.escape(printable(answer.fault))
    return f'<div style="{CARD}"><div><b>{html.escape(_image(answer))}</b><div style="color:#c0392b">{why}</div></div></div>'


def pages(answers: Sequence[Answer | Unusable]) -> str:
    """Return the first of several answers as HTML, and how many more there are."""
    shown = "".join(fault_page(each) if each.fault else page(each) for each in answers[:MOST_SHOWN])  # type: ignore[arg-type]
    more = len(answers) - MOST_SHOWN
    return shown + (f'<div style="{FAINT}">and {more:,} more</div>' if more > 0 else "")


def _row(guess: Guess) -> str:
    label = html.escape(_name(guess))
    share = f"{100 * guess.probability:.1f}%"
    bar = f'<div style="background:#4c8bc4;border-radius:2px;height:9px;width:{share}"></div>'
    return f'<div>{label}</div><div style="text-align:right">{share}</div><div>{bar}</div>'


def _remarks(answer: Answer) -> list[str]:
    """Return what is to be said beside the classes: that it is not sure, which weights answered, on which engine."""
    unsure = ["not sure"] if answer.sure is False else []
    itself = ["each class for itself (sigmoid)"] if answer.activation == "sigmoid" else []
    told = [printable(answer.model), f"engine {printable(answer.engine)}", f"{answer.milliseconds:.0f} ms"]
    return [*unsure, *itself, *told, *map(printable, answer.notes)]


def _name(guess: Guess) -> str:
    return printable(shortened(guess.label, LABEL))


def _first(guess: Guess) -> str:
    """Return the first of a class's names, 'tabby' of 'tabby, tabby cat'."""
    return printable(shortened(guess.label.partition(",")[0], LABEL))


def _image(answer: Answer | Unusable) -> str:
    return printable(shortened(answer.image, NAME))


def _utf8() -> bool:
    """Whether standard output takes every character."""
    return (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "").startswith("utf")
