"""Colours of minivan's own for the classes of a mask: chosen so that an eye tells them apart."""

from __future__ import annotations

import functools
import math

from .errors import quote

MOST_CLASSES = 256  # a mask has a byte for each pixel
LEVELS = tuple(255 * i // 7 for i in range(8))  # of each of red, green and blue, from which colours are chosen
Colour = tuple[int, int, int]  # red, green, blue, 0..255


def in_oklab(colour: Colour) -> tuple[float, float, float]:
    """Return an sRGB colour in a space where distance is about what an eye sees of it: lightness 0..1, and two of hue.

    Source: Björn Ottosson 2020, "A perceptual color space for image processing".

    >>> [round(value, 6) + 0 for value in in_oklab((255, 255, 255))]
    [1.0, 0.0, 0.0]
    """
    coded = [value / 255 for value in colour]
    r, g, b = (value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in coded)
    l = math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b)  # noqa: E741  (the cones' names)
    m = math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b)
    s = math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b)
    return (
        0.2104542553 * l + 0.7936177850 * m - 0.0040720468 * s,
        1.9779984951 * l - 2.4285922050 * m + 0.4505937099 * s,
        0.0259040371 * l + 0.7827717662 * m - 0.8086757660 * s,
    )


@functools.cache
def _far_apart() -> tuple[Colour, ...]:
    """Return MOST_CLASSES colours: each is the one that lies furthest from all before it, and from black and white."""
    colours = [(r, g, b) for r in LEVELS for g in LEVELS for b in LEVELS]
    places = [in_oklab(colour) for colour in colours]
    nearest = [min(math.dist(place, places[0]), math.dist(place, places[-1])) for place in places]
    chosen = []
    for _ in range(MOST_CLASSES):
        furthest = nearest.index(max(nearest))
        chosen.append(colours[furthest])
        nearest = [min(near, math.dist(place, places[furthest])) for near, place in zip(nearest, places, strict=True)]
    return tuple(chosen)


def own_palette(classes: int) -> tuple[Colour, ...]:
    """Return as many colours as there are classes, 1..256, that can be told apart. Those of fewer classes begin those of more.

    >>> own_palette(3)
    ((72, 36, 255), (255, 0, 0), (0, 182, 0))
    """
    if not 1 <= classes <= MOST_CLASSES:
        raise ValueError(f"a mask has a byte for each pixel: it tells 1 to {MOST_CLASSES} classes apart, not {quote(classes)}")
    return _far_apart()[:classes]
