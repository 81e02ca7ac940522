"""All test vectors at once: one line each, and what is wrong with those that are."""

import json
import shutil

import numpy as np
import pytest

from minivan.oracle import vectors


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vectors")
    vectors.write(folder, ["gelu", "softmax", "lka"])
    return folder


@pytest.fixture
def port(folder, tmp_path):
    for name in vectors.case_names(folder):
        shutil.copytree(folder / name / "outputs", tmp_path / "port" / name)
    return tmp_path / "port"


def test_a_right_port_has_a_line_for_each_vector(folder, port, run):
    status, out, err = run("oracle", "compare", folder, port)
    assert (status, err) == (0, "") and out.endswith("7 of 7 test vectors are right\n") and ">>>" not in out
    assert [line.split()[0] for line in out.splitlines()[:-1]] == vectors.case_names(folder)
    assert run("oracle", "compare", folder, folder)[0] == 0  # the vectors' own answers lie one folder deeper


def test_wrong_and_missing_ones_are_said(folder, port, run):
    shutil.rmtree(port / "gelu/real")
    (port / "lka/real/conv1.npy").unlink()
    wrong = port / "lka/integers/conv0.npy"
    np.save(wrong, np.load(wrong)[:, :, ::-1])
    status, out, _ = run("oracle", "compare", folder, port)
    assert status == 1 and out.endswith("4 of 7 test vectors are right\n") and out.count(">>>") == 3
    assert f"no folder {port / 'gelu/real'}" in out and "1 of the trace's 4 layers went unchecked" in out
    assert "first divergence: conv0; hint: the map is upside down" in out
    status, out, _ = run("oracle", "compare", folder, port, "--json")
    found = json.loads(out)
    assert (status, found["right"], found["of"]) == (1, 4, 7) and "missing" in found["cases"]["gelu/real"]
    assert found["cases"]["lka/integers"]["first_divergence"]["path"] == "conv0"


def test_a_folder_that_cannot_be_judged_is_one_wrong_line(folder, port, run):
    (port / "gelu/real/y.npy").write_bytes(b"no array")
    (port / "gelu/special/y.npy").unlink()
    (port / "softmax/real/y.npy").rename(port / "softmax/real/probabilities.npy")
    status, out, err = run("oracle", "compare", folder, port)
    assert (status, err) == (1, "") and out.endswith("4 of 7 test vectors are right\n") and out.count(">>>") == 3
    assert "y.npy: not an .npy file of numbers" in out and f"{port / 'gelu/special'}: a folder without .npy files" in out
    assert "its names begin with probabilities" in out
    found = json.loads(run("oracle", "compare", folder, port, "--json")[1])
    assert found["right"] == 4 and "without .npy files" in found["cases"]["gelu/special"]["missing"]


@pytest.mark.parametrize("name", ["../lka/real", "lka", "", "a/b/c", 3, ["lka/real"]])
def test_a_name_that_is_none_is_refused(folder, port, tmp_path, run, name):
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["cases"][0]["name"] = name
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "manifest.json").write_text(json.dumps(manifest))
    status, _, err = run("oracle", "compare", tmp_path / "v", port)
    assert status == 2 and "is no name of a test vector" in err and err.count("\n") == 1
    (tmp_path / "v" / "manifest.json").write_text('{"format": "minivan-vectors 1"}')
    status, _, err = run("oracle", "compare", tmp_path / "v", port)
    assert status == 2 and "damaged manifest" in err
