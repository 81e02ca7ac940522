"""Each row of the table in docs/images.md: one file of a kind that readers differ on, and what minivan makes of it."""

import re
import shutil

import numpy as np
import pytest
from PIL import Image
from support import ROOT
from support.photo_kinds import kinds, verdict

from minivan import image
from minivan.predict.images import find_images

pytestmark = pytest.mark.loop


def stated():
    """Return the rows of the table: what a file is called -> what minivan makes of it."""
    text = (ROOT / "docs" / "images.md").read_text(encoding="utf-8")
    table = text.partition("<!-- kinds: ")[2].partition("<!-- end of kinds -->")[0]
    return dict(re.findall(r"^\| (.*?) \| (.*?) \|", table, re.M)[1:])


@pytest.mark.parametrize("name", kinds())
def test_a_row_of_the_table_is_what_minivan_does(name):
    kind = kinds()[name]
    try:
        made = np.asarray(image.decode(kind.data))
    except image.ImageError as error:
        made = None
        assert len(str(error).splitlines()) == 1
    assert verdict(kind, made) == stated()[name] == ("refused" if kind.right is None else "as meant")


def test_the_table_has_a_row_for_every_kind():
    assert list(stated()) == list(kinds())


def test_folders_and_archives_are_what_is_in_them(tmp_path):
    """And nothing to Pillow, as their rows behind the table say."""
    text = (ROOT / "docs" / "images.md").read_text(encoding="utf-8").partition("<!-- end of kinds -->")[2]
    (tmp_path / "a folder").mkdir()
    (tmp_path / "a folder" / "photo.jpg").write_bytes(kinds()["a JPEG without its end mark"].data)
    shutil.make_archive(str(tmp_path / "an archive"), "zip", tmp_path / "a folder")
    for name in ("a folder", "an archive.zip"):
        (found,) = find_images([tmp_path / name])
        assert found.name.endswith("photo.jpg")
        with pytest.raises(OSError):
            Image.open(tmp_path / name)
        assert f"| {name.partition('.')[0]} | what is in it | refused | refused | refused |" in text
