"""python -m minivan lka: its arguments, its JSON and its figure, and one line for what cannot be used."""

import json
import sys

import numpy as np
import pytest
from PIL import Image
from support.page import told, words

from minivan.cli import main


@pytest.fixture
def terminal(monkeypatch):
    """A terminal where somebody types these lines: what input() is asked with, what is typed, what was asked so far."""

    def sit(*typed):
        asked, lines = [], iter(typed)

        def answer(prompt):
            asked.append(prompt)
            try:
                return next(lines)
            except StopIteration:
                raise EOFError from None

        for stream in (sys.stdin, sys.stdout):
            monkeypatch.setattr(stream, "isatty", lambda: True)
        monkeypatch.setattr("builtins.input", answer)
        return asked

    return sit


def test_a_chapter_alone(capsys):
    lines = told("--chapter", "7")
    assert lines[0] == "7. How far it really sees" and "23 x 23" in words("\n".join(lines))
    assert [line for line in lines if line.startswith(("6. ", "8. "))] == []
    assert main(["lka", "--chapter", "13"]) == 2
    assert capsys.readouterr().err == "minivan: the lesson has 12 chapters; got --chapter 13\n"


def test_a_terminal_pauses_after_each_question_and_a_pipe_does_not(terminal, capsys):
    asked = terminal("", "", "q")
    assert main(["lka"]) == 0
    out = capsys.readouterr().out
    assert len(asked) == 3 and "3. What looking far costs" in out and "4. Three" not in out.split("\n\n\n", 1)[1]
    assert "4 times the positions" not in words(out)  # the answer to the third question
    asked = terminal("")
    assert main(["lka"]) == 0 and len(asked) == 2  # the end of what is typed is the end of the lesson
    asked.clear()
    sys.stdin.isatty = lambda: False
    assert main(["lka", "--chapter", "9"]) == 0 and not asked


def test_json_is_one_object_with_the_same_numbers():
    lines = told("--json")
    assert len(lines) == 1
    n = json.loads(lines[0])
    assert n["support"] == 23 and n["optimum"]["best_d"] == 3 and n["border"]["differ"] == n["border"]["foreseen"] > 0
    assert [row["parameters"]["lka"] for row in n["paper_table"]] == [3392, 8832, 25856, 84480, 300032]
    assert n["photo"]["furthest_apart"] < 1e-12  # two float64 computations of the same sums
    assert n["photo"]["by_hand"]["conv1"] == pytest.approx(n["photo"]["network"]["conv1"], abs=1e-12)
    assert np.array(n["photo"]["attention_map"]).shape == tuple(n["photo"]["map"])


def test_another_photo_is_followed_and_a_bad_one_is_one_line(tmp_path, capsys):
    Image.effect_noise((90, 70), 60).save(tmp_path / "noise.png")
    assert "Now noise.png, through" in words("\n".join(told("--image", tmp_path / "noise.png")))
    (tmp_path / "text.jpg").write_text("not an image")
    for name in ("text.jpg", "missing.jpg"):
        assert main(["lka", "--image", str(tmp_path / name)]) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.count("\n") == 1 and err.startswith(f"minivan: {tmp_path / name}: ")


def test_plot_writes_a_figure(tmp_path):
    assert told("--plot", tmp_path / "out.png")[-1] == f"The pictures are in {tmp_path / 'out.png'}."
    with Image.open(tmp_path / "out.png") as figure:
        assert figure.size[0] >= 1000 and len(figure.convert("RGB").getcolors(1 << 20)) > 100


@pytest.mark.parametrize("path", ["figure.txt", "missing/figure.png"])
def test_a_plot_that_cannot_be_written_is_one_line(tmp_path, capsys, path):
    assert main(["lka", "--plot", str(tmp_path / path)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and path in err and not list(tmp_path.iterdir())


def test_a_plot_without_matplotlib_is_one_line_that_says_how_to_get_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["lka", "--plot", str(tmp_path / "out.png")]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and "Matplotlib" in err and "pip install" in err


@pytest.mark.parametrize("arguments", [["-K", "0"], ["-K", "x"], ["-d", "0"], ["--size", "-3"], ["-C", "1e9"], ["--huh"]])
def test_a_wrong_call_exits_2(arguments, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["lka", *arguments])
    assert exit_.value.code == 2 and "Traceback" not in capsys.readouterr().err


def test_a_dilation_beyond_the_kernel_exits_2(capsys):
    assert main(["lka", "-K", "5", "-d", "6"]) == 2
    assert capsys.readouterr().err == "minivan: the dilation d is a whole number from 1 to K = 5; got 6\n"


def test_what_cannot_be_had_is_said_before_anything_is_computed(monkeypatch):
    monkeypatch.setattr("minivan.lesson.numbers.numbers", lambda *_: pytest.fail("the numbers were computed"))
    assert main(["lka", "--image", "missing.jpg"]) == 2
    monkeypatch.setattr("minivan.lesson.photo.walk", lambda *_: pytest.fail("the photo was walked"))
    for arguments in (["--plot", "figure.txt"], ["--plot", "no folder/figure.png"], ["-K", "5", "-d", "6"]):
        assert main(["lka", *arguments]) == 2


@pytest.mark.parametrize("kept", [True, False])
def test_damaged_weights_are_not_blamed_on_the_photo(tmp_path, monkeypatch, capsys, kept):
    monkeypatch.setattr("minivan.checkpoint.hub.bundled_folder", lambda: tmp_path)
    if kept:
        (tmp_path / "van.safetensors").write_bytes(b"cut short")
    assert main(["lka"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and str(tmp_path) in err and "coffee" not in err
