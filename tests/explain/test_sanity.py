"""Do the maps of the bundled weights mean anything? Identities, randomised weights, two objects, occlusion, curves."""

import numpy as np
import pytest
from support.compare import assert_close
from support.labelled import photographs
from tolerances import LOGIT_OF_MAP, MAPS

import minivan
from minivan import explain
from minivan.explain import faithfulness, figure
from minivan.reference import softmax
from minivan.van import VAN

PARTS = 1000 // 50  # the curves' quick test takes every twentieth image


@pytest.fixture(scope="module")
def labelled():
    """Return the bundled model on its fast engine, the 1,000 inputs and their classes."""
    model = minivan.load(engine="fast")
    return model, *photographs(model.card)


def pixel_ranks(model, x, target):
    """Order the pixels by the class activation map, spread to the input's resolution. Grad-CAM only adds a ReLU: ties."""
    maps = explain.maps(model, x, target, "cam").maps["norm4"]
    return faithfulness.ranks(np.stack([figure.spread(values, 32, *x.shape[2:]) for values in maps]))


def moved(rank, rng):
    """The same shapes somewhere else: every image's ranks, shifted around by a random way."""
    return np.stack([np.roll(one, rng.integers(0, one.shape[0], 2), (0, 1)) for one in rank])


def scattered(rank, rng):
    return np.stack([rng.permutation(one.ravel()).reshape(one.shape) for one in rank])


def correlation(a, b):
    """Return the mean over images of the correlation between two maps, over places; constant maps count as 0."""
    a, b = (m.reshape(len(m), -1) - m.reshape(len(m), -1).mean(1, keepdims=True) for m in (a, b))
    size = np.sqrt((a * a).sum(1) * (b * b).sum(1))
    return float(np.divide((a * b).sum(1), size, out=np.zeros_like(size), where=size > 0).mean())


def test_the_maps_mean_and_the_bias_are_the_logit(labelled):
    model, x, target = labelled[0], labelled[1][::50], labelled[2][::50]
    for engine in ("exact", "fast"):
        same = VAN(model.config, model.tensors, engine, model.card)
        found = explain.maps(same, x, target, "cam")
        bias = np.float64(model.tensors["head.bias"])[target]
        logits = same(x)[np.arange(len(x)), target]
        assert_close(engine, found.maps["norm4"].mean((1, 2)) + bias, logits.astype(np.float64), LOGIT_OF_MAP)


def test_gradcam_there_is_the_class_activation_map_up_to_its_factor_and_relu(labelled):
    model, x, target = labelled[0], labelled[1][::50], (labelled[2][::50] + 57) % 200  # classes that are not there
    cam, gradcam = (explain.maps(model, x, target, method).maps["norm4"] for method in ("cam", "gradcam"))
    assert_close("gradcam", gradcam, np.maximum(cam, 0) / cam[0].size, MAPS)
    assert (cam < 0).any() and (gradcam > 0).any()


@pytest.mark.parametrize("part", ["head", "stage 4"])
def test_randomised_weights_change_the_map(labelled, part):
    """Adebayo et al. 2018, "Sanity Checks for Saliency Maps": a map that survives this shows the image, not the network."""
    model, x, target = labelled[0], labelled[1][::10], labelled[2][::10]
    prefixes = {"head": ("head.",), "stage 4": ("patch_embed4.", "block4.", "norm4.")}[part]
    rng = np.random.default_rng(0)
    tensors = {
        name: rng.permutation(np.asarray(t, np.float32).ravel()).reshape(t.shape) if name.startswith(prefixes) else t
        for name, t in model.tensors.items()
    }
    before, after = (explain.maps(m, x, target, "cam").maps["norm4"]
                     for m in (model, VAN(model.config, tensors, "fast", model.card)))  # fmt: skip
    similar = correlation(before, after)
    print(f"{part} shuffled: maps of {len(x)} images correlate by {similar:.3f} with their own")
    assert abs(similar) < 0.3
    assert correlation(before, before) > 0.99


def test_two_classes_light_two_objects(labelled):
    """Photographs that are recognised, two side by side: each class's map lies on its own half."""
    model, x, target = labelled
    sure = np.flatnonzero(softmax(model(x))[np.arange(len(x)), target] > 0.8)
    left, right = sure, np.roll(sure, len(sure) // 2)
    keep = target[left] != target[right]
    left, right = left[keep], right[keep]
    pairs = np.concatenate([x[left], x[right]], axis=3)  # (N, 3, 64, 128): positions 0, 1 of four lie left, 2, 3 right
    found = [explain.maps(model, pairs, target[side], "gradcam").maps["norm4"] for side in (left, right)]
    assert (np.abs(found[0] - found[1]).max((1, 2)) > 0).all()
    shares = [values[:, :, :2].sum((1, 2)) / values.sum((1, 2)) for values in found]
    lit = (shares[0] > shares[1]).mean()
    print(f"{len(pairs)} pairs: {shares[0].mean():.0%} of the left class's map lies left, {shares[1].mean():.0%} of the "
          f"right class's; the left class's lies further left in {lit:.0%}")  # fmt: skip
    assert shares[0].mean() > 0.6 > 0.4 > shares[1].mean() and lit > 0.9


@pytest.mark.slow
def test_occluding_the_top_tenth_lowers_the_probability_more_than_a_random_tenth(labelled):
    """Replaced by a blurred copy, so that no edge appears that was not there; the random tenth once as the same shape
    elsewhere, once as scattered pixels."""
    model, x, target = labelled
    rng, blurred = np.random.default_rng(0), faithfulness.blur(x)
    top = pixel_ranks(model, x, target)
    whole = faithfulness.probability(model, x, target)
    falls = {}
    for name, rank in {"top": top, "moved": moved(top, rng), "scattered": scattered(top, rng)}.items():
        left = faithfulness.probability(model, faithfulness.occlude(x, rank, 0.1, blurred), target)
        falls[name] = np.float64(whole - left)
    said = ", ".join(f"{name} {fall.mean():.4f}" for name, fall in falls.items())
    print(f"probability {whole.mean():.4f} of 1,000 images falls, a tenth blurred, by: {said}")
    for name in ("moved", "scattered"):
        more = falls["top"] - falls[name]
        deviations = more.mean() / (more.std() / np.sqrt(len(more)))
        print(f"top over {name}: {more.mean():.4f}, {deviations:.1f} standard errors")
        assert deviations > 3


@pytest.mark.parametrize(
    "every",
    [pytest.param(PARTS, marks=pytest.mark.slow), pytest.param(1, marks=pytest.mark.long)],
    ids=["50 images", "1,000 images"],
)
def test_deletion_falls_and_insertion_rises_faster_by_the_map_than_by_chance(labelled, every):
    """Petsiuk et al. 2018 (RISE). Chance: the same shapes elsewhere."""
    model, x, target = labelled[0], labelled[1][::every], labelled[2][::every]
    by_map = pixel_ranks(model, x, target)
    areas = {}
    for name, rank in {"the map": by_map, "chance": moved(by_map, np.random.default_rng(0))}.items():
        for curve in (faithfulness.deletion, faithfulness.insertion):
            values = curve(model, x, target, rank)
            areas[name, curve.__name__] = float(faithfulness.area(values).mean())
            points = " ".join(f"{p:.3f}" for p in values.mean(1))
            print(f"{curve.__name__} by {name}, {len(x)} images: area {areas[name, curve.__name__]:.4f}; {points}")
    assert areas["the map", "deletion"] < areas["chance", "deletion"]
    assert areas["the map", "insertion"] > areas["chance", "insertion"]
