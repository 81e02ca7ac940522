"""Datasets in every form, the same images and labels from each; and what is refused of them."""

import io
import json
import tarfile
import zipfile

import pytest

from minivan.card import Card, Label
from minivan.evaluate import UnknownClasses, indices, open_dataset
from minivan.places import expand

pytestmark = pytest.mark.loop

NAMES = ["n01/b.JPEG", "n02/images/a.jpg", "n02/images/c.png"]
LISTED = [("n01/b.JPEG", "n01"), ("n02/images/a.jpg", "n02"), ("n02/images/c.png", "n02")]


def listed(*sources):
    return [example[:2] for example in open_dataset(sources).examples]


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "photos"
    for name in [*NAMES, "cover.jpg", "n02/notes.txt"]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def tar(path, files):
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


def test_folders_and_archives_of_them(folder, tmp_path):
    whole = open_dataset(folder)
    assert [example[:2] for example in whole.examples] == LISTED
    assert [example.image.source() for example in whole.examples] == [name.encode() for name in NAMES]
    assert list(whole.notes) == [
        f"{folder}: left out, because in no class folder: 1 of 4 images",
        f"{folder}: 1 file is no image: notes.txt",
    ]
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for name in reversed(NAMES):
            archive.write(folder / name, name)
    packed = tar(tmp_path / "photos.tar", {name: name.encode() for name in NAMES})
    for source in (tmp_path / "photos.zip", packed):
        assert listed(source) == LISTED
        assert open_dataset(source).examples[1].image.source() == NAMES[1].encode()
    assert listed(folder, packed)[::3] == [("photos/n01/b.JPEG", "n01"), ("photos.tar/n01/b.JPEG", "n01")]


def test_tables(folder):
    csv = folder / "list.csv"
    csv.write_text('\ufeffid,Label,filename\n1,"cat, tabby",n01/b.JPEG\n\n2,dog,n02/images/a.jpg\n2,dog,n02/images/a.jpg\n')
    assert listed(csv) == [("n01/b.JPEG", "cat, tabby"), ("n02/images/a.jpg", "dog")]
    (folder / "list.tsv").write_text("n02/images/c.png\t7\nnone.jpg\t8\n")
    here, gone = open_dataset(folder / "list.tsv").examples
    assert (here.label, here.image.source(), gone.image.fault) == ("7", b"n02/images/c.png", "no such file or folder")
    csv.write_text("n01/b.JPEG,1\nn01/b.JPEG,2\n")
    with pytest.raises(ValueError, match=r"'n01/b\.JPEG' is labelled '1' and '2'"):
        open_dataset(csv)
    for text, said in [
        ("a.jpg,1\nb.jpg\n", r"line 2: a path and a label, got 'b\.jpg'"),
        ('"a', "line 1: "),
        ("", "no labelled"),
    ]:
        csv.write_text(text)
        with pytest.raises(ValueError, match=said):
            open_dataset(csv)


def test_a_pattern_goes_through_a_folder_once_whatever_links_lead_to_it(folder):
    (folder / "again").symlink_to(folder)  # Python's glob follows it, forty times; several without an end
    (folder / "n02" / "list.csv").write_text("images/a.jpg,cup\n")
    assert listed(f"{folder}/**/*.csv") == [("images/a.jpg", "cup")]


def test_tiny_imagenets_own_folder_of_validation_images(folder):
    (folder / "images").mkdir()
    (folder / "images" / "val_0.JPEG").write_bytes(b"x")
    (folder / "val_annotations.txt").write_text("val_0.JPEG\tn03444034\t0\t32\t44\t62\n")
    example = open_dataset(folder).examples[0]
    assert (example.path, example.label, example.image.source()) == ("val_0.JPEG", "n03444034", b"x")


def test_shards(tmp_path):
    for number in (0, 1):
        files = {f"{number}/{key}.{end}": end.encode() for key in ("b", "a") for end in ("jpg", "json", "txt")}
        files[f"{number}/a.cls"] = b"3\n"
        files[f"{number}/a.txt"] = b"a caption"
        files[f"{number}/b.json"] = json.dumps({"label": 5, "url": "x"}).encode()
        files[f"{number}/c.png"] = b"no label"
        files[f"{number}/d.webp"], files[f"{number}/d.json"] = b"", b"[]"
        files[f"{number}/e.cls"] = b"4"  # no image
        tar(tmp_path / f"shard-0{number}.tar", files)
    pattern, examples = tmp_path / "shard-{00..01}.tar", [("a.jpg", "3"), ("b.jpg", "5"), ("c.png", ""), ("d.webp", "")]
    wanted = [(f"shard-0{n}.tar/{n}/{path}", label) for n in (0, 1) for path, label in examples]
    assert listed(pattern) == listed(tmp_path / "*.tar") == wanted
    faults = [example.image.fault for example in open_dataset(tmp_path / "shard-00.tar").examples]
    assert faults[2:] == ["no label beside it: .cls, .json, .txt", f"its label '0/d.json' has none of {WANTED}"]
    assert faults[:2] == ["", ""] and open_dataset(pattern).examples[1].image.source() == b"jpg"
    (tmp_path / "shard-01.tar").write_bytes((tmp_path / "shard-01.tar").read_bytes()[:514])
    with pytest.raises(ValueError, match=r"shard-01\.tar: the archive cannot be read: it ends early"):
        open_dataset(pattern)
    with pytest.raises(ValueError, match=r"shard-02\.tar: no such file"):
        open_dataset(tmp_path / "shard-{02..03}.tar")


def test_labels_of_shards_are_bounded(tmp_path):
    """A tar of a few bytes for each sample may give all of them one long label, by hard links."""
    long = {"a.txt": b"x" * 1001, "b.json": json.dumps({"label": "y" * 70_000}).encode(), "c.cls": b"z" * 1000}
    shard = tar(tmp_path / "long.tar", {**{f"{key}.jpg": b"" for key in "abc"}, **long})
    first, second, third = open_dataset(shard).examples
    assert (first.label, first.image.fault) == ("", "its label 'a.txt' has 1,001 characters; the limit is 1,000")
    assert (second.label, second.image.fault) == ("", "68.37 KiB is more than the limit of 64 KiB")
    assert (third.label, third.image.fault) == ("z" * 1000, "")


WANTED = "cls, label, class, target, wnid, class_name, label_name"


def test_ranges_of_shards():
    assert expand("a{9..11}b{0..1}") == ["a9b0", "a9b1", "a10b0", "a10b1", "a11b0", "a11b1"]
    for wrong in ("{3..2}", "{0..99999}{0..99999}"):
        with pytest.raises(ValueError, match="is no range of 1 to 100,000 shards"):
            expand(wrong)


def test_what_is_no_dataset(tmp_path):
    (tmp_path / "text.md").write_text("")
    (tmp_path / "damaged.zip").write_text("no zip")
    (tmp_path / "empty").mkdir()
    said = {
        "text.md": "no dataset that minivan reads",
        "missing": "no such file or folder",
        "damaged.zip": "the archive cannot be read",
        "empty": "no images in this folder",
    }
    for name, sentence in said.items():
        with pytest.raises(ValueError, match=f"{name}: {sentence}"):
            open_dataset(tmp_path / name)


CARD = Card(
    "four", labels=(Label("n01", "tabby, tabby cat"), Label("n02", "crane"), Label("n03", "crane"), Label("", "espresso"))
)


def test_labels_are_matched_by_wordnet_id_name_and_index():
    assert indices(["n02", "Tabby_cat", "3", "espresso", "n02"], CARD, 4) == {"n02": 1, "Tabby_cat": 0, "3": 3, "espresso": 3}
    assert indices(["0", "6"], Card("bare"), 7) == {"0": 0, "6": 6}
    named = Card("named", labels=(Label("", "traffic_light"), Label("", "stop sign"), Label("", "70")))
    found = {"traffic_light": 0, "Traffic_Light": 0, "stop_sign": 1, "70": 2, "1": 1}
    assert indices(found, named, 3) == found
    digits = Card("digits", labels=tuple(Label("", str(i)) for i in range(3)))
    assert indices(["2", "0"], digits, 3) == {"2": 2, "0": 0}


def test_labels_that_mean_no_class_or_several():
    labels = ["n02", "espreso", "espreso", "bus", "9", "zebra"]
    with pytest.raises(UnknownClasses) as error:
        indices(labels, CARD, 4)
    assert str(error.value) == (
        "4 of the dataset's 5 classes are none of four: 'espreso' (near it: espresso), 'bus' (none is near it), "
        "'9' (class 9 is not among the 4 classes, 0 to 3) and 1 more; --skip-unknown leaves out their 5 images"
    )
    assert indices(labels, CARD, 4, skip_unknown=True) == {"n02": 1}
    with pytest.raises(UnknownClasses, match=r"1 of the dataset's 1 classes are none of four: 'bus' \(none is near it\)$"):
        indices(["bus"], CARD, 4, skip_unknown=True)
    with pytest.raises(UnknownClasses, match="none of bare, whose classes have no names: label the images by their indices"):
        indices(["tabby"], Card("bare"), 4)
    with pytest.raises(ValueError, match="several classes are called 'crane': n02, n03"):
        indices(["crane"], CARD, 4, skip_unknown=True)
    twice = Card("twice", labels=(Label("n01", "ant"), Label("n01", "bee"), Label("n02", "cat")))
    assert indices(["n02", "bee"], twice, 3) == {"n02": 2, "bee": 1}
    with pytest.raises(ValueError, match="several classes are called 'n01': n01, n01"):
        indices(["n02", "n01"], twice, 3, skip_unknown=True)
    from_one = Card("from one", labels=tuple(Label("", str(i)) for i in (1, 2, 3)))
    both = "'1' is an index and a name, of class 0, '1' and class 1, '2': give labels that mean one class each"
    with pytest.raises(ValueError, match=both):
        indices(["1", "2"], from_one, 3, skip_unknown=True)


def test_what_is_near_is_found_out_for_the_labels_that_are_told(monkeypatch):
    """It takes milliseconds each: a table whose columns are exchanged has as many unknown labels as images."""
    looked = []
    monkeypatch.setattr("minivan.explain.classes._near", lambda wanted, *_: looked.append(wanted) or [])
    labels = [*(f"val_{i}.JPEG" for i in range(50)), "Tabby_cat", "2", "7" * 5000]
    with pytest.raises(UnknownClasses, match=r"51 of the dataset's 53 classes .* and 48 more"):
        indices(labels, CARD, 4)
    assert len(looked) <= 8
    assert indices(labels, CARD, 4, skip_unknown=True) == {"Tabby_cat": 0, "2": 2}
