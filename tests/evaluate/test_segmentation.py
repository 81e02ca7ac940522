"""evaluate --segmentation: what is counted of masks, on a tiny network; against sums in plain loops."""

import json
import re
import struct
import zipfile
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from support import ROOT
from support.networks import random_fpn_tensors, random_tensors
from support.own_classes import scenes
from support.scenes import HEAD, NAMES, SHAPE, network, photo

from minivan import image
from minivan.evaluate.overlap import Overlap, counted
from minivan.evaluate.scenes import open_scenes
from minivan.evaluate.segmentation import evaluate_segmentation
from minivan.segmentation import SegmentationVAN, segment
from minivan.segmentation.card import SegmentationCard
from minivan.segmentation.files import load, write
from minivan.van import VAN

pytestmark = pytest.mark.loop


@pytest.fixture(scope="module")
def model():
    return network()


@pytest.fixture(scope="module")
def made(tmp_path_factory, model):
    """Three photos of two sizes; masks that are partly what the network says of them, with pixels of no class."""
    root = tmp_path_factory.mktemp("scenes")
    random, masks = np.random.default_rng(5), {}
    for number, size in enumerate([(90, 60), (64, 64), (90, 60)]):
        picture = photo(*size, seed=number)
        mask = segment(picture, model).mask.copy()
        other = random.random(mask.shape) < 0.3
        mask[other] = random.integers(0, 3, int(other.sum()))  # no class 3 but by the network
        mask[:4] = 255
        masks[f"{number}"] = mask
        for folder, made in (("photos/day", picture), ("masks/day", Image.fromarray(mask))):
            (root / folder).mkdir(parents=True, exist_ok=True)
            made.save(root / folder / f"{number}.png")
    write(root / "four.safetensors", model, alone=False)
    return root, masks


@pytest.fixture
def command(run, made, monkeypatch):
    monkeypatch.chdir(made[0])

    def call(*words, places=("photos", "masks")):
        return run("evaluate", "--segmentation", *places, "--head", "four.safetensors", "--engine", "numpy", *words)

    return call


def brute(pairs, classes):
    """Right pixels, and each class's intersection and union, pixel by pixel."""
    right, both, either = 0, [0] * classes, [0] * classes
    for target, answer in pairs:
        right += target == answer
        both[target] += target == answer
        for index in {target, answer}:
            either[index] += 1
    return right, both, either


def test_intersections_over_unions_are_those_of_plain_loops(made, model):
    root, masks = made
    found = evaluate_segmentation(model, open_scenes(root / "photos", root / "masks"))
    pairs = []
    for name, mask in masks.items():
        answers = segment(root / "photos" / "day" / f"{name}.png", model).mask
        pairs += [(int(t), int(a)) for t, a in zip(mask.ravel(), answers.ravel(), strict=True) if t != 255]
    right, both, either = brute(pairs, 4)
    assert (found.overlap.accuracy.count, found.overlap.accuracy.of) == (right, len(pairs))
    assert [each.both for each in found.overlap.per_class] == both
    assert [each.union for each in found.overlap.per_class] == either
    assert found.overlap.miou == pytest.approx(np.mean([b / e for b, e in zip(both, either, strict=True) if e]), abs=1e-15)
    assert found.ignored == 4 * (90 + 64 + 90) and 0.5 < found.overlap.accuracy.rate < 1 and found.ignore == (255,)


def test_a_class_in_neither_is_left_out_of_the_mean():
    """By hand: sky 1 of 3, road 1 of 2, tree nowhere, car answered alone."""
    target, answers = np.array([[0, 0, 1]]), np.array([[0, 1, 1]])
    overlap = Overlap(counted(target, answers, 4), NAMES)
    assert [each.iou for each in overlap.per_class] == [1 / 2, 1 / 2, None, None] and overlap.miou == 0.5
    overlap = Overlap(counted(target, np.array([[0, 3, 1]]), 4), NAMES)
    assert [each.iou for each in overlap.per_class] == [1 / 2, 1, None, 0.0] and overlap.miou == 0.5
    assert [each.accuracy for each in overlap.per_class] == [1 / 2, 1, None, None] and overlap.mean_accuracy == 0.75
    assert overlap.confused == [(0, 3, 1)]


def test_sums_are_exact_beyond_what_32_bits_hold():
    one = counted(np.zeros((2, 2), np.uint8), np.zeros((2, 2), np.uint8), 2)
    assert one.dtype == np.int64
    assert Overlap(one * 2**31 + one, NAMES[:2]).per_class[0].both == 4 * (2**31 + 1)
    assert counted(last := np.array([255], np.uint8), last, 256)[255, 255] == 1


def test_the_command_prints_what_it_writes(command, made, tmp_path):
    status, out, err = command("-o", tmp_path / "results", "--against", "numpy")
    assert status == 0 and err == ""
    summary = json.loads((tmp_path / "results" / "summary.json").read_text())
    assert f"mIoU  {summary['miou']:.1%}".split() in [line.split() for line in out.splitlines()]
    assert " same class 100.000% of 14,896 pixels, another in 0" in out
    matrix = np.array(summary["confusion"])
    assert summary["pixels"] == matrix.sum() and summary["right"] == np.trace(matrix)
    rows = [line.split(",") for line in (tmp_path / "results" / "confusion.csv").read_text().splitlines()]
    assert [row[1:] for row in rows[1:]] == [[str(value) for value in row] for row in matrix]
    photos = [line.split(",") for line in (tmp_path / "results" / "per_photo.csv").read_text().splitlines()][1:]
    assert [row[0] for row in photos] == ["day/0", "day/1", "day/2"] and sum(int(row[2]) for row in photos) == summary["right"]
    assert (
        (tmp_path / "results" / "per_class.csv").read_text().startswith("index,name,iou,accuracy,pixels,answered,both\n0,sky,")
    )
    status, again, _ = command("-o", tmp_path / "results", "--against", "numpy", "--json")  # from the journal
    assert {**json.loads(again)} == summary
    assert command("-o", tmp_path / "results")[0] == 2  # another evaluation


def test_a_run_that_was_interrupted_goes_on_and_counts_nothing_twice(made, model, tmp_path, monkeypatch):
    scenes = open_scenes(made[0] / "photos", made[0] / "masks")
    whole = evaluate_segmentation(model, scenes)

    def stop(photos):
        if photos == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate_segmentation(model, scenes, journal=tmp_path, advance=stop)
    lines = (tmp_path / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "journal.jsonl").write_bytes(b"".join([*lines, lines[-1]]))
    told = []
    found = evaluate_segmentation(model, scenes, journal=tmp_path, advance=told.append)
    assert told[0] == 1 and np.array_equal(found.overlap.confusion, whole.overlap.confusion)


def test_an_index_that_is_no_class_ends_it_unless_it_is_to_be_ignored(command, made, tmp_path):
    masks = made[1]
    (tmp_path / "day").mkdir()
    for name, mask in masks.items():
        Image.fromarray(np.where(mask == 255, 7, mask).astype(np.uint8)).save(tmp_path / "day" / f"{name}.png")
    status, out, err = command(places=("photos", tmp_path))
    said = "the index 7 in 360 pixels, and four has 4 classes, 0 to 3: --ignore 7 leaves it out"
    assert (status, out, err) == (2, "", f"minivan: {tmp_path}/day/0.png: {said}\n")
    known = json.loads(command("--json")[1])
    ignored = json.loads(command("--json", "--ignore", "7", places=("photos", tmp_path))[1])
    assert ignored["ignore"] == [7, 255] and ignored["confusion"] == known["confusion"]


def test_masks_may_number_classes_from_one(command, made, tmp_path):
    masks = made[1]
    (tmp_path / "day").mkdir()
    for name, mask in masks.items():
        Image.fromarray(np.where(mask == 255, 0, mask + 1).astype(np.uint8)).save(tmp_path / "day" / f"{name}.png")
    known, shifted = (json.loads(command("--json", *more, places=("photos", place))[1]) for place, more in (
        ("masks", ()), (tmp_path, ("--from-one",))))  # fmt: skip
    assert shifted["confusion"] == known["confusion"] and shifted["ignored"] == known["ignored"]


def test_255_counts_where_it_is_a_class(tmp_path):
    """Of 255 classes that masks number from 1 it is the last."""
    config = replace(HEAD, classes=255)
    large = SegmentationVAN(VAN(SHAPE, random_tensors(SHAPE, 1), "numpy"), random_fpn_tensors(config, 1), SegmentationCard("x"))
    for folder, picture in (("photos", photo(40, 40)), ("masks", Image.new("L", (40, 40), 255))):
        (tmp_path / folder).mkdir()
        picture.save(tmp_path / folder / "0.png")
    found = evaluate_segmentation(large, open_scenes(tmp_path / "photos", tmp_path / "masks", from_one=True))
    assert found.overlap.per_class[254].pixels == 1600 and found.ignored == 0


def test_photos_and_masks_in_one_archive_and_those_without_a_partner(command, made, tmp_path):
    root, masks = made
    with zipfile.ZipFile(tmp_path / "both.zip", "w") as archive:
        for name in masks:
            picture = Image.open(root / "photos" / "day" / f"{name}.png")
            picture.save(tmp_path / "lossless.webp", lossless=True)
            archive.write(tmp_path / "lossless.webp", f"test/{name}.webp")
            archive.write(root / "masks" / "day" / f"{name}.png", f"test/{name}.png")
            archive.write(root / "masks" / "day" / f"{name}.png", f"train/{name}.png")
        archive.write(tmp_path / "lossless.webp", "test/alone.webp")
    place = tmp_path / "both.zip" / "test"
    status, out, err = command("--json", places=(place, place))
    assert status == 0 and err == f"note: {place}: left out, without a mask: 1 photo (alone)\n"
    assert json.loads(out)["confusion"] == json.loads(command("--json")[1])["confusion"]
    for places, said in (
        (("photos", tmp_path / "both.zip" / "val"), "val: no PNG file there"),
        ((place, "masks"), "test: 0.png and 0.webp have one name: which is its mask's photo?"),
        ((tmp_path / "none", place), "none: no such file or folder"),
        ((root / "photos" / "day", tmp_path / "both.zip" / "train" / "x"), "x: no PNG file there"),
        (("photos", place), "test: no mask has the name of a photo: of day/0.png it would be day/0.png"),
        (("photos/day/0.png", "masks"), "photos/day/0.png: IMAGES and MASKS are folders or archives, not files"),
        (("-", "masks"), "-: IMAGES and MASKS are folders or archives, not files"),
    ):
        status, _, err = command(places=places)
        assert status == 2 and err.endswith(f"{said}\n") and err.count("\n") == 1


def test_masks_that_cannot_be_used_are_named_and_not_counted(command, made, tmp_path):
    masks = made[1]
    (tmp_path / "day").mkdir()
    Image.fromarray(masks["0"]).save(tmp_path / "day" / "0.png")
    Image.fromarray(masks["0"]).save(tmp_path / "day" / "1.png")
    photo().save(tmp_path / "day" / "2.png")
    status, out, err = command("--json", places=("photos", tmp_path))
    assert status == 1 and json.loads(out)["photos"] == 1
    colours = "a PNG in colours: a mask is a PNG whose values are indices of classes, in grey or with a palette"
    assert err.splitlines() == [
        "minivan: day/1: its mask: 90 x 60 pixels, and its photo has 64 x 64", f"minivan: day/2: its mask: {colours}",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--size 64", "--size does not go with --segmentation"),
        ("--skip-unknown", "--skip-unknown does not go with --segmentation"),
        ("--draft", "--draft does not go with --segmentation"),
        ("--model b0", "--model does not go with --segmentation"),
        (
            "--against other.onnx",
            "--segmentation compares with another engine, auto, fast, exact, numpy, fast-bfloat16; got other.onnx",
        ),
        ("photos", "--segmentation takes IMAGES and MASKS, got 3 of them; one place that has both is named twice"),
        ("-o results.csv", "results.csv: evaluate writes its files into a folder: -o FOLDER"),
    ],
)
def test_options_that_mean_nothing_here_are_refused(words, said, command):
    words = words.split()
    places = ("photos", "masks", *[word for word in words if word == "photos"])
    status, out, err = command(*[word for word in words if word != "photos"], places=places)
    assert (status, out) == (2, "") and err == f"minivan: {said}\n"


def test_options_of_masks_need_the_word(run):
    assert run("evaluate", "photos", "--ignore", "7")[::2] == (2, "minivan: --ignore needs --segmentation\n")


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("palette", [True, False])
def test_a_mask_of_few_bits_has_its_indices(bits, palette, tmp_path):
    indices = (np.arange(12) % (1 << bits)).astype(np.uint8).reshape(3, 4)
    if palette:
        picture = Image.fromarray(indices)
        picture.putpalette([5, 6, 7, 8] * 12)
        picture.save(tmp_path / "mask.png", bits=bits)
    else:
        packed = np.packbits(np.unpackbits(indices[:, :, None], axis=2)[:, :, 8 - bits :].reshape(3, -1), axis=1)
        (tmp_path / "mask.png").write_bytes(grey_png(4, 3, bits, packed))
    with Image.open(tmp_path / "mask.png") as opened:
        assert opened.mode == ("P" if palette else "1" if bits == 1 else "L")
    assert np.array_equal(image.read_indices(tmp_path / "mask.png"), indices)


def test_a_mask_of_16_bits_and_what_is_no_mask(tmp_path):
    Image.fromarray(np.array([[300, 65535]], np.uint16)).save(tmp_path / "deep.png")
    assert image.read_indices(tmp_path / "deep.png").tolist() == [[300, 65535]]
    photo().save(tmp_path / "a.jpg")
    with pytest.raises(image.ImageError, match="JPEG: a mask is a PNG whose values are indices"):
        image.read_indices(tmp_path / "a.jpg")


def grey_png(width, height, bits, packed):
    """A grey PNG file of so many bits, which Pillow writes only of 1 and 8."""

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    rows = b"".join(b"\0" + row.tobytes() for row in packed)
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.once
def test_the_bundled_heads_scenes_are_counted_as_its_card_says(run):
    """All 233 scenes of CamVid's test part, as the command has them; and as the page shows it."""
    place = f"{scenes()}/test"
    status, out, _ = run("evaluate", "--segmentation", place, place, "--ignore", "11", "--json")
    found = json.loads(out)
    figures = dict(load().card.figures)
    assert status == 0 and figures["mIoU, test"] == f"{found['miou']:.1%} of {found['photos']} scenes"
    assert figures["pixels right, test"] == f"{found['accuracy']:.1%}"
    page = (ROOT / "docs" / "evaluate.md").read_text(encoding="utf-8")
    for each in found["classes"]:
        assert f"{each['iou']:.1%}" in re.search(rf"^.* {each['name']}$", page, re.MULTILINE)[0]
    assert re.search(rf"^mIoU +{found['miou']:.1%}$", page, re.MULTILINE)
