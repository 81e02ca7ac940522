"""The documentation's build, with warnings as errors:

    pip install '.[docs]' && sphinx-build -W -b html docs build/docs

Pages are Markdown (MyST); the API reference is made from the docstrings. The package itself must be importable.
"""

from __future__ import annotations

import dataclasses
import inspect
import re

import minivan

project = "minivan"
author = "The minivan maintainers"
version = release = minivan.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
exclude_patterns: list[str] = []

highlight_language = "text"  # what says no language is shown as it is: transcripts, layouts of files

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 100
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = f"minivan {release}"
html_static_path = ["static"]
html_css_files = ["minivan.css"]
html_copy_source = False
html_show_copyright = False
smartquotes = False  # a quote in a docstring belongs to code more often than not
html_theme_options = {"navigation_with_keys": True}

CODE = re.compile(r"(`[^`]+`)")
MARKUP = re.compile(r"([\\*|]|_(?!\w))")  # what reStructuredText would take for markup in a sentence
FIELD = re.compile(r"^    ([a-z]\w*): [^#\n]*  # (.+)$", re.MULTILINE)  # a record's field and the comment beside it


def plain_docstring(app, what, name, obj, options, lines: list[str]) -> None:
    """Make reStructuredText of a docstring, in place.

    minivan's docstrings are written to be read as they are: sentences, `code` in backticks, lists with hyphens, and what must
    keep its lines (formulas, loop nests, tables) indented. Nothing else in them is markup, however it looks. What NumPy wrote
    about a function that is a default here is left out. The fields of a record are explained by the comments beside them.
    """
    if not getattr(obj, "__module__", project).startswith(project):
        lines.clear()
    paragraphs = re.split(r"\n\s*\n", "\n".join(lines))
    lines[:] = "\n\n".join(part for paragraph in paragraphs for part in _paragraph(paragraph.rstrip())).splitlines()
    lines.append("")
    if what == "class" and (dataclasses.is_dataclass(obj) or hasattr(obj, "_fields")):
        lines += [f"- ``{name}``: {_sentences(comment)}" for name, comment in FIELD.findall(inspect.getsource(obj))]
        lines.append("")


def skip_alias(app, what, name, obj, skip, options) -> bool | None:
    """Leave out what Python says of a named tuple's fields: 'Alias for field number 0'."""
    return (getattr(obj, "__doc__", None) or "").startswith("Alias for field number") or None


def _paragraph(text: str) -> list[str]:
    """A paragraph of a docstring as reStructuredText; one whose end is indented is a sentence and a block."""
    rows = text.split("\n")
    if rows[0].startswith(">>>"):  # a doctest keeps its lines by itself
        return [text]
    first = next((i for i, row in enumerate(rows) if row.startswith("    ")), None)
    if first is not None and all(row.startswith("  ") for row in rows[first:]):
        block = "\n".join(["::", "", *("    " + row for row in rows[first:])])
        return [*([_sentences("\n".join(rows[:first]))] if first else []), block]
    return [_sentences(text)]


def _sentences(text: str) -> str:
    parts = CODE.split(text)
    return "".join(f"`{part}`" if CODE.fullmatch(part) else MARKUP.sub(r"\\\1", part) for part in parts)


def setup(app) -> None:
    app.connect("autodoc-process-docstring", plain_docstring)
    app.connect("autodoc-skip-member", skip_alias)
