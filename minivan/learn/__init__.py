"""A network's own classes: a head fitted to the features of photos, and what it is worth.

>>> import minivan
>>> classifier = minivan.finetune("photos")                     # doctest: +SKIP
>>> classifier("photos/ripe/one.jpg").label                     # doctest: +SKIP
'ripe'

The network itself is not trained: its features are taken as they are (see docs/finetune.md).
"""

from .features import Featured, Featuring, featured
from .learning import Learned, extended, featured_of, finetune, learned
from .library import check
from .report import Doubtful, OldClasses, Report

__all__ = [
    "Doubtful",
    "Featured",
    "Featuring",
    "Learned",
    "OldClasses",
    "Report",
    "check",
    "extended",
    "featured",
    "featured_of",
    "finetune",
    "learned",
]
