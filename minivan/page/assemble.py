"""One HTML file of the parts that lie in this folder.

The JavaScript files are modules that import one another, which node and an editor understand. A page that is opened from a disk
cannot import, so that here each stands in a function of its own, in one script, and hands its exports on to those below.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any

from .. import input
from ..shipped import PACKAGE

HERE = PACKAGE / "page"
MOST_BYTES = 1 << 20  # of one part

ENGINE = ("safetensors.js", "erf.js", "product.js", "van.js", "changes.js", "engine.js")  # what the worker runs
PAGE = (  # each after those that it imports
    "safetensors.js", "erf.js", "product.js", "van.js", "photo.js", "numbers.js", "dom.js", "network.js", "state.js",
    "texts.js", "text.js", "answer.js", "sums.js", "lka.js", "colours.js", "maps.js", "hook.js", "overview.js", "strip.js",
    "chain.js", "whatif.js", "channels.js", "geometry.js", "cam.js", "guide.js", "picture.js", "main.js",
)  # fmt: skip

IMPORT = re.compile(r'^import (\{[^}]*\}) from "\./(\w+)\.js";$', re.MULTILINE)
EXPORT = re.compile(r"^export ((?:async )?(?:function|const|class) (\w+))", re.MULTILINE)


def script(names: tuple[str, ...]) -> str:
    """Return modules of this folder as the text of one script."""
    return "\n".join(_module(name.removesuffix(".js"), part(name)) for name in names)


def _module(name: str, text: str) -> str:
    exported = ", ".join(match[2] for match in EXPORT.finditer(text))
    body = EXPORT.sub(r"\1", IMPORT.sub(r"const \1 = $\2;", text))
    return f"// {name}.js\nconst ${name} = (() => {{\n{body}return {{ {exported} }};\n}})();"


def part(name: str) -> str:
    """Return one file of this folder, whatever ends its lines in a clone of the repository."""
    return input.read_text(HERE / name, MOST_BYTES).replace("\r\n", "\n")


def page(title: str, description: dict[str, Any], weights: bytes) -> str:
    """Return the file's text. `description` is what `contents.describe` returns, `weights` a safetensors file's bytes."""
    main, engine, style = script(PAGE), script(ENGINE), part("page.css")
    for text in (main, engine, style):
        if re.search(r"</(script|style)|<!--|^(import|export)\b", text, re.IGNORECASE | re.MULTILINE):
            raise AssertionError("a part of the page would end the element that holds it, or is no module of the known form")
    parts = {
        "POLICY": policy(main, style),
        "TITLE": title,
        "STYLE": style,
        "DESCRIPTION": as_json(description),
        "WEIGHTS": base64.b64encode(weights).decode("ascii"),
        "ENGINE": engine,
        "SCRIPT": main,
    }
    return re.sub(r"\{\{([A-Z]+)\}\}", lambda match: parts[match[1]], part("page.html"))


def policy(script: str, style: str) -> str:
    """Return the Content-Security-Policy: this script, this style, pictures and a worker of the page's own, and no network."""
    return (
        f"default-src 'none'; script-src '{digest(script)}'; style-src '{digest(style)}'; img-src data: blob:; "
        "worker-src blob:; base-uri 'none'; form-action 'none'"
    )


def digest(text: str) -> str:
    """Return an element's text as a policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def as_json(value: Any) -> str:
    """Return JSON in which whoever reads HTML sees text alone: whatever a name holds, no element begins or ends in it."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
