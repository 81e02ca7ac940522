"""Which weights made something, so that nobody takes what one network found out for another's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from ..van import VAN


def identity(model: VAN) -> dict[str, Any]:
    """Return what decides a network's features: its weights by name and number, and how it wants images prepared; as JSON.

    `sha256` is of the network's shape and numbers, not of a file: the same weights in another format are the same.
    """
    card = model.card
    said = {
        "weights": card.name,
        "version": card.version,
        "sha256": tensors_sha256(model.config, model.tensors),
        "preprocessing": asdict(card.preprocessing),
    }
    return plain(said)


def tensors_sha256(config: Any, tensors: Mapping[str, npt.NDArray[np.float32]]) -> str:
    """Return the SHA-256 of a network's shape, a dataclass, and of its numbers by their names, 64 hex digits."""
    digest = hashlib.sha256(json.dumps(asdict(config), sort_keys=True).encode())
    for name, tensor in tensors.items():
        digest.update(name.encode())
        digest.update(tensor.tobytes())
    return digest.hexdigest()


def plain(said: dict[str, Any]) -> dict[str, Any]:
    """Return a value as it is after a journey through a file of JSON: tuples are lists."""
    value: dict[str, Any] = json.loads(json.dumps(said))
    return value


def differing(said: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Return the names under which two such values differ."""
    return [name for name in {**said, **wanted} if said.get(name) != wanted.get(name)]
