"""The commands explain and receptive-field: figures, JSON, near matches, and what goes wrong."""

import builtins
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image
from support import EXAMPLES, ROOT
from support.engines import REFUSING
from support.networks import random_tensors

from minivan import explain, load
from minivan.card import Card
from minivan.cli import explain as cli
from minivan.cli import figures, main
from minivan.explain import figure
from minivan.predict.images import Found
from minivan.van import VAN
from minivan.variants import Config

CAT, COFFEE, ROCKET = (str(EXAMPLES / f"{name}.jpg") for name in ("cat", "coffee", "rocket"))


def lines(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_figure_for_the_top_class(tmp_path, capsys):
    out = tmp_path / "out.png"
    assert main(["explain", COFFEE, "-o", str(out)]) == 0
    said = capsys.readouterr().out
    seen = "seen at 192 x 192 pixels, class and probability at 96 x 96 as trained"
    assert said.startswith(f"{out}: Bright: ") and f"\ngradcam at norm4 · {seen} · " in said
    assert said.count("\n") == 2
    with Image.open(out) as picture:
        assert picture.width > 500 and picture.height > 300
        assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 1000  # not a blank page


def test_the_cup_is_lit_for_espresso(capsys):
    assert main(["explain", COFFEE, "--json"]) == 0
    (found,) = lines(capsys)
    (entry,) = found["classes"]
    side = explain.SMALLEST_VIEW
    assert (entry["label"], entry["rank"], found["input"]) == ("espresso", 1, [side, side])
    spread = figure.spread(np.array(entry["maps"]["norm4"]["values"]), entry["maps"]["norm4"]["stride"], side, side)
    top, left, bottom, right = (round(edge * side / 192) for edge in (10, 30, 140, 150))  # drawn by hand around the cup
    row, column = np.unravel_index(spread.argmax(), spread.shape)
    assert top <= row < bottom and left <= column < right, "the brightest place lies on the cup"
    cup = spread[top:bottom, left:right]
    assert cup.mean() > 1.3 * (spread.sum() - cup.sum()) / (side**2 - cup.size)


def test_json_holds_the_arrays_of_the_package(capsys):
    flags = ["--class", "tabby", "--class", "n02124075", "--layer", "all", "--method", "layercam", "--size", "64"]
    assert main(["explain", CAT, "--json", *flags]) == 0
    (found,) = lines(capsys)
    model = load(engine="exact")
    seen = explain.look(model, CAT, 64)
    probabilities = explain.probabilities(model(seen.as_trained))[0]
    assert [entry["label"].split(",")[0] for entry in found["classes"]] == ["tabby", "Egyptian cat"]
    for entry in found["classes"]:
        maps = explain.maps(model, seen.x, entry["index"], "layercam", explain.stages(model))
        assert list(entry["maps"]) == ["norm1", "norm2", "norm3", "norm4"]
        for (path, values), stride in zip(maps.maps.items(), (4, 8, 16, 32), strict=True):
            assert entry["maps"][path]["stride"] == stride
            np.testing.assert_allclose(entry["maps"][path]["values"], values[0], rtol=1e-5, atol=1e-12)
        assert abs(entry["probability"] - probabilities[entry["index"]]) < 1e-6


def test_the_default_class_and_its_probability_are_those_of_classify(run):
    _, explained, _ = run("explain", CAT, "--json", "--engine", "exact")
    _, classified, _ = run("classify", CAT, "--json", "--engine", "exact")
    (entry,), top = json.loads(explained)["classes"], json.loads(classified)["top"][0]
    assert [entry[key] for key in ("index", "label", "probability")] == [top[key] for key in ("index", "label", "probability")]


@pytest.mark.parametrize(
    "flags",
    [
        pytest.param(["--layer", "all", "--size", "64"], marks=pytest.mark.slow),
        pytest.param(
            ["--class", "espresso", "--class", "wooden spoon", "--layer", "all", "--method", "hirescam", "--size", "32"],
            marks=pytest.mark.slow,
        ),
        pytest.param(["--class", "7", "--layer", "block3.4.mlp.act", "--size", "64"], marks=pytest.mark.slow),
        ["--method", "cam", "--size", "64", "--engine", "numpy"],
        pytest.param(["--method", "gradcam++", "--size", "64"], marks=pytest.mark.slow),
        pytest.param(["--method", "smoothgrad", "--size", "32"], marks=pytest.mark.slow),
        pytest.param(["--method", "occlusion", "--size", "32", "--engine", "fast"], marks=pytest.mark.slow),
        pytest.param(["--attention", "--size", "64"], marks=pytest.mark.slow),
        pytest.param(["--attention", "--block", "block3", "--size", "64"], marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_every_kind_of_figure_is_drawn_without_text_on_text(tmp_path, flags, monkeypatch):
    out = tmp_path / "out.png"
    drawn, save = [], figure.save
    monkeypatch.setattr(figure, "save", lambda made, path: (drawn.append(made), save(made, path)))
    photos = [COFFEE] if "--attention" in flags else [COFFEE, CAT]
    assert main(["explain", *photos, "-o", str(out), *flags]) == 0
    assert out.stat().st_size > 10_000
    assert overlapping(drawn[0]) == []


def overlapping(made):
    """Return the pairs of texts, titles and tick labels of a figure that lie on one another or stick out of the page."""
    renderer = FigureCanvasAgg(made).get_renderer()
    texts = []
    for axis in made.axes:
        texts += [axis.title, *axis.texts]
        if axis.axison:
            texts += [*axis.get_xticklabels(), *axis.get_yticklabels()]
    texts += [made._supxlabel] if made._supxlabel else []
    boxes = [(t.get_text(), t.get_window_extent(renderer)) for t in texts if t.get_text()]
    page = made.bbox
    out = [(said, "the page") for said, box in boxes if box.x0 < page.x0 - 1 or box.x1 > page.x1 + 1 or box.y1 > page.y1 + 1]
    for k, (said, box) in enumerate(boxes):
        out += [(said, other) for other, second in boxes[k + 1 :] if box.overlaps(second)]
    return out


@pytest.mark.slow
def test_names_of_any_length_fit(tmp_path):
    long = tmp_path / ("a very long name of a photograph " * 4 + ".jpg")
    shutil.copy(CAT, long)
    rows = [figure.Row(str(long), np.zeros((90, 200, 3), np.uint8), 1.0,
                       [figure.Panel(("American black bear, black bear, Ursus americanus, Euarctos americanus", "0.1%"),
                                     np.ones((2, 2)), "norm4", signed) for signed in (False, True)])] * 2  # fmt: skip
    made = figure.maps_figure(rows, "a footnote " * 40)
    figure.save(made, tmp_path / "out.png")
    assert overlapping(made) == []


def test_an_image_without_the_class_still_works(tmp_path, capsys):
    out = tmp_path / "out.png"
    assert main(["explain", ROCKET, "--class", "Persian cat", "--size", "64", "-o", str(out), "--json"]) == 0
    (found,) = lines(capsys)
    assert found["classes"][0]["rank"] > 1 and out.exists()


def test_a_map_of_zeros_says_so():
    row = figure.Row("photo", np.zeros((64, 64, 3), np.uint8), 1.0, [figure.Panel(("x",), np.zeros((2, 2)), "norm4", False)])
    made = figure.maps_figure([row], "note")
    assert any("nothing here speaks" in text.get_text() for axis in made.axes for text in axis.texts)


def test_attention_as_json(capsys):
    assert main(["explain", COFFEE, "--attention", "--json", "--block", "block4"]) == 0
    (found,) = lines(capsys)
    assert list(found["blocks"]) == ["block4.0", "block4.1"]
    block = found["blocks"]["block4.1"]
    assert block["lowest"] < 0 < block["highest"] and np.shape(block["mean"]) == (6, 6) and len(block["most_selective"]) == 4


def test_the_attention_of_a_backbone_without_a_head(monkeypatch, capsys):
    config = Config((4, 6), (1, 1), (1, 1), classes=0)
    model = VAN(config, random_tensors(config), card=Card("backbone"))
    monkeypatch.setattr(cli, "load_model", lambda args: model)
    assert main(["explain", COFFEE, "--attention", "--json", "--size", "64"]) == 0
    assert list(lines(capsys)[0]["blocks"]) == ["block1.0", "block2.0"]


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--class", "expresso"], "no class of these 200 is called 'expresso'; near it are espresso"),
        (["--class", "cat"], "Egyptian cat"),
        (["--class", "200"], "class 200 is not among the 200 classes, 0 to 199"),
        (["--layer", "norm5"], "no layer is called 'norm5'; near it are norm"),
        (["--layer", "head"], "head has no positions"),
        (["--layer", "norm2", "--method", "cam"], "cam is defined at norm4"),
        (["--attention", "--block", "block5.0"], "no block is called 'block5.0'; near it are block"),
        (["--size", "16"], "--size: the side of a view lies in 32..2048 pixels; got 16"),
        (["--model", "b9"], "b9"),
    ],
)
def test_what_cannot_be_used_is_one_line_before_anything_is_computed(arguments, said, tmp_path, capsys, monkeypatch):
    read = cli.load_model

    def refusing(args):
        model = read(args)
        return VAN(model.config, model.tensors, REFUSING, model.card)

    monkeypatch.setattr(cli, "load_model", refusing)
    assert main(["explain", str(tmp_path / "no-photo.jpg"), COFFEE, "-o", str(tmp_path / "out.png"), *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("minivan: ") and said in error and error.count("\n") == 1 and "no-photo" not in error


@pytest.mark.parametrize("command", [["explain", COFFEE], ["receptive-field", "--size", "64"]], ids=lambda c: c[0])
@pytest.mark.parametrize(
    "name, said",
    [("out.bmp2", "written as .png, .pdf, .svg"), ("none/out.png", "none/out.png: No such file"), ("x.png", "x.png: Is a dir")],
)
def test_an_output_that_cannot_be_written_is_one_line(command, name, said, tmp_path, capsys):
    (tmp_path / "x.png").mkdir()
    assert main([*command, "-o", str(tmp_path / name)]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


@pytest.mark.parametrize("command", [["explain", COFFEE], ["receptive-field"]], ids=lambda c: c[0])
def test_without_matplotlib_the_error_says_how_to_get_it(command, tmp_path, capsys, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ModuleNotFoundError(name, name=name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    assert main([*command, "-o", str(tmp_path / "out.png")]) == 2
    assert capsys.readouterr().err == "minivan: figures need Matplotlib: pip install '.[plots]' from a clone of minivan\n"


def test_bad_images_are_named_and_the_others_drawn(tmp_path, capsys):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no image")
    asked = [str(bad), COFFEE, str(tmp_path / "none.jpg"), "--size", "64", "-o", str(tmp_path / "out.png")]
    assert main(["explain", *asked]) == 1
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 2 and "bad.jpg: not an image" in error[0] and "none.jpg: no such file" in error[1]
    assert (tmp_path / "out.png").exists()


def test_a_figure_for_each_image_in_a_folder(tmp_path, run, monkeypatch):
    """Names that collide where capitals do not count, and images that fail: one line each, and the rest is drawn."""
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for name in ("cat.jpg", "sub/CAT.jpg"):
        shutil.copy(CAT, tmp_path / "in" / name)
    (tmp_path / "in" / "bad.png").write_bytes(b"no image")
    monkeypatch.chdir(tmp_path)
    flags = ["--method", "cam", "--size", "64", "--engine", "numpy"]
    status, out, err = run("explain", "in", "none.jpg", "-o", "made/out/", *flags)
    made, photos = ["cat_cam.png", "CAT-2_cam.png"], ["in/cat.jpg", "in/sub/CAT.jpg"]
    assert status == 1 and [line.split(":")[1] for line in err.splitlines()] == [" in/bad.png", " none.jpg"]
    *lines, how, sentence = out.splitlines()
    cautions, lines = lines[1::2], lines[::2]
    assert set(cautions) == {"  Few places, 2 x 2: weights trained on larger photos have more (python -m minivan fetch b0)."}
    assert [line.split(", ")[0] for line in lines] == [f"made/out/{m}: {p}" for m, p in zip(made, photos, strict=True)]
    assert all(re.search(r", Egyptian cat \d\d\.\d%$", line) for line in lines)
    assert how.startswith("cam at norm4 · seen at 64") and sentence.startswith("Orange: ")
    assert sorted(os.listdir("made/out")) == sorted(made)
    status, out, err = run("explain", "none.jpg", "-o", "nothing/", *flags)
    assert (status, out) == (2, "") and not os.path.exists("nothing")


def test_a_figure_never_takes_the_place_of_a_photo(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ["a.jpg", "a_cam.png", "./A_CAM-2.png", "-", "x/...", "b\\c:\x1b*.jpg", "n" * 250 + ".jpg", "z.zip/A.jpg", ".b.jpg"]
    found = figures.names(".", [Found(name) for name in names], "cam")
    assert found[:4] == ["./a-2_cam.png", "./a_cam_cam.png", "./A_CAM-2_cam.png", "./stdin_cam.png"]
    assert found[4:6] + found[7:] == ["./image_cam.png", "./c____cam.png", "./A-3_cam.png", "./b_cam.png"]
    assert len(found[6]) < 200


@pytest.mark.parametrize("name, said", [("file/", "Not a directory"), ("file/deep/", "Not a directory"), ("figs", "ends in /")])
def test_a_folder_that_cannot_be_is_said_before_anything_is_computed(name, said, tmp_path, run, monkeypatch):
    monkeypatch.setattr(cli, "load_model", None)
    (tmp_path / "file").write_text("")
    status, out, err = run("explain", CAT, "-o", f"{tmp_path}/{name}")
    assert (status, out) == (2, "") and said in err and err.count("\n") == 1


def test_where_no_image_can_be_read_nothing_is_judged(tmp_path, capsys):
    assert main(["explain", str(tmp_path / "none.jpg"), str(tmp_path), "-o", str(tmp_path / "out.png")]) == 2
    said, error = capsys.readouterr()
    assert len(error.splitlines()) == 2 and "none.jpg: no such file" in error and "no images in this folder" in error
    assert said == "" and not (tmp_path / "out.png").exists()


def test_a_photo_to_average_over_that_cannot_be_read_is_named(tmp_path, capsys):
    assert main(["receptive-field", COFFEE, str(tmp_path / "none.jpg"), "--size", "64"]) == 2
    assert capsys.readouterr() == ("", f"minivan: {tmp_path / 'none.jpg'}: no such file or folder\n")
    assert main(["receptive-field", COFFEE, "--size", "16"]) == 2
    assert capsys.readouterr().err == "minivan: --size: the side of a view lies in 32..2048 pixels; got 16\n"


@pytest.mark.parametrize(
    "arguments, said",
    [
        ([], "-o OUT.png"),
        (["--json", "--block", "block1.0"], "--block belongs to --attention"),
        (["--json", "--attention", "--class", "tabby"], "no --class, --layer or --method"),
    ],
)
def test_flags_that_do_not_go_together_are_one_line(arguments, said, run):
    status, out, error = run("explain", COFFEE, *arguments)
    assert (status, out) == (2, "") and error.startswith("minivan: ") and said in error and error.count("\n") == 1


def test_a_method_that_is_not_known_is_a_wrong_call(run):
    status, _, error = run("explain", COFFEE, "--json", "--method", "guess")
    assert status == 2 and "invalid choice: 'guess'" in error


@pytest.mark.parametrize("command", ["explain", "receptive-field"])
def test_help_names_the_choices_and_imports_nothing_that_computes(command):
    program = "import sys; from minivan.cli import main\ntry: main([sys.argv[1], '--help'])\nfinally: print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", program, command], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "gradcam" in said or command != "explain"
    assert not {"numpy", "numba", "PIL", "matplotlib"} & set(said.splitlines()[-1].split())


@pytest.mark.slow
def test_receptive_fields_as_table_figure_and_json(tmp_path, capsys):
    out = tmp_path / "fields.png"
    assert main(["receptive-field", "--size", "65", "-o", str(out)]) == 0
    said = capsys.readouterr().out
    assert "block4.1" in said and "4383 x 4383" in said and "8 images of 1/f noise" in said and out.stat().st_size > 10_000
    assert main(["receptive-field", COFFEE, CAT, "--size", "97", "--json"]) == 0
    (found,) = lines(capsys)
    assert found["images"] == 2 and found["theoretical"][0] == {"path": "patch_embed1", "stride": 4, "side": 7}
    for path, shares in found["effective"].items():
        sides = [shares[share]["side"] for share in ("20%", "30%", "50%", "99%")]
        assert sides == sorted(sides) and shares["99%"]["area_ratio"] <= 1, path
    halves = [shares["50%"]["area_ratio"] for shares in found["effective"].values()]
    assert halves[0] < halves[1] < halves[2], "deeper stages use more of the image"
