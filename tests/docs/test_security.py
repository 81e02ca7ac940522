"""What the threat model promises is what the code holds, and the tests that it names are there."""

import re

import pytest
from support import ROOT

from minivan import errors
from minivan.checkpoint import error, transfer
from minivan.checkpoint.sources import LARGEST
from minivan.cli import ending
from minivan.evaluate import shards, tables
from minivan.image import bounds
from minivan.input import amount
from minivan.oracle import arrays, naming
from minivan.predict import index

pytestmark = pytest.mark.loop

PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
MODEL = PAGE[PAGE.index("## The threat model") : PAGE.index("## Checkpoints")]


def row(begins):
    """The cells of the threat model's row whose first cell begins so."""
    line = next(line for line in MODEL.splitlines() if line.startswith(f"| {begins}"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_every_test_that_is_named_is_there_and_every_row_names_one():
    rows = [line for line in MODEL.splitlines() if line.startswith("| ")][1:]
    for line in rows:
        named = re.findall(r"`([\w/*]+(?:\.py|/))`", line.rsplit(" | ", 1)[1])
        assert named, line
        folder = ""
        for name in named:
            folder = name.rpartition("/")[0] if "/" in name else folder
            pattern = name if "/" in name or not folder else f"{folder}/{name}"
            assert list((ROOT / "tests").glob(pattern.rstrip("/"))) or list((ROOT / "tests").glob(name)), name


def test_the_limits_are_those_of_the_code():
    assert "2 seconds, and 256 MiB" in row("a checkpoint")[2]
    assert f"{bounds.LARGEST_FILE >> 20} MiB of file; {bounds.LARGEST_HELD / 2**30} GiB while decoded" in row("an image")[2]
    assert f"{bounds.LONGEST} seconds in a command" in row("an image")[2]
    limits = row("a trace")[2]
    assert f"{arrays.UNPACKED >> 20} MiB and {arrays.PER_BYTE} times the file" in limits
    assert f"{naming.LARGEST_MAP >> 20} MiB for a map; {arrays.MOST_ARRAYS:,} layers" in limits
    dataset = row("a labelled dataset")[2]
    label = f"a label {amount(shards.LARGEST_LABEL)} and {shards.LONGEST_LABEL:,} characters"
    assert f"{label}; a table {amount(tables.LARGEST)}" in dataset
    assert f"{amount(index.UNPACKED)} and {index.GROWTH} times the file" in dataset
    server = row("a server")[2]
    assert f"{LARGEST >> 30} GiB; {transfer.SLOWEST:,} bytes a second" in server
    assert f"{transfer.LONGEST // 3600} hours" in server
    lengths = (
        f"about {errors.LONGEST_REASON:,} characters at most, a name in it of {errors.LONGEST_QUOTE}; a checkpoint's, of about"
    )
    assert f"{lengths} {2 * error.LONGEST:,}" in row("names inside files")[2]
    assert ending.GRACE == 10 and "ten seconds" in row("Ctrl-C")[2]
