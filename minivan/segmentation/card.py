"""What a segmentation network says about itself: beside `minivan.card.Card`, as the files of both are read alike."""

from ..card import SCENES, SegmentationCard
from ..palette import MOST_CLASSES, Colour, own_palette

__all__ = ["MOST_CLASSES", "SCENES", "Colour", "SegmentationCard", "own_palette"]
