"""Folders and patterns: each folder once, links and loops included, in an order that is always the same."""

import glob
import inspect
import os
import random
import sys

import pytest

from minivan.places import Places, has_magic
from minivan.predict import Found, find_images

pytestmark = pytest.mark.loop


@pytest.fixture
def tree(tmp_path):
    """Folders with images, a hidden one, and links: to a folder outside, to one inside, and back to the start."""
    for name in ("a/1.jpg", "a/b/2.jpg", "a/b/c/3.png", ".hidden/4.jpg", "a/.5.jpg", "6.jpg", "notes.txt"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"looked at later")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "7.jpg").write_bytes(b"behind a link")
    (tmp_path / "in" / "0link").symlink_to("../outside")
    (tmp_path / "in" / "a" / "again").symlink_to("b")
    (tmp_path / "in" / "a" / "b" / "loop").symlink_to("../..")
    return tmp_path / "in"


def names(found, tree):
    return [os.path.relpath(image.name, tree) for image in found]


def test_a_folder_is_walked_through_once_links_to_folders_too(tree):
    found = find_images([tree])
    assert names(found, tree) == ["0link/7.jpg", "6.jpg", "a/.5.jpg", "a/1.jpg", "a/b/2.jpg", "a/b/c/3.png"]
    assert not any(image.fault for image in found)
    assert find_images([tree / "0link"]) == [Found(str(tree / "0link" / "7.jpg"))]  # a link that is named itself


def test_a_pattern_with_links_that_lead_back_ends(tree):
    """Forty names of the folder itself: `**` as of glob would follow each on each level."""
    for number in range(40):
        (tree / "a" / f"self{number}").symlink_to(".")
    for pattern in ("**/*.jpg", "**/**/**/*.jpg", "*/*/*/*/*/*.jpg", "a/*/*/*/*/*/*/*/*/1.jpg"):
        found = find_images([f"{tree}/{pattern}"])
        assert len(found) <= 41 and (found[0].fault or found[0].name.endswith("jpg"))
    assert names(find_images([f"{tree}/**/*.jpg"]), tree) == ["0link/7.jpg", "6.jpg", "a/1.jpg", "a/b/2.jpg"]


def test_patterns_match_what_glob_matches(tree, monkeypatch):
    for link in ("0link", "a/again", "a/b/loop"):  # which glob follows without an end
        os.unlink(tree / link)
    monkeypatch.chdir(tree)
    for pattern in (
        "*", "*.jpg", "*/*.jpg", "a/*/?.jpg", "**", "**/*", "**/*.jpg", "a/**/3.png", "a/**", "[0-9].jpg", ".*/*", "a/.*",
        "b*/x", "**/b/**/*.png", "a/[b]/2.jpg", "./*.jpg", "*/", "a//b/*.jpg",
    ):  # fmt: skip
        for start in ("", f"{tree}/"):
            expected = {os.path.normpath(name) for name in glob.glob(start + pattern, recursive=True) if name}
            got = [os.path.normpath(name) for name in Places().matching(start + pattern)]
            assert set(got) - {".", str(tree)} == expected - {".", str(tree)}, pattern


def test_brackets_in_a_name_that_is_there_are_no_pattern(tree):
    (tree / "a[1].jpg").write_bytes(b"looked at later")
    assert has_magic("a[1].jpg") and find_images([tree / "a[1].jpg"]) == [Found(str(tree / "a[1].jpg"))]


def test_the_order_does_not_depend_on_the_order_in_a_folder(tree, monkeypatch):
    first, real = find_images([tree, f"{tree}/**/*.png"]), os.scandir

    class Shuffled(list):
        __enter__, __exit__ = (lambda self: self), (lambda self, *error: None)

    def scandir(path):
        with real(path) as entries:
            return Shuffled(random.Random(3).sample(found := list(entries), len(found)))

    monkeypatch.setattr(os, "scandir", scandir)
    assert find_images([tree, f"{tree}/**/*.png"]) == first


def test_a_folder_that_cannot_be_read_is_named(tree, monkeypatch):
    real = os.scandir

    def scandir(path):
        if os.path.basename(path) == "b":
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    os.unlink(tree / "a" / "again")
    fault = Found(str(tree / "a" / "b"), "the folder cannot be read: Permission denied")
    assert fault in find_images([tree]) and fault in find_images([f"{tree}/a/**/*.png"]) and fault in find_images([f"{tree}/*"])
    assert Found(str(tree / "6.jpg")) in find_images([tree])


def test_a_pipe_in_a_folder_is_a_fault_and_one_that_is_named_is_read(tree):
    os.mkfifo(tree / "a" / "pipe.jpg")
    fault = Found(str(tree / "a" / "pipe.jpg"), "a pipe is no file to read")
    assert fault in find_images([tree]) and fault in find_images([f"{tree}/**/*.jpg"]) and not fault.waits
    (named,) = find_images([tree / "a" / "pipe.jpg"])
    assert named.fault == "" and named.waits


def test_a_deep_folder_takes_no_recursion(tmp_path):
    deep = tmp_path.joinpath(*["d"] * 300)
    deep.mkdir(parents=True)
    (deep / "x.jpg").write_bytes(b"looked at later")
    before, depth = sys.getrecursionlimit(), len(inspect.stack())
    sys.setrecursionlimit(depth + 150)
    try:
        found = find_images([tmp_path])
    finally:
        sys.setrecursionlimit(before)
    assert found == [Found(str(deep / "x.jpg"))]
