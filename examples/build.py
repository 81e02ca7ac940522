"""Turn the lessons' sources into executed notebooks, in English and in Chinese, and draw the diagrams.

    python examples/build.py                 the diagrams and all lessons
    python examples/build.py 01 04 ...       the lessons with these numbers
    python examples/build.py --chinese 01    the Chinese ones, from the English ones that lie here: nothing is run

Both end with the slides of examples/teaching, which show the lessons' figures.

A source in examples/sources is Python with '# %%' above each code cell and '# %% [markdown]' above each text cell, whose
lines begin with '# '. '# %% timing' marks a cell whose output is a measurement: it differs from run to run, and no test
looks at it. The notebook is written next to this file, with its outputs, which are those of the bundled weights.

The Chinese notebook is the English one with other text cells: the same code, the same outputs. They stand in
examples/sources/zh, one after the other, each below the stamp of the English cell that it translates. Where that one has
changed, no Chinese notebook is made before somebody has looked at the translation and put the new stamp above it.
"""

from __future__ import annotations

import copy
import hashlib
import os
import re
import sys
import tempfile
from collections.abc import Collection
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE / "teaching")]  # this clone's minivan, whichever is installed

import slides  # noqa: E402

SECONDS_PER_CELL = 240  # the first cell that uses a compiled engine may have to compile it


def sources(numbers: Collection[str] = ()) -> list[Path]:
    """Return the lessons' sources in order, all or those whose two digits are asked for."""
    found = sorted((HERE / "sources").glob("[0-9][0-9]_*.py"))
    return [path for path in found if not numbers or path.name[:2] in numbers]


def notebook_path(source: Path) -> Path:
    return HERE / f"{source.stem}.ipynb"


def translation_path(source: Path) -> Path:
    return HERE / "sources" / "zh" / f"{source.stem}.md"


def chinese_path(source: Path) -> Path:
    return HERE / f"{source.stem}.zh.ipynb"


def stamp(cell: nbformat.NotebookNode) -> str:
    """Return what tells whether a text cell is still the one that was translated."""
    return hashlib.sha256(cell.source.encode()).hexdigest()[:8]


def chinese(notebook: nbformat.NotebookNode, translation: str, name: str) -> nbformat.NotebookNode:
    """Return a copy of an English notebook with the text cells of its translation, a file of that name.

    Raises ValueError where the translation has another number of cells, or a cell is not that of its stamp.
    """
    _, *parts = re.split(r"^<!-- ([0-9a-f]{8}) -->\n", translation, flags=re.MULTILINE)
    stamps, texts = parts[::2], parts[1::2]
    made = copy.deepcopy(notebook)
    english = [cell for cell in made.cells if cell.cell_type == "markdown"]
    if len(english) != len(texts):
        raise ValueError(f"{name}: {len(texts)} text cells, where the English lesson has {len(english)}")
    for cell, stamped, text in zip(english, stamps, texts, strict=True):
        if stamped != stamp(cell):
            begin = " ".join(cell.source.split())[:50]
            raise ValueError(f"{name}: '{begin}' was translated as {stamped}; see that it is right, and stamp it {stamp(cell)}")
        cell.source = text.strip("\n")
    return made


def write(notebook: nbformat.NotebookNode, path: Path) -> None:
    nbformat.validate(notebook)
    path.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
    print(path.name)


def write_chinese(source: Path) -> str:
    """Write the Chinese notebook of a source from the English one that lies here; return why not, where that is a fault."""
    path = translation_path(source)
    if path.exists():
        english = nbformat.read(notebook_path(source), as_version=4)
        try:
            made = chinese(english, path.read_text(encoding="utf-8"), path.name)
        except ValueError as error:
            return f"{chinese_path(source).name} is left as it was. {error}\n"
        write(made, chinese_path(source))
    return ""


def parse(source: Path) -> nbformat.NotebookNode:
    """Return the notebook of a source, without outputs; cell ids count up, so the same source gives the same bytes."""
    cells: list[nbformat.NotebookNode] = []
    kind: str | None = None
    lines: list[str] = []

    def close() -> None:
        body = "\n".join(lines).strip("\n")
        if kind is None or not body:
            return
        if kind == "[markdown]":
            cell = nbformat.v4.new_markdown_cell("\n".join(line[1:].removeprefix(" ") for line in body.split("\n")))
        else:
            cell = nbformat.v4.new_code_cell(body, metadata={"tags": [kind]} if kind else {})
        cell["id"] = f"cell-{len(cells):02d}"
        cells.append(cell)

    for line in source.read_text(encoding="utf-8").splitlines():
        if line.startswith("# %%"):
            close()
            kind, lines = line.removeprefix("# %%").strip(), []
        else:
            lines.append(line)
    close()
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel, "language_info": {"name": "python"}})


def execute(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Run a notebook in examples/ with this clone's minivan and its bundled weights; an error in a cell is raised."""
    client = NotebookClient(notebook, timeout=SECONDS_PER_CELL, resources={"metadata": {"path": str(HERE)}})
    path = os.pathsep.join(filter(None, (str(HERE.parent), os.environ.get("PYTHONPATH"))))
    with tempfile.TemporaryDirectory() as nothing_fetched:
        client.execute(env=os.environ | {"PYTHONPATH": path, "MINIVAN_HOME": nothing_fetched})
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # time stamps
        if cell.cell_type == "code":
            cell.outputs = joined(cell.outputs)
    notebook.metadata["language_info"] = {"name": "python"}  # without the version of this machine's Python
    return notebook


def joined(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Join what was printed in one go but arrived in pieces, and drop what depends on the display."""
    kept: list[nbformat.NotebookNode] = []
    for output in outputs:
        if output.output_type == "stream" and kept and kept[-1].get("name") == output.name:
            kept[-1].text += output.text
            continue
        if output.output_type in ("display_data", "execute_result"):
            output.metadata = {}
        kept.append(output)
    return kept


def main(numbers: list[str]) -> None:
    if numbers[:1] == ["--chinese"]:
        sys.exit("".join(map(write_chinese, sources(numbers[1:]))).rstrip() or 0)
    if not numbers:
        import draw_diagrams

        draw_diagrams.draw_all(HERE / "diagrams")
    left = ""
    for source in sources(numbers):
        write(execute(parse(source)), notebook_path(source))
        left += write_chinese(source)
    slides.write(slides.BUILT)
    sys.exit(left.rstrip() or 0)


if __name__ == "__main__":
    main(sys.argv[1:])
