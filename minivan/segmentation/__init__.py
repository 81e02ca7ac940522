"""Semantic segmentation: a class for each place of a photo, by a Semantic FPN on a VAN's four maps.

>>> import minivan
>>> found = minivan.segment("street.jpg")  # doctest: +SKIP
>>> found  # doctest: +SKIP
<Segmentation street.jpg: road 31.2%, building 27.0%, sky 20.3%, ...>
>>> found.save_mask("street.png")  # doctest: +SKIP
"""

from .files import load, write
from .network import SegmentationVAN
from .predict import Segmentations, identity, segment, segmentations
from .result import Area, Segmentation

__all__ = ["Area", "Segmentation", "SegmentationVAN", "Segmentations", "identity", "load", "segment", "segmentations", "write"]
