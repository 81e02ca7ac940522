"""What a protobuf message costs, counted before the library parses it: it makes objects of hundreds of bytes out of two."""

from __future__ import annotations

from typing import Any

from .budget import Budget
from .diagnoses import CUT_OFF
from .error import CheckpointError

FIELD, MESSAGE = 2, 250  # steps that a field takes, bytes that a message does, whatever it holds
LONGEST_NAME = 4096  # characters
DAMAGED = "a damaged ONNX file"
VARINT, EIGHT, LENGTH, FOUR = 0, 1, 2, 5  # how a field is written; protobuf's "Encoding" has the rest


def weigh(data: bytes, kind: Any, budget: Budget) -> None:
    """Pay for all fields and messages in `data`, a message of the kind that the descriptor `kind` describes.

    Raises CheckpointError where they are more than the budget allows, and for what is no protobuf message at all.
    """
    within: dict[Any, dict[int, Any]] = {}  # a kind of message -> the kinds of those in it, by the numbers of their fields
    waiting = [(kind, 0, len(data))]
    try:
        while waiting:
            kind, at, end = waiting.pop()
            budget.hold(MESSAGE)
            if kind not in within:
                within[kind] = {field.number: field.message_type for field in kind.fields if field.message_type is not None}
            inner = within[kind]
            while at < end:
                budget.step(FIELD)
                tag, at = _varint(data, at)
                size, at = _varint(data, at) if tag & 7 in (VARINT, LENGTH) else ({EIGHT: 8, FOUR: 4}[tag & 7], at)
                if tag & 7 != VARINT:
                    if tag & 7 == LENGTH and tag >> 3 in inner:
                        waiting.append((inner[tag >> 3], at, at + size))
                    at += size
            if at > end:
                raise CheckpointError(DAMAGED, CUT_OFF)
    except IndexError:
        raise CheckpointError(DAMAGED, CUT_OFF) from None
    except KeyError:
        raise CheckpointError(DAMAGED, "a field that protobuf does not know") from None


def name_of(value: str | bytes, budget: Budget) -> str:
    """Return a name in a message, which protobuf gives as bytes where it is no UTF-8; CheckpointError for a long one."""
    if len(value) > LONGEST_NAME:
        raise CheckpointError(DAMAGED, f"a name of {len(value)} characters; the limit is {LONGEST_NAME}")
    return text_of(value, budget)


def text_of(value: str | bytes, budget: Budget) -> str:
    """Return a text in a message, however long."""
    budget.step(1 + len(value) // 64)
    budget.hold(2 * len(value) + 60)
    return value if isinstance(value, str) else value.decode("utf-8", "replace")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the integer at a place in the bytes, which has seven bits of each, and the place after it."""
    value = shift = 0
    while data[at] > 0x7F:
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if shift > 63:
            raise CheckpointError(DAMAGED, "an integer of more than ten bytes")
    return value | data[at] << shift, at + 1
