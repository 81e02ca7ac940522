"""From paths to images: what is found, in which order, and what is said of a path that names nothing."""

import io
import os
import sys
import threading

import pytest
from support import EXAMPLES

from minivan.card import PRESETS
from minivan.image.kinds import READ
from minivan.predict import Found, batches, find_images, prepare_ahead

pytestmark = pytest.mark.loop

NO_IMAGE = f"not an image that minivan reads: those are {READ}"
COFFEE = EXAMPLES / "coffee.jpg"
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"  # an image whether or not there is a decoder


@pytest.fixture
def album(tmp_path):
    """A folder with three images, one of them deep, and a file that is none."""
    (tmp_path / "b").mkdir()
    for name in ("c.JPG", "a.png", "b/deep.jpg", "notes.txt"):
        (tmp_path / name).write_bytes(b"looked at later")
    return tmp_path


def test_a_folder_is_searched_through_and_sorted(album):
    assert find_images([album]) == [Found(str(album / name)) for name in ("a.png", "b/deep.jpg", "c.JPG")]


def test_files_and_patterns_keep_their_order_and_name_an_image_once(album):
    paths = [album / "notes.txt", str(album / "*.png"), album / "c.JPG", album, f"{album}/./a.png"]
    names = ["notes.txt", "a.png", "c.JPG", "b/deep.jpg"]  # a file that is named is an image, whatever it is called
    assert find_images(paths) == [Found(str(album / name)) for name in names]


def test_what_names_no_image_has_a_fault(album):
    (album / "empty").mkdir()
    (album / "dead.jpg").symlink_to("nowhere")
    found = find_images([album / "missing.jpg", album / "empty", album / "dead.jpg", os.devnull])
    assert [image.fault.split(" (")[0] for image in found] == [
        "no such file or folder", "no images in this folder", "a link that leads nowhere", "a device is no file to read",
    ]  # fmt: skip


class Watched(io.BytesIO):
    """A photo whose readers are noted."""

    def read(self, *size):
        self.readers = [*getattr(self, "readers", []), threading.current_thread()]
        return super().read(*size)


def test_what_waits_for_another_process_is_read_by_the_thread_that_ctrl_c_wakes(monkeypatch):
    photo = Watched(COFFEE.read_bytes())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(photo))
    (image,) = prepare_ahead(find_images(["-"]), PRESETS["official"])
    assert (image.name, image.fault, image.x.shape) == ("-", "", (3, 224, 224))
    assert set(photo.readers) == {threading.current_thread()}


def test_pipes_wait_and_files_do_not(album):
    os.mkfifo(album / "pipe")
    assert [image.waits for image in find_images(["-", album / "pipe", album / "a.png"])] == [True, True, False]


def test_images_come_in_order_with_their_faults(album):
    images = find_images([COFFEE, album / "missing.jpg", album / "a.png", EXAMPLES / "cat.jpg"])
    ready = list(prepare_ahead(images, PRESETS["official"], ahead=2, threads=2))
    assert [image.name for image in ready] == [image.name for image in images]
    assert [image.fault for image in ready] == ["", "no such file or folder", NO_IMAGE, ""]
    assert [image.x is None for image in ready] == [False, True, True, False]


def test_no_more_images_than_allowed_are_taken_ahead():
    taken = []

    def images():
        for number in range(10):
            taken.append(number)
            yield Found(str(number), "no file")

    ready = prepare_ahead(images(), PRESETS["official"], ahead=3)
    next(ready)
    assert len(taken) == 4
    ready.close()
    assert len(taken) == 4


def test_batches():
    assert list(batches(range(5), 2)) == [[0, 1], [2, 3], [4]]
    assert list(batches([], 2)) == []


def test_a_folder_is_searched_by_many_endings_and_first_bytes_and_says_what_it_left_out(tmp_path):
    photos = ["coffee.jfif", "coffee.JPE", "coffee.mpo", "coffee.j2k", "coffee.pnm", "coffee.heic", "coffee", "sub/.hidden"]
    photos.append("phone")
    others = ["notes.txt", "coffee.pnm.jpg_large", "words", "a.json"]
    systems = ["Thumbs.db", ".DS_Store", "._coffee.jpg", "__MACOSX/coffee.jpg", "desktop.ini"]
    for name in photos + others + systems:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"words" if name in others else HEIC if name == "phone" else COFFEE.read_bytes()[:200])
    found = find_images([tmp_path])
    assert sorted(image.name for image in found) == sorted(str(tmp_path / name) for name in photos)
    assert sorted(found.left_out) == sorted(str(tmp_path / name) for name in others)
    assert found.said_of_others() == "4 files are no images: a.json, coffee.pnm.jpg_large, notes.txt, ..."
    assert find_images([COFFEE]).said_of_others() == ""


def test_what_was_left_out_and_named_elsewhere_is_not_said_to_be_left_out(album):
    assert find_images([album, album / "notes.txt"]).left_out == []


def test_brackets_that_match_nothing_are_tried_as_they_are(tmp_path):
    (tmp_path / "day [1]").mkdir()
    (tmp_path / "day [1]" / "a.jpg").write_bytes(b"")
    (tmp_path / "day 1").mkdir()
    found = [Found(str(tmp_path / "day [1]" / "a.jpg"))]
    assert find_images([tmp_path / "day [1]" / "*.jpg"]) == found == find_images([tmp_path / "day [1]"])
    (tmp_path / "day 1" / "b.jpg").write_bytes(b"")
    assert find_images([tmp_path / "day [1]" / "*.jpg"]) == [Found(str(tmp_path / "day 1" / "b.jpg"))]
