"""Whether a port's recording is one of the same weights and the same input as the trace's: told by their SHA-256."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..checkpoint.budget import Budget
from ..checkpoint.json_text import parse_json
from ..paths import INPUT
from .recorded import Port
from .trace import FORMAT, Trace

SHOWN = 12  # hexadecimal digits of a digest in a message
LARGEST = 4 << 20  # bytes of a file's list of digests: 10,000 layers with names of 300 characters


def check_origin(trace: Trace, port: Mapping[str, Any]) -> None:
    """Raise ValueError where a port says by its metadata that it ran other weights, or another input, than the trace.

    Only a trace says so: in other files the same words may mean anything, and nothing is asked of them.
    """
    if not isinstance(port, Port) or port.metadata.get("format") != FORMAT:
        return
    for what, remedy, ours, theirs in (
        ("other weights", "the same weights", _weights(trace.metadata), _weights(port.metadata)),
        ("another input", "the same input", _input(trace.metadata), _input(port.metadata)),
    ):
        if ours and theirs and ours != theirs:
            found = f"SHA-256 {theirs[:SHOWN]}... where the trace has {ours[:SHOWN]}..."
            raise ValueError(
                f"the port was recorded with {what} ({found}), so that nothing was judged: record both with {remedy}"
            )


def _weights(metadata: Mapping[str, str]) -> str:
    return metadata.get("weights_sha256", "")


def _input(metadata: Mapping[str, str]) -> str:
    """Return the input's digest, '' where none can be read."""
    text = metadata.get("sha256", "")
    if not text or len(text) > LARGEST:
        return ""
    try:
        digests = parse_json(text, "its sha256", Budget(len(text)))
    except ValueError:
        return ""
    found = digests.get(INPUT) if isinstance(digests, dict) else None
    return found if isinstance(found, str) else ""
