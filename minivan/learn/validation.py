"""How well a head answers to photos that it was not fitted to, and how strongly it is regularised for that."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..evaluate.statistics import Indices, Reals
from .heads import Fit, log_losses
from .photos import Photos

FOLDS = 5
ALWAYS = -1  # in the place of a fold: a photo that is never held out
STRENGTHS = tuple(10 ** (half / 2) for half in range(-10, 3))  # C, from 1e-5 to 10: from strong regularisation to weak
UNTRIED = 0.01  # where there is nothing to choose by
PATIENCE = 2  # strengths in a row that are no better: the search ends

Mask = npt.NDArray[np.bool_]
Fitting = Callable[[Indices], Fit]  # from the places of photos to what fits a head to them


@dataclass(frozen=True)
class Validated:
    """What heads said of photos that they were not fitted to."""

    strength: float  # C, of those that were tried the one with the least log loss
    logits: Reals  # (N, classes); NaN of a photo that was never held out
    loss: float  # the mean log loss; NaN where no photo was held out

    @property
    def judged(self) -> Mask:
        """Which photos were held out once, (N,)."""
        return np.array(np.isfinite(self.logits).all(axis=1), np.bool_)


def folds(targets: Indices, contents: Sequence[str]) -> Indices:
    """Return in which of FOLDS parts each photo is held out, (N,): as many of each class in each part as can be.

    Nothing is drawn: within a class photos are dealt out in the order of the digests of what they show, which follows no name
    and no time. A photo and its mirror image are one here. The only photo of a class is never held out: ALWAYS.
    """
    dealt = np.full(len(targets), ALWAYS, np.int64)
    place = 0
    for index in np.unique(targets):
        members = sorted(np.flatnonzero(targets == index).tolist(), key=lambda i: contents[i])
        if len(members) > 1:
            dealt[members] = (place + np.arange(len(members))) % FOLDS
            place += len(members)
    return dealt


def cross_validated(photos: Photos, classes: int, shares: Reals, fitting: Fitting) -> Validated:
    """Choose the strength of regularisation, and return what heads of that strength say of photos held out.

    Each photo is judged once, by a head that was fitted to the photos of the other folds; `shares` (N,) are how much each
    counts for in the loss. Strengths are tried from strong to weak until PATIENCE in a row bring no less loss. One number of at
    most thirteen is chosen by the photos that are then judged with it: that flatters top-1 a little.
    """
    dealt = folds(photos.targets, photos.contents)
    nothing = np.full((len(dealt), classes), math.nan)
    if (dealt == ALWAYS).all():
        return Validated(UNTRIED, nothing, math.nan)
    parts = [np.flatnonzero(dealt == fold) for fold in range(FOLDS)]
    fits = [(held, fitting(np.flatnonzero(~np.isin(np.arange(len(dealt)), held)))) for held in parts if len(held)]
    best, since = Validated(UNTRIED, nothing, math.inf), 0
    for strength in STRENGTHS:
        logits = nothing.copy()
        for held, fit in fits:
            logits[held] = fit(strength).logits(photos.features[held, 0])
        loss = loss_of(photos.targets, logits, shares)
        since = 0 if loss < best.loss else since + 1
        if loss < best.loss:
            best = Validated(strength, logits, loss)
        if since == PATIENCE:
            break
    return best


def with_half(photos: Photos, classes: int, strength: float, fitting: Fitting) -> Reals:
    """Return what `cross_validated` finds at one strength where each head is fitted to half of the photos alone, logits."""
    dealt = folds(photos.targets, photos.contents)
    logits = np.full((len(dealt), classes), math.nan)
    for fold in range(FOLDS):
        held, others = np.flatnonzero(dealt == fold), np.flatnonzero(dealt != fold)
        if len(held):
            logits[held] = fitting(_half(photos, others))(strength).logits(photos.features[held, 0])
    return logits


def _half(photos: Photos, places: Indices) -> Indices:
    """Return every other one of some photos of each class, at least one."""
    kept: list[int] = []
    for index in np.unique(photos.targets[places]):
        members = sorted(places[photos.targets[places] == index].tolist(), key=lambda i: photos.contents[i])
        kept += members[::2]
    return np.array(sorted(kept), np.int64)


def loss_of(targets: Indices, logits: Reals, shares: Reals) -> float:
    """Return the mean log loss, weighted by `shares` (N,), of the photos that have logits (N, classes)."""
    judged = np.isfinite(logits).all(axis=1)
    losses, weights = log_losses(logits[judged], targets[judged]), shares[judged]
    return math.fsum(losses * weights) / math.fsum(weights)
