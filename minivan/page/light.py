"""What a light page holds in the network's place: of one photo, what goes into LKA and what comes out of each stage.

LKA itself is computed in the browser, from u and the three steps' weights: every number of the chain is there. What needs the
whole network (other photos, changes to the trained weights, a block's other layers) is not.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from .. import image, paths
from ..input import amount
from ..van import VAN
from .contents import Photo, as_file, is_half

MOST_BYTES = 1_999_999  # of a light page: less than 2 MB
LAYER = "layer:"  # begins the name of a tensor that is a layer of the photo

Tensors = dict[str, npt.NDArray[np.floating]]


def room(rest: str) -> int:
    """Return how many bytes a safetensors file may have in a light page beside its `rest`: base64 makes four of three."""
    return (MOST_BYTES - len(rest.encode())) // 4 * 3


def tensors(model: VAN, photo: Photo, most: int) -> tuple[Tensors, list[str]]:
    """Return the tensors of a light page, and the paths of the blocks that it shows: each stage's last, then as many as fit.

    They take at most `most` bytes as a safetensors file. Raises ValueError where not even one block fits.
    """
    layers = _layers(model, photo)
    held: Tensors = {f"{LAYER}{path}": layers[path] for path in paths.norms(model.config.stages)}
    held |= {name: _narrow(model.tensors[name]) for name in ("head.weight", "head.bias")}
    every = [path for inside in paths.blocks(model.config.depths) for path in inside]
    last = paths.last_blocks(model.config.depths)
    chosen: list[str] = []
    for block in [*last, *(path for path in every if path not in last)]:
        needed: Tensors = {f"{LAYER}{block}.{paths.GATED}": layers[f"{block}.{paths.GATED}"]}
        needed |= {
            name: _narrow(tensor) for name, tensor in model.tensors.items() if paths.lies_under(name, f"{block}.{paths.UNIT}")
        }
        if len(as_file(held | needed)) <= most:
            held |= needed
            chosen.append(block)
    if not chosen:
        raise ValueError(
            f"no block of this network fits into a light page, which has less than {amount(MOST_BYTES + 1)}: write a whole one"
        )
    return held, [path for path in every if path in chosen]


def _layers(model: VAN, photo: Photo) -> Tensors:
    wanted = model.card.preprocessing
    picture = Image.frombytes("RGB", (wanted.crop, wanted.crop), photo.pixels)
    found: Tensors = {}

    def keep(path: str, array: npt.NDArray[np.floating]) -> None:
        if paths.is_gated(path) or path in paths.norms(model.config.stages):
            found[path] = np.asarray(array, np.float32)

    model(image.normalise(picture, wanted.mean, wanted.std)[None], hook=keep)
    return found


def _narrow(tensor: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    return np.asarray(tensor, np.float16 if is_half(tensor) else np.float32)
