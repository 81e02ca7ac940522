"""What a file may cost before it is read or refused: steps, function calls, bytes; and, by hand, seconds and resident memory.

In the quick suite the budget is small and so are the files: what is done for each step and each byte is bounded, whatever kind
of file it is, so the same holds for large ones. `long` measures those: 9.9 MB of every kind.
"""

import subprocess
import sys

import pytest
from support import hostile, hostile_formats, hostile_names
from support.measure import counting, tracing

from minivan.checkpoint import CheckpointError, budget, formats, read
from minivan.checkpoint.budget import Budget

SMALL, LARGE = 50_000, 9_900_000  # bytes of a file
CALLS = 15  # functions that are called for one step, at most
TRACED = (
    8  # bytes that are allocated for one of the file's besides the budget: what was read, as text of four bytes a character
)
LONGEST = 1100  # characters of a message
SECONDS, RESIDENT = 2, 256 << 20  # the promise for a file under 10 MB

KINDS = hostile.KINDS | {"names": hostile_names.NAMES} | hostile_formats.KINDS
EVERY = {f"{kind}: {what}": make for kind, makes in KINDS.items() for what, make in makes.items()}


@pytest.fixture
def budgets(monkeypatch):
    """The budgets of the files that are read, small ones."""
    made = []

    class Kept(Budget):
        def __init__(self, size):
            super().__init__(size)
            made.append(self)

    monkeypatch.setattr(budget, "BASE_STEPS", 2000)
    monkeypatch.setattr(budget, "BASE_MEMORY", 1 << 20)
    monkeypatch.setattr(formats, "Budget", Kept)
    return made


def outcome(path):
    """Read a file; return what was said of it, '' where it was read."""
    try:
        read(path)
        return ""
    except CheckpointError as error:
        return str(error)


@pytest.mark.parametrize("what", EVERY)
def test_no_file_takes_more_than_its_budget(what, tmp_path, budgets):
    file = tmp_path / "file"
    file.write_bytes(EVERY[what](SMALL))
    outcome(file)  # what minivan itself imports is imported now
    with counting() as calls:
        message = outcome(file)
    with tracing() as memory:
        outcome(file)
    spent = budgets[-1]
    assert calls.calls <= CALLS * spent.most_steps
    assert memory.traced <= spent.most_memory + TRACED * file.stat().st_size
    assert "\n" not in message and len(message) - len(str(file)) <= LONGEST


def test_the_limits_are_linear_in_the_file_s_size_up_to_an_end():
    at = [Budget(size) for size in (0, 10 << 20, 1 << 40)]
    assert [one.most_steps for one in at] == [400_000, 400_000 + (10 << 20) // 20, 4_000_000]
    assert [one.most_memory for one in at] == [64 << 20, 104 << 20, 128 << 20]


def test_a_budget_is_for_the_whole_file(tmp_path, budgets):
    """Many dictionaries, each small enough for a budget of its own."""
    file = tmp_path / "file"
    file.write_bytes(hostile.PICKLES["one dictionary of tensors under many keys"](SMALL))
    assert "the file takes too many steps to understand: the limit for one of its size is" in outcome(file)
    assert len(budgets) == 1 and budgets[0].steps > budgets[0].most_steps


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("two equal long keys set again and again", "a dictionary's key of 12500 characters: the limit is 4096"),
        ("pairs of two equal long keys", "OrderedDict with a key of more than 4096 characters"),
        ("a long name looked up again and again", "the limit is 512 characters, its module included"),
        ("a storage with a long key named again and again", "a storage with the key 'kkk"),
        ("nesting that grows afterwards", "a container that lies in another one goes deeper: it may lie in itself"),
        ("prefixes of one key", "a dictionary's key of"),
    ],
)
def test_what_is_short_to_say_and_long_to_do_is_refused_at_once(what, words, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(hostile.PICKLES[what](SMALL))
    assert words in outcome(file)


def test_integers_as_keys_are_kept_as_text(tmp_path):
    """Python's hash of an integer has no secret in it: a file could choose keys that all collide."""
    file = tmp_path / "file"
    file.write_bytes(hostile.around(b"}(" + hostile.number(3) + b"NK\x04Nu"))
    assert "its keys are '3', '4'" in outcome(file)


@pytest.mark.long
@pytest.mark.parametrize("what", EVERY)
def test_no_file_under_ten_megabytes_takes_two_seconds_or_256_mib(what, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(EVERY[what](LARGE))
    assert file.stat().st_size < 24 << 20
    code = (
        "import sys; from support.measure import resources; from minivan.checkpoint import read, CheckpointError\n"
        "def quietly(path):\n    try: read(path)\n    except CheckpointError: pass\n"
        "quietly(sys.argv[2])\n"
        "with resources() as cost: quietly(sys.argv[1])\n"
        "print(cost.seconds, cost.resident)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, file, hostile.SMALLEST], capture_output=True, text=True, check=True, timeout=120
    )
    seconds, resident = map(float, answer.stdout.split())
    print(f"\n{what}: {seconds:.2f} s, {resident / 2**20:.0f} MiB", end=" ")
    assert seconds < SECONDS and resident < RESIDENT
