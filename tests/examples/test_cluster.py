"""The page on clusters: its script makes shards that are read as the folder was, and its pool of processes answers them."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pyarrow.parquet
import pytest
from support import EXAMPLES, ROOT, tars

from minivan.evaluate import open_dataset

PAGE = EXAMPLES / "cluster"


def made(folder, *argv):
    """What the script prints."""
    line = [sys.executable, PAGE / "make_shards.py", *argv]
    return subprocess.run(line, cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def shards(tmp_path):
    """Three shards of five photos, two of which would have one key."""
    for name in ("cup/a.b.png", "cup/a_b.png", "dish/images/a.png", "dish/images/b.PNG", "loose.png"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tars.photo(np.random.default_rng(len(name))))
    assert made(tmp_path, "photos", "shards", "--photos", "2") == "shards: 5 photos in 3 shards\n"
    return tmp_path


@pytest.mark.slow
@pytest.mark.once
def test_shards_hold_the_photos_and_their_classes(shards):
    found = open_dataset(str(shards / "shards" / "*.tar")).examples
    assert [(each.path, each.label) for each in found] == [
        ("000000.tar/cup/a_b-2.png", "cup"), ("000000.tar/cup/a_b.png", "cup"), ("000001.tar/dish/images/a.png", "dish"),
        ("000001.tar/dish/images/b.png", "dish"), ("000002.tar/loose.png", ""),
    ]  # fmt: skip
    assert sorted(each.image.source() for each in found) == sorted(p.read_bytes() for p in shards.rglob("photos/**/*.*"))
    before = [path.read_bytes() for path in sorted((shards / "shards").iterdir())]
    made(shards, "photos", "shards", "--photos", "2")
    assert [path.read_bytes() for path in sorted((shards / "shards").iterdir())] == before


@pytest.mark.slow
@pytest.mark.once
def test_the_page_s_pool_of_processes_answers_them(shards):
    block = next(code for code in re.findall(r"```python\n(.*?)```", (PAGE / "README.md").read_text(), re.S) if "Pool" in code)
    (shards / "pool.py").write_text(block)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "pool.py"], cwd=shards, env=env, check=True)
    said = json.loads((shards / "rows" / "_summary.json").read_text())
    assert (said["images"], said["failed"], len(said["shards"])) == (5, 0, 3)
    first = pyarrow.parquet.read_table(shards / "rows" / said["shards"][0]["file"]).to_pylist()
    assert [row["image"] for row in first] == ["shards/000000.tar/cup/a_b-2.png", "shards/000000.tar/cup/a_b.png"]
