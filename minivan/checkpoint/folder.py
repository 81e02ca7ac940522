"""Where a checkpoint lies: one file, or a folder of Hugging Face's, of its Hub's cache, or of torch.distributed.checkpoint.

A folder holds one file of weights, or shards with an index that says which tensor lies in which; beside the usual names, or
instead of them, there may be a variant (`model.fp16.safetensors`). Names: transformers/utils/__init__.py, `_add_variant` of
transformers/modeling_utils.py, and huggingface_hub's guide "Understand caching" for the cache.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import quote
from ..input import fault, read
from .error import CheckpointError

INDEX = ".index.json"
WHOLE = ("model.safetensors", "pytorch_model.bin")  # in the order in which transformers looks
USUAL = tuple(name for whole in WHOLE for name in (whole, whole + INDEX))
DISTRIBUTED = ".metadata"  # what torch.distributed.checkpoint writes beside its files
SUFFIXES = (".tar", ".pth", ".pt", ".bin", ".ckpt", ".safetensors", ".pdparams", ".h5", ".hdf5", ".onnx", ".distcp")
LONGEST_REVISION = 255  # characters of a snapshot's name in `refs/main`

VARIANT = re.compile(r"(?P<kind>model|pytorch_model)\.(?P<variant>[\w-]{1,40})\.(?P<format>safetensors|bin)")
VARIANT_INDEX = re.compile(r"(?P<kind>model|pytorch_model)\.(?P<format>safetensors|bin)\.index\.(?P<variant>[\w-]{1,40})\.json")
SHARD = re.compile(r"(?P<stem>.+)-(?P<number>[0-9]{1,5})-of-(?P<count>[0-9]{1,5})(?P<suffix>\.[a-z]+)")


@dataclass(frozen=True)
class Place:
    """Where a checkpoint lies, and what it is called."""

    path: Path  # the file, or the index of the shards, or the `.metadata` of a distributed checkpoint
    name: str  # short: 'van_tiny_754' for van_tiny_754.pth.tar, 'van-tiny' for the folder or the repository
    notes: tuple[str, ...] = ()  # which of several was chosen, a sentence each

    @property
    def is_index(self) -> bool:
        """Whether `path` is an index, and the tensors lie in the files that it names."""
        return self.path.name.endswith(INDEX) or VARIANT_INDEX.fullmatch(self.path.name) is not None

    @property
    def is_distributed(self) -> bool:
        """Whether `path` describes a distributed checkpoint, and the tensors lie in the files beside it."""
        return self.path.name == DISTRIBUTED


def locate(path: Path) -> Place:
    """Return where the weights are that a path to a file or a folder means.

    Raises CheckpointError for a folder without weights, with several variants or snapshots of which none is the usual one, and
    for one shard given by itself.
    """
    if path.is_dir():
        try:
            return _in_folder(_snapshot(path))
        except CheckpointError as error:
            raise error.within(path) from None
    shard = SHARD.fullmatch(path.name)
    if shard and int(shard["count"]) > 1:
        said = f"one shard, number {int(shard['number'])} of {int(shard['count'])}"
        raise CheckpointError(said, f"give the folder with all of them and their index: {path.parent}", str(path))
    in_folder = path.name in (*USUAL, DISTRIBUTED) or _variant(path.name)
    return Place(path, _folders_name(path.parent) if in_folder else _files_name(path))


def _in_folder(folder: Path) -> Place:
    """Return the weights of a folder: under the usual names first, then a variant where there is one only."""
    there = sorted(os.listdir(folder))
    name = _folders_name(folder)
    for usual in USUAL:
        if usual in there:
            if wrong := fault(folder / usual):
                raise CheckpointError(f"{usual} in it: {wrong}", "fetch it again")
            return Place(folder / usual, name)
    if DISTRIBUTED in there:
        return Place(folder / DISTRIBUTED, name)
    found = {file: variant for file in there if (variant := _variant(file))}
    variants = sorted(set(found.values()))
    if len(variants) > 1:
        raise CheckpointError(f"a folder with {len(variants)} variants of its weights", f"give one of {', '.join(found)}")
    if variants:
        chosen = min(found, key=lambda file: (".bin" in file, file.endswith(".json"), file))
        return Place(folder / chosen, name, (f"{chosen} was read, the variant {variants[0]}",))
    raise CheckpointError("a folder without weights", _next_step(there))


def _next_step(there: Sequence[str]) -> str:
    """Say what a folder lacks, and which of its files may be weights all the same."""
    shard = next((file for file in there if SHARD.fullmatch(file)), None)
    if shard:
        match = SHARD.fullmatch(shard)
        assert match, "it fits, as it did above"
        return f"{quote(shard)} is a shard, and the index {match['stem']}{match['suffix']}{INDEX} is not there: fetch it too"
    lacking = f"neither {' nor '.join(WHOLE)} is in it"
    files = [quote(file) for file in there if Path(file).suffix.lower() in SUFFIXES]
    if files:
        return f"{lacking}; {', '.join(files[:8])} may be: give the file"
    repositories = [quote(file) for file in there if file.startswith("models--")]
    return f"{lacking}; give one of {', '.join(repositories[:8])}" if repositories else lacking


def _variant(file: str) -> str:
    """Return the variant that a file's name is of, 'fp16' for 'model.fp16.safetensors'; '' for any other."""
    if SHARD.fullmatch(file):
        return ""
    match = VARIANT.fullmatch(file) or VARIANT_INDEX.fullmatch(file)
    return match["variant"] if match and (match["kind"] == "model") == (match["format"] == "safetensors") else ""


def _snapshot(folder: Path) -> Path:
    """Return the snapshot that a repository's folder in the Hub's cache means, any other folder as it is."""
    snapshots = folder if folder.name == "snapshots" else folder / "snapshots"
    if not snapshots.is_dir():
        return folder
    revision = snapshots.parent / "refs" / "main"
    if revision.is_file():
        name = read(revision, LONGEST_REVISION, pipe=False).decode("utf-8", "replace").strip()
        if not is_file_name(name) or not (snapshots / name).is_dir():
            raise CheckpointError(f"refs/main names the snapshot {quote(name)}", "it is not there: fetch it again")
        return snapshots / name
    there = sorted(file for file in os.listdir(snapshots) if (snapshots / file).is_dir())
    if len(there) != 1:
        said = f"{len(there)} snapshots, and no refs/main that says which"
        raise CheckpointError(said, f"give one of {', '.join(map(quote, there[:8]))}" if there else "fetch it again")
    return snapshots / there[0]


def is_file_name(name: object) -> bool:
    """Tell whether a text that a file holds is the name of a file in its own folder, and leads nowhere else."""
    return isinstance(name, str) and name not in ("", ".", "..") and not set(name) & set("/\\:\0")


def _folders_name(folder: Path) -> str:
    """Return what the weights in a folder are called: as the folder, or as the repository whose snapshot it is."""
    full = Path(os.path.abspath(folder))  # no link is followed: the files of a snapshot are links to blobs
    for inner in (full, *full.parents):
        if inner.parent.name == "snapshots":
            return inner.parent.parent.name.split("--")[-1]
    return full.name or "weights"


def _files_name(path: Path) -> str:
    name = path.name
    while Path(name).suffix.lower() in SUFFIXES:
        name = Path(name).stem
    return name
