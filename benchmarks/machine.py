"""What measured numbers belong to: the processor, the system, and the versions of what computes."""

import contextlib
import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1])]

from minivan import processors  # noqa: E402


def machine(*packages: str) -> dict[str, Any]:
    """Return the processor, its cores, the system, and the version of each package that is here."""
    versions = {}
    for package in packages:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return {"processor": processors.name(), "cores": os.cpu_count(), "system": platform.platform(), **versions}
