"""What lies beside the weights and says something of them: in the same file, and in the files of a folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import quote, reason
from ..input import read
from . import openmmlab_config
from .budget import Budget
from .error import CheckpointError
from .inert import NAMESPACES
from .json_text import parse_json
from .standin import StandIn

CONFIG = "config.json"
PROCESSOR = "preprocessor_config.json"
LARGEST = {  # bytes of each
    CONFIG: 8 << 20,  # one with 21,841 class names, twice each, takes about 2 MB
    PROCESSOR: 1 << 20,
}
TEXTS = ("cfg", "config")  # keys of `meta` for the configuration's text: MMEngine's, mmcls'
Fields = Mapping[str, Any]


@dataclass(frozen=True)
class Beside:
    """What is said beside the weights, place by place; a place that is not there is empty."""

    top: Fields = field(default_factory=dict)  # what a pickle holds at the top
    arguments: Fields = field(default_factory=dict)  # `args`, of a training script
    configuration: Fields = field(default_factory=dict)  # the literals of OpenMMLab's
    configuration_at: str = ""  # 'meta.cfg'
    config: Fields = field(default_factory=dict)  # config.json
    processor: Fields = field(default_factory=dict)  # preprocessor_config.json
    notes: tuple[str, ...] = ()  # what of it cannot be read, a sentence each


def gathered(contents: object, folder: Path | None, is_huggingface: bool, budget: Budget) -> Beside:
    """Return what a file holds beside the weights, and what the files of its folder say, where one belongs to it.

    Raises CheckpointError for a config.json or a preprocessor_config.json that is no JSON object where the weights are Hugging
    Face's, and OSError for one that cannot be read. Elsewhere that is a note: the file may be anybody's.
    """
    top = contents if isinstance(contents, dict) else {}
    arguments = top.get("args")
    if isinstance(arguments, StandIn) and arguments.path in NAMESPACES:
        arguments = arguments.state
    meta = top.get("meta")
    texts = {key: meta.get(key) for key in TEXTS} if isinstance(meta, dict) else {}
    configuration: Fields = {}
    at = ""
    for key, text in texts.items():
        if not configuration:
            configuration, at = openmmlab_config.read(text, budget), f"meta.{key}"
    found: dict[str, Fields] = {}
    notes = []
    for name in LARGEST if folder else ():
        try:
            found[name] = _object(folder / name) if folder else {}
        except (CheckpointError, OSError) as error:
            if is_huggingface:
                raise
            said = error.what if isinstance(error, CheckpointError) else reason(error)
            notes.append(f"{name} beside the weights was not used ({said})")
    return Beside(
        top,
        arguments if isinstance(arguments, dict) else {},
        configuration,
        at,
        found.get(CONFIG, {}),
        found.get(PROCESSOR, {}),
        tuple(notes),
    )


def _object(path: Path) -> Fields:
    """Return the JSON object in a file, {} where there is no such file."""
    if not os.path.lexists(path):
        return {}
    data = read(path, LARGEST[path.name], pipe=False)
    fields = parse_json(data, path.name, Budget(len(data)))
    if not isinstance(fields, dict):
        raise CheckpointError(f"{path.name} holds {quote(fields)}", "a Hugging Face model's is an object")
    return fields
