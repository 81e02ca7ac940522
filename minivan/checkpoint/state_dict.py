"""Where the network's tensors lie in what a training script saved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import quote
from .budget import Budget
from .error import CheckpointError
from .layouts import KEY, LAYOUTS, unwrap
from .tensor import StoredTensor

# Where a training script keeps the network, in the order in which timm's `load_state_dict` looks (timm/models/_helpers.py):
# averaged weights first. MMEngine's `ema_state_dict` is not among them: it holds what was averaged, `state_dict` the average.
STATE_DICTS = ("state_dict_ema", "model_ema", "state_dict", "model")
AVERAGED = STATE_DICTS[:2]


def find_state_dict(contents: object, budget: Budget, key: str | None = None) -> tuple[dict[Any, object], str]:
    """Return the network's tensors in a pickled checkpoint and the key they lie under ('' where they are at the top).

    With `key`, only that one is looked at. Raises CheckpointError where there is no dictionary of tensors.
    """
    if not isinstance(contents, dict):
        raise CheckpointError(f"the file holds {quote(contents)}", "a dictionary of tensors is wanted")
    keys = ", ".join(quote(k) for k in list(contents)[:8])
    if key is not None:
        if not isinstance(contents.get(key), dict):
            raise CheckpointError(f"the file has no dictionary under {quote(key)}", f"its keys are {keys}")
        return contents[key], key
    for name in STATE_DICTS:
        if _holds_tensors(contents.get(name), budget):
            return contents[name], name
    if _holds_tensors(contents, budget):
        return contents, ""
    budget.step(len(contents))
    others = [name for name, value in contents.items() if _holds_tensors(value, budget) and _knows(value, budget)]
    if len(others) == 1:
        return contents[others[0]], str(others[0])
    raise CheckpointError("the file has no dictionary of a VAN's tensors", f"its keys are {keys}" if keys else "it is empty")


def _holds_tensors(value: object, budget: Budget) -> bool:
    if not isinstance(value, dict):
        return False
    budget.step(1 + len(value) // 8)
    return any(isinstance(tensor, StoredTensor) for tensor in value.values())


def _knows(state: Mapping[Any, object], budget: Budget) -> bool:
    budget.step(KEY * len(state))
    return any(layout.authors_name(key) for key in unwrap(state, budget) for layout in LAYOUTS.values())
