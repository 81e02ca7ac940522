"""A network asked about every image of a labelled dataset, and perhaps another one beside it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import __version__
from ..errors import quote
from ..image import Reading
from ..predict import Prepared, batches, make_ready, prepare_ahead
from ..predict.ahead import at_once
from ..predict.answers import BATCH
from .answers import Answers, Said, said
from .classes import indices
from .dataset import Dataset, Example, open_dataset
from .journal import opened
from .result import Compared, Evaluation
from .rivals import Rival, identity_of, rival

if TYPE_CHECKING:
    from ..checks import Float32
    from ..van import VAN

DIGITS = 16  # of a SHA-256: as many as tell two apart
Source = str | os.PathLike[str]


def evaluate(
    model: VAN,
    dataset: Source | Iterable[Source] | Dataset,
    *,
    against: Any = None,
    skip_unknown: bool = False,
    journal: Source | None = None,
    threads: int | None = None,
    how: Reading | None = None,
    advance: Callable[[int], object] = lambda images: None,
) -> Evaluation:
    """Ask a model about every image of a labelled dataset, and count what is right.

    `dataset` is what `open_dataset` takes. Its labels are matched with the model's classes by WordNet id, name or index; one
    that means no class is refused, unless `skip_unknown` leaves its images out. An image that cannot be used is counted among
    `faults`, and not among the answers. `against` is what `rival` takes: another network, engine or port that is asked about
    the same images. `journal` is a folder in which each batch is noted as it is done, so that the same call goes on where an
    interrupted one ended. Images are decoded by `threads` threads (all), read as `how` says; `advance` is told how many more of
    them are done.

    Raises ValueError for weights of fewer than two classes, for a dataset or labels that cannot be used, for a `journal` of
    another evaluation, and where no image could be judged; OSError where a file cannot be read or written.
    """
    check_classes(model)
    labelled = dataset if isinstance(dataset, Dataset) else open_dataset(dataset)
    meant = indices((example.label for example in labelled.examples), model.card, model.config.classes, skip_unknown)
    kept = [example for example in labelled.examples if example.label in meant or not example.label]
    # As many where there is a journal: whoever goes on after an interruption goes on with the same engine.
    model = model.settled(len(kept) if journal is None else None)
    other = None if against is None else rival(against, model)
    work = Work(model, kept, np.array([meant.get(example.label, -1) for example in kept], np.int64), other, how or Reading())
    if other is not None:
        other.check(work.paths)
    with contextlib.ExitStack() as stack:
        kept_lines = None
        if journal is not None:
            if os.path.lexists(journal) and not os.path.isdir(journal):
                raise ValueError(f"{os.fspath(journal)}: a folder is wanted here, and something else has this name")
            Path(journal).mkdir(parents=True, exist_ok=True)
            kept_lines, done = stack.enter_context(opened(Path(journal), work.identity()))
            work.restore(done)
            advance(int(work.answers.given.sum()))
        for lines in work.run(threads):
            if kept_lines is not None:
                for line in lines:
                    kept_lines.add(line)
            advance(len(lines))
    if not work.answers.given.any():
        why = next((f"{quote(work.paths[place])}: {fault}" for place, fault in work.faults.items()), "there is none")
        raise ValueError(f"{labelled.name}: no image could be judged: {why}")
    skipped = Counter(example.label for example in labelled.examples if example.label and example.label not in meant)
    return Evaluation(
        labelled.name, model.card, model.config.classes, str(model), model.engine.name, work.paths, work.targets, work.answers,
        work.faults, work.seconds, skipped, labelled.notes, work.compared(), work.remarks,
    )  # fmt: skip


def check_classes(model: VAN) -> None:
    """Raise ValueError for weights of fewer than two classes."""
    if model.config.classes < 2:
        few = "one class" if model.config.classes else "no classes"
        raise ValueError(f"the weights {model.card.name} have {few}: there is nothing to tell apart")


@dataclass
class Work:
    """The images that are to be judged, and what is known of them so far."""

    model: VAN
    examples: Sequence[Example]
    targets: np.ndarray[Any, np.dtype[np.int64]]
    rival: Rival | None
    how: Reading
    remarks: dict[int, Sequence[str]] = field(default_factory=dict)
    faults: dict[int, str] = field(default_factory=dict)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.paths = [example.path for example in self.examples]
        self.answers, self.others = (Answers.of_none(len(self.examples)) for _ in range(2))
        self.apart = np.full(len(self.examples), np.nan)

    def identity(self) -> dict[str, Any]:
        """Return what another evaluation differs in: what each part is called -> a value."""
        digest = hashlib.sha256()
        for example, target in zip(self.examples, self.targets, strict=True):
            digest.update(f"{example.path}\0{target}\0{example.image.size}\n".encode("utf-8", "surrogatepass"))
        return {
            "version_of_minivan": __version__,
            "dataset": f"{len(self.examples)} images ({digest.hexdigest()[:DIGITS]})",
            "file_of_weights": f"{self.model.card.name} ({identity_of(self.model)[:DIGITS]})",
            "engine": self.model.engine.name,
            "activation": self.model.card.activation,
            "preprocessing": asdict(self.model.card.preprocessing),
            "reading_of_photos": self.how._asdict(),
            "comparison": None if self.rival is None else f"{self.rival.name} ({self.rival.identity[:DIGITS]})",
        }

    def restore(self, lines: Iterable[dict[str, Any]]) -> None:
        """Take over the answers of a journal; images that could not be used are tried again.

        ValueError for a line that says nothing of these images.
        """
        for line in lines:
            try:
                if "fault" not in line:
                    self._take(line)
            except (KeyError, TypeError, IndexError, ValueError, OverflowError):
                foreign = f"the journal has a line of no image here, {quote(str(line))}: remove its folder to begin anew"
                raise ValueError(foreign) from None

    def _take(self, line: dict[str, Any]) -> None:
        """Put one line of a journal in its place; the first of an image is its own."""
        place = range(len(self.examples))[line["image"]]
        if self.answers.given[place] or place in self.faults:
            return
        seconds = float(line["seconds"])
        if not 0 <= seconds < float("inf"):
            raise ValueError
        self.seconds += seconds
        if "fault" in line:
            self.faults[place] = str(line["fault"])
            return
        answer = Said(*line["said"])
        classes = range(self.model.config.classes)
        if answer.top not in classes or answer.rank not in classes or not 0 <= answer.probability <= 1:
            raise ValueError
        self.answers.put(place, answer)
        if line.get("notes"):
            self.remarks[place] = [str(remark) for remark in line["notes"]]
        if line.get("other") is not None:
            *other, self.apart[place] = line["other"]
            self.others.put(place, Said(*other))

    def run(self, threads: int | None) -> Iterator[list[dict[str, Any]]]:
        """Judge the images that are not done, a batch at a time; yield each batch's lines for the journal."""
        places = [i for i in range(len(self.examples)) if not self.answers.given[i] and i not in self.faults]
        if not places:
            return
        make_ready(self.model)
        usual = self.model.card.preprocessing
        size = at_once(usual, BATCH) if self.model.engine.batches else 1
        images = [self.examples[i].image for i in places]
        own = prepare_ahead(images, usual, ahead=2 * size, threads=threads, how=self.how)
        wanted = self.rival.preprocessing if self.rival else None
        if wanted in (None, usual):
            pairs: Iterator[tuple[Prepared, Prepared]] = ((x, x) for x in own)
        else:  # the rival sees the same photos, prepared in its own way
            assert wanted is not None
            others = prepare_ahead(images, wanted, ahead=2 * size, threads=threads, how=self.how)
            pairs = zip(own, others, strict=True)
        start = time.perf_counter()
        for batch in batches(zip(places, pairs, strict=True), size):
            found = self._judged([(place, *both) for place, both in batch], start)
            for line in found:
                self._take(line)
            yield found
            start = time.perf_counter()

    def _judged(self, batch: list[tuple[int, Prepared, Prepared]], start: float) -> list[dict[str, Any]]:
        """Return what is said of a batch of images, prepared for the model and for the rival, as lines for the journal."""
        usable = [(place, own, other) for place, own, other in batch if own.x is not None and other.x is not None]
        logits: list[Float32] = []
        if usable:
            logits = list(self.model(np.stack([own.x for _, own, _ in usable if own.x is not None])))
        share = (time.perf_counter() - start) / len(batch)
        others = self._asked(usable) if usable else []
        lines = []
        for place, own, other in batch:
            if own.x is None or other.x is None:
                lines.append({"image": place, "fault": own.fault or other.fault, "seconds": share})
        for (place, own, _), row, beside in zip(usable, logits, others, strict=True):
            answer, compared = said(self.model.card, row, int(self.targets[place])), None
            if self.rival is not None and beside is not None:
                if not np.isfinite(beside).all():
                    raise ValueError(f"{self.rival.name}: {quote(self.paths[place])}: logits that are no numbers")
                apart = float(np.abs(row.astype(np.float64) - beside).max())
                compared = [*said(self.rival.card, beside, int(self.targets[place])), apart]
            lines.append({"image": place, "said": [*answer], "other": compared, "seconds": share, "notes": own.notes})
        return lines

    def _asked(self, usable: list[tuple[int, Prepared, Prepared]]) -> Sequence[Float32 | None]:
        """Return what the rival's logits of usable images are, or None for each where there is no rival."""
        if self.rival is None:
            return [None] * len(usable)
        places = [place for place, _, _ in usable]
        x = np.stack([other.x for _, _, other in usable if other.x is not None])
        return self.rival.logits(places, [self.paths[place] for place in places], x)

    def compared(self) -> Compared | None:
        """Return what the rival said; None without one."""
        return None if self.rival is None else Compared(self.rival.name, self.others, self.apart)
