"""Photos as vectors: what the network has found before it names a class."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from typing import TYPE_CHECKING, NamedTuple

from .ahead import Prepared, at_once, batches, prepare_ahead
from .answers import BATCH
from .images import Found
from .sources import Given

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from ..image import Reading
    from ..van import VAN


class Embedded(NamedTuple):
    """One image's features, or why it has none."""

    image: str
    features: npt.NDArray[np.float32] | None  # (C,)
    fault: str = ""
    notes: tuple[str, ...] = ()


def pooled(model: VAN, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the last stage's output after its LayerNorm, averaged over all places: float32 (N, C) for images (N, C_in, H, W).

    It is `model.embed(x)`.
    """
    return model.embed(x)


def embed(
    model: VAN,
    images: Iterable[Found | Given],
    *,
    batch_size: int | None = None,
    threads: int | None = None,
    how: Reading | None = None,
) -> Iterator[Embedded]:
    """Yield each image's pooled features, in order; arguments as for `minivan.predict.answers`.

    Raises ValueError for features that are not finite: the weights are damaged.
    """
    model = model.settled(len(images) if isinstance(images, Sized) else None)
    size = at_once(model.card.preprocessing, batch_size or (BATCH if model.engine.batches else 1))
    ready = prepare_ahead(images, model.card.preprocessing, ahead=2 * size, threads=threads, how=how)
    return (embedded for batch in batches(ready, size) for embedded in _embedded(model, batch))


def _embedded(model: VAN, batch: list[Prepared]) -> list[Embedded]:
    import numpy as np

    usable = [image.x for image in batch if image.x is not None]
    made = pooled(model, np.stack(usable)) if usable else np.empty((0, 0), np.float32)
    if not np.isfinite(made).all():
        raise ValueError(f"the weights {model.card.name} give features that are no numbers: they are damaged")
    features = iter(made)
    return [Embedded(p.name, None if p.x is None else next(features), p.fault, p.notes) for p in batch]
