"""How large each layer's own error is in sound ports and in ports with a fault: the table of docs/oracle.md, written there.

    python benchmarks/own_error.py [--large] [--write]

It needs the extras `test` and `torch`; with --large it also runs b0 at 224 pixels and b3, a minute more. Where the line between
the two lies stands in minivan/oracle/own.py.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from minivan.oracle.own import LINES  # noqa: E402

PAGE = ROOT / "docs" / "oracle.md"
SECTION = re.compile(r"(?<=<!-- own errors -->\n).*?(?=<!-- end -->)", re.DOTALL)


def table(large: bool) -> str:
    """Measure, and return two tables in Markdown."""
    from support import soundness  # imports PyTorch, which --help does without

    rows: dict[str, dict[str, float]] = {}
    for found in soundness.sound(large):
        rows.setdefault(found.port, {})[found.network] = found.most
        print(found, flush=True)
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    lines = [f"| sound port | {' | '.join(names)} |", f"|---|{'--:|' * len(names)}"]
    lines += [f"| {port} | {' | '.join(f'{row[name]:.1f}' for name in names)} |" for port, row in rows.items()]
    lines += ["", "| format | line | faults planted | found at their layer | blamed on another | sound layers blamed |",
              "|---|--:|--:|--:|--:|--:|"]  # fmt: skip
    for found in soundness.planted():
        print(found, flush=True)
        lines.append(
            f"| {found.form} | {LINES[found.form]:g} | {found.planted} | {found.found} | {found.others} | {found.beside} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the own errors of sound and of faulty ports.")
    parser.add_argument("--large", action="store_true", help="b0 at 64 and 224 pixels, and b3, too")
    parser.add_argument("--write", action="store_true", help="write the table into docs/oracle.md")
    args = parser.parse_args()
    said = table(args.large)
    print(said)
    if args.write:
        text, found = SECTION.subn(lambda _: said, PAGE.read_text(encoding="utf-8"))
        if found != 1:
            sys.exit(f"{PAGE}: the place of the table was found {found} times, not once")
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
