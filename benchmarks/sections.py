"""Sections of a page, one for each processor, between two marks."""

from __future__ import annotations

import sys
from pathlib import Path

HEADING = "### "


def sections(page: Path, begin: str, end: str) -> dict[str, str]:
    """Return what stands between two marks, by heading; SystemExit where the page does not have each mark once."""
    text = page.read_text(encoding="utf-8")
    if text.count(begin) != 1 or text.count(end) != 1:
        sys.exit(f"{page}: not one {begin} and one {end}")
    between = text.partition(begin)[2].partition(end)[0]
    found = {}
    for part in f"\n{between.strip()}".split(f"\n{HEADING}")[1:]:
        heading, _, body = part.partition("\n")
        found[heading.strip()] = body.strip()
    return found


def write(page: Path, begin: str, end: str, heading: str, body: str) -> None:
    """Put a section between two marks, in the place of the one of the same heading, or behind all others."""
    kept = sections(page, begin, end) | {heading: body.strip()}
    between = "\n\n".join(f"{HEADING}{name}\n\n{text}" for name, text in kept.items())
    before, _, rest = page.read_text(encoding="utf-8").partition(begin)
    page.write_text(f"{before}{begin}\n\n{between}\n\n{end}{rest.partition(end)[2]}", encoding="utf-8")
