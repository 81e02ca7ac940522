"""--cluster where it cannot be: without Ray, without a folder for the rows, with what one machine alone does."""

import sys

import numpy as np
import pytest
from support import tars

pytestmark = pytest.mark.loop

GET = "a cluster needs the package ray: pip install '.[ray]' from a clone of minivan"


@pytest.mark.parametrize("command", ["classify", "evaluate"])
def test_what_cannot_run_on_a_cluster_is_one_line(run, tmp_path, monkeypatch, command):
    photos, folder = tmp_path / "photos", tmp_path / "rows"
    photos.mkdir()
    monkeypatch.setitem(sys.modules, "ray", None)
    for wanted, more in [
        ("--cluster writes a file of rows for each shard: say into which folder with -o FOLDER", []),
        ("rows.csv: --cluster writes a Parquet file for each shard into a folder: -o FOLDER", ["-o", "rows.csv"]),
        (GET, ["-o", folder]),
    ]:
        assert run(command, photos, "--cluster", "auto", *more) == (2, "", f"minivan: {wanted}\n")
    monkeypatch.setattr("minivan.cluster.check", lambda: None)
    alone = {"classify": (["--json"], "--json prints answers"), "evaluate": (["--against", "numpy"], "--against compares on")}
    more, wanted = alone[command]
    status, out, err = run(command, photos, "--cluster", "auto", "-o", folder, *more)
    assert (status, out) == (2, "") and err.startswith(f"minivan: {wanted}") and err.count("\n") == 1
    weights = ["--weights", tars.weights(tmp_path / "tiny.safetensors"), "--engine", "numpy"]
    (photos / "n1").mkdir()
    (photos / "n1" / "a.png").write_bytes(tars.NO_IMAGE)
    assert run(command, photos, "--cluster", "auto", "-o", folder, *weights) == (2, "", f"minivan: {GET}\n")


def test_quiet_leaves_out_where_the_rows_are(run, tmp_path, monkeypatch):
    monkeypatch.setattr("minivan.cluster.check", lambda: None)
    monkeypatch.setattr("minivan.cluster.run", lambda work, shards, address, workers, done: [work(shard) for shard in shards])
    (tmp_path / "a.png").write_bytes(tars.photo(np.random.default_rng(0)))
    weights = ["--weights", tars.weights(tmp_path / "tiny.safetensors"), "--engine", "numpy"]
    told = run("classify", tmp_path / "a.png", "--cluster", "auto", "-o", tmp_path / "rows", *weights)
    assert told[:2] == (0, f"{tmp_path / 'rows'}: 1 images in 1 shards, 0 without an answer\n")
    assert run("-q", "classify", tmp_path / "a.png", "--cluster", "auto", "-o", tmp_path / "quiet", *weights) == (0, "", "")
