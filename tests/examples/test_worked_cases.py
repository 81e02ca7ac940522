"""The worked cases of docs/oracle.md print what stands there, run as they are typed."""

import re
import runpy

import pytest
import torch  # noqa: F401  most of the ports are PyTorch's
from support import ROOT

pytestmark = pytest.mark.slow

SCRIPT = runpy.run_path(str(ROOT / "benchmarks" / "worked_cases.py"))
WRITTEN = SCRIPT["SECTION"].search(SCRIPT["PAGE"].read_text(encoding="utf-8"))[0]
NUMBER = re.compile(r"-?\d+\.\d+(?:e[+-]?\d+)?")
PLACE = re.compile(r"at \([\d, ]+\): \S+ in the trace, \S+ in the port")  # on another processor it may be the one beside it
ALIKE = re.compile(r"(?<=dB\n)  \S+ dB without that of .*")  # layers behind the dearest, which cost next to nothing


@pytest.fixture(scope="module", autouse=True)
def folder():
    with SCRIPT["working_folder"]():
        yield


@pytest.mark.parametrize("case", [
    pytest.param(case, id=case.name, marks=[pytest.mark.browser] if case.name == "javascript" else [])
    for case in SCRIPT["CASES"]
])  # fmt: skip
def test_a_worked_case_prints_what_the_page_says(case):
    page = next(part for part in WRITTEN.split("\n\n**") if part.lstrip("*").startswith(f"{case.title}.**"))
    said = SCRIPT["worked"](case)
    page, said = (ALIKE.sub("others", PLACE.sub("at", text)).lstrip("*").strip() for text in (page, said))
    assert NUMBER.sub("x", said) == NUMBER.sub("x", page)
    numbers = [[float(number) for number in NUMBER.findall(text)] for text in (said, page)]
    assert numbers[0] == pytest.approx(numbers[1], rel=0.15)


def test_the_first_example_of_the_page_is_the_port_in_c_without_dilation():
    faulty = "cc -std=c99 -O2 -DFAULT_MISSING_DILATION -o lka examples/check_a_port/lka.c && mkdir -p out && "
    SCRIPT["typed"]("python -m minivan oracle vectors -o vectors --op lka")
    SCRIPT["typed"](f"{faulty}./lka vectors/lka/real out || true")
    said = SCRIPT["typed"]("python -m minivan oracle compare vectors/lka/real out")
    shown = SCRIPT["PAGE"].read_text(encoding="utf-8").split("```")[3].strip("\n").split("\n")
    assert shown.pop(3) == "..." and shown == [*said[:3], *said[5:]]


def test_the_page_has_them_all_in_order():
    assert re.findall(r"^\*\*(.*)\.\*\*$", WRITTEN, re.MULTILINE) == [case.title for case in SCRIPT["CASES"]]
