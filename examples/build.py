"""Turn the lessons' sources into executed notebooks, and draw the diagrams.

    python examples/build.py                 the diagrams and all lessons
    python examples/build.py 01 04 ...       the lessons with these numbers

Both end with the slides of examples/teaching, which show the lessons' figures.

A source in examples/sources is Python with '# %%' above each code cell and '# %% [markdown]' above each text cell, whose
lines begin with '# '. '# %% timing' marks a cell whose output is a measurement: it differs from run to run, and no test
looks at it. The notebook is written next to this file, with its outputs, which are those of the bundled weights.
"""

from __future__ import annotations

import os
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
    if not numbers:
        import draw_diagrams

        draw_diagrams.draw_all(HERE / "diagrams")
    for source in sources(numbers):
        notebook = execute(parse(source))
        nbformat.validate(notebook)
        notebook_path(source).write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
        print(notebook_path(source).name)
    slides.write(slides.BUILT)


if __name__ == "__main__":
    main(sys.argv[1:])
