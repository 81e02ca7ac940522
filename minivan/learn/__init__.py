"""A network's own classes: a head fitted to the features of photos, and what it is worth.

>>> import minivan
>>> classifier = minivan.finetune("photos")                     # doctest: +SKIP
>>> classifier("photos/ripe/one.jpg").label                     # doctest: +SKIP
'ripe'

The network itself is not trained: its features are taken as they are (see docs/finetune.md).
"""

from .features import Featured, Featuring, featured
from .learning import Learned, check_extension, extended, finetune, learned
from .library import check
from .photos import Photos, check_classes
from .report import Doubtful, OldClasses, Report

__all__ = [
    "Doubtful",
    "Featured",
    "Featuring",
    "Learned",
    "OldClasses",
    "Photos",
    "Report",
    "check",
    "check_classes",
    "check_extension",
    "extended",
    "featured",
    "finetune",
    "learned",
]
