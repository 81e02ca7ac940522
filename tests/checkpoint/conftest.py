"""What the tests of hostile checkpoints share."""

import pytest
from support import saved
from support.watch import refused


@pytest.fixture
def file(tmp_path):
    return tmp_path / "checkpoint.pth"


@pytest.fixture
def attack(file):
    """Refuse a pickle as data.pkl of a zip file, and as the contents of a legacy file."""

    def both(pickled, *words):
        refused(file, saved.around(pickled), *words)
        refused(file, saved.legacy(pickled), *words)

    return both
