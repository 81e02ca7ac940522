"""The 1,000 labelled photographs, as a model's inputs."""

import io
import zipfile

import numpy as np

from minivan import image
from support import ROOT

ARCHIVE = ROOT / "tests" / "data" / "tiny_imagenet_val_1000.zip"


def photographs(card):
    """Return the inputs, float32 (1000, 3, crop, crop), and their class indices among the labels of a model's card."""
    index = {label.wnid: i for i, label in enumerate(card.labels)}
    with zipfile.ZipFile(ARCHIVE) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".JPEG"))
        inputs = [image.prepare(io.BytesIO(archive.read(name)), card.preprocessing) for name in names]
    return np.stack(inputs), np.array([index[name.split("/")[0]] for name in names])


def logits(model, inputs, batch=50):
    """Run any callable over the inputs, a batch at a time."""
    return np.concatenate([np.asarray(model(inputs[i : i + batch])) for i in range(0, len(inputs), batch)])


def right(logits, targets, k):
    """Count the images whose class is among the k likeliest."""
    return int((np.argsort(-logits, axis=1, kind="stable")[:, :k] == targets[:, None]).any(axis=1).sum())
