"""scikit-learn, which fits heads: an extra, imported when one is fitted."""

from __future__ import annotations

import contextlib
import importlib
import warnings
from collections.abc import Iterator
from typing import Any

from ..errors import reason

NEEDED = "sklearn"


def check() -> None:
    """Raise ValueError where scikit-learn, or what it needs, cannot be imported."""
    imported("sklearn.linear_model")


def imported(name: str) -> Any:
    """Import a module of scikit-learn, or of what comes with it; ValueError where it cannot be had."""
    try:
        importlib.import_module(NEEDED)
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != NEEDED:
            raise ValueError(f"scikit-learn cannot be imported: {reason(error)}") from None
        raise ValueError("learning needs the package scikit-learn: pip install '.[learn]' from a clone of minivan") from None
    except Exception as error:  # as one that was built for another NumPy
        raise ValueError(f"scikit-learn cannot be imported: {reason(error)}") from None


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Hold the BLAS to one thread in the block, whose sums are then always made in the same order."""
    with warnings.catch_warnings(), imported("threadpoolctl").threadpool_limits(1):
        warnings.simplefilter("ignore")  # versions of SciPy warn of options that versions of scikit-learn hand it
        yield
