"""What a segmentation network says about itself, and the colours that minivan gives classes which have none."""

import itertools
import math

import pytest

from minivan.card import LONGEST_NAME, Preprocessing
from minivan.palette import in_oklab
from minivan.segmentation.card import MOST_CLASSES, SegmentationCard, own_palette

pytestmark = pytest.mark.loop


def test_colours_of_minivans_own_can_be_told_apart_from_each_other_and_from_black_and_white():
    def nearest(classes):
        places = map(in_oklab, [*own_palette(classes), (0, 0, 0), (255, 255, 255)])
        return min(math.dist(*pair) for pair in itertools.combinations(places, 2))

    assert nearest(11) > 0.2  # yellow and white lie 0.21 apart
    assert nearest(150) > 0.055
    assert len(set(own_palette(MOST_CLASSES))) == MOST_CLASSES
    assert own_palette(MOST_CLASSES)[:11] == own_palette(11)
    for classes in (0, MOST_CLASSES + 1):
        with pytest.raises(ValueError, match=f"not {classes}"):
            own_palette(classes)


def test_classes_without_names_or_colours_have_stand_ins():
    card = SegmentationCard("streets")
    assert (card.label(17), card.colours(3)) == ("class 17", own_palette(3))
    card = SegmentationCard("streets", ("sky", "road"))
    assert (card.label(1), card.palette, card.colours(2)) == ("road", own_palette(2), own_palette(2))
    card = SegmentationCard("streets", palette=((0, 0, 1), (2, 2, 2)))
    assert (card.label(1), card.colours(2)) == ("class 1", ((0, 0, 1), (2, 2, 2)))
    assert card.preprocessing.mean == (0.485, 0.456, 0.406)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"classes": ("sky", "two\nlines")}, "class 1 is a text on one line"),
        ({"classes": ("",)}, "class 0 is a text"),
        ({"classes": ("x" * (LONGEST_NAME + 1),)}, f"at most {LONGEST_NAME} characters"),
        ({"classes": ("x",) * (MOST_CLASSES + 1)}, f"not {MOST_CLASSES + 1}"),
        ({"palette": ((0, 0, 0),) * (MOST_CLASSES + 1)}, f"not {MOST_CLASSES + 1}"),
        ({"classes": ("sky",), "palette": ((0, 0, 0), (1, 1, 1))}, "2 colours for 1 classes"),
        ({"palette": ((0, 0, 256),)}, "class 0 is three whole numbers from 0 to 255"),
        ({"palette": ((0, 0),)}, "three whole numbers"),
        ({"palette": ((0, 0, True),)}, "three whole numbers"),
        ({"side": 31}, "32 to 8192 pixels, got 31"),
        ({"side": 64.0}, "got 64.0"),
        ({"preprocessing": Preprocessing(mean=(0.5,), std=(0.5,))}, "three numbers each, got 1"),
        ({"backbone_sha256": "abc"}, "SHA-256 of the backbone"),
        ({"source_sha256": "G" * 64}, "SHA-256 of the source"),
        ({"figures": (("mIoU", "0.5\x1b[2J"),)}, "one line each"),
        ({"source": "a\nb"}, "one line each"),
    ],
)
def test_a_card_refuses_what_cannot_be_meant(fields, said):
    with pytest.raises(ValueError, match=said) as raised:
        SegmentationCard("streets", **fields)
    assert "\n" not in str(raised.value) and str(raised.value).isprintable()
