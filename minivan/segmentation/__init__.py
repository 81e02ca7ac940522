"""Segmentation: a class for every pixel of a photo, by a backbone and a Semantic FPN on its four maps."""
