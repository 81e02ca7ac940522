"""WebDataset shards and folders of small photos, and weights that answer them, for what is done shard by shard."""

import io
import tarfile

import numpy as np
from PIL import Image

from minivan.card import Card, Label, Preprocessing
from minivan.checkpoint import Weights, write
from minivan.variants import Config

from .networks import random_tensors

CONFIG = Config((4, 6), (1, 1), (2, 2), classes=3)
CARD = Card("tiny", Preprocessing(32, 36), (Label("n1", "cup, mug"), Label("n2", "plate"), Label("n3", "spoon")))
NO_IMAGE = b"no image"


def weights(path):
    """Write the weights into a file, and return it."""
    write(Weights(CONFIG, random_tensors(CONFIG, 3), CARD), path)
    return path


def photo(numbers, side=40):
    """The bytes of a photo."""
    held = io.BytesIO()
    Image.fromarray(numbers.integers(0, 255, (side, side, 3), np.uint8)).save(held, "PNG")
    return held.getvalue()


def spoil(path):
    """Damage the first bytes of a tar file: nothing in it can be found."""
    path.write_bytes(b"\xff" * 512 + path.read_bytes()[512:])


def shards(folder, count=3, photos=4, side=40, labels=("cup", "n2", "2")):
    """Write so many shards, 000.png beside 000.cls; the second photo of the second is none. Return their paths."""
    numbers, paths = np.random.default_rng(0), []
    for shard in range(count):
        paths.append(folder / f"{shard:03}.tar")
        with tarfile.open(paths[-1], "w") as tar:
            for i in range(photos):
                held = NO_IMAGE if (shard, i) == (1, 1) else photo(numbers, side)
                for name, data in ((f"{i:03}.png", held), (f"{i:03}.cls", labels[i % len(labels)].encode())):
                    info = tarfile.TarInfo(name)
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
    return paths
