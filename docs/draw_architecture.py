"""Draw the rooms of minivan and what imports what, from the source files themselves.

    python docs/draw_architecture.py [FILE]        docs/pictures/architecture.svg, or another .svg or .png
    python docs/draw_architecture.py --check       exit status 1 where that picture shows other arrows than there are

A room is a module or a package directly inside minivan/. An arrow says that one imports the other, anywhere in its files,
inside functions and by a module's name in quotation marks too; arrows that follow from others are left out (if a imports b, and
b imports c, then a may as well). A room stands above all that it imports. An import inside a function that closes a circle is
drawn in red, and told on standard error; a circle of imports at the top of files is refused.
"""

from __future__ import annotations

import ast
import itertools
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path as Curve

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "minivan"
PICTURE = ROOT / "docs" / "pictures" / "architecture.svg"

# Readable on white and on black: the background is left transparent.
ROOM, FOLDER, ARROW, CIRCLE = "#3F7CAC", "#2C5F8A", "#8A8A8A", "#D0342C"
HEIGHT, ROW, GAP, LANE = 0.32, 0.78, 0.2, 0.2  # of a room, of a row; between rooms; an arrow's place in a row; inches
STYLE: dict[Any, Any] = {"svg.hashsalt": "minivan", "svg.fonttype": "path", "font.family": "DejaVu Sans", "font.size": 9}

Edge = tuple[str, str]
QUOTED = re.compile(r"minivan(\.[a-z_0-9]+)+")  # a module named in a table, to be imported when it is first needed


def room_of(path: Path) -> str:
    """Return the room that a file lies in: 'ops' for minivan/ops/conv.py, 'model' for minivan/model.py."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def files() -> Iterator[Path]:
    """Yield the package's files, but for its entrance: minivan/__init__.py imports what is asked for, by name."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if room_of(path) not in ("__init__", "__main__"):
            yield path


def offered() -> dict[str, str]:
    """Return the names that `from minivan import ...` finds in a room, with the room: {'load': 'checkpoint'}."""
    for node in ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_NAMES":
            return {name: module.split(".")[0] for name, module in ast.literal_eval(node.value).items()}
    return {}


def imported(path: Path, names: dict[str, str]) -> Iterator[tuple[str, bool]]:
    """Yield each room that a file imports, and whether it does so inside a function. Imports for types alone do not count."""
    module = path.relative_to(PACKAGE.parent).with_suffix("").parts
    package = module[:-1]  # of minivan/ops/__init__.py as of minivan/ops/conv.py: minivan.ops

    def walk(node: ast.AST, inside: bool) -> Iterator[tuple[str, bool]]:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        found: list[list[str]] = []
        if isinstance(node, ast.Import):
            found = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) + 1 - node.level]) if node.level else []
            base += node.module.split(".") if node.module else []
            found = [[*base, alias.name] for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found = [node.value.split(".")] if QUOTED.fullmatch(node.value) else []
        for name in found:
            if name[0] == "minivan" and len(name) > 1:
                yield names.get(name[1], name[1]), inside or isinstance(node, ast.Constant)
        inside = inside or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        for child in ast.iter_child_nodes(node):
            yield from walk(child, inside)

    yield from walk(ast.parse(path.read_text(encoding="utf-8")), False)


def graph() -> tuple[set[str], set[Edge], set[Edge]]:
    """Return the rooms, who imports whom without a circle, and the imports inside functions that would close one."""
    known = {room_of(path) for path in files()}
    at_top: set[Edge] = set()
    within: set[Edge] = set()
    by_name = offered()
    for path in files():
        for target, inside in imported(path, by_name):
            if target in known and target != room_of(path):
                (within if inside else at_top).add((room_of(path), target))
    edges: set[Edge] = set()
    circles: set[Edge] = set()
    for edge in [*sorted(at_top), *sorted(within - at_top)]:
        if not reaches(edges, edge[1], edge[0]):
            edges.add(edge)
        elif edge in at_top:
            sys.exit(f"minivan.{edge[0]} and minivan.{edge[1]} import each other, the one by way of the other")
        else:
            circles.add(edge)
    return known, edges, circles


def reaches(edges: set[Edge], start: str, end: str) -> bool:
    """Whether a path of imports leads from one room to another."""
    seen, waiting = set(), [start]
    while waiting:
        room = waiting.pop()
        if room == end:
            return True
        if room not in seen:
            seen.add(room)
            waiting += [b for a, b in edges if a == room]
    return False


def needed(edges: set[Edge]) -> set[Edge]:
    """Return the imports that do not follow from others."""
    return {edge for edge in edges if not reaches(edges - {edge}, *edge)}


class Plan:
    """Where everything lies. An arrow past several rows has a point to pass through in each, a narrow place of its own.

    `rows` are the rooms and points from the bottom row up; `lines` lists what each arrow passes, from room to room.
    """

    def __init__(self, names: Iterable[str], edges: set[Edge]) -> None:
        level: dict[str, int] = {}

        def height(room: str) -> int:
            """The lowest row above everything that a room imports."""
            if room not in level:
                level[room] = max([1 + height(b) for a, b in edges if a == room], default=0)
            return level[room]

        self.rows: list[list[str]] = [[] for _ in range(1 + max(map(height, names)))]
        for room in sorted(names):
            self.rows[level[room]].append(room)
        self.lines: dict[Edge, list[str]] = {}
        for a, b in sorted(needed(edges)):
            points = [f"{a}>{b}>{y}" for y in range(level[a] - 1, level[b], -1)]
            for point, y in zip(points, range(level[a] - 1, level[b], -1), strict=True):
                self.rows[y].append(point)
            self.lines[a, b] = [a, *points, b]
        self.place: dict[str, float] = {}
        self._arrange()

    def _arrange(self) -> None:
        """Order each row so that arrows cross little: towards the middle of what they join, row by row, down and up again.

        The order with the fewest crossings of all that were seen is kept.
        """
        joined: dict[str, list[str]] = {}
        for line in self.lines.values():
            for a, b in itertools.pairwise(line):
                joined.setdefault(a, []).append(b)
                joined.setdefault(b, []).append(a)
        for row in self.rows:
            self._spread(row)
        best, kept = None, self.rows
        for sweep in range(60):
            for row in self.rows if sweep % 2 else self.rows[::-1]:
                pull = {n: sum(self.place[m] for m in joined[n]) / len(joined[n]) for n in row if n in joined}
                row.sort(key=lambda name: (pull.get(name, self.place[name]), name))
                self._spread(row)
            if best is None or self.cost() < best:
                best, kept = self.cost(), [list(row) for row in self.rows]
        self.rows = kept
        for row in self.rows:
            self._spread(row)

    def _spread(self, row: list[str]) -> None:
        """Lay a row's rooms and points side by side around the middle."""
        x = -self.width(row) / 2
        for name in row:
            self.place[name] = x + space(name) / 2
            x += space(name)

    def width(self, row: list[str]) -> float:
        return sum(map(space, row))

    def cost(self) -> tuple[int, float]:
        """Return how many arrows cross, and how far they go sideways."""
        crossings, length = 0, 0.0
        level = {name: y for y, row in enumerate(self.rows) for name in row}
        steps: list[list[Edge]] = [[] for _ in self.rows]
        for line in self.lines.values():
            for a, b in itertools.pairwise(line):
                steps[level[a]].append((a, b))
                length += abs(self.place[a] - self.place[b])
        for step in steps:
            for i, (a, b) in enumerate(step):
                crossings += sum((self.place[a] - self.place[c]) * (self.place[b] - self.place[d]) < 0 for c, d in step[:i])
        return crossings, length


def space(name: str) -> float:
    """Return the width that a room, or an arrow passing by, takes in its row."""
    return LANE if ">" in name else width_of(name) + GAP


def width_of(room: str) -> float:
    return 0.28 + 0.092 * len(room)  # so that its name fits in bold


def described(edges: set[Edge]) -> str:
    """Return the arrows as text; the picture carries it, so that `--check` can read what it shows."""
    return ", ".join(f"{a} > {b}" for a, b in sorted(edges))


def draw() -> Figure:
    known, edges, circles = graph()
    for a, b in sorted(circles):
        print(f"minivan.{a} imports minivan.{b} inside a function, which closes a circle", file=sys.stderr)
    plan = Plan(known, edges)
    width = max(plan.width(row) for row in plan.rows) + 0.2
    height = len(plan.rows) * ROW
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-width / 2, width / 2), ylim=(0, height))
    axes.axis("off")
    place = {name: (plan.place[name], ROW * (y + 0.5)) for y, row in enumerate(plan.rows) for name in row}
    for line in plan.lines.values():
        arrow(axes, [place[name] for name in line], ARROW)
    for a, b in sorted(circles):
        arrow(axes, [place[a], place[b]], CIRCLE)
    for room in sorted(known):
        box(axes, room, *place[room])
    return figure


def box(axes: Axes, room: str, x: float, y: float) -> None:
    """A room; a folder is darker, its name ends in a slash."""
    folder, width = (PACKAGE / room).is_dir(), width_of(room)
    shape = FancyBboxPatch(
        (x - width / 2, y - HEIGHT / 2), width, HEIGHT, boxstyle="round,pad=0,rounding_size=0.06",
        linewidth=0, facecolor=FOLDER if folder else ROOM, zorder=2,
    )  # fmt: skip
    axes.add_patch(shape)
    axes.text(x, y - 0.01, room + "/" * folder, ha="center", va="center", color="white", weight="bold", zorder=3)


def arrow(axes: Axes, points: list[tuple[float, float]], colour: str) -> None:
    """From the edge of a room to the facing edge of one that it imports, upright where it passes the rows between."""
    down = -1 if points[0][1] > points[-1][1] else 1
    corners = [(points[0][0], points[0][1] + down * HEIGHT / 2)]
    for x, y in points[1:-1]:
        corners += [(x, y - down * HEIGHT / 2), (x, y + down * HEIGHT / 2)]
    corners.append((points[-1][0], points[-1][1] - down * HEIGHT / 2))
    vertices, codes = [corners[0]], [Curve.MOVETO]
    for i, (start, end) in enumerate(itertools.pairwise(corners)):
        if i % 2:
            vertices.append(end)
            codes.append(Curve.LINETO)
        else:
            bend = (end[1] - start[1]) / 2
            vertices += [(start[0], start[1] + bend), (end[0], end[1] - bend), end]
            codes += [Curve.CURVE4] * 3
    axes.add_patch(FancyArrowPatch(path=Curve(vertices, codes), arrowstyle="-|>", mutation_scale=9, facecolor=colour,
                                   edgecolor=colour, linewidth=1, zorder=1))  # fmt: skip


def main() -> int:
    if sys.argv[1:] == ["--check"]:
        _, edges, circles = graph()
        if described(needed(edges) | circles) in PICTURE.read_text(encoding="utf-8").replace("&gt;", ">"):
            return 0
        print(f"{PICTURE} shows other imports than there are: python docs/draw_architecture.py", file=sys.stderr)
        return 1
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURE
    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(STYLE):
        _, edges, circles = graph()
        metadata = {"Date": None, "Description": described(needed(edges) | circles)} if path.suffix == ".svg" else None
        draw().savefig(path, transparent=True, metadata=metadata)
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
