"""What a caller chooses from: the methods by name, the sides of a view. Plain values, so that a command's help is quick."""

from __future__ import annotations

from typing import NamedTuple

ANY_LAYER, LAST_LAYER, PIXELS = "any layer", "the last layer", "the pixels"
ALL_LAYERS = "all"  # in the place of a layer's path: every stage's output


class Method(NamedTuple):
    """A way to see where a network looks."""

    name: str
    place: str  # whose map it makes
    shows: str  # one sentence: how a figure of it is read
    derives: bool = True  # whether it needs an engine with derivatives
    passes: int = 1  # about how many times an image goes through the network
    signed: bool = False  # whether its values fall below zero, where a place speaks against the class


TABLE = (
    Method("gradcam", ANY_LAYER, "Bright: what the network finds there raises the class's score; dark: it does not, or lowers "
        "it."),
    Method("cam", LAST_LAYER, "Orange: the place raises the class's score; purple: it lowers it; their mean and the bias are "
        "the score.", derives=False, signed=True),
    Method("hirescam", ANY_LAYER, "Orange: what the network finds there raises the class's score; purple: it lowers it.",
        signed=True),
    Method("layercam", ANY_LAYER, "Bright: more of what the network finds right there would raise the class's score."),
    Method("gradcam++", ANY_LAYER, "Bright: what the network finds there raises the class's score, and what few places have "
        "counts more."),
    Method("smoothgrad", PIXELS, "Bright: a change of that pixel, lighter or darker, would change the class's score most."),
    Method("occlusion", PIXELS, "Orange: with a grey square there the class gets less probable; purple: more probable.",
        derives=False, passes=100, signed=True),
)  # fmt: skip
METHODS = tuple(method.name for method in TABLE)
SIGNED = tuple(method.name for method in TABLE if method.signed)
DEFAULT = "gradcam"

SMALLEST_VIEW = 192  # pixels: below, the last stage has fewer than 6 x 6 positions, too few for a picture
LARGEST_VIEW = 2048  # pixels: beyond, the exact engine's maps fill gigabytes

FIELD_SIDE = 257  # pixels of an image for receptive fields: 64 n + 1, so that every stage has a position in the very centre
NOISE_IMAGES = 8  # that receptive fields are averaged over where no photos are given


def find(name: str) -> Method:
    """Return the method of a name; ValueError for any other, with the names."""
    for method in TABLE:
        if method.name == name:
            return method
    raise ValueError(f"no method is called {name!r}; the methods are {', '.join(METHODS)}")
