"""Print pip constraints that hold minivan's dependencies, and those of its tests, at the lowest versions it supports.

    python .ci/lowest.py > constraints.txt

PyTorch stays at the one version it is pinned to; tools that read the source but never run beside it (ruff, mypy, the
documentation's builders) stay at their newest.
"""

import re
import tomllib
from pathlib import Path

EXTRAS = ("test", "page")
project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
extras = [requirement for extra in EXTRAS for requirement in project["optional-dependencies"][extra]]
for requirement in [*project["dependencies"], *extras]:
    lowest = re.fullmatch(r"([A-Za-z0-9_.-]+)(?:\[[a-z,]+\])?\s*>=\s*([0-9.]+)", requirement)
    if not lowest:
        raise SystemExit(f"pyproject.toml: {requirement!r} does not say its lowest version")
    print(f"{lowest[1]}=={lowest[2]}")
