"""How a segmentation looks: a palette picture, colours over the photo with a legend below, a line, a table, HTML. Pillow alone.

Names of classes and of photos come from files: they are escaped in all of these.
"""

from __future__ import annotations

import base64
import html
import io
import math
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from ..errors import printable, shortened
from ..palette import Colour
from ..predict.display import FAINT, MOST_SHOWN, fault_page
from .windows import Mask

if TYPE_CHECKING:
    from ..predict import Unusable
    from .result import Area, Segmentation

OPACITY = 0.55  # of the colours over the photo
LEGEND = 24  # classes that a legend names, the largest ones
NAME = 28  # characters of a class's name there
SMALLEST_TEXT = 14  # pixels; on large photos text is the larger
TEXT_SHARE = 48  # of a photo's mean side that a line of text is one part of
FEW = 3  # classes in a line
IMAGE = 60  # characters of a photo's name
SIDE = 320  # pixels of the longer side of a notebook's picture
NO_LETTER = "\uffff"  # which no font has: what is drawn for it stands for whatever a font has not
BACKGROUND, TEXT, FRAME = (255, 255, 255), (25, 25, 25), (120, 120, 120)
STRIP = 1 << 20  # pixels that are coloured at once


def palette_image(mask: Mask, palette: Sequence[Colour]) -> Image.Image:
    """Return a mask (H, W) as a picture of mode P whose values are classes."""
    picture = Image.fromarray(mask)
    picture.putpalette([value for colour in palette for value in colour])
    return picture


def coloured(photo: Image.Image, mask: Image.Image, opacity: float) -> Image.Image:
    """Return an RGB photo with the colours of a mask's palette over it. ValueError for an opacity outside 0..1."""
    if not 0 <= opacity <= 1:
        raise ValueError(f"an opacity is from 0 to 1, got {opacity}")
    drawn = photo.copy()
    rows = max(1, STRIP // max(1, photo.width))
    for top in range(0, photo.height, rows):
        strip = (0, top, photo.width, min(top + rows, photo.height))
        drawn.paste(Image.blend(photo.crop(strip), mask.crop(strip).convert("RGB"), opacity), strip[:2])
    return drawn


def with_legend(picture: Image.Image, areas: Sequence[Area], palette: Sequence[Colour]) -> Image.Image:
    """Return a picture with what its colours mean below it: each class's colour, name and share of the area.

    The text has 14 pixels at least, whatever the picture's size; one that is narrower than its lines stands on a wider sheet.
    """
    size = max(SMALLEST_TEXT, round(math.sqrt(picture.width * picture.height) / TEXT_SHARE))
    font = ImageFont.load_default(size)
    entries = [(palette[area.index], f"{_drawn(area, font)} {area.share:.1%}") for area in areas[:LEGEND]]
    if rest := areas[LEGEND:]:
        entries.append((BACKGROUND, f"and {len(rest)} more {sum(area.share for area in rest):.1%}"))
    gap, line = size // 2, round(1.5 * size)
    column = max(math.ceil(font.getlength(text)) for _, text in entries) + size + 3 * gap
    columns = max(1, min(len(entries), (picture.width - gap) // column))
    rows = -(-len(entries) // columns)
    width = max(picture.width, gap + columns * column)
    sheet = Image.new("RGB", (width, picture.height + rows * line + 2 * gap), BACKGROUND)
    sheet.paste(picture, ((width - picture.width) // 2, 0))
    draw = ImageDraw.Draw(sheet)
    for place, (colour, text) in enumerate(entries):  # down the first column, then down the next
        left, top = gap + place // rows * column, picture.height + gap + place % rows * line
        frame = FRAME if colour != BACKGROUND or place < len(areas[:LEGEND]) else BACKGROUND
        draw.rectangle((left, top + line // 6, left + size, top + line // 6 + size), colour, frame)
        draw.text((left + size + gap, top + line // 6 + size // 2), text, TEXT, font, anchor="lm")
    return sheet


def line(found: Segmentation) -> str:
    """Return a segmentation in a line: the classes of the largest areas."""
    few = [f"{_name(area)} {area.share:.1%}" for area in found.areas[:FEW]]
    return f"{_image(found)}: {', '.join([*few, *['...'] * (len(found.areas) > FEW)])}"


def text(found: Segmentation) -> str:
    """Return a segmentation as a table of its classes and their shares of the area."""
    wide = max(len(_name(area)) for area in found.areas)
    rows = [f"{_name(area):<{wide}}  {area.share:6.1%}" for area in found.areas]
    return "\n".join([_image(found), *rows, f"    {', '.join(_remarks(found))}"])


def page(found: Segmentation) -> str:
    """Return a segmentation as HTML: a small overlay beside its classes, each with its colour."""
    rows = "".join(
        f'<div style="background:rgb{found.palette[area.index]};width:12px;height:12px;border:1px solid #888"></div>'
        f'<div>{html.escape(_name(area))}</div><div style="text-align:right">{area.share:.1%}</div>'
        for area in found.areas[:LEGEND]
    )
    more = len(found.areas) - LEGEND
    below = html.escape(" · ".join([*([f"and {more} more classes"] if more > 0 else []), *_remarks(found)]))
    data = base64.b64encode(_small(found)).decode()
    shown = f'<img src="data:image/jpeg;base64,{data}" alt="" style="border-radius:4px">'
    grid = "display:grid;grid-template-columns:auto auto auto;gap:2px 10px;align-items:center;justify-content:start"
    beside = f'<b>{html.escape(_image(found))}</b><div style="{grid}">{rows}</div><div style="{FAINT}">{below}</div>'
    flex = "display:flex;gap:12px;align-items:start;margin:4px 0;font:13px/1.5 system-ui,sans-serif"
    return f'<div style="{flex}">{shown}<div>{beside}</div></div>'


def pages(found: Sequence[Segmentation | Unusable]) -> str:
    """Return the first of several as HTML, and how many more there are."""
    shown = "".join(fault_page(each) if each.fault else page(each) for each in found[:MOST_SHOWN])  # type: ignore[arg-type]
    more = len(found) - MOST_SHOWN
    return shown + (f'<div style="{FAINT}">and {more:,} more</div>' if more > 0 else "")


def _small(found: Segmentation) -> bytes:
    """Return the overlay, or the mask where the photo was not kept, as a small JPEG."""
    mask = found.mask_image()
    size = found.width, found.height
    scale = min(1.0, SIDE / max(size))
    small = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    mask = mask.resize(small, Image.Resampling.NEAREST)
    drawn = coloured(found.photo.resize(small), mask, OPACITY) if found.photo else mask.convert("RGB")
    file = io.BytesIO()
    drawn.save(file, "JPEG", quality=85)
    return file.getvalue()


def _remarks(found: Segmentation) -> list[str]:
    told = [printable(found.model), f"engine {printable(found.engine)}", f"{found.milliseconds:.0f} ms"]
    return [*told, *map(printable, found.notes)]


def _drawn(area: Area, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """Return a class's name without accents where the font has its letters so, or the class's index."""
    missing = bytes(font.getmask(NO_LETTER))
    plain = "".join(c for c in unicodedata.normalize("NFKD", area.name) if not unicodedata.combining(c))
    known = all(bytes(font.getmask(letter)) != missing for letter in set(plain))
    return printable(shortened(plain, NAME)) if known else f"class {area.index}"


def _name(area: Area) -> str:
    return printable(shortened(area.name, NAME))


def _image(found: Segmentation) -> str:
    return printable(shortened(found.image, IMAGE))
