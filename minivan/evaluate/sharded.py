"""An evaluation in pieces that many processes share: each judges the images of a shard, and one adds up what all of them wrote.

As `minivan.predict.shard`, it knows nothing of who hands the shards out.
"""

from __future__ import annotations

import importlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from ..errors import one_line, quote
from ..image import Reading
from ..places import expand
from ..predict import storage, table
from ..predict.ahead import batches
from ..predict.images import Found
from ..predict.shard import IMAGES_PER_SHARD, Item, Outcome, Shard, elsewhere, fill, matching, stored_images
from ..predict.storage import Folder, is_address
from .answers import Answers, Said
from .classes import UnknownClasses, indices
from .dataset import Example, class_folder, labelled_in, open_dataset
from .evaluation import Work, check_classes
from .result import Evaluation
from .shards import is_sharded, samples

if TYPE_CHECKING:
    from ..predict.run import Run
    from ..van import VAN

COLUMNS = {
    "image": "string", "fault": "string", "label": "string", "target": "int32", "top": "int32", "rank": "int32",
    "probability": "float64", "seconds": "float64",
}  # fmt: skip
NOTES = "notes"  # a list of texts


def find_labelled(
    sources: str | os.PathLike[str] | Iterable[str | os.PathLike[str]], images_per_shard: int = IMAGES_PER_SHARD
) -> tuple[list[Shard], Sequence[str]]:
    """Return the pieces of a labelled dataset, and what a person should know of how it was read.

    Each .tar is a shard, on this machine or on storage, with labels beside its images or in class folders; its labels are read
    where it is judged. All else that `open_dataset` takes, and class folders below an address, is cut into shards of
    `images_per_shard`. Raises ValueError and OSError as `open_dataset` does, and for .tar files beside other sources.
    """
    named = [os.fspath(sources)] if isinstance(sources, (str, os.PathLike)) else [os.fspath(source) for source in sources]
    parts = [part for source in named for text in expand(source) for part in matching(text)]
    tars = [part for part in parts if part.lower().partition("?")[0].endswith(".tar")]
    if tars and len(tars) == len(parts):
        last = Counter(PurePosixPath(storage.bare(part)).name for part in parts)
        names = [PurePosixPath(storage.bare(part)).name for part in parts]
        names = [name if last[name] == 1 else storage.bare(part) for name, part in zip(names, parts, strict=True)]
        return [Shard(name, storage.absolute(part)) for name, part in zip(names, parts, strict=True)], ()
    stored = [part for part in parts if is_address(part)]
    if tars or (stored and len(parts) > 1):
        raise ValueError(f"{named[0]} and others: on a cluster a dataset is .tar files, or one address, or what lies here")
    notes: Sequence[str] = ()
    if stored:
        examples: Iterable[Example] = _below(stored[0])
    else:
        dataset = open_dataset(named)
        examples, notes = dataset.examples, dataset.notes
    items = (Item(example.path, elsewhere(example.image), example.label) for example in examples)
    cut = enumerate(batches(items, images_per_shard), start=1)
    return [Shard(f"{storage.bare(named[0])}, part {number}", items=tuple(group)) for number, group in cut], notes


def _below(address: str) -> Iterator[Example]:
    """Yield the images in class folders below an address."""
    some = False
    for name, image in stored_images(address):
        if label := class_folder(name):
            some = True
            yield Example(name, label, image)
    if not some:
        raise ValueError(f"{storage.bare(address)}: no images in class folders, such as n07920052/cup.jpg")


def labelled_items(shard: Shard, path: str, alone: bool = False) -> list[Item]:
    """Return the images of a shard's .tar, which lies at `path`, with their labels; one that cannot be read is its only image.

    `alone` is whether the dataset is this one .tar, whose class folders are then all that an image's name has.
    """
    within = f"{shard.name}/"
    try:
        if is_sharded([path]):
            return [Item(within + sample.path, sample.image, sample.label) for sample in samples(path)]
        within = "" if alone else within
        return [Item(within + each.path, each.image, each.label) for each in labelled_in(path)]
    except (ValueError, OSError) as error:
        return [Item(shard.name, Found(shard.name, str(error).removeprefix(f"{path}: ")))]


class Judging:
    """What one process does with a shard of a labelled dataset: its images' answers are a file of the folder `output`.

    It is a function that pickles, as `minivan.predict.shard.Answering`; `skip_unknown` and what is raised are as for
    `evaluate`, ValueError for a shard with a label that means no class among them.
    """

    def __init__(
        self,
        model: VAN,
        output: str | os.PathLike[str],
        *,
        skip_unknown: bool = False,
        how: Reading | None = None,
        threads: int | None = None,
        alone: bool = False,
    ) -> None:
        check_classes(model)
        self.model, self.skip_unknown, self.threads = model, skip_unknown, threads
        self.how = how or Reading()
        self.alone = alone  # whether the dataset is one .tar, whose class folders are then all that a path names
        self.folder = Folder(output)
        told = {name: value for name, value in self._work([], {}).identity().items() if name not in ("dataset", "comparison")}
        self.about = {**told, "skip_unknown": skip_unknown}

    def __call__(self, shard: Shard) -> Outcome:
        """Judge a shard's images; nothing is done where its rows are there. OSError where they cannot be written."""

        def write(file: BinaryIO, said: Mapping[str, Any]) -> None:
            with shard.opened(lambda path: labelled_items(shard, path, self.alone)) as items:
                meant = self._meant(shard, items)
                kept = [item for item in items if item.label in meant or not item.label]
                skipped = Counter(item.label for item in items if item.label and item.label not in meant)
                _write(file, self._rows(kept, meant), {**said, "skipped": skipped})

        return fill(self.folder, shard, self.about, write)

    def _meant(self, shard: Shard, items: Sequence[Item]) -> dict[str, int]:
        try:
            return indices((item.label for item in items), self.model.card, self.model.config.classes, self.skip_unknown)
        except UnknownClasses as error:
            if self.skip_unknown:  # not one label of this shard is known, of others some may be
                return {}
            raise ValueError(f"{shard.name}: {error}") from None

    def _work(self, items: Sequence[Item], meant: Mapping[str, int]) -> Work:
        examples = [Example(item.name, item.label, item.image) for item in items]
        targets = np.array([meant.get(item.label, -1) for item in items], np.int64)
        return Work(self.model, examples, targets, None, self.how)

    def _rows(self, items: Sequence[Item], meant: Mapping[str, int]) -> Iterator[dict[str, Any]]:
        for lines in self._work(items, meant).run(self.threads):
            for line in sorted(lines, key=lambda line: int(line["image"])):
                item = items[line["image"]]
                top, rank, probability = line.get("said", (None, None, None))
                fault = None if top is not None else one_line(line["fault"])
                yield {
                    "image": one_line(item.name), "fault": fault, "label": one_line(item.label), "top": top, "rank": rank,
                    "target": meant.get(item.label), "probability": probability, "seconds": line["seconds"],
                    NOTES: [one_line(remark) for remark in line.get("notes", ())],
                }  # fmt: skip


def _write(file: BinaryIO, rows: Iterable[dict[str, Any]], said: Mapping[str, Any]) -> None:
    arrow = table.pyarrow()
    kinds = [(name, getattr(arrow, kind)()) for name, kind in COLUMNS.items()]
    schema = arrow.schema([*kinds, (NOTES, arrow.list_(arrow.string()))])
    groups = (arrow.RecordBatch.from_pylist(group, schema=schema) for group in batches(rows, table.ROWS_AT_ONCE))
    table.write_parquet(file, schema, said, groups)


def gathered(model: VAN, name: str, folder: Folder, run: Run, notes: Sequence[str], seconds: float) -> Evaluation:
    """Return what all shards of a run add up to, as `evaluate` does of the whole; `seconds` is how long it took.

    The images' names and a few numbers for each are in memory. Raises ValueError where no image could be judged, and for a file
    that is none of the run's.
    """
    paths, targets, said = list[str](), list[int](), list[Said | None]()
    faults, remarks, skipped = dict[int, str](), dict[int, Sequence[str]](), Counter[str]()
    for outcome in run.outcomes:
        for row, skips in _rows_of(folder, outcome.file):
            skipped.update(skips)
            if row is None:
                continue
            place = len(paths)
            paths.append(row["image"])
            targets.append(-1 if row["target"] is None else row["target"])
            if row["fault"] is not None:
                faults[place] = row["fault"]
                said.append(None)
                continue
            said.append(Said(row["top"], row["rank"], row["probability"]))
            if row[NOTES]:
                remarks[place] = row[NOTES]
    for shard in run.lost:
        faults[len(paths)] = "it ended each process that began it"
        paths.append(shard)
        targets.append(-1)
        said.append(None)
    answers = Answers.of_none(len(paths))
    for place, answer in enumerate(said):
        if answer is not None:
            answers.put(place, answer)
    if not answers.given.any():
        why = next((f"{quote(paths[place])}: {fault}" for place, fault in faults.items()), "there is none")
        raise ValueError(f"{name}: no image could be judged: {why}")
    card, config = model.card, model.config
    return Evaluation(
        name, card, config.classes, str(model), model.engine.name, paths, np.array(targets, np.int64), answers, faults, seconds,
        skipped, notes, None, remarks,
    )  # fmt: skip


def _rows_of(folder: Folder, name: str) -> Iterator[tuple[dict[str, Any] | None, Mapping[str, int]]]:
    """Yield what a shard's file says it has left out, and then each row."""
    parquet = importlib.import_module("pyarrow.parquet")
    with folder.opened(name) as file:
        opened = parquet.ParquetFile(file)
        yield None, json.loads(opened.schema_arrow.metadata[b"minivan"])["skipped"]
        for batch in table.stored_batches(opened):
            for row in batch.to_pylist():
                yield row, {}
