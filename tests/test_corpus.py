"""The inputs by which coverage-guided fuzzing reached new code, once more: each is read or refused, in few calls and bytes.

`tests/fuzz/readers.py` finds them (see docs/robustness.md); `tests/corpus/READER/` keeps the smallest.
"""

import pytest
from fuzz.readers import READERS, judge
from support import ROOT
from support.measure import counting, tracing

CORPUS = ROOT / "tests" / "corpus"
CALLS, TRACED = 200_000, 16 << 20  # for the largest of them, of a few kilobytes


@pytest.mark.parametrize("reader", READERS)
def test_the_corpus_is_read_or_refused(reader, tmp_path):
    files = sorted((CORPUS / reader).iterdir())
    assert files
    for file in files:
        data = file.read_bytes()
        judge(reader, data, tmp_path)
        with counting() as calls, tracing() as memory:
            judge(reader, data, tmp_path)
        assert calls.calls < CALLS and memory.traced < TRACED, file


def test_the_corpus_is_small():
    sizes = [file.stat().st_size for file in CORPUS.rglob("*") if file.is_file()]
    assert sum(sizes) < 200_000 and len(sizes) < 900
