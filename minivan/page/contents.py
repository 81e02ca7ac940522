"""What the page holds besides its code: the network, its class names, and photos with what Python makes of them."""

from __future__ import annotations

import base64
import dataclasses
import io
import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL.Image import Image

from .. import __version__, image, input, paths
from ..checkpoint import bundled, safetensors_file
from ..checks import Float32
from ..input import amount
from ..van import VAN
from ..variants import COLOURS, counted, title_with_shape
from .assemble import HERE, MOST_BYTES

SHOWN = 384  # pixels a side of the picture that a person sees
QUALITY = 88  # of the JPEG that it is
MOST_WEIGHTS = 128 << 20  # bytes: what a browser takes from one file without a long wait
FIGURES = HERE / "figures.json"  # accuracies that benchmarks/page.py measured with the bundled weights


class Photo(NamedTuple):
    """A photo of the page: what the network sees, what a person sees, and Python's answer."""

    name: str  # what the page calls it, and its address in the URL's hash
    pixels: bytes  # RGB, crop x crop
    picture: bytes  # the same square as a JPEG of SHOWN pixels a side
    logits: Float32  # (classes,)
    note: str = ""  # a key of the page's table of texts: why it works, or why it does not


def check(model: VAN) -> None:
    """Raise ValueError for a network whose answers a page would not have, or not as `classify` has them."""
    card, config = model.card, model.config
    if not config.classes:
        raise ValueError("a backbone without a head has no answers to explain: name weights with classes")
    if config.channels != COLOURS:
        raise ValueError(
            f"a page shows photos, of {counted(COLOURS)}, and this network takes images of {counted(config.channels)}: "
            "name weights for photos"
        )
    if card.activation != "softmax":
        raise ValueError(
            f"a page makes probabilities by softmax, and these weights want {card.activation}: "
            "name weights that give each image one class, or use classify"
        )
    if card.preprocessing.interpolation != "bicubic":
        raise ValueError(
            f"a page resizes photos by bicubic interpolation, and these weights want {card.preprocessing.interpolation}: "
            "convert them with --interpolation bicubic, which may change their answers, or name others"
        )


def look(model: VAN, name: str, picture: Image, note: str = "") -> Photo:
    """Return what the page needs of a decoded picture; the model's engine says what Python's answer is.

    Raises ValueError for a network that `check` refuses.
    """
    check(model)
    wanted = model.card.preprocessing
    seen = image.view(picture, wanted)
    x = image.normalise(seen, wanted.mean, wanted.std)
    larger = dataclasses.replace(wanted, crop=SHOWN, resize=round(wanted.resize * SHOWN / wanted.crop))
    jpeg = io.BytesIO()
    image.view(picture, larger).save(jpeg, "JPEG", quality=QUALITY)
    return Photo(name, seen.tobytes(), jpeg.getvalue(), np.asarray(model(x[None])[0], np.float32), note)


def describe(model: VAN, photos: Sequence[Photo], blocks: Sequence[str] | None = None) -> dict[str, Any]:
    """Return everything but the tensors, as JSON can hold it. `blocks` are a light page's; None: all of them.

    Raises ValueError for a network that `check` refuses.
    """
    check(model)
    card, config = model.card, model.config
    figures = json.loads(input.read_text(FIGURES, MOST_BYTES))
    measured = card.sha256 == figures["weights_sha256"] != ""
    return {
        "minivan": __version__,
        "engine": model.engine.name,
        "network": title_with_shape(config),
        "weights": card.name,
        "bundled": card.file is not None and card.file in bundled(),  # whose terms and language of class names are known
        "config": dataclasses.asdict(config),
        "preprocessing": dataclasses.asdict(card.preprocessing),
        "not_sure": card.not_sure,
        "labels": [card.label(i).short for i in range(config.classes)],
        "figures": {"images": figures["images"], **figures["accuracy"]} if measured else None,
        "light": blocks is not None,
        "blocks": list(itertools.chain(*paths.blocks(config.depths))) if blocks is None else list(blocks),
        "photos": [_photo(photo) for photo in photos],
    }


def _photo(photo: Photo) -> dict[str, Any]:
    return {
        "name": photo.name,
        "pixels": base64.b64encode(photo.pixels).decode("ascii"),
        "picture": "data:image/jpeg;base64," + base64.b64encode(photo.picture).decode("ascii"),
        "logits": [float(value) for value in photo.logits],
        "note": photo.note,
    }


def weights(model: VAN) -> dict[str, npt.NDArray[np.floating]]:
    """Return the model's tensors, float16 where that holds each number of all of them exactly, float32 elsewhere.

    Raises ValueError for more than a page can hold.
    """
    dtype = np.float16 if all(is_half(tensor) for tensor in model.tensors.values()) else np.float32
    size = sum(tensor.size for tensor in model.tensors.values()) * dtype().itemsize
    if size > MOST_WEIGHTS:
        raise ValueError(f"weights of {amount(size)} are more than a page holds, {amount(MOST_WEIGHTS)}: use a smaller variant")
    return {name: np.asarray(tensor, dtype) for name, tensor in model.tensors.items()}


def is_half(tensor: npt.NDArray[np.floating]) -> bool:
    """Tell whether float16 holds every number of a tensor exactly."""
    with np.errstate(over="ignore"):
        return bool((tensor.astype(np.float16).astype(np.float32) == tensor).all())


def as_file(tensors: Mapping[str, npt.NDArray[np.floating]]) -> bytes:
    """Return tensors as a safetensors file's bytes."""
    return b"".join(safetensors_file.pieces(tensors, {}))
