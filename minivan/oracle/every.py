"""All test vectors at once: a port's folder of answers, judged case by case."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import sentence
from .baseline import Judged, open_baseline
from .compare import Asked
from .recorded import read
from .vectors import MANIFEST, case_names

ANSWERS = "outputs"  # where a case's answers may lie under its own folder, as those of the vectors do


@dataclass(frozen=True)
class Answer:
    """One case: what was found, or why there is nothing to judge."""

    name: str
    judged: Judged | None
    missing: str = ""

    @property
    def right(self) -> bool:
        """Whether the case is there as a whole, and right."""
        return self.judged is not None and self.judged.report.within and not self.judged.report.missing


def is_vectors(folder: str | Path) -> bool:
    """Return whether a path is the folder of test vectors, with their manifest, and not of one of them."""
    return (Path(folder) / MANIFEST).is_file()


def judge_all(folder: str | Path, port: str | Path, asked: Asked | None = None) -> Iterator[Answer]:
    """Judge a port's answers to all test vectors of a folder: PORT/OPERATOR/CASE/*.npy, or .../outputs/*.npy.

    A case without a folder in the port, or with one that cannot be judged, is an answer that says so. Raises ValueError and
    OSError as `open_baseline` does, for vectors that are none.
    """
    for name in case_names(folder):
        place = Path(port) / name
        place = place / ANSWERS if (place / ANSWERS).is_dir() else place
        if not place.is_dir():
            yield Answer(name, None, f"no folder {place}")
        else:
            baseline = open_baseline(Path(folder) / name)
            try:
                answer = Answer(name, baseline.judge(read(place), asked))
            except (ValueError, OSError) as error:
                answer = Answer(name, None, sentence(error))
            yield answer
