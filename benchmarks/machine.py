"""What measured numbers belong to: the processor, the system, and the versions of what computes."""

import contextlib
import datetime
import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1])]

from minivan import processors  # noqa: E402

INSTRUCTIONS = {  # that matter to a network, as Linux names them, and as everybody else does
    "avx2": "AVX2", "avx512f": "AVX-512", "avx512_bf16": "AVX512_BF16", "amx_bf16": "AMX", "asimd": "NEON", "bf16": "BF16",
}  # fmt: skip


def processor() -> str:
    """Return the processor's name with what tells it from others of the name: its model, and the instructions that matter."""
    said: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            said.setdefault(key.strip(), value.strip())
    flags = said.get("flags", said.get("Features", "")).split()
    model = [f"family {said['cpu family']}, model {said['model']}"] if {"cpu family", "model"} <= set(said) else []
    known = [name for flag, name in INSTRUCTIONS.items() if flag in flags]
    details = "; ".join([*model, *filter(None, [", ".join(known)])])
    return f"{processors.name()} ({details})" if details else processors.name()


def measured(*packages: str) -> str:
    """Return when and with what figures are measured: a sentence."""
    seen = machine(*packages)
    versions = [f"{package} {seen[package]}" for package in packages if package in seen]
    software = ", ".join([f"Python {platform.python_version()}", *versions])
    return f"Measured {datetime.date.today():%Y-%m-%d} on {seen['cores']} cores, {seen['system']}, {software}."


def machine(*packages: str) -> dict[str, Any]:
    """Return the processor, its cores, the system, and the version of each package that is here."""
    versions = {}
    for package in packages:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return {"processor": processors.name(), "cores": os.cpu_count(), "system": platform.platform(), **versions}
