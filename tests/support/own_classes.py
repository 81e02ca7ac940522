"""Photos of classes that the bundled network never learned, as folders to learn from and to be judged by; and two who learn.

Each maker fills `folder`/train and `folder`/test with a folder of PNG or JPEG files for each class.
"""

import os
import warnings
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minivan import evaluate, image, labelled, learn
from minivan.evaluate import open_dataset
from minivan.predict.embedding import pooled

VARIABLE = (
    "MINIVAN_CAMVID"  # names a zip of CamVid's scenes: train/NAME.jpg, its mask train/NAME.png of classes 0 to 11; test/...
)
PATCH = 32  # pixels a side, of CamVid's 240 x 180
FEWEST = 10  # patches of a class, to learn from and to be judged by
PURE = 0.75  # the share of a patch that is of its class
CAMVID = ["sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist"]


def _put(folder, part, name, number, picture):
    place = Path(folder, part, name)
    place.mkdir(parents=True, exist_ok=True)
    if isinstance(picture, bytes):
        (place / f"{number:04}.jpg").write_bytes(picture)
    else:
        picture.save(place / f"{number:04}.png")


def digits(folder, train, test):
    """Fill a folder with the first of scikit-learn's 1,797 digits, 8 x 8 pixels of 17 grey levels."""
    from sklearn.datasets import load_digits

    given = load_digits()
    for number, (pixels, target) in enumerate(zip(given.images[: train + test], given.target, strict=False)):
        picture = Image.fromarray((pixels * 255 / 16).astype(np.uint8)).convert("RGB")
        _put(folder, "train" if number < train else "test", str(target), number, picture)


def scenes():
    """Return where CamVid's scenes are; the test that asks is skipped where the variable is not set."""
    if not os.environ.get(VARIABLE):
        pytest.skip(f"{VARIABLE} names no zip of CamVid's scenes")
    return os.environ[VARIABLE]


def camvid(source, folder, most=(60, 40)):
    """Fill a folder with patches of CamVid's scenes: of each scene the purest of each class, train and test of other drives."""
    found = {"train": {}, "test": {}}
    with zipfile.ZipFile(source) as archive:
        for name in sorted(name for name in archive.namelist() if name.endswith(".jpg")):
            if (part := name.partition("/")[0]) in found:
                mask = np.asarray(Image.open(BytesIO(archive.read(name[:-3] + "png"))))
                scene = Image.open(BytesIO(archive.read(name))).convert("RGB")
                for index, box in _purest(mask):
                    found[part].setdefault(index, []).append(scene.crop(box))
    for (part, patches), limit in zip(found.items(), most, strict=True):
        for index in patches:
            if all(len(each.get(index, ())) >= FEWEST for each in found.values()):
                step = max(1, len(patches[index]) // limit)
                for number, patch in enumerate(patches[index][::step][:limit]):
                    _put(folder, part, CAMVID[index], number, patch)


def _purest(mask):
    """Yield each class that has a pure patch in a scene, and where its purest lies: (left, top, right, bottom)."""
    best = {}
    for top in range(0, mask.shape[0] - PATCH + 1, PATCH // 2):
        for left in range(0, mask.shape[1] - PATCH + 1, PATCH // 2):
            shares = np.bincount(mask[top : top + PATCH, left : left + PATCH].ravel(), minlength=12)[: len(CAMVID)] / PATCH**2
            index = int(shares.argmax())
            if shares[index] >= max(PURE, best.get(index, (0,))[0] + 1e-9):
                best[index] = shares[index], (left, top, left + PATCH, top + PATCH)
    for index, (_, box) in sorted(best.items()):
        yield index, box


def tiny_imagenet(source, folder):
    """Fill a folder with the labelled photographs: three of each class to learn from, two to be judged by."""
    names = labelled.names(source)
    places = {}
    for name, data in zip(names, labelled.files(source, names), strict=True):
        place = places[labelled.wnid(name)] = places.get(labelled.wnid(name), -1) + 1
        _put(folder, "train" if place < 3 else "test", labelled.wnid(name), place, data)


def features(model, dataset):
    """Return the pooled features (N, C) of a dataset's photos by a model's engine, and their labels (N,)."""
    rows, labels = [], []
    for example in dataset.examples:
        x = image.prepare(example.image.source(), model.card.preprocessing)
        rows.append(pooled(model, x[None])[0])
        labels.append(example.label)
    return np.array(rows), np.array(labels)


def by_minivan(model, folder):
    """Return what minivan has learned from `folder`/train, and its top-1 on `folder`/test."""
    dataset = open_dataset(Path(folder, "train"))
    learned = learn.learned(model, learn.featured(model, dataset.examples), Path(folder, "train"))
    return learned, evaluate.evaluate(learned.model, Path(folder, "test")).top1


def by_scikit_learn(model, folder):
    """Return the top-1 on `folder`/test of scikit-learn's own cross-validated regression on the features of `folder`/train.

    Photos are read as minivan reads them; the features are those of the model's engine, PyTorch for a judge.
    """
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    train, test = (features(model, open_dataset(Path(folder, part))) for part in ("train", "test"))
    fewest = min(np.unique(train[1], return_counts=True)[1])
    strengths = np.logspace(-4, 0, 5)
    chosen = LogisticRegressionCV(Cs=strengths, cv=min(5, fewest), max_iter=2000, scoring="neg_log_loss")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what its later versions do by themselves
        regression = make_pipeline(StandardScaler(), chosen).fit(*train)
    return float((regression.predict(test[0]) == test[1]).mean())
