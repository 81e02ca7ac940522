"""The README as the package index shows it: there a path such as docs/oracle.md leads nowhere, so it becomes an address.

The one line that decides is `Source` under [project.urls] in pyproject.toml. Where it stands, links and pictures lead to this
version's tag at that address. Where it does not, because the repository has no public address yet, a link becomes its text
and a picture its description: nothing on the index's page is broken, and nothing leads to an address that somebody else could
take.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

LINK = re.compile(r"(?P<picture>!?)\[(?P<text>[^\]]*)\]\((?P<path>(?!https?://|#|mailto:)[^)\s]+)\)")


def for_the_index(readme: str, source: str | None, version: str) -> str:
    """Return README text whose relative links are absolute below `source`, or are taken apart where that is None."""

    def replace(link: re.Match[str]) -> str:
        text, path = link["text"], link["path"]
        if source is None:
            return f"*Picture, in the source distribution as {path}: {text}.*" if link["picture"] else text
        kind = "raw" if link["picture"] else "blob"  # of a hosted repository: a file's bytes, and the page that shows it
        return f"{link['picture']}[{text}]({source.rstrip('/')}/{kind}/v{version}/{path})"

    return LINK.sub(replace, readme)


class IndexReadme(MetadataHookInterface):
    """Sets the metadata field `readme`, which pyproject.toml declares as dynamic."""

    def update(self, metadata: dict[str, Any]) -> None:
        readme = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        source = metadata.get("urls", {}).get("Source")
        text = for_the_index(readme, source, metadata["version"])
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
