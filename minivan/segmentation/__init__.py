"""Semantic segmentation: a class for each place of a photo, by a Semantic FPN on a VAN's four maps."""

from .network import SegmentationVAN

__all__ = ["SegmentationVAN"]
