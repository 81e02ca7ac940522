"""Folders of weights: shards and their index, variants, the Hub's cache; what leads out of one or is lacking is refused."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest
from support import saved
from support.judge import safetensors_torch, torch
from support.watch import watching

from minivan.card import file_sha256
from minivan.checkpoint import CheckpointError, opened, read
from minivan.checkpoint.folder import locate

WHOLE = {"safetensors": "model.safetensors", "bin": "pytorch_model.bin"}
NAMES = ["ant", "bee", "cat", "dog", "eel"]


def store(state, path):
    if path.suffix == ".bin":
        saved.save(dict(state), path)
    else:
        safetensors_torch.save_file({name: tensor.clone() for name, tensor in state.items()}, path)


def sharded(folder, kind="safetensors", count=3, variant="", state=None):
    """A folder as `save_pretrained(max_shard_size=...)` leaves it: {tensor: file} as its index says it."""
    folder.mkdir(parents=True, exist_ok=True)
    state = state or saved.huggingface(saved.state_dict())
    stem, suffix = os.path.splitext(WHOLE[kind])
    stem = f"{stem}.{variant}" if variant else stem
    names = list(state)
    places = {}
    for number in range(count):
        file = f"{stem}-{number + 1:05}-of-{count:05}{suffix}"
        part = names[number * len(names) // count : (number + 1) * len(names) // count]
        store({name: state[name] for name in part}, folder / file)
        places |= dict.fromkeys(part, file)
    index = f"{WHOLE[kind]}.index.{variant + '.' if variant else ''}json"
    (folder / index).write_text(json.dumps({"metadata": {"total_size": 3}, "weight_map": places}))
    (folder / "config.json").write_text(json.dumps({"model_type": "van", "id2label": dict(enumerate(NAMES))}))
    return folder / index, places


def is_small(weights, halves=False):
    expected = saved.state_dict()
    assert weights.config == saved.SMALL and weights.card.layout == "huggingface"
    for name, array in weights.tensors.items():
        tensor = expected[name]
        assert np.array_equal(array, (tensor.half().float() if halves and tensor.is_floating_point() else tensor).numpy())
    return True


def fault(path):
    with pytest.raises(CheckpointError) as raised:
        read(path)
    message = str(raised.value)
    assert "\n" not in message and message.startswith(str(path))
    return message


@pytest.mark.parametrize(
    ("kind", "variant"),
    [
        ("safetensors", "fp16"),
        ("bin", ""),
        *(pytest.param(*other, marks=pytest.mark.slow) for other in (("safetensors", ""), ("bin", "fp16"))),
    ],
)
def test_a_sharded_folder_is_one_network(tmp_path, kind, variant):
    index, places = sharded(tmp_path / "my-van", kind, variant=variant)
    shards = [index.parent / name for name in dict.fromkeys(places.values())]
    for path in (index.parent, index):
        weights = read(path)
        assert is_small(weights) and weights.card.name == "my-van" and weights.card.labels[4].name == "eel"
    with opened(index.parent) as checkpoint:
        assert checkpoint.format.endswith("in 3 shards") and checkpoint.size == sum(
            file.stat().st_size for file in [index, *shards]
        )
    (index.parent / "all").write_bytes(b"".join(path.read_bytes() for path in shards))
    assert weights.card.sha256 == file_sha256(index.parent / "all")
    assert any("the variant fp16" in note for note in read(index.parent).notes) == bool(variant)


def test_the_config_beside_shards_is_compared_with_all_of_them(tmp_path):
    index, _ = sharded(tmp_path / "van")
    (index.parent / "config.json").write_text(json.dumps({"model_type": "van", "depths": [1, 2, 2, 1]}))
    assert "depths [1, 2, 2, 1]" in fault(index)


def test_a_shard_that_is_missing_or_lacks_a_tensor_is_named(tmp_path):
    index, places = sharded(tmp_path / "van")
    first, second, _ = dict.fromkeys(places.values())
    (index.parent / second).rename(tmp_path / "away")
    assert f"shard '{second}' is missing: 2 of 3" in fault(index)
    (tmp_path / "away").rename(index.parent / second)
    last = [name for name, file in places.items() if file == first][-1]
    index.write_text(json.dumps({"weight_map": places | {last: second}}))
    assert f"shard '{second}' has no '{last}'" in fault(index)
    index.write_text(json.dumps({"weight_map": places | {"van.more": first}}))
    assert f"shard '{first}' has no 'van.more'" in fault(index)


def test_a_tensor_in_two_shards_is_refused(tmp_path):
    index, places = sharded(tmp_path / "van")
    first, second, _ = dict.fromkeys(places.values())
    name = next(iter(places))
    store({name: torch.ones(2), "other": torch.ones(1)}, index.parent / first)
    store({name: torch.ones(2)}, index.parent / second)
    assert f"'{name}' is in two shards: '{first}' and '{second}'" in fault(index)


@pytest.mark.parametrize(
    "place",
    [
        "../other.safetensors",
        *(
            pytest.param(other, marks=pytest.mark.slow)
            for other in ("/etc/passwd", "a/b.safetensors", "..", "", "c:x", "a\\b", 3, None, [])
        ),
    ],
)
def test_an_index_leads_to_no_other_folder(tmp_path, place):
    index, places = sharded(tmp_path / "van")
    store({"head.weight": torch.ones(1)}, tmp_path / "other.safetensors")
    index.write_text(json.dumps({"weight_map": places | {"classifier.bias": place}}))
    with watching() as seen:
        message = fault(index)
    assert "a shard is a file beside its index" in message
    assert all(os.path.dirname(name) == str(index.parent) for name in seen.opened)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"weight_map": {}}', '{"weight_map": [1]}', '{"weight_map": {"a": "b", "a": "c"}}']
)
def test_a_damaged_index_is_refused(tmp_path, text):
    index, _ = sharded(tmp_path / "van")
    index.write_text(text)
    assert "model.safetensors.index.json" in fault(index)


def test_an_index_of_too_many_shards(tmp_path):
    index, _ = sharded(tmp_path / "van")
    index.write_text(json.dumps({"weight_map": {f"t{i}": f"s{i}" for i in range(101)}}))
    assert "names 101 shards: at most 100" in fault(index)


def test_a_shard_that_holds_something_else_is_named(tmp_path):
    index, places = sharded(tmp_path / "van", "bin")
    first = next(iter(places.values()))
    saved.save([torch.ones(2)], index.parent / first)
    assert f"{first}: the shard holds a list" in fault(index)
    (index.parent / first).write_bytes(b"PK\3\4 cut")
    assert f"index.json, {first}" in fault(index)


@pytest.mark.parametrize("kind", WHOLE)
def test_a_shard_by_itself_is_known_for_one(tmp_path, kind):
    """Here the first shard is a whole network by its names and shapes, and another one than was saved."""
    state = saved.huggingface(saved.state_dict())
    cut = [name for name in state if ".stages.1.layers.1." in name]
    ordered = {name: state[name] for name in state if name not in cut} | {name: state[name] for name in cut}
    index, places = sharded(tmp_path / "van", kind, 2, state=ordered)
    first = next(iter(places.values()))
    message = fault(index.parent / first)
    assert f"one shard, number 1 of 2: give the folder with all of them and their index: {index.parent}" in message
    index.unlink()
    assert f"'{first}' is a shard, and the index {index.name} is not there" in fault(index.parent)


def test_the_only_shard_is_the_network(tmp_path):
    index, places = sharded(tmp_path / "van", count=1)
    assert is_small(read(index.parent / next(iter(places.values()))))


@pytest.mark.parametrize("file", ["model.fp16.safetensors", "pytorch_model.fp16.bin"])
def test_a_variant_stands_for_the_usual_file(tmp_path, file):
    state = saved.huggingface(saved.state_dict())
    folder = tmp_path / "van"
    folder.mkdir()
    store({name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}, folder / file)
    for path in (folder, folder / file):
        weights = read(path)
        assert is_small(weights, halves=True) and weights.card.name == "van"
    assert f"{file} was read, the variant fp16" in read(folder).notes
    store(state, folder / file.replace("fp16", "bf16"))
    assert "a folder with 2 variants of its weights: give one of" in fault(folder)
    store(state, folder / "model.safetensors")
    assert not any("the variant" in note for note in read(folder).notes)


def cache(tmp_path, revisions=("a" * 40,), main="a" * 40):
    """What huggingface_hub leaves: blobs, snapshots whose files are links to them, and what `main` means."""
    top = tmp_path / "hub" / "models--Visual-Attention-Network--van-tiny"
    (top / "blobs").mkdir(parents=True)
    store(saved.huggingface(saved.state_dict()), top / "blobs" / "model.safetensors")
    (top / "blobs" / "model.safetensors").rename(top / "blobs" / ("f" * 64))
    for revision in revisions:
        (top / "snapshots" / revision).mkdir(parents=True)
        (top / "snapshots" / revision / "model.safetensors").symlink_to(f"../../blobs/{'f' * 64}")
    if main:
        (top / "refs").mkdir()
        (top / "refs" / "main").write_text(main)
    return top


def test_the_hubs_cache_is_named_by_the_repository(tmp_path):
    top = cache(tmp_path, ("a" * 40, "b" * 40))
    snapshot = top / "snapshots" / ("a" * 40)
    for path in (top, top / "snapshots", snapshot, snapshot / "model.safetensors"):
        weights = read(path)
        assert is_small(weights) and weights.card.name == "van-tiny" and weights.card.file == snapshot / "model.safetensors"
    assert "give one of 'models--Visual-Attention-Network--van-tiny'" in fault(top.parent)


def test_a_snapshot_is_not_guessed(tmp_path):
    top = cache(tmp_path, ("a" * 40, "b" * 40), main="")
    assert f"2 snapshots, and no refs/main that says which: give one of '{'a' * 40}'" in fault(top)
    assert is_small(read(cache(tmp_path / "one", main="")))
    for main in ("c" * 40, "../../elsewhere", ".."):
        assert f"refs/main names the snapshot '{main}'" in fault(cache(tmp_path / main.replace("/", "_"), main=main))


def test_a_file_that_was_fetched_by_half_is_named(tmp_path):
    top = cache(tmp_path)
    (top / "blobs" / ("f" * 64)).unlink()
    assert "model.safetensors in it: a link that leads nowhere: fetch it again" in fault(top)


def test_a_folder_without_weights_says_which_of_its_files_may_be(tmp_path):
    saved.save(saved.state_dict(), tmp_path / "best.pth")
    assert "neither model.safetensors nor pytorch_model.bin is in it; 'best.pth' may be: give the file" in fault(tmp_path)


def test_a_folder_is_named_as_it_is_called(tmp_path, monkeypatch):
    (tmp_path / "van").mkdir()
    store(saved.huggingface(saved.state_dict()), tmp_path / "van" / "model.safetensors")
    monkeypatch.chdir(tmp_path / "van")
    assert read(".").card.name == read("model.safetensors").card.name == "van"
    assert locate(tmp_path / "x.pth.tar").name == "x"
    assert replace(read(".").card, name="x").name == "x"
