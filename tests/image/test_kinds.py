"""Each row of the table in docs/images.md: one file of a kind that readers differ on, and what minivan makes of it."""

import re

import numpy as np
import pytest
from support import ROOT
from support.photo_kinds import kinds, verdict

from minivan import image

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
