"""Mistyped calls: each is one line that names what is near; and the short options."""

import pytest

import minivan
from minivan.checkpoint import bundled

pytestmark = pytest.mark.loop


@pytest.mark.parametrize(
    "call, said",
    [
        ("classify a.jpg --topk 3", "minivan classify: no option is called --topk; near it are --top-k"),
        ("classify --topk=3", "minivan classify: no option is called --topk; near it are --top-k"),
        ("classify a.jpg --Batch_Size 3", "minivan classify: no option is called --Batch_Size; near it are --batch-size"),
        ("classify a.jpg --checkpoint b0", "minivan classify: no option is called --checkpoint; near it are --weights"),
        ("explain a.jpg --imgsz 96", "minivan explain: no option is called --imgsz; near it are --size"),
        ("explain --methd cam a.jpg", "minivan explain: no option is called --methd; near it are --method"),
        (
            "oracle compare a b --precison int8",
            "minivan oracle compare: no option is called --precison; near it are --precision",
        ),
        ("weights show --xyz a", "minivan weights show: no option is called --xyz; --help tells all"),
        ("lka -Z", "minivan lka: no option is called -Z; --help tells all"),
        ("--verson", "minivan: no option is called --verson; near it are --version"),
        ("classfy a.jpg", "minivan: no command is called 'classfy'; near it are classify"),
        ("weights lst", "minivan weights: no action is called 'lst'; near it are list"),
        ("oracle frob a b", "minivan oracle: no action is called 'frob'; there are record, compare, vectors"),
        ("similar a b c", "minivan similar: 'c' is one word too many; --help tells more"),
        ("classify", "minivan classify: the following arguments are required: PATH; --help tells more"),
    ],
)
def test_a_mistyped_call_is_one_line_that_names_what_is_near(call, said, run):
    assert run(*call.split()) == (2, "", f"{said}\n")


def test_what_follows_two_hyphens_is_no_option(run):
    status, out, err = run("classify", "--engine", "numpy", "--", "--topk")
    assert (status, out, err) == (2, "", "minivan: --topk: no such file or folder\n")


def test_the_version_has_a_short_option(run):
    assert run("-V") == run("--version") == (0, f"minivan {minivan.__version__}\n", "")


def test_quiet_leaves_out_notes_and_what_was_written_and_no_fault(run, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    weights = bundled()[0]
    assert run("convert", weights, tmp_path / "a.safetensors")[1].startswith(f"{tmp_path / 'a.safetensors'}: ")
    assert run("convert", weights, tmp_path / "b.safetensors", "--quiet") == (0, "", "")
    status, out, err = run("-q", "classify", tmp_path / "bad.jpg", "-k", "1", "--engine", "numpy")
    assert (status, out, err.count("\n")) == (2, "", 1) and "bad.jpg: not an image" in err
