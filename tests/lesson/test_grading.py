"""What grades the notebooks' exercises: right answers, the usual wrong ones, and everything else that may be handed in."""

import ast
import importlib.util
import re
from fractions import Fraction

import numpy as np
import pytest
from support import EXAMPLES, ROOT

from minivan.lesson import check, compare, grade
from minivan.lesson.exercises import EXERCISES
from minivan.lesson.grading import OPEN, RIGHT, WRONG


def key(lesson, exercise):
    """Return the teacher's answer: what examples/answers returns, or the function itself where a function is asked for."""
    path = EXAMPLES / "answers" / f"lesson_{lesson:02d}.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    answer = getattr(module, f"exercise_{exercise}")
    return answer if EXERCISES[lesson, exercise].cases else answer()


def made(asked, mistake):
    """Return the whole of a wrong answer of which a mistake may be one part."""
    if mistake.part is None:
        return mistake.answer
    answer = list(asked.right())
    answer[mistake.part] = mistake.answer
    return answer


def test_the_teachers_key_is_right_and_each_usual_mistake_gets_its_own_hint():
    for (lesson, exercise), asked in EXERCISES.items():
        assert grade(lesson, exercise, key(lesson, exercise)).state == RIGHT, (lesson, exercise)
        assert len(asked.mistakes()) >= 3, (lesson, exercise)
        for mistake in asked.mistakes():
            verdict = grade(lesson, exercise, made(asked, mistake))
            assert verdict.state == WRONG, (lesson, exercise, mistake.hint)
            assert verdict.text == f"Exercise {lesson}.{exercise}, not yet: {mistake.hint}"


def test_no_hint_gives_the_answer_away():
    for (lesson, exercise), asked in EXERCISES.items():
        if asked.cases:
            continue
        right = asked.right()
        shown = (
            {right} if isinstance(right, str) else {f"{v:.6g}" for v in np.ravel(right)} | {f"{v:,}" for v in np.ravel(right)}
        )
        for text in (asked.form, asked.look, *(mistake.hint for mistake in asked.mistakes())):
            spoken = {word.rstrip(".:,;?") for word in text.split()}
            common = {word for word in shown & spoken if word not in GIVEN.get((lesson, exercise), ())}
            assert not common, (lesson, exercise, text)
            assert text.rstrip().endswith((".", "?")) or text == asked.form, text


# Words of a hint that are numbers of the right answer by chance, and say something else: "d (k - 1) + 1".
GIVEN = {
    (3, 3): {"1", "3"},
    (4, 1): {"1"},
    (5, 1): {"4", "2", "8", "32", "64", "160", "256"},
    (7, 1): {"1"},
    (12, 2): {"16", "32"},
}


@pytest.mark.parametrize("nothing", [None, ..., (None, None), lambda *arguments: None])
def test_a_placeholder_is_not_answered_yet(nothing, capsys):
    lesson, exercise = (1, 1) if callable(nothing) else (3, 1)
    assert grade(lesson, exercise, nothing).state == OPEN
    check(lesson, exercise, nothing)
    assert capsys.readouterr().out == f"Exercise {lesson}.{exercise} is not answered yet.\n"


@pytest.mark.parametrize(
    ("lesson", "exercise", "answer", "said"),
    [
        (1, 2, 14751745, "off by one"),
        (1, 2, -14751744, "the sign is wrong"),
        (1, 2, 14751.744, "a wrong unit"),
        (1, 2, "14751744", "leave out the quotation marks"),
        (1, 2, True, "something else"),
        (1, 2, 3 + 1j, "something else"),
        (1, 2, {}, "something else"),
        (1, 2, [], "something else"),
        (1, 2, float("nan"), "infinity or NaN"),
        (1, 2, [14751744, 1], "another length"),
        (1, 2, len, "yours is a function"),
        pytest.param(1, 2, 10**400, "infinity or NaN", id="huge"),
        (1, 1, 56, "yours is not a function"),
        (1, 1, lambda side: side, "your function stopped: TypeError"),
        (1, 1, lambda *a: 1 // 0, "your function stopped: ZeroDivisionError"),
        (2, 3, 75, "per cent and shares"),
        (3, 1, [[1, 2], [3]], "unequal lengths"),
        (5, 3, 3, "a text between quotation marks"),
        (5, 3, "b1", "multiply-adds"),
    ],
)
def test_any_other_answer_is_met_with_its_kind_of_mistake(lesson, exercise, answer, said):
    verdict = grade(lesson, exercise, answer)
    assert verdict.state == WRONG and said in verdict.text and "\n" not in verdict.text


@pytest.mark.parametrize(
    ("lesson", "exercise", "answer"),
    [
        (1, 2, np.int64(14751744)),
        (1, 2, 14751744.0),
        (2, 3, Fraction(3, 4)),
        (1, 3, [Fraction(1, 9)][0]),
        (2, 1, 28),
        (3, 1, np.array([4, 39])),
        (4, 1, ([0.5, -2, -3], [0.622, 0.538, -0.953])),
        (5, 3, " B3 "),
        (7, 2, 17.3),
    ],
)
def test_numbers_of_any_type_are_right_as_far_as_people_round_them(lesson, exercise, answer):
    assert grade(lesson, exercise, answer).state == RIGHT


def test_the_documentation_shows_what_check_says(capsys):
    text = (ROOT / "docs" / "lessons.md").read_text(encoding="utf-8")
    ((lesson, exercise, answer, said),) = re.findall(r"^check\((\d), (\d), (.*)\)  # (.*)$", text, re.MULTILINE)
    check(int(lesson), int(exercise), ast.literal_eval(answer))
    assert capsys.readouterr().out == said + "\n"


def test_an_unknown_exercise_is_one_clear_line(capsys):
    for lesson, exercise in ((99, 1), (3, 4), ("3", 1), (True, 1), (None, None), ([], {})):
        check(lesson, exercise, 1)
        said = capsys.readouterr().out
        assert said.startswith("there is no such exercise") and said.count("\n") == 1 and "1, 2, 3, 4, 5" in said
        with pytest.raises(ValueError, match="no such exercise"):
            grade(lesson, exercise, 1)


def test_a_function_cannot_change_what_the_next_one_is_tried_on():
    for (lesson, exercise), asked in EXERCISES.items():
        for case in asked.cases:
            kept = [np.array(argument, copy=True) for argument in case]
            grade(lesson, exercise, lambda *a: [x.fill(0) for x in a if isinstance(x, np.ndarray)] or 1)
            assert all(np.array_equal(a, b) for a, b in zip(kept, case, strict=True))


@pytest.mark.parametrize(
    ("prediction", "measured", "said"),
    [
        (None, 49.7, "Measured: 49.7 per cent. You predicted nothing"),
        (50, 49.7, "You predicted: 50 per cent. Measured: 49.7 per cent. That is within a twentieth."),
        (10, 50.0, "That is 5 times as little: why?"),
        (500, 50, "That is 10 times as much: why?"),
        (60, 50, "Too high by 10: why?"),
        (-1, 50, "Too low by 51: why?"),
        ("MLP", "mlp", "The same."),
        ("head", "mlp", "Why the difference?"),
    ],
)
def test_a_prediction_is_set_beside_what_was_measured(prediction, measured, said, capsys):
    compare(prediction, measured, "" if isinstance(measured, str) else "per cent")
    assert said in re.sub(r"\s+", " ", capsys.readouterr().out)
