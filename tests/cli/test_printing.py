"""What commands print: whatever a name holds, no character reaches the terminal that it would obey."""

import ast
import io
import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from support import EXAMPLES

from minivan import cli
from minivan.checkpoint import bundled
from minivan.cli.printing import complain, console, fitted, note, say, say_json
from minivan.typesetting import joined, width

EVIL = "a\x1b[2Jb\x07\x9b\u202egnp.tac\u2028\ud800\U000e0001"


def obeyed(text):
    return [c for c in text if not c.isprintable() and c != "\n"]


def test_text_is_shown_with_codes_and_its_own_line_ends(capsys):
    say(f"{EVIL}\nsecond")
    complain(EVIL)
    note(EVIL)
    out, err = capsys.readouterr()
    assert out.count("\n") == 2 and err.count("\n") == 2 and not obeyed(out + err)
    assert "\\x1b[2Jb" in out and "\\u202e" in out and err.startswith("minivan: a") and "\nnote: a" in err


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_json_says_the_same_and_moves_nothing(encoding, monkeypatch):
    written = io.TextIOWrapper(io.BytesIO(), encoding)
    monkeypatch.setattr(sys, "stdout", written)
    value = {"name": EVIL, "\u202e": ["caf\u00e9", 1.5, None]}
    say_json(value, flush=True)
    text = written.buffer.getvalue().decode(encoding)
    assert json.loads(text) == value and not obeyed(text) and text.count("\n") == 1
    assert ("caf\u00e9" in text) == (encoding == "utf-8")


def test_commands_print_through_these_functions_alone():
    """Rich's console is given tables and Text, never a string, in which it would look for markup."""
    for path in sorted(Path(cli.__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            assert called != "print" or path.name == "printing.py", f"{path.name}:{node.lineno}"
            if called == "console.print":
                given = ast.unparse(node.args[0])
                assert given == "table" or given.startswith("Text("), f"{path.name}:{node.lineno}: {given}"


def test_a_hostile_name_of_weights_and_of_a_photo_is_shown_with_its_codes(tmp_path, run):
    photo, weights = (tmp_path / f"a\x1b[2J[bold]\u202e{ending}" for ending in ("b.jpg", "c.safetensors"))
    shutil.copy(EXAMPLES / "coffee.jpg", photo)
    shutil.copy(bundled()[0], weights)
    made = photo.with_suffix(".safetensors")
    for command in (
        ["classify", photo, "--weights", weights, "--engine", "numpy"], ["weights", "show", weights],
        ["explain", photo, "--json", "--weights", weights, "--method", "cam", "--size", "32", "--engine", "numpy"],
        ["classify", photo, "--json", "--weights", weights, "--engine", "numpy"], ["convert", weights, made],
    ):  # fmt: skip
        status, out, err = run(*command)
        assert status == 0 and not obeyed(out + err), (command, out, err)
        assert "[2J[bold]" in out


def test_a_table_whose_reader_goes_away_is_no_error():
    def gone(*_):
        raise BrokenPipeError

    made = console()
    made.file = SimpleNamespace(write=gone, flush=gone, encoding="utf-8", isatty=lambda: False)
    with pytest.raises(BrokenPipeError):
        made.print("x")


def test_chinese_is_broken_at_the_terminal_s_width(monkeypatch):
    monkeypatch.setattr("minivan.cli.printing.columns", lambda: 20)
    text = "  第 3 步：混合。它只看所在的位置，读取那里全部通道。"
    lines = fitted(text).split("\n")
    assert len(lines) > 2 and max(map(width, lines)) <= 20 and joined(line.strip() for line in lines) == text.strip()
    assert lines[0].startswith("  第") and all(line.startswith("    ") for line in lines[1:])
