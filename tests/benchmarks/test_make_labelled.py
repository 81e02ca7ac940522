"""The labelled photographs are made from the official download: which ones, and the same bytes each time."""

import hashlib
import importlib.util
import zipfile

import pytest
from support import ROOT
from support.labelled import source

from minivan import labelled

pytestmark = pytest.mark.loop

WNIDS = ["n02", "n01", "n03"]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("make_labelled", ROOT / "benchmarks" / "make_labelled.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def official(path, photographs):
    """Write an archive that is laid out as tiny-imagenet-200.zip; photographs: file name -> (class, bytes)."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("tiny-imagenet-200/wnids.txt", "n03\nn01\n")
        lines = [f"{name}\t{wnid}\t0\t32\t44\t62" for name, (wnid, _) in photographs.items()]
        archive.writestr("tiny-imagenet-200/val/val_annotations.txt", "\n".join(lines) + "\n")
        for name, (_, content) in photographs.items():
            archive.writestr(f"tiny-imagenet-200/val/images/{name}", content)
    return path


def test_it_takes_the_first_five_of_each_class_by_name(script, tmp_path, capsys):
    photographs = {f"val_{i}.JPEG": (WNIDS[i % 3], f"photograph {i}".encode()) for i in range(36)}
    original = official(tmp_path / "tiny-imagenet-200.zip", photographs)
    assert script.main([str(original), str(tmp_path / "labelled.zip")]) == 1
    assert f"should be {script.SHA256}" in capsys.readouterr().out
    with zipfile.ZipFile(tmp_path / "labelled.zip") as made:
        taken = made.namelist()
        assert all(made.read(name) == photographs[name.split("/")[1]][1] for name in taken)
    # Of class n01 there are 1, 4, 7, ..., 34; as text 1, 10, 13, 16, 19 come first.
    assert taken[:5] == [f"n01/val_{i}.JPEG" for i in (1, 10, 13, 16, 19)]
    assert taken == sorted(taken) and len(taken) == 15
    assert labelled.names(tmp_path / "labelled.zip") == taken


def test_the_same_photographs_give_the_same_bytes(script, tmp_path):
    photographs = {f"val_{i}.JPEG": ("n01", bytes([i])) for i in range(5)}
    one, other = dict(photographs), dict(reversed(photographs.items()))
    made = [
        script.make(official(tmp_path / f"{i}.zip", each), tmp_path / f"{i}-made.zip") for i, each in enumerate((one, other))
    ]
    assert made[0] == made[1] == hashlib.sha256((tmp_path / "0-made.zip").read_bytes()).hexdigest()


@pytest.mark.parametrize("content", [None, b"no zip", "another zip"])
def test_another_file_is_one_line(script, tmp_path, capsys, content):
    path = tmp_path / "tiny-imagenet-200.zip"
    if content == "another zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("hello.txt", "hello")
    elif content is not None:
        path.write_bytes(content)
    assert script.main([str(path), str(tmp_path / "labelled.zip")]) == 2
    assert capsys.readouterr().err.count("\n") == 1 and not (tmp_path / "labelled.zip").exists()


def test_from_the_real_photographs_it_makes_the_file_whose_sha256_is_known(script, tmp_path):
    """Laid out as the download again, among others that come later by name, the 1,000 give the known file."""
    names = labelled.names(source())
    files = dict(zip(names, labelled.files(source(), names), strict=True))
    photographs = {name.split("/")[1]: (name.split("/")[0], content) for name, content in files.items()}
    photographs |= {f"val_9{i:04d}.JPEG": (wnid, b"later") for i, wnid in enumerate({wnid for wnid, _ in photographs.values()})}
    assert script.make(official(tmp_path / "original.zip", photographs), tmp_path / "made.zip") == script.SHA256
