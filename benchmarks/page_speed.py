"""How long the page of `minivan explore` takes in Chromium: until its first picture, and for the network alone.

    python benchmarks/page_speed.py                    prints the table
    python benchmarks/page_speed.py --write            and puts it into docs/explore.md

It needs two idle cores, Debian's chromium (or another that MINIVAN_CHROMIUM names) and `pip install '.[page]'`. A browser is
started anew for every row, on so many cores, with a page of its own for every round: nothing is warm in it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from machine import machine

import minivan
from minivan.cli import main as minivan_command

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "explore.md"
BEGIN, END = "<!-- speed: benchmarks/page_speed.py --write -->", "<!-- end of speed -->"
CHROMIUM = os.environ.get("MINIVAN_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
WATCH = """() => {
    window.seen = {};
    const look = () => {
        const hook = document.querySelector("#hook-photo img");
        if (hook && hook.complete && hook.naturalWidth) window.seen.photo ??= performance.now();
        if (document.body && document.body.dataset.ready) window.seen.answer ??= performance.now();
        if (!window.seen.answer) requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
}"""
COLUMNS = ("the photo", "its numbers", "the network alone")


def once(browser: Browser, file: Path) -> list[float]:
    """Return milliseconds from the navigation on: until the photo is seen, until its numbers are, and the network's own."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    tab = context.new_page()
    tab.add_init_script(f"({WATCH})()")
    tab.goto(f"file://{file}")
    tab.wait_for_function("() => window.seen.answer")
    seen: dict[str, float] = tab.evaluate("window.seen")
    network = float(tab.inner_text("#agreement").partition("computed here in ")[2].partition(" ms")[0])
    context.close()
    return [seen["photo"], seen["answer"], network]


def row(cores: int, file: Path, rounds: int) -> list[float]:
    """Return the medians of some rounds with a browser that has so many cores."""
    os.sched_setaffinity(0, set(range(cores)))  # what is started from here on has no others
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        found = [once(browser, file) for _ in range(rounds)]
        browser.close()
    return [statistics.median(column) for column in zip(*found, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="put the table into docs/explore.md")
    args = parser.parse_args()
    if CHROMIUM is None:
        sys.exit("there is no Chromium: apt-get install chromium, or name one with MINIVAN_CHROMIUM")
    with tempfile.TemporaryDirectory() as folder:
        rows = {}
        for kind, options in {"whole": [], "light": ["--light"]}.items():
            file = Path(folder) / f"{kind}.html"
            if minivan_command(["explore", "-o", str(file), "--engine", "numpy", *options]) != 0:
                sys.exit(1)
            for cores in (2, 1):
                rows[kind, cores] = row(cores, file, args.rounds)
    lines = table(rows, args.rounds)
    print("\n".join(lines))
    if args.write:
        before, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
        DOCUMENT.write_text(before + "\n".join([BEGIN, "", *lines, "", END]) + rest.partition(END)[2], encoding="utf-8")


def table(rows: dict[tuple[str, int], list[float]], rounds: int) -> list[str]:
    from playwright.sync_api import sync_playwright

    here: dict[str, Any] = machine("playwright")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        version = browser.version
        browser.close()
    return [
        f"Milliseconds from opening the file, medians of {rounds}, in Chromium {version}, minivan {minivan.__version__};",
        f"{here['processor']}.",
        "",
        f"| page | cores | {' | '.join(COLUMNS)} |",
        "|---|--:|--:|--:|--:|",
        *(
            f"| {kind} | {cores} | {' | '.join(format(value, '.0f') for value in values)} |"
            for (kind, cores), values in rows.items()
        ),
    ]


if __name__ == "__main__":
    main()
