"""What the tests of hostile checkpoints share."""

import pytest
from support import saved
from support.watch import refused

from minivan.checkpoint import hdf5, hdf5_apart


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


@pytest.fixture
def hdf5_here(monkeypatch):
    """HDF5 files are read in this process, where a test can watch and count."""
    monkeypatch.setattr(hdf5_apart, "contents_apart", hdf5.contents)
