"""Writing the page."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ..output import replacing
from ..van import VAN
from .assemble import page
from .contents import Photo, describe, weights_file


def write(path: str | os.PathLike[str], model: VAN, photos: Sequence[Photo]) -> int:
    """Write one HTML file with the network and the photos, the first of them shown; return its size in bytes.

    Raises ValueError for a network that no page can hold, OSError where the file cannot be written.
    """
    text = page("Large kernel attention, taken apart", describe(model, photos), weights_file(model)).encode()
    with replacing(path) as file:
        file.write(text)
    return len(text)
