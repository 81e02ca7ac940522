"""JSON from strangers: parsed once it is known what that may cost."""

from __future__ import annotations

import json
import sys
from typing import Any

from ..errors import quote
from ..floating import standard
from .budget import Budget
from .error import CheckpointError

MARKS = (",", "[", "{")  # before every value of a JSON text but the first, and every key, stands one of them or a colon


def parse_json(data: bytes | str, where: str, budget: Budget) -> Any:
    """Return the value of a JSON text; CheckpointError for one that is damaged, nested too deep or says a key twice."""

    def no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) < len(pairs):
            twice = next(key for key, _ in pairs if value.pop(key, value) is value)
            raise CheckpointError(f"{where} has {quote(twice)} twice")
        return value

    def no_constant(name: str) -> None:
        raise CheckpointError(f"{where} has the number {name}")

    try:
        text = data.decode("utf-8") if isinstance(data, bytes) else data
        _pay(text, budget)
        with standard():  # Python reads decimal fractions otherwise where rounding is set otherwise
            return json.loads(text, object_pairs_hook=no_key_twice, parse_constant=no_constant)
    except CheckpointError:
        raise
    except RecursionError:
        raise CheckpointError(f"{where} is nested too deep") from None
    except ValueError:
        raise CheckpointError(f"{where} is not JSON") from None


def _pay(text: str, budget: Budget) -> None:
    """Take from the budget what a text's values can cost at most, told by its marks: those inside quotes are counted too."""
    marks, quotes, colons = sum(map(text.count, MARKS)), text.count('"'), text.count(":")
    budget.step(marks // 4 + colons // 4 + len(text) // 64)
    # a list takes 64 bytes after two marks, a text 59 and more between two quotes, a key's place 164; the texts together take
    # what the whole one takes
    budget.hold(40 * marks + 30 * quotes + 170 * colons + 2 * sys.getsizeof(text))
