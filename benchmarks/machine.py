"""What measured numbers belong to: the processor, the system, and the versions of what computes."""

import contextlib
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any


def processor() -> str:
    """Return the processor's name, as well as the system knows it."""
    name = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), name)
    return name


def machine(*packages: str) -> dict[str, Any]:
    """Return the processor, its cores, the system, and the version of each package that is here."""
    versions = {}
    for package in packages:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return {"processor": processor(), "cores": os.cpu_count(), "system": platform.platform(), **versions}
