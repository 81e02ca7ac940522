"""How many of a labelled dataset's images a network gets right, of which classes, how surely, and where another one differs.

>>> import minivan
>>> from minivan.evaluate import evaluate
>>> found = evaluate(minivan.load(), "photos", against="numpy")            # photos/n07920052/cup.jpg, ...
>>> print(found.top1, found.agreement.same)                                # here of one photo
Share(count=1, of=1) Share(count=1, of=1)
"""

from .classes import UnknownClasses, indices
from .dataset import Dataset, Example, open_dataset
from .evaluation import evaluate
from .report import write
from .result import Compared, Evaluation
from .rivals import Rival, rival
from .statistics import Agreement, Bin, Calibration, ClassCount, Confused, Share, agreement, calibration, confusion, wilson

__all__ = [
    "Agreement",
    "Bin",
    "Calibration",
    "ClassCount",
    "Compared",
    "Confused",
    "Dataset",
    "Evaluation",
    "Example",
    "Rival",
    "Share",
    "UnknownClasses",
    "agreement",
    "calibration",
    "confusion",
    "evaluate",
    "indices",
    "open_dataset",
    "rival",
    "wilson",
    "write",
]
