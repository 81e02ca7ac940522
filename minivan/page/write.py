"""Writing the page."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence

from .. import paths
from ..output import replacing
from ..van import VAN
from . import light as light_page
from .assemble import page
from .contents import Photo, as_file, check, describe, weights

TITLE = "Large kernel attention, taken apart"


def write(path: str | os.PathLike[str], model: VAN, photos: Sequence[Photo], light: bool = False) -> int:
    """Write one HTML file with the network and the photos, the first of them shown; return its size in bytes.

    A light one has the first photo only, computed here, and not the network: less than 2 MB. Raises ValueError for a network
    that no page can hold or show as `classify` does, OSError where the file cannot be written.
    """
    check(model)
    if light:
        every = list(itertools.chain(*paths.blocks(model.config.depths)))
        most = light_page.room(page(TITLE, describe(model, photos[:1], every), b""))
        tensors, blocks = light_page.tensors(model, photos[0], most)
        description = describe(model, photos[:1], blocks)
    else:
        tensors, description = weights(model), describe(model, photos)
    text = page(TITLE, description, as_file(tensors)).encode()
    with replacing(path) as file:
        file.write(text)
    return len(text)
