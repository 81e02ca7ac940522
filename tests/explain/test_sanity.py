"""Do the maps of the bundled weights mean anything? Identities, randomised weights, two objects, occlusion, curves."""

import numpy as np
import pytest
from support import EXAMPLES, sanity
from support.compare import assert_close
from support.labelled import photographs
from tolerances import LOGIT_OF_MAP, MAPS

import minivan
from minivan import explain
from minivan.van import VAN

PARTS = 1000 // 50  # the curves' quick test takes every twentieth image


@pytest.fixture(scope="module")
def labelled():
    """Return the bundled model on its fast engine, the 1,000 inputs and their classes."""
    model = minivan.load(engine="fast")
    return model, *photographs(model.card)


@pytest.mark.parametrize(("name", "box"), [("Egyptian cat", sanity.CAT), ("tabby", sanity.CAT), ("espresso", sanity.CUP)])
def test_a_class_is_seen_where_it_lies(name, box):
    """Four photographs in one: most of a class's map, and its brightest place, lie in the box drawn by hand around it."""
    found = sanity.share_in_box(minivan.load(engine="fast"), EXAMPLES / "four.jpg", name, box)
    print(f"{name}: {found.share:.0%} of the map lies in a box of {found.area:.0%} of the picture")
    assert found.inside and found.share > 0.5 > 2 * found.area


def test_the_maps_mean_and_the_bias_are_the_logit(labelled):
    model, x, target = labelled[0], labelled[1][::200], labelled[2][::200]
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


@pytest.mark.parametrize("part", ["head", pytest.param("stage 4", marks=pytest.mark.once)])
def test_randomised_weights_change_the_map(labelled, part):
    model, x, target = labelled[0], labelled[1][::10], labelled[2][::10]
    similar = sanity.shuffled(model, x, target, part)
    print(f"{part} shuffled: maps of {len(x)} images correlate by {similar:.3f} with their own")
    assert part in sanity.PARTS and abs(similar) < 0.3
    maps = explain.maps(model, x, target, "cam").maps["norm4"]
    assert sanity.correlation(maps, maps) > 0.99


@pytest.mark.once
def test_two_classes_light_two_objects(labelled):
    pairs = sanity.side_by_side(*labelled)
    print(f"{len(pairs.left)} pairs: {pairs.left.mean():.0%} of the left class's map lies left, {pairs.right.mean():.0%} of "
          f"the right class's; the left class's lies further left in {pairs.in_order:.0%}")  # fmt: skip
    assert pairs.left.mean() > 0.6 > 0.4 > pairs.right.mean() and pairs.in_order > 0.9


@pytest.mark.parametrize("every", [pytest.param(4, marks=pytest.mark.once), pytest.param(1, marks=pytest.mark.long)])
def test_occluding_the_top_tenth_lowers_the_probability_more_than_a_random_tenth(labelled, every):
    model, x, target = labelled
    found = sanity.falls(model, x[::every], target[::every], blurred=True)
    for name in ("moved", "scattered"):
        more = found["top"] - found[name]
        deviations = more.mean() / (more.std() / np.sqrt(len(more)))
        print(f"top over {name}: {more.mean():.4f}, {deviations:.1f} standard errors")
        assert deviations > 3


@pytest.mark.parametrize(
    "every",
    [pytest.param(PARTS, marks=pytest.mark.once), pytest.param(1, marks=pytest.mark.long)],
    ids=["50 images", "1,000 images"],
)
def test_deletion_falls_and_insertion_rises_faster_by_the_map_than_by_chance(labelled, every):
    areas = sanity.areas(labelled[0], labelled[1][::every], labelled[2][::every])
    print(areas)
    assert areas["deletion", "map"] < areas["deletion", "chance"]
    assert areas["insertion", "map"] > areas["insertion", "chance"]
