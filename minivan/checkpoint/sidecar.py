"""What a file of tensors alone does not say, kept beside it as text: `net.safetensors.json` for `net.safetensors`.

It holds what the metadata of minivan's own files do, and the SHA-256 of the tensors' file, which may be left out where it is
written by hand.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ..card import Card, file_sha256, usual_activation
from ..errors import reason
from ..input import read
from ..output import place, replacing
from ..variants import Config
from . import own_metadata
from .budget import Budget
from .error import CheckpointError
from .json_text import parse_json

ENDING = ".json"
LARGEST = 8 << 20  # bytes; one with 21,841 class names takes about 1 MB
SHA256 = "sha256"


def name_of(path: str | Path) -> Path:
    """Return where what belongs to a file of tensors lies."""
    return Path(f"{os.fspath(path)}{ENDING}")


def check(path: str | Path) -> None:
    """Raise CheckpointError where something else has the name of what would be kept beside a file of tensors; OSError."""
    beside = place(name_of(path))
    if beside.exists() and not _fields(beside):
        said = "another file stands there, where what the tensors do not say would be kept"
        raise CheckpointError(said, "choose another name for the tensors", str(name_of(path)))


def write(path: str | Path, config: Config, card: Card) -> str:
    """Write what a file of tensors, which is there, does not say; return it in a sentence. Raises OSError."""
    texts = own_metadata.describe(config, card)
    fields = {name: json.loads(text) if name in own_metadata.STRUCTURED else text for name, text in texts.items()}
    with replacing(name_of(path)) as file:
        file.write(json.dumps({**fields, SHA256: file_sha256(path)}, indent=1).encode("ascii") + b"\n")
    lost = ["class names"] if card.labels else []
    lost += ["input size", "mean and std"]
    lost += [f"the version {card.version}"] if card.version else []
    lost += ["the threshold for being sure"] if card.not_sure is not None else []
    lost += [card.activation] if card.activation != usual_activation(config.classes) else []
    return f"the tensors alone do not say {', '.join(lost)}: {name_of(path).name} does, which minivan reads beside it"


def beside(path: Path, name: str, found: Config, budget: Budget) -> tuple[tuple[Config, Card] | None, tuple[str, ...]]:
    """Return what is kept beside a file of tensors whose network was found to be `found`, on a card with this name.

    None where nothing is, or nothing that belongs to it: a sentence says that.
    """
    try:
        fields = _fields(name_of(path))
        if not fields:
            return None, ()
        if fields.get(SHA256, "") not in ("", file_sha256(path)):
            raise CheckpointError("it was written for another file")
        texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in fields.items()}
        config, card = own_metadata.understand(name, texts, budget)
        if _shape(config) != _shape(found):
            raise CheckpointError("it is of another network")
    except (CheckpointError, OSError) as error:
        return None, (f"{name_of(path).name} beside the weights was not used ({reason(error)})",)
    return (config, card), ()


def _shape(config: Config) -> tuple[Any, ...]:
    return config.dims, config.depths, config.mlp_ratios, config.classes, config.channels


def _fields(path: Path) -> dict[str, Any]:
    """Return what a file holds that minivan wrote beside tensors; {} where there is none, or anybody else's."""
    if not os.path.lexists(path):
        return {}
    data = read(path, LARGEST, pipe=False)
    try:
        fields = parse_json(data, path.name, Budget(len(data)))
    except CheckpointError:
        return {}
    return fields if isinstance(fields, dict) and own_metadata.is_own(fields) else {}
