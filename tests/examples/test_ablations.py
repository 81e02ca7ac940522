"""The ablations replace what they say, and their page is what was measured."""

import json
import sys

import numpy as np
import pytest
from support import EXAMPLES
from support.labelled import source
from tolerances import FLOAT64

import minivan
from minivan import image, lka, reference
from minivan.checkpoint.hub import bundled

FOLDER = EXAMPLES / "ablations"
sys.path.insert(0, str(FOLDER))

import ablate  # noqa: E402

ROWS = json.loads((FOLDER / "results.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def model():
    return minivan.load(bundled()[0], engine="exact")


@pytest.fixture(scope="module")
def photos(model):
    """A free photograph, as the network sees it, of half the side."""
    return image.prepare(min(EXAMPLES.glob("*.jpg")), model.card.preprocessing)[None, :, ::2, ::2]


@pytest.fixture(scope="module")
def unchanged(model, photos):
    return model(photos)


def test_putting_back_what_was_there_changes_no_bit(model, photos, unchanged):
    change, _ = ablate.ablations()["as trained"]
    assert ablate.logits(model, photos, change).tobytes() == unchanged.tobytes()


@pytest.mark.parametrize("name", list(ablate.ablations())[1:])
def test_every_change_changes_the_answer_and_reads_what_the_page_says(name, model, photos, unchanged):
    change, published = ablate.ablations()[name]
    assert (ablate.logits(model, photos, change) != unchanged).any()
    row = next(row for row in ROWS if row["name"] == name)
    assert row["reads"] == ablate.footprint(model, change) and row["published_top1"] == published


def test_the_reaches_follow_from_the_kernels(model):
    for name, reach in ablate.REACHES.items():
        taps, dilation = reach.get("taps", 7), reach.get("dilation", 3)
        assert name.startswith(f"K = {taps * dilation}: ")
        assert ablate.footprint(model, ablate.ablations()[name][0]) == 5 + dilation * (taps - 1), name
    assert ablate.footprint(model, ablate.ablations()["as trained"][0]) == lka.support(21, 3)


def test_fitting_finds_the_factor_and_the_summand(model, photos, unchanged):
    """The trained attention is its own best fit, ones are each channel's mean, a halved and shifted one is put right."""
    trained, ones = (ablate.ATTENTIONS[name] for name in ("as trained", "no attention: u passes"))
    changes = {"trained": trained, "ones": ones, "other": lambda ops, u, p: trained(ops, u, p) / 2 + 3}
    seen = {}
    model(photos, hook=lambda path, array: seen.update({path: array.astype(float)}))
    fits = ablate.fit(model, photos, changes)
    for name, (factor, summand) in {"trained": (1, 0), "other": (2, -6)}.items():
        for block, found in fits[name].items():
            flat = seen[f"{block}.attn.spatial_gating_unit.conv1"].std(axis=(0, 2, 3)) < 1e-3  # such a channel takes any factor
            np.testing.assert_allclose(found["factor"][~flat, 0, 0], factor, rtol=1e-3, err_msg=block)
            np.testing.assert_allclose(found["summand"][~flat, 0, 0], summand, atol=1e-2, err_msg=block)
    means = {block: array["summand"] for block, array in fits["ones"].items()}
    for block, mean in means.items():
        expected = seen[f"{block}.attn.spatial_gating_unit.conv1"].mean(axis=(0, 2, 3))
        np.testing.assert_allclose(mean[:, 0, 0], expected, atol=FLOAT64, rtol=1e-9)
    put_right = ablate.logits(model, photos, changes["other"], fits["other"])
    np.testing.assert_allclose(put_right, unchanged, atol=1e-2)
    assert abs(ablate.logits(model, photos, ones, fits["ones"]) - unchanged).max() > 0.1


@pytest.mark.once
def test_a_fitted_attention_is_what_is_measured(model):
    source()  # skipped without the labelled photographs
    name = "no attention: u passes"
    x, targets = ablate.photographs(model, 1000)
    fits = ablate.fit(model, x[-ablate.FITTED_TO :], {name: ablate.ATTENTIONS[name]})
    shown = slice(ablate.FITTED_SHOWN)
    right = (ablate.logits(model, x[shown], ablate.ATTENTIONS[name], fits[name]).argmax(1) == targets[shown]).sum()
    assert right == next(row for row in ROWS if row["name"] == name)["fitted_right"]


@pytest.mark.once
@pytest.mark.parametrize("name", ["as trained", "add instead of multiply", "K = 9: middle 3 x 3 of the far kernel"])
def test_the_page_is_what_is_measured(name, model):
    source()  # skipped without the labelled photographs
    x, targets = ablate.photographs(model, 100)
    row = next(row for row in ROWS if row["name"] == name)
    right = (ablate.logits(model, x, ablate.ablations()[name][0]).argmax(1) == targets).sum()
    assert right == row["right_of_first_100"] and row["images"] == 1000


def test_the_page_is_made_from_the_results_and_marks_what_is_published(model):
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert page == ablate.report(model, ROWS)
    assert page.count("**published**") == 1  # one table of its own: no row has a measured number beside it
    published = {"K = 7, d = 2: 3 x 3, then 4 x 4 with dilation 2": 74.8, "as trained": 75.4}
    published |= {"K = 14, d = 3: 5 x 5, then 5 x 5 with dilation 3": 75.3}
    published |= {"K = 28, d = 4: 7 x 7, then 7 x 7 with dilation 4": 75.4}  # their parameters say so: 4.03, 4.07, 4.14 million
    published |= {"sigmoid": 75.2, "add": 74.6, "no gate": 74.3, "no near": 74.9, "no far": 74.1, "no mixing": 74.6}
    for start, top1 in published.items():  # Guo et al. 2022
        row = next(line for line in page.split("| trained with |")[1].splitlines() if line.startswith(f"| {start}"))
        assert row.count("|") == 3 and row.endswith(f"| {top1} % |")
    assert all(
        row["published_top1"] is None for row in ROWS if row["name"].startswith("K =")
    )  # the paper's K have other kernels
    assert [row["name"] for row in ROWS] == list(ablate.ablations())


def test_the_changes_are_what_their_names_say(model):
    p = model.parameters["block1"]["0"]["attn"]["spatial_gating_unit"]
    u = np.random.default_rng(0).standard_normal((1, 32, 9, 9))
    channels = u.shape[1]
    near = reference.conv2d(u, **p["conv0"], padding=2, groups=channels)
    far = reference.conv2d(near, **p["conv_spatial"], padding=9, dilation=3, groups=channels)
    a = reference.conv2d(far, **p["conv1"])
    expected = {
        "as trained": u * a,
        "sigmoid on the attention": u / (1 + np.exp(-a)),
        "add instead of multiply": u + a,
        "no gate: the attention alone": a,
        "no near step (5 x 5)": u
        * reference.conv2d(reference.conv2d(u, **p["conv_spatial"], padding=9, dilation=3, groups=channels), **p["conv1"]),
        "no far step (7 x 7, dilated)": u * reference.conv2d(near, **p["conv1"]),
        "no mixing step (1 x 1)": u * far,
        "no attention: u passes": u,
    }
    for name, (change, _) in ablate.PARTS.items():
        np.testing.assert_allclose(change(reference, u, p), expected[name], rtol=FLOAT64, atol=FLOAT64, err_msg=name)
