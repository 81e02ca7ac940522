"""Libraries that are extras: imported when a file needs one, and missed in one line."""

from __future__ import annotations

import importlib
from typing import Any

from ..errors import reason
from .error import CheckpointError


def library(name: str, extra: str, what: str, does: str = "reads") -> Any:
    """Import the library that reads, or writes, `what` ('an ONNX file'); CheckpointError where it is not there, or broken."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise CheckpointError(what, f"the package {name}, which {does} it, cannot be imported: {reason(error)}") from None
        raise CheckpointError(what, f"the package {name} {does} it: pip install '.[{extra}]' from a clone of minivan") from None
    except Exception as error:  # as one that was built for another NumPy
        raise CheckpointError(what, f"the package {name}, which {does} it, cannot be imported: {reason(error)}") from None
