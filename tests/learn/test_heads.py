"""Heads beside scikit-learn's own and beside the sums that are written out; folds, and which photos count."""

import numpy as np
import pytest
from tolerances import REGRESSION

from minivan.evaluate import Example
from minivan.learn.features import Featured, content
from minivan.learn.heads import Head, beside, log_losses, whole
from minivan.learn.photos import (
    Photos,
    check_classes,
    class_names,
    collected,
    few_said,
    scattered_said,
    uneven_said,
    without_photos,
)
from minivan.learn.validation import ALWAYS, FOLDS, UNTRIED, cross_validated, folds
from minivan.predict import Found


def clouds(classes, each, width=6, seed=0):
    """Features (N, 2, width) around a middle for each class, unevenly spread, and targets (N,)."""
    random = np.random.default_rng(seed)
    targets = np.repeat(np.arange(classes), each)
    made = random.normal(size=(classes, width))[targets, None] + random.normal(size=(len(targets), 2, width))
    return (made * 10.0 ** np.arange(-2, width - 2) + 3).astype(np.float32), targets


def photos(features, targets, seed=1):
    digests = [f"{number:064x}" for number in np.random.default_rng(seed).permutation(len(targets))]
    return Photos(tuple(f"{number:03}.png" for number in range(len(targets))), targets, features, tuple(digests))


@pytest.mark.parametrize("classes", [2, 3])
def test_a_whole_head_is_scikit_learns_on_standardised_features(classes):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features, targets = clouds(classes, 20)
    judge = make_pipeline(StandardScaler(), LogisticRegression(C=0.3, tol=1e-8, max_iter=1000))
    judge.fit(features.reshape(-1, 6).astype(np.float64), np.repeat(targets, 2))
    logits = whole(features, targets)(0.3).logits(features[:, 0])
    wanted = np.log(judge.predict_proba(features[:, 0].astype(np.float64)))
    found = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    assert np.abs(found - wanted).max() < REGRESSION


def test_rows_for_new_classes_leave_the_old_ones_and_make_the_loss_least():
    features, targets = clouds(5, 12)
    old = Head(np.random.default_rng(3).normal(size=(3, 6)) * 10.0 ** -np.arange(-2, 4), np.arange(3.0))
    shares = np.random.default_rng(4).uniform(0.5, 1.5, len(targets))
    strength = 0.2
    found = beside(old, features, targets, shares, 2)(strength)
    assert np.array_equal(found.weight[:3], old.weight) and np.array_equal(found.bias[:3], old.bias)
    rows = features.reshape(-1, 6)
    deviation = rows.std(axis=0, dtype=np.float64)

    def loss(new):
        """What is to be least, as it is written: the penalty is of the weights for standardised features."""
        head = Head(np.concatenate([old.weight, new[:, :-1]]), np.concatenate([old.bias, new[:, -1]]))
        losses = log_losses(head.logits(rows), np.repeat(targets, 2))
        return strength * (np.repeat(shares, 2) * losses).sum() + 0.5 * ((new[:, :-1] * deviation) ** 2).sum()

    best = np.column_stack([found.weight[3:], found.bias[3:]])
    scale = np.append(1 / deviation, 1.0)
    for step in np.random.default_rng(5).normal(size=(40, *best.shape)) * scale:
        assert loss(best) < loss(best + 0.01 * step)


def test_photos_are_judged_by_heads_that_never_saw_them():
    features, targets = clouds(3, 15, seed=2)
    given = photos(features, targets)
    found = cross_validated(given, 3, np.ones(45), lambda places: whole(features[places], targets[places]))
    dealt = folds(targets, given.contents)
    others = dealt != 2
    alone = whole(features[others], targets[others])(found.strength).logits(features[dealt == 2, 0])
    assert np.abs(found.logits[dealt == 2] - alone).max() < REGRESSION  # another way to the same least loss
    assert found.judged.all() and found.loss == pytest.approx(log_losses(found.logits, targets).mean())


def test_folds_have_as_many_of_each_class_follow_the_content_and_keep_single_photos():
    targets = np.array([0] * 10 + [1] * 7 + [2])
    contents = [f"{number:064x}" for number in np.random.default_rng(0).permutation(18)]
    dealt = folds(targets, contents)
    assert dealt[-1] == ALWAYS and sorted(dealt[:10]) == sorted([*range(FOLDS)] * 2)
    assert max(np.bincount(dealt[10:17])) == 2 and max(np.bincount(dealt[:17])) - min(np.bincount(dealt[:17])) <= 1
    order = np.random.default_rng(1).permutation(18)
    assert np.array_equal(folds(targets[order], [contents[i] for i in order]), dealt[order])


def test_where_no_class_has_a_second_photo_nothing_is_judged():
    features, targets = clouds(3, 1)
    found = cross_validated(photos(features, targets), 3, np.ones(3), lambda places: whole(features[places], targets[places]))
    assert found.strength == UNTRIED and not found.judged.any() and np.isnan(found.loss)


def test_the_content_of_a_photo_is_that_of_its_mirror_image_and_of_no_other():
    x = np.random.default_rng(0).random((3, 8, 8), np.float32)
    even = np.concatenate([x, x[..., ::-1]], axis=2)  # its own mirror image
    seen = [content(each) for each in (x, x[..., ::-1], x[:, ::-1], x[::-1], even, even[..., ::-1])]
    assert seen[0] == seen[1] and seen[4] == seen[5] and len(set(seen)) == 4


def some(path, seen, fault=""):
    label = path.split("/")[0]
    return Featured(path, label, None if fault else np.full((2, 3), len(path), np.float32), seen, fault)


def test_photos_count_once_and_those_in_two_classes_in_none():
    given = [
        some("ripe/b.png", "1"), some("ripe/a.png", "1"), some("raw/c.png", "2"), some("ripe/c.png", "2"),
        some("raw/d.png", "3"), some("raw/broken.png", "", "not an image"),
    ]  # fmt: skip
    found = collected(given, {"ripe": 0, "raw": 1})
    assert found.paths == ("raw/d.png", "ripe/a.png") and found.targets.tolist() == [1, 0]
    assert found.faults == (("raw/broken.png", "not an image"),) and found.counts(2).tolist() == [1, 1]
    torn, copies = found.remarks
    assert "'raw/c.png' and 'ripe/c.png'" in torn and "1 photo is a copy" in copies and "'ripe/b.png'" in copies
    again = collected(given[::-1], {"ripe": 0, "raw": 1})
    assert again.paths == found.paths and np.array_equal(again.features, found.features)
    with pytest.raises(ValueError, match=r"no photo can be used: 'raw/broken\.png': not an image"):
        collected(given[-1:], {})


def test_what_is_doubtful_about_a_collection_is_said(tmp_path):
    assert class_names([some("10/a", "1"), some("9/a", "2"), some("b/a", "3", "no image")]) == ["9", "10"]
    with pytest.raises(ValueError, match="'Cat' and 'cat' differ in capitals alone"):
        class_names([some("cat/a", "1"), some("Cat/a", "2")])
    with pytest.raises(ValueError, match="no text on one line"):
        class_names([some("a\nb/c", "1")])
    with pytest.raises(ValueError, match="one class alone has photos, 'a'"):
        check_classes(["a", "a"])
    assert few_said([4, 5], ["a", "b"]) == ["fewer than 5 photos of a class tell little: 'a' has 4"]
    assert uneven_said([4, 39], ["a", "b"]) == [] and "'b' has 40 photos and 'a' 4" in uneven_said([4, 40], ["a", "b"])[0]
    mixed = [some(path, path)._replace(label=path.split("/")[-2]) for path in ("ripe/May/a", "raw/May/b", "raw/c", "raw/d")]
    assert scattered_said(mixed) == ["folders of one name are one class, wherever they lie: 'raw/May' and 'ripe/May'"]
    assert scattered_said(mixed[1:]) == []
    for name in ("full", "empty", ".hidden"):
        (tmp_path / name).mkdir()
    examples = [Example("full/a.png", "full", Found("a")), Example("broken/b.png", "broken", Found("b"))]
    assert without_photos(tmp_path, examples, ["full"]) == [
        "the class 'broken' has no photo that can be used, and is left out", "the class 'empty' has no photos, and is left out",
    ]  # fmt: skip
