"""A checkpoint that is open and understood."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..card import Card
from ..variants import Config
from .tensor import StoredTensor

if TYPE_CHECKING:
    from .semantic_fpn import SemanticFPN


@dataclass(frozen=True)
class Checkpoint:
    """An open checkpoint, understood: `stored` has the network's tensors by the authors' names, each read when asked."""

    format: str
    size: int  # bytes of the file, or of all its shards and their index
    config: Config
    card: Card
    stored: dict[str, StoredTensor]
    notes: tuple[str, ...] = ()
    label: str = ""  # under which keys the network lies, '.' where it is under none; '' in a file that holds nothing else
    passed_over: tuple[str, ...] = ()  # what else the file holds: 'decode_head: 12 tensors'
    head: SemanticFPN | None = None  # a segmentation network's, on this network
    no_head: str = ""  # why not, where it has one that minivan does not compute
