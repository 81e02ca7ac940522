"""Weights in several files: an index that names them, and their tensors as one network's.

An index is JSON, {"weight_map": {tensor: file}}, as `save_pretrained` of transformers and the `huggingface_hub` write it. Every
file that it names must lie beside it and hold what the index says; the `total_size` in it proves nothing and is not read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from io import BufferedIOBase
from pathlib import Path

from .. import input
from ..errors import quote
from .budget import Budget
from .error import CheckpointError
from .folder import is_file_name
from .json_text import parse_json

LARGEST_INDEX = 8 << 20  # bytes; one of a VAN-B6 takes about 300 kB
MOST_SHARDS = 100  # all are open at once
ENTRY = 2  # steps that one entry of an index takes

Reader = Callable[[BufferedIOBase, Budget], Mapping[object, object]]  # what a shard holds: tensor's name -> tensor


class Shards:
    """The files that an index names, open until `stack` closes; their tensors come out of one budget."""

    def __init__(self, index: Path, stack: ExitStack) -> None:
        data = input.read(index, LARGEST_INDEX, pipe=False)
        reading = Budget(len(data))
        self.places = _weight_map(data, index.name, reading)  # tensor -> file
        names = dict.fromkeys(self.places.values())
        if len(names) > MOST_SHARDS:
            raise CheckpointError(f"{index.name} names {len(names)} shards", f"at most {MOST_SHARDS} are read")
        self.paths = [index.parent / name for name in names]
        for number, path in enumerate(self.paths, start=1):
            if input.fault(path):
                raise CheckpointError(f"shard {quote(path.name)} is missing", f"{number} of {len(names)}: fetch it too")
        self.files = [stack.enter_context(input.opened(path)) for path in self.paths]
        self.size = len(data) + sum(file.seek(0, 2) for file in self.files)
        self.budget = Budget(self.size)
        self.budget.step(reading.steps)
        self.budget.hold(reading.memory)

    def tensors(self, read: Reader) -> dict[str, object]:
        """Return what all shards hold, by name, each shard read by `read`; CheckpointError where the index says otherwise."""
        found: dict[str, object] = {}
        home: dict[str, str] = {}
        for path, file in zip(self.paths, self.files, strict=True):
            try:
                held = read(file, self.budget)
            except CheckpointError as error:
                raise error.within(path.name) from None
            self.budget.step(ENTRY * len(held))
            for key, value in held.items():
                name = str(key)
                if name in found:
                    raise CheckpointError(f"{quote(name)} is in two shards", f"{quote(home[name])} and {quote(path.name)}")
                found[name], home[name] = value, path.name
        for name, shard in self.places.items():
            if home.get(name) != shard:
                raise CheckpointError(f"shard {quote(shard)} has no {quote(name)}", "its index says so: fetch both again")
        return found


def _weight_map(data: bytes, where: str, budget: Budget) -> dict[str, str]:
    """Return what an index says: tensor -> the name of a file beside it."""
    index = parse_json(data, where, budget)
    places = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(places, dict) or not places:
        raise CheckpointError(f"{where} has no weight_map", "an index says which tensor lies in which file")
    budget.step(ENTRY * len(places))
    for name, shard in places.items():
        if not is_file_name(shard):
            raise CheckpointError(f"{where} puts {quote(name)} into {quote(shard)}", "a shard is a file beside its index")
    return places
