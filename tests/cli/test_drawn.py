"""How `classify` draws an answer: as rich would, which takes longer to import; and where it goes while rich shows a bar."""

import io
import json
import re
import shutil
import sys
from types import SimpleNamespace

import pytest
from rich.console import Console
from rich.table import Table
from rich.text import Text
from support import EXAMPLES

from minivan.cli.classify import PROGRESS_FROM, print_text, widths
from minivan.cli.printing import styled
from minivan.predict import Answer, Guess


def by_rich(guesses, columns):
    """The table as rich draws it; `columns` None: not on a terminal."""
    label, bar = widths()
    table = Table(box=None, show_header=False, padding=(0, 1))
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="ellipsis", no_wrap=True, min_width=label, max_width=columns and label)
    table.add_column(justify="right", width=6)
    if bar:
        table.add_column(no_wrap=True, min_width=bar)
    for rank, guess in enumerate(guesses, 1):
        drawn = [Text("█" * round(guess.probability * bar), style="cyan")] if bar else []
        table.add_row(str(rank), Text(guess.label), f"{guess.probability:.1%}", *drawn)
    screen = Console(file=io.StringIO(), width=columns or 1000, highlight=False, _environ={}, legacy_windows=False)
    screen.print(table)
    return screen.file.getvalue()


@pytest.mark.parametrize("columns", [None, 100, 60, 40])
def test_an_answer_is_drawn_as_rich_would_draw_it(columns, monkeypatch, capsys):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("WT_SESSION", "1")
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: bool(columns))
    shares = {
        "espresso": 0.976,
        "a" + "埃及猫" * 8: 1.0,
        "a name that is too long for most terminals, " * 3: 0.02,
        "": 0.0,
    }
    guesses = tuple(Guess(i, "", label, share) for i, (label, share) in enumerate(shares.items())) * 3
    answer = Answer("a.jpg", "model", "fast", 1.2, guesses, sure=False)
    print_text(answer, SimpleNamespace(card=SimpleNamespace(not_sure=0.5)))
    shown = capsys.readouterr().out
    # In the place of half a wide character there is a space, before the ellipsis or behind it.
    plain, rich = (
        text.replace(" …", "… ").splitlines() for text in (re.sub(r"\x1b\[\d*m", "", shown), by_rich(guesses, columns))
    )
    assert plain[0] == "a.jpg" and plain[1 : 1 + len(guesses)] == rich
    styles = re.findall(r"\x1b\[([1-9]\d*)m[^\x1b\n]+\x1b\[0m", shown)
    assert {*styles} == ({"1", "2", "33", *(["36"] if widths()[1] else [])} if columns else set())
    monkeypatch.setenv("NO_COLOR", "1")
    assert styled("x", "cyan") == "x" and styled("x", "bold") == ("\x1b[1mx\x1b[0m" if columns else "x")
    monkeypatch.setenv("TERM", "dumb")
    assert styled("x", "bold") == "x"


def test_answers_go_where_they_were_sent_though_a_bar_is_shown(run, monkeypatch, tmp_path):
    for i in range(PROGRESS_FROM):
        shutil.copy(EXAMPLES / "coffee.jpg", tmp_path / f"{i}.jpg")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    status, out, err = run("classify", tmp_path, "--json", "--engine", "numpy", "--size", "32")
    assert status == 0 and "classifying" in err and '"label"' not in err
    assert [sorted(json.loads(line))[:2] for line in out.splitlines()] == [["activation", "engine"]] * PROGRESS_FROM
