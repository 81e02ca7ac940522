"""What one process does with a shard, without any cluster: the rows of a single machine, whole files, nothing twice."""

import json
import os
import pickle

import numpy as np
import pyarrow.parquet
import pytest
from support import tars

from minivan.checkpoint import load
from minivan.predict import Results, find_images, run, storage
from minivan.predict.shard import Answering, Shard, find_shards

pytestmark = pytest.mark.loop


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load(tars.weights(tmp_path_factory.mktemp("weights") / "tiny.safetensors"), "numpy")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Three shards, the last of which is damaged, and a folder of five photos; the current folder is theirs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tars").mkdir()
    tars.spoil(tars.shards(tmp_path / "tars")[-1])
    (tmp_path / "photos" / "b").mkdir(parents=True)
    for i in range(5):
        (tmp_path / "photos" / "b"[: i % 2] / f"{i}.png").write_bytes(tars.photo(np.random.default_rng(i)))
    return tmp_path


def rows(path):
    """The rows of a Parquet file, without the time that each took."""
    return pyarrow.parquet.read_table(path).drop(["milliseconds"]).to_pylist()


def alone(model, *paths):
    """The rows that one machine writes."""
    with Results(model, find_images(paths), "alone.parquet", 2) as results:
        list(results.answers())
        results.write()
    return rows("alone.parquet")


def travelled(work, shards, monkeypatch):
    """What a pickled function makes of pickled shards in a process whose current folder is another."""
    with monkeypatch.context() as patch:
        patch.chdir("/")
        return [pickle.loads(pickle.dumps(work))(pickle.loads(pickle.dumps(shard))) for shard in reversed(shards)][::-1]


def test_shards_have_the_rows_of_one_machine_and_are_done_once(model, here, monkeypatch):
    sources = ["tars/000.tar", "tars/001.tar", "tars/002.tar", "photos"]
    shards = find_shards(sources, images_per_shard=2)
    assert [shard.name for shard in shards] == [*sources[:3], "photos, part 1", "photos, part 2", "photos, part 3"]
    work = Answering(model, "rows", 2)
    done = travelled(work, shards, monkeypatch)
    assert [each.images for each in done] == [4, 4, 1, 2, 2, 1] and [each.failed for each in done] == [0, 1, 1, 0, 0, 0]
    assert done[1].faults[0][0] == "tars/001.tar/001.png" and "cannot be read" in done[2].faults[0][1]
    assert [row for each in done for row in rows(f"rows/{each.file}")] == alone(model, *sources)
    assert sorted(os.listdir("rows")) == sorted(each.file for each in done), "nothing else is left there"

    (here / "photos" / "1.png").unlink(missing_ok=True)
    (here / "photos" / "b" / "1.png").write_bytes(tars.photo(np.random.default_rng(9)))
    first = os.stat(f"rows/{done[0].file}").st_mtime_ns
    again = travelled(work, shards, monkeypatch)
    changed = [each.shard for each in again if not each.kept]
    assert changed == ["tars/002.tar", "photos, part 2"], "what gave nothing, and what is new"
    assert os.stat(f"rows/{done[0].file}").st_mtime_ns == first
    assert all(not each.kept for each in travelled(Answering(model, "rows", 3), shards[:1], monkeypatch)), "other options"


def test_a_shard_whose_process_ends_in_the_middle_leaves_nothing(model, here, monkeypatch):
    shard = find_shards(["tars/000.tar"])[0]
    seen = []

    def fails(x):
        seen.append(len(x))
        raise KeyboardInterrupt

    work = Answering(model, "rows")
    monkeypatch.setattr(type(model), "__call__", lambda self, x: fails(x))
    with pytest.raises(KeyboardInterrupt):
        work(shard)
    assert seen == [1] and os.listdir("rows") == []


def test_a_folder_by_its_address_is_walked_through_once(here):
    """pyarrow follows links that lead back, forty times each; `*` alone stands for something in a name."""
    (here / "photos" / "again").symlink_to(here / "photos")
    twice, once = (find_shards([f"{start}{here}/photos"]) for start in ("file://", ""))
    assert [len(shard.items) for shard in twice] == [len(shard.items) for shard in once]
    for name in ("a[1].tar", "a1.tar"):
        (here / "tars" / name).write_bytes(b"")
    assert [shard.name for shard in find_shards([f"file://{here}/tars/a[*.tar"])] == [f"file://{here}/tars/a[1].tar"]


def test_storage_by_its_address_is_as_a_folder(model, here, monkeypatch):
    address = f"file://{here}"
    shards = find_shards([f"{address}/tars/{{000..001}}.tar", f"{address}/tars/00*.tar", f"{address}/photos"])
    assert [shard.name.removeprefix(address) for shard in shards] == [
        "/tars/000.tar", "/tars/001.tar", "/tars/002.tar", "/photos, part 1",
    ]  # fmt: skip
    work = Answering(model, f"{address}/there/rows", 2)
    run.begin(work.folder, work.about, shards)
    done = travelled(work, shards, monkeypatch)
    assert not any(each.kept for each in done) and all(each.kept for each in travelled(work, shards[:2], monkeypatch))
    found = [row for each in done for row in rows(f"there/rows/{each.file}")]
    assert [{**row, "image": row["image"].removeprefix(f"{address}/")} for row in found] == alone(
        model, "tars/000.tar", "tars/001.tar", "tars/002.tar", "photos"
    )
    with pytest.raises(ZeroDivisionError), work.folder.replacing("x") as file:
        file.write(b"half")
        1 / 0  # noqa: B018
    assert sorted(os.listdir("there/rows")) == sorted(["_about.json", *(each.file for each in done)])
    gone = Answering(model, "rows")(Shard("gone.tar", f"{address}/gone.tar"))
    assert (gone.images, gone.failed) == (1, 1) and gone.faults[0][1].startswith("the archive cannot be read: ")
    with pytest.raises(ValueError, match=r"^s4://b/a\.tar: no storage that pyarrow opens") as wrong:
        storage.listed("s4://key:secret@b/a.tar?region=x")
    assert "secret" not in str(wrong.value)


def test_a_folder_of_rows_is_gone_on_with_only_where_it_is_the_same_run(model, here):
    shards = find_shards(["tars/*.tar"])
    work = Answering(model, "rows", 2)
    run.begin(work.folder, work.about, shards)
    outcomes = [work(shard) for shard in shards[:2]]
    summed = run.finish(work.folder, work.about, shards, reversed(outcomes))
    assert (summed.images, summed.failed, summed.kept, list(summed.lost)) == (8, 2, 0, ["tars/002.tar"])
    said = json.loads((here / "rows" / "_summary.json").read_text())
    assert [each["shard"] for each in said["shards"]] == ["tars/000.tar", "tars/001.tar"] and said["lost"] == ["tars/002.tar"]
    run.begin(work.folder, work.about, shards, resume=True)
    for wrong, shards_now, about, resume in [
        ("rows holds the rows of a run already: --resume goes on with it", shards, work.about, False),
        ("rows holds rows of other images, '00", shards[2:], work.about, True),
        ("rows was begun otherwise: top_k 2, not 3", shards, {**work.about, "top_k": 3}, True),
        ("'tars/000.tar' is named twice", [*shards, shards[0]], work.about, True),
        ("no images are named", [], work.about, True),
    ]:
        with pytest.raises(ValueError, match=wrong):
            run.begin(work.folder, about, shards_now, resume)


def test_files_are_named_after_shards_and_never_alike():
    names = ["a/000.tar", "b/000.tar", "../x y/ü:*.tar", "..", "photos, part 1", os.fsdecode(b"\xff.tar")]
    files = [Shard(name).file for name in names]
    assert len(set(files)) == len(files) and all(file == os.path.basename(file) and len(file) < 110 for file in files)
    assert not any(file.startswith(("_", ".")) for file in files), "readers of Parquet would pass over them"
