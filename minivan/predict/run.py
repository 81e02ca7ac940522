"""A run of many shards into one folder: begun, gone on with, and summed up."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import quote
from .identity import differing, plain
from .journal import otherwise
from .shard import Outcome, Shard
from .storage import Folder

ABOUT, SUMMARY = "_about.json", "_summary.json"  # what made the rows, and what they are; readers of Parquet pass over `_`
LARGEST = 64 << 20  # bytes of one of these


@dataclass(frozen=True)
class Run:
    """What became of a run's shards, in the order in which they were found."""

    outcomes: Sequence[Outcome]
    lost: Sequence[str]  # shards that ended every process that began them

    @property
    def images(self) -> int:
        """How many have a row."""
        return sum(each.images for each in self.outcomes)

    @property
    def failed(self) -> int:
        """How many of them have no answer, a shard that was lost counting as one."""
        return sum(each.failed for each in self.outcomes) + len(self.lost)

    @property
    def kept(self) -> int:
        """How many shards were there already."""
        return sum(each.kept for each in self.outcomes)


def begin(folder: Folder, about: Mapping[str, Any], shards: Sequence[Shard], resume: bool = False) -> None:
    """Make a folder ready for the rows of shards; `about` is what makes them.

    Raises ValueError for no shards, for two of one name, for a folder with rows that is not to be gone on with, with rows of
    other shards, or begun otherwise, with `about` telling in what; OSError where it cannot be read or written.
    """
    counted = Counter(shard.file for shard in shards)
    if not counted:
        raise ValueError("no images are named")
    twice = next((shard.name for shard in shards if counted[shard.file] > 1), None)
    if twice is not None:
        raise ValueError(f"{quote(twice)} is named twice")
    names = folder.names()
    rows = [name for name in names if name.endswith(".parquet")]
    if (rows or ABOUT in names) and not resume:
        raise ValueError(f"{folder} holds the rows of a run already: --resume goes on with it, or choose another folder")
    if foreign := next((name for name in rows if name not in counted), None):
        raise ValueError(f"{folder} holds rows of other images, {quote(foreign)}: remove them, or choose another folder")
    if ABOUT in names:
        with folder.opened(ABOUT) as file:
            try:
                before = json.loads(file.read(LARGEST))
                wrong = differing(before, plain(dict(about)))
            except (ValueError, AttributeError, RecursionError):
                raise ValueError(f"{folder}/{ABOUT} is damaged: remove the folder to begin anew") from None
        if wrong:
            raise ValueError(f"{folder} was begun {otherwise(before, about, wrong)}: choose another folder, or remove this one")
    else:
        _write(folder, ABOUT, about)


def finish(folder: Folder, about: Mapping[str, Any], shards: Sequence[Shard], outcomes: Iterable[Outcome]) -> Run:
    """Put outcomes into the order of their shards, and write `_summary.json`, which lists them; return it as a run."""
    by_name = {each.shard: each for each in outcomes}
    names = [shard.name for shard in shards]
    run = Run([by_name[name] for name in names if name in by_name], [name for name in names if name not in by_name])
    listed = [{**asdict(each), "faults": dict(each.faults), "seconds": round(each.seconds, 3)} for each in run.outcomes]
    said = {"images": run.images, "failed": run.failed, "shards": listed, "lost": [*run.lost], "about": dict(about)}
    _write(folder, SUMMARY, said)
    return run


def _write(folder: Folder, name: str, value: Mapping[str, Any]) -> None:
    with folder.replacing(name) as file:
        file.write(json.dumps(value, indent=1).encode("ascii"))
