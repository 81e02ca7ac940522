"""Linear heads over pooled features: what one is, and how one is fitted, whole or beside rows that stay as they are.

All sums are float64. Features are standardised before a fit, so that L2 regularisation treats each alike; the scale is then
folded into weight and bias, so that the head takes features as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..checks import Float32
from ..evaluate.statistics import Indices, Reals
from .library import imported, one_thread

MOST_STEPS = 5000  # of L-BFGS: some tens are usual

Fit = Callable[[float], "Head"]  # a head for the strength of its regularisation


@dataclass(frozen=True)
class Head:
    """A linear layer: logits are features @ weight.T + bias."""

    weight: Reals  # (classes, C)
    bias: Reals  # (classes,)

    def logits(self, features: npt.NDArray[Any]) -> Reals:
        """Return logits (N, classes) of features (N, C)."""
        found: Reals = features.astype(np.float64) @ self.weight.T + self.bias
        return found


@dataclass(frozen=True)
class Scale:
    """How features are spread, each by itself."""

    mean: Reals  # (C,)
    deviation: Reals  # (C,), 1 where all are the same

    @classmethod
    def of(cls, features: Float32) -> Scale:
        """Return that of features (N, C)."""
        deviation = features.std(axis=0, dtype=np.float64)
        return cls(features.mean(axis=0, dtype=np.float64), np.where(deviation > 0, deviation, 1.0))

    def standardised(self, features: Float32) -> Reals:
        """Return features (N, C) with mean 0 and deviation 1 each."""
        made: Reals = (features - self.mean) / self.deviation
        return made

    def folded(self, weight: Reals, bias: Reals) -> Head:
        """Return the head for features as they are, of one for standardised features."""
        scaled = weight / self.deviation
        return Head(scaled, bias - scaled @ self.mean)


def with_mirrors(features: Float32, targets: Indices) -> tuple[Float32, Indices]:
    """Return the features of photos and of their mirror images, (N, 2, C), as rows (2 N, C), and each row's class."""
    return features.reshape(-1, features.shape[-1]), np.repeat(targets, 2)


def whole(features: Float32, targets: Indices) -> Fit:
    """Return what fits a head of all classes that occur in `targets` (N,), to features (N, 2, C).

    It is L2-regularised multinomial logistic regression by scikit-learn: C times the sum of the log losses, plus half the
    squared weights, is least. A fit begins where the one before it ended.
    """
    rows, classes = with_mirrors(features, targets)
    scale = Scale.of(rows)
    regression = imported("sklearn.linear_model").LogisticRegression(solver="lbfgs", max_iter=MOST_STEPS, warm_start=True)

    def fit(strength: float) -> Head:
        with one_thread():
            regression.set_params(C=strength).fit(scale.standardised(rows), classes)
        weight, bias = regression.coef_, regression.intercept_
        if len(weight) == 1:  # of two classes it gives the difference of their logits
            weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
        return scale.folded(weight, bias)

    return fit


def beside(old: Head, features: Float32, targets: Indices, shares: Reals, new: int) -> Fit:
    """Return what fits rows for `new` classes under the rows of a head, which stay as they are, to features (N, 2, C).

    Classes of `targets` (N,) from len(old.bias) on are the new ones. The regression is that of `whole` with the old logits
    given: of a photo of an old class, what is fitted is that no new class is taken for it, whichever of the old ones it is.
    `shares` (N,) are how much each photo counts for; their mean is 1. So the new logits are on the old ones' scale.
    """
    rows, classes = with_mirrors(features, targets)
    scale, known, weights = Scale.of(rows), len(old.bias), np.repeat(shares, 2)
    kept = _log_sum(old.logits(rows))  # (M,): all that matters of the old logits
    is_new = np.arange(known, known + new) == classes[:, None]  # (M, new classes)
    shape = (new, rows.shape[1] + 1)  # weights, and the bias as a last column
    start = np.zeros(shape).ravel()

    def fit(strength: float) -> Head:
        nonlocal start
        standardised = np.column_stack([scale.standardised(rows), np.ones(len(rows))])
        penalised = np.append(np.ones(rows.shape[1]), 0.0)  # the bias is not

        def loss(flat: Reals) -> tuple[float, Reals]:
            head = flat.reshape(shape)
            logits = standardised @ head.T
            total = np.logaddexp(kept, _log_sum(logits))
            own = np.where(is_new.any(axis=1), (logits * is_new).sum(axis=1), kept)
            errors = weights[:, None] * (np.exp(logits - total[:, None]) - is_new)
            value = strength * (weights * (total - own)).sum() + 0.5 * (penalised * head**2).sum()
            return float(value), (strength * errors.T @ standardised + penalised * head).ravel()

        with one_thread():
            options = {"maxiter": MOST_STEPS, "ftol": 1e-12, "gtol": 1e-6 * max(1.0, strength * len(rows))}
            start = imported("scipy.optimize").minimize(loss, start, jac=True, method="L-BFGS-B", options=options).x
        found = start.reshape(shape)
        new = scale.folded(found[:, :-1], found[:, -1])
        return Head(np.concatenate([old.weight, new.weight]), np.concatenate([old.bias, new.bias]))

    return fit


def _log_sum(logits: Reals) -> Reals:
    """Return log(sum(exp(logits))) over the last axis, without overflow."""
    most = logits.max(axis=-1)
    total: Reals = most + np.log(np.exp(logits - most[..., None]).sum(axis=-1))
    return total


def log_losses(logits: Reals, targets: Indices) -> Reals:
    """Return -log of the probability that logits (N, classes) give the right class, (N,)."""
    losses: Reals = _log_sum(logits) - np.take_along_axis(logits, targets[:, None], axis=1)[:, 0]
    return losses
