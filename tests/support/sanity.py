"""Whether maps mean anything, measured on labelled photographs: for the tests, and for the table of docs/explain.md."""

from typing import NamedTuple

import numpy as np
from PIL import Image

from minivan import explain
from minivan.explain import faithfulness, figure
from minivan.paths import stride_of
from minivan.reference import softmax
from minivan.van import VAN

LAST = "norm4"
PARTS = {"head": ("head.",), "stage 4": ("patch_embed4.", "block4.", "norm4.")}  # what to shuffle -> where its tensors lie
SURE = 0.8  # the least probability at which a photograph counts as recognised


# Drawn by hand, in pixels of examples/four.jpg: top, left, bottom, right of the cat's head, of the cup and its saucer.
CAT, CUP = (0, 0, 270, 280), (10, 310, 300, 590)


class Boxed(NamedTuple):
    """How much of a class's map lies in a box drawn by hand."""

    share: float
    area: float  # of the picture that the box takes
    inside: bool  # the brightest place


def share_in_box(model, photo, name, box):
    """Look for a class in a square photo; `box` is in its pixels: top, left, bottom, right."""
    looked = explain.photo_maps(model, explain.look(model, photo), [name])
    side, (found,) = looked.seen.x.shape[2], looked.classes
    spread = figure.spread(found.maps[LAST], stride_of(LAST), side, side)
    top, left, bottom, right = (round(edge * side / Image.open(photo).width) for edge in box)
    row, column = np.unravel_index(spread.argmax(), spread.shape)
    share = float(spread[top:bottom, left:right].sum() / spread.sum())
    return Boxed(share, (bottom - top) * (right - left) / side**2, top <= row < bottom and left <= column < right)


def pixel_ranks(model, x, target):
    """Order the pixels by the class activation map, spread to the input's resolution. Grad-CAM only adds a ReLU: ties."""
    maps = explain.maps(model, x, target, "cam").maps[LAST]
    return faithfulness.ranks(np.stack([figure.spread(values, stride_of(LAST), *x.shape[2:]) for values in maps]))


def moved(rank, rng):
    """The same shapes somewhere else: every image's ranks, shifted around by a random way."""
    return np.stack([np.roll(one, rng.integers(0, one.shape[0], 2), (0, 1)) for one in rank])


def scattered(rank, rng):
    return np.stack([rng.permutation(one.ravel()).reshape(one.shape) for one in rank])


def correlation(a, b):
    """Return the mean over images of the correlation between two maps, over places; constant maps count as 0."""
    a, b = (m.reshape(len(m), -1) - m.reshape(len(m), -1).mean(1, keepdims=True) for m in (a, b))
    size = np.sqrt((a * a).sum(1) * (b * b).sum(1))
    return float(np.divide((a * b).sum(1), size, out=np.zeros_like(size), where=size > 0).mean())


def shuffled(model, x, target, part):
    """Return how much the maps correlate with those of the model with one part's weights permuted.

    Adebayo et al. 2018, "Sanity Checks for Saliency Maps": a map that survives this shows the image, not the network.
    """
    rng = np.random.default_rng(0)
    tensors = {
        name: rng.permutation(np.asarray(t, np.float32).ravel()).reshape(t.shape) if name.startswith(PARTS[part]) else t
        for name, t in model.tensors.items()
    }
    other = VAN(model.config, tensors, model.engine, model.card)
    return correlation(*(explain.maps(each, x, target, "cam").maps[LAST] for each in (model, other)))


class Pairs(NamedTuple):
    """Of photographs side by side: how much of each class's map lies in the left half."""

    left: np.ndarray  # of the left photograph's class, one share a pair
    right: np.ndarray  # of the right one's

    @property
    def in_order(self) -> float:
        """The share of pairs in which the left class's map lies further left."""
        return float((self.left > self.right).mean())


def side_by_side(model, x, target):
    """Put photographs that the model is sure of side by side, two different classes each time, and map both."""
    sure = np.flatnonzero(softmax(model(x))[np.arange(len(x)), target] > SURE)
    left, right = sure, np.roll(sure, len(sure) // 2)
    keep = target[left] != target[right]
    left, right = left[keep], right[keep]
    pairs = np.concatenate([x[left], x[right]], axis=3)
    found = [explain.maps(model, pairs, target[side], "gradcam").maps[LAST] for side in (left, right)]
    middle = found[0].shape[2] // 2
    return Pairs(*(values[:, :, :middle].sum((1, 2)) / values.sum((1, 2)) for values in found))


def falls(model, x, target, blurred):
    """Return by how much each image's probability falls without a tenth of its pixels, and what it was: name -> (N,).

    The map's top tenth, the same shape elsewhere, as many scattered pixels; replaced by a blurred copy's, which leaves no
    edge that was not there, or by grey.
    """
    rng, filler = np.random.default_rng(0), faithfulness.blur(x) if blurred else 0.0
    top = pixel_ranks(model, x, target)
    whole = faithfulness.probability(model, x, target)
    found = {"whole": np.float64(whole)}
    for name, rank in {"top": top, "moved": moved(top, rng), "scattered": scattered(top, rng)}.items():
        found[name] = np.float64(whole - faithfulness.probability(model, faithfulness.occlude(x, rank, 0.1, filler), target))
    return found


def areas(model, x, target):
    """Return the areas under the deletion and the insertion curve, by the map and by the same shapes elsewhere.

    Petsiuk et al. 2018 (RISE): {('deletion', 'map'): area, ('deletion', 'chance'): ..., ('insertion', 'map'): ...}.
    """
    by_map = pixel_ranks(model, x, target)
    return {
        (curve.__name__, name): float(faithfulness.area(curve(model, x, target, rank)).mean())
        for name, rank in {"map": by_map, "chance": moved(by_map, np.random.default_rng(0))}.items()
        for curve in (faithfulness.deletion, faithfulness.insertion)
    }
