"""Libraries that are extras: a file that needs one that is not there is refused in one line that names it."""

import sys

import pytest
from support.keras_file import write
from support.onnx_van import Graph, save

from minivan.checkpoint import CheckpointError, read
from minivan.seeded import tensors
from minivan.variants import Config

SMALLEST = Config((2,), (1,), (2,), classes=3)


@pytest.fixture(params=["onnx", "keras"])
def needed(request, tmp_path):
    """A file, and the library and the extra that it needs."""
    own = tensors(SMALLEST)
    if request.param == "onnx":
        return save(Graph(SMALLEST, own).model(), tmp_path / "van.onnx"), "onnx", "onnx"
    return write(tmp_path / "van.h5", own), "h5py", "keras"


def test_a_library_that_is_not_there(needed, monkeypatch):
    path, library, extra = needed
    read(path)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(CheckpointError, match=rf"the package {library} reads it: pip install '\.\[{extra}\]' from a clone"):
        read(path)


def test_a_library_that_cannot_be_imported(needed, monkeypatch, tmp_path):
    path, library, _ = needed
    folder = tmp_path / "packages"
    folder.mkdir()
    (folder / f"{library}.py").write_text("raise ImportError('built for another NumPy')")
    monkeypatch.syspath_prepend(str(folder))
    for name in [name for name in sys.modules if name.partition(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(CheckpointError, match="cannot be imported: built for another NumPy"):
        read(path)
