"""Which tests are marked as needing PyTorch, on modules written for it."""

import pytest
from support import ROOT
from support.selection import imports_torch, leaves_torch_out, needs_torch, pytest_collection_modifyitems, torch_names

pytestmark = pytest.mark.loop

MODULE = """
import pytest
from support import saved
from support.judge import torch, torch_ops as judge

@pytest.fixture
def net(): return torch.ones(1)

@pytest.fixture
def plain(): return 1

def helper(): return judge.gelu(0)

TABLE = [helper]
NAMES = ["exact", pytest.param("PyTorch", marks=pytest.mark.torch)]

def test_itself(): torch.ones(1)
def test_fixture(net): pass
def test_helper(): helper()
def test_constant():
    for function in TABLE: function()
def test_local_import():
    from support import torch_van
def test_attribute(): saved.state_dict()
class TestClass:
    def test_method(self): helper()

def test_plain(plain): assert "torch"
def test_other_attribute(): saved.zip_of({})
@pytest.mark.parametrize("name", NAMES)
def test_marked_parameter(name): pass
"""


def test_whatever_reaches_pytorch_is_marked_and_nothing_else(tmp_path):
    path = tmp_path / "test_made.py"
    path.write_text(MODULE, encoding="utf-8")
    assert not imports_torch(path)
    assert torch_names(path) >= {"torch", "judge", "net", "helper", "TABLE"}
    for name in ("itself", "fixture", "helper", "constant", "local_import", "attribute"):
        assert needs_torch(path, f"test_{name}"), name
    assert needs_torch(path, "TestClass")
    for name in ("plain", "other_attribute", "marked_parameter"):
        assert not needs_torch(path, f"test_{name}"), name


@pytest.mark.parametrize("line", ["import torch", "import torch.nn.functional as F", "from torch import nn",
                                  "import safetensors.torch", "from support import torch_van",
                                  "from support.torch_ops import gelu"])  # fmt: skip
def test_an_import_at_the_top_marks_the_whole_module(tmp_path, line):
    path = tmp_path / "test_made.py"
    path.write_text(f"{line}\n\ndef test_plain(): pass\n", encoding="utf-8")
    assert imports_torch(path) and needs_torch(path, "test_plain")


def test_support_that_only_partly_needs_pytorch_is_imported_without_it():
    support = ROOT / "tests" / "support"
    assert not imports_torch(support / "judge.py") and not imports_torch(support / "saved.py")
    assert "state_dict" in torch_names(support / "saved.py") and "zip_of" not in torch_names(support / "saved.py")


def test_modules_are_left_out_only_where_pytorch_is():
    assert leaves_torch_out("loop") and leaves_torch_out("not torch and not slow")
    for expression in ("", "not slow and not long", "torch", "not torchvision"):
        assert not leaves_torch_out(expression), expression


def test_what_runs_once_is_slow_and_nothing_else_is(pytestconfig):
    """The quick run leaves it out, and `-m slow` takes it."""
    marked = [Marked("once"), Marked("loop")]
    pytest_collection_modifyitems(pytestconfig, marked)
    assert [item.marks for item in marked] == [{"once", "slow"}, {"loop"}]


class Marked:
    """What the plugin asks of a test that pytest has collected."""

    path, name = ROOT / "tests" / "test_selection.py", "test_plain"

    def __init__(self, *marks):
        self.marks = set(marks)

    def get_closest_marker(self, mark):
        return mark if mark in self.marks else None

    def add_marker(self, mark):
        self.marks.add(mark)
