"""What is learned beside scikit-learn on PyTorch's features; what new classes cost old ones; a cluster beside one machine."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from support import own_classes, tars
from support.judge import TORCH
from support.labelled import source

import minivan
from minivan import learn
from minivan.evaluate import open_dataset

POINTS = 0.02  # of top-1: within so many of the judge


@pytest.fixture
def base():
    return minivan.load("van_b0_tiny_imagenet200", "fast").with_size(32)


@pytest.mark.slow
def test_digits_are_learned_as_well_as_scikit_learn_does_on_pytorchs_features(base, tmp_path):
    own_classes.digits(tmp_path, 400, 600)
    _, top1 = own_classes.by_minivan(base, tmp_path)
    judge = own_classes.by_scikit_learn(minivan.VAN(base.config, base.tensors, TORCH, base.card), tmp_path)
    assert top1.of == 600 and top1.rate > judge - POINTS and judge > 0.6


COLLECTIONS = {  # photos to learn from and to be judged by -> how many are judged, and what the judge surely gets right
    "street scenes": (lambda place: own_classes.camvid(own_classes.scenes(), place), 268, 0.5),
    "Tiny ImageNet": (lambda place: own_classes.tiny_imagenet(source(), place), 400, 0.15),
}


@pytest.mark.once
@pytest.mark.parametrize("collection", COLLECTIONS)
def test_photos_are_learned_as_well_as_scikit_learn_does_on_pytorchs_features(base, tmp_path, collection):
    make, judged, sure = COLLECTIONS[collection]
    make(tmp_path)
    base = base.with_size(64)
    _, top1 = own_classes.by_minivan(base, tmp_path)
    judge = own_classes.by_scikit_learn(minivan.VAN(base.config, base.tensors, TORCH, base.card), tmp_path)
    assert top1.of == judged and top1.rate > judge - POINTS and judge > sure


@pytest.mark.once
def test_new_classes_cost_the_old_ones_little(base):
    """Ten classes are forgotten, and learned again from three photos each; the other two judge."""
    examples = open_dataset(source()).examples
    known = [label.wnid for label in base.card.labels]
    new, kept = known[::20], [index for index in range(200) if index % 20]
    less = {name: base.tensors[name][kept] for name in ("head.weight", "head.bias")}
    card = replace(base.card, labels=tuple(base.card.labels[index] for index in kept))
    model = minivan.VAN(replace(base.config, classes=190), {**base.tensors, **less}, "fast", card).with_size(96)
    place = Counter()
    train, test = [], []
    for photo in learn.featured(model, examples):
        (train if place[photo.label] < 3 else test).append(photo)
        place[photo.label] += 1
    learned = learn.extended(
        model, {name: [p for p in train if p.label == name] for name in new}, [p for p in train if p.label not in new]
    )
    names = [known[index] for index in kept] + new
    x = np.stack([photo.features[0] for photo in test])
    old = np.array([photo.label not in new for photo in test])

    def right(of):
        logits = x @ of.tensors["head.weight"].T + of.tensors["head.bias"]
        return np.array([names[i] == p.label for i, p in zip(logits.argmax(axis=1), test, strict=True)])

    before, after = right(model), right(learned.model)
    assert before[~old].sum() == 0 and after[~old].mean() >= 0.15
    assert before[old].mean() - after[old].mean() <= POINTS
    said = learned.report.old
    assert said.before.of == 570 and abs((said.before.rate - said.after.rate) - (before[old].mean() - after[old].mean())) < 0.03


def test_a_cluster_learns_the_same_as_one_machine(run, tmp_path, monkeypatch):
    monkeypatch.setattr("minivan.cluster.check", lambda: None)
    monkeypatch.setattr(
        "minivan.cluster.run", lambda work, shards, address, workers, done: [work(shard) for shard in shards[::-1]]
    )
    weights = ["--weights", tars.weights(tmp_path / "tiny.safetensors"), "--engine", "numpy"]
    random = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(3):
            (tmp_path / "photos" / name / f"{number}.png").write_bytes(tars.photo(random))
    (tmp_path / "photos" / "a" / "no.png").write_bytes(tars.NO_IMAGE)
    here = run("finetune", tmp_path / "photos", "-o", tmp_path / "here.safetensors", *weights)
    there = run(
        "finetune",
        tmp_path / "photos",
        "-o",
        tmp_path / "there.safetensors",
        *weights,
        "--cluster",
        "auto",
        "--images-per-shard",
        2,
    )
    assert here[0] == there[0] == 1 and "minivan: a/no.png: " in there[2]
    assert (tmp_path / "here.safetensors").read_bytes() == (tmp_path / "there.safetensors").read_bytes()
    monkeypatch.setattr("minivan.cluster.run", lambda work, shards, address, workers, done: [work(shards[0]), work(shards[2])])
    cut = "--cluster", "auto", "--images-per-shard", 3
    status, _, err = run("finetune", tmp_path / "photos", "-o", tmp_path / "lost.safetensors", *weights, *cut)
    assert status == 1 and "photos, part 2: it ended each process that began it" in err
