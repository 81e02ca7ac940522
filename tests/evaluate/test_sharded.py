"""A dataset judged shard by shard adds up to what one machine finds of the whole; labels, faults and notes included."""

import pickle
import tarfile

import numpy as np
import pytest
from support import tars

from minivan.checkpoint import load
from minivan.evaluate import evaluate, sharded
from minivan.predict import run
from minivan.predict.shard import Shard

pytestmark = pytest.mark.loop


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load(tars.weights(tmp_path_factory.mktemp("weights") / "tiny.safetensors"), "numpy")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tars.shards(tmp_path)
    for i in range(5):
        (tmp_path / "photos" / ("n1", "Plate")[i % 2]).mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / ("n1", "Plate")[i % 2] / f"{i}.png").write_bytes(tars.photo(np.random.default_rng(i)))
    return tmp_path


def judged(model, sources, size=1000, **options):
    """What all shards add up to, each judged by a function that travelled."""
    shards, notes = sharded.find_labelled(sources, size)
    work = pickle.loads(pickle.dumps(sharded.Judging(model, "rows", **options)))
    outcomes = [work(pickle.loads(pickle.dumps(shard))) for shard in reversed(shards)]
    return sharded.gathered(
        model, "it", work.folder, run.finish(work.folder, work.about, shards, outcomes), notes, 2.0
    ), outcomes


def whole(found):
    """All that is counted, and all that is said of each image."""
    said = {key: value for key, value in found.as_dict().items() if key not in ("dataset", "seconds", "images_per_second")}
    each = [found.answers.top.tolist(), found.answers.rank.tolist(), [repr(p) for p in found.answers.probability.tolist()]]
    return said, each, list(found.paths), found.targets.tolist(), dict(found.remarks), list(found.notes)


def test_shards_and_cut_folders_add_up_to_the_whole(model, here):
    there, outcomes = judged(model, ["{000..002}.tar"])
    assert whole(there) == whole(evaluate(model, "{000..002}.tar"))
    assert (there.top1.of, len(there.faults), there.images_per_second) == (11, 1, 5.5)
    assert all(each.kept for each in judged(model, ["{000..002}.tar"])[1]) and not any(each.kept for each in outcomes)
    assert whole(judged(model, ["photos"], 2)[0]) == whole(evaluate(model, "photos"))
    with tarfile.open("folders.tar", "w") as tar:
        tar.add("photos")
    assert whole(judged(model, ["folders.tar"], alone=True)[0]) == whole(evaluate(model, "folders.tar"))


def test_what_is_wrong_with_a_shard_is_said_and_its_images_count_as_none(model, here):
    data = (here / "002.tar").read_bytes()
    tars.spoil(here / "002.tar")
    there, _ = judged(model, ["000.tar", "001.tar", "002.tar", "gone.tar"])
    assert there.top1.of == 7 and [there.paths[place] for place in there.faults] == ["001.tar/001.png", "002.tar", "gone.tar"]
    (here / "002.tar").write_bytes(data.replace(b"cup", b"owl"))
    with pytest.raises(ValueError, match=r"^002\.tar: 1 of the dataset's 3 classes are none of tiny: 'owl'"):
        judged(model, ["000.tar", "002.tar"])
    there, _ = judged(model, ["000.tar", "002.tar"], skip_unknown=True)
    assert whole(there) == whole(evaluate(model, ["000.tar", "002.tar"], skip_unknown=True)) and there.skipped == {"owl": 2}
    (here / "owls").mkdir()
    tars.shards(here / "owls", 1, labels=["owl"])
    for _ in range(2):
        there, outcomes = judged(model, ["000.tar", "owls/000.tar"], skip_unknown=True)
        assert whole(there) == whole(evaluate(model, ["000.tar", "owls/000.tar"], skip_unknown=True))
        assert there.skipped == {"owl": 4}
    assert all(each.kept for each in outcomes)
    lost = run.Run([], ["000.tar"])
    with pytest.raises(ValueError, match=r"^it: no image could be judged: '000\.tar': it ended each process"):
        sharded.gathered(model, "it", sharded.Judging(model, "rows").folder, lost, (), 1.0)
    with pytest.raises(ValueError, match="on a cluster a dataset is"):
        sharded.find_labelled(["000.tar", "photos"])
    assert sharded.find_labelled([f"file://{here}/photos"])[0][0].items[0].label == "Plate"
    assert isinstance(sharded.find_labelled(["000.tar"])[0][0], Shard)
