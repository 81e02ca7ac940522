"""Checkpoints in, weights out: PyTorch files read without PyTorch, safetensors, and minivan's own.

What weights that are here do not need, downloads and heads, is imported when a name of it is first used.
"""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..card import file_sha256
from ..engines import Engine
from ..engines import find as engine_of
from ..floating import standard
from ..van import VAN
from .description import facts, head_facts, unsaid
from .error import CheckpointError
from .hub import Here, bundled, find, here, list_models, passed_over
from .open_checkpoint import Checkpoint
from .weights import Weights, odd_numbers, opened, opened_any, read, revise, with_source_sha256, write

if TYPE_CHECKING:
    from .download import Fetched, fetch
    from .semantic_fpn import SemanticFPN
    from .sources import SOURCES, published

_NAMES = {  # name -> the module that it is in
    "Fetched": "download", "SOURCES": "sources", "SemanticFPN": "semantic_fpn", "fetch": "download", "published": "sources",
}  # fmt: skip

__all__ = [
    "SOURCES",
    "Checkpoint",
    "CheckpointError",
    "Fetched",
    "Here",
    "SemanticFPN",
    "Weights",
    "bundled",
    "facts",
    "fetch",
    "file_sha256",
    "find",
    "head_facts",
    "here",
    "list_models",
    "load",
    "odd_numbers",
    "opened",
    "opened_any",
    "passed_over",
    "published",
    "read",
    "revise",
    "unsaid",
    "with_source_sha256",
    "write",
]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(f"{__name__}.{_NAMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_NAMES]


def load(
    name_or_path: str | Path | None = None,
    engine: str | Engine = "auto",
    *,
    key: str | None = None,
    strict: bool = False,
    allow_nonfinite: bool = False,
    size: int | None = None,
    precision: str = "auto",
) -> VAN:
    """Return a VAN with the weights of a name ('b0', 'van_b0_tiny_imagenet200') or of any file that `read` takes.

    None means the default weights: what was fetched last, or else the bundled ones. `key`, `strict` and `allow_nonfinite` are
    those of `read`; what a person should know of how the weights were read is in `card.notes`. `size` has photos prepared as
    squares of so many pixels a side (`VAN.with_size`), by default as the weights were trained. Raises CheckpointError for a
    file that is no VAN and for a name whose weights are not here, with the command that fetches them; OSError, naming the file,
    where it cannot be read. `precision` is that of `engines.find`:
    'bfloat16' has the engine 'fast', or 'auto', compute its matrix products in that; 'auto' stands for 'float32'.
    """
    chosen = engine_of(engine, precision)
    with standard():  # some files' weights are computed from what they hold
        weights = read(find(name_or_path), key, strict=strict, allow_nonfinite=allow_nonfinite)
    overlooked = passed_over() if name_or_path is None else ""  # the default might be another
    notes = (*weights.notes, *filter(None, [overlooked]))
    model = VAN(weights.config, weights.tensors, chosen, replace(weights.card, notes=notes))
    return model if size is None else model.with_size(size)
