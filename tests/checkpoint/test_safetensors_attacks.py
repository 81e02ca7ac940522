"""Safetensors files, minivan's own among them, that lie, are damaged, or are none: refused in one line."""

import json
import os
import random
import struct

import pytest
import safetensors.numpy
from support.own_file import CONFIG, own_weights
from support.watch import refused

from minivan.checkpoint import (
    CheckpointError,
    read,
    safetensors_file,
    write,
)


@pytest.fixture
def file(tmp_path):
    write(own_weights(), tmp_path / "net.safetensors")
    return tmp_path / "net.safetensors"


def split(data):
    length = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def joined(header, tensors=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + tensors


@pytest.mark.parametrize("length", [1 << 63, (1 << 64) - 1, 1 << 40, 9 << 20])
def test_an_absurd_header_length(file, length):
    refused(file, struct.pack("<Q", length) + b'{"a":1}' + bytes(100))


def test_a_header_of_ten_megabytes(file):
    refused(file, joined(b'{"a":' + b" " * (10 << 20) + b"1}"), "a safetensors header of", "the limit is")


def test_cut_short_anywhere(file):
    whole = file.read_bytes()
    for size in [*range(0, 200, 3), *range(200, len(whole), 211), *range(len(whole) - 20, len(whole))]:
        file.write_bytes(whole[:size])
        with pytest.raises(CheckpointError):
            read(file)


def test_bytes_left_over(file):
    refused(file, file.read_bytes() + b"x", "a damaged safetensors file")


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header["head.bias"].update(data_offsets=[0, 20]),
        lambda header: header["head.bias"].update(data_offsets=[header["head.bias"]["data_offsets"][0], 1 << 60]),
        lambda header: header["head.bias"].update(data_offsets=[-4, 16]),
        lambda header: header["head.bias"].update(data_offsets=[20, 0]),
        lambda header: header["head.bias"].update(data_offsets=[0]),
        lambda header: header["head.bias"].update(dtype="F64"),
        lambda header: header["head.bias"].update(dtype="U32X"),
        lambda header: header["head.bias"].update(dtype=4),
        lambda header: header["head.bias"].update(shape=[1 << 62, 1 << 62]),
        lambda header: header["head.bias"].update(shape=[-5]),
        lambda header: header["head.bias"].update(shape="5"),
        lambda header: header.update(extra={"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}),
        lambda header: header.update(extra=3),
        lambda header: header["head.bias"].clear(),
        lambda header: header["head.bias"].pop("shape"),
        lambda header: header["head.bias"].update(shape=[True, 5]),
        lambda header: header["head.bias"].update(shape=[5.0]),
        lambda header: header["head.bias"].update(shape=[1] * 8 + [5]),
        lambda header: header["head.bias"].update(dtype="F32", shape=[0, 1 << 62, 1 << 62]),
        lambda header: header["head.bias"].update(dtype=["F32"]),
        lambda header: header["norm1.bias"].update(data_offsets=header["norm1.weight"]["data_offsets"]),
        lambda header: header["__metadata__"].update(extra=3),
        lambda header: header.update(__metadata__=[]),
        lambda header: header.pop("head.bias"),
    ],
)
def test_a_header_that_lies(file, change):
    header, tensors = split(file.read_bytes())
    change(header)
    refused(file, joined(header, tensors))


def test_nothing_is_read_that_the_format_s_own_library_refuses(file):
    """Headers with a few of their numbers changed: ours may be the stricter check, never the laxer one."""
    header, tensors = split(file.read_bytes())
    draw, outcomes = random.Random(3), {True: 0, False: 0}
    names = [name for name in header if name != "__metadata__"]
    for _ in range(150):
        changed = {name: json.loads(json.dumps(entry)) for name, entry in header.items()}
        for _ in range(draw.choice((1, 1, 2))):
            one, other = (changed[draw.choice(names)] for _ in range(2))
            kind = draw.randrange(4)
            if kind == 0:
                one["data_offsets"], other["data_offsets"] = other["data_offsets"], one["data_offsets"]
            elif kind == 1:
                one["data_offsets"][draw.randrange(2)] += draw.choice((-4, 4, 1, 1 << 40))
            elif kind == 2:
                one["shape"] = draw.choice(
                    (one["shape"][::-1], [*one["shape"], 1], [], [0], [-1], [1 << 63], [2, 2], "4", None)
                )
            else:
                one["dtype"] = draw.choice(("F32", "I32", "U32", "F16", "BF16", "F64", "BOOL", "F99", ""))
        file.write_bytes(joined(changed, tensors + b"xxxx" * (draw.random() < 0.1)))
        try:
            with safetensors_file.open_safetensors(file) as (found, _, _):
                shapes = {name: tensor.shape for name, tensor in found.items()}
        except CheckpointError:
            outcomes[False] += 1
            continue
        outcomes[True] += 1
        with safetensors.safe_open(file, "numpy") as judge:
            assert shapes == {name: tuple(judge.get_slice(name).get_shape()) for name in judge.keys()}  # noqa: SIM118
    assert min(outcomes.values()) > 10


def test_integers_where_weights_belong(file):
    header, tensors = split(file.read_bytes())
    header["head.bias"]["dtype"] = "I32"
    refused(file, joined(header, tensors), "head.bias: a tensor of int32: weights are float64, float32")


def test_a_key_twice(file):
    header, tensors = split(file.read_bytes())
    text, again = json.dumps(header).encode(), json.dumps(header["head.bias"]).encode()
    refused(file, joined(text[:-1] + b',"head.bias":' + again + b"}", tensors), "'head.bias' twice")
    refused(file, joined(text[:-1] + b',"__metadata__":{}}', tensors), "'__metadata__' twice")


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":' + b"[" * 1_000_000, b'{"a":' * 100_000, b"{", b"{}x", b'{"\xff":1}', b'{"a":NaN}', b"{a}",
        b'{"a":' + b"9" * 5000 + b"}", b'{"a":1e999}', b'{"a":null}', b'{"a":"' + b"\\u0000" * 1000 + b'"}',
    ],
    ids=lambda text: text[:12].decode("latin-1"),
)  # fmt: skip
def test_a_header_that_is_no_safetensors_header(file, text):
    refused(file, joined(text))


def test_a_header_whose_length_looks_like_another_format(file):
    """The first eight bytes are a number: one that begins with pickle's, gzip's or a JPEG's first byte is still a length."""
    header, tensors = split(file.read_bytes())
    text = json.dumps(header).encode()
    for start in (b"\x80", b"\x1f\x8b", b"\xff\xd8\xff", b"BZh", b"PK\5\6"[:2]):
        size = int.from_bytes(start, "little")
        while size < len(text):
            size += 1 << 8 * len(start)
        if size < 8 << 20:
            file.write_bytes(joined(text.ljust(size), tensors))
            assert file.read_bytes().startswith(start) and read(file).config == CONFIG


def test_no_metadata_at_all(file):
    header, tensors = split(file.read_bytes())
    for metadata in (None, {}):
        header["__metadata__"] = metadata
        file.write_bytes(joined(header, tensors))
        assert read(file).card.layout == "authors"  # the names alone say that much
    del header["__metadata__"]
    file.write_bytes(joined(header, tensors))
    assert read(file).config.layer_norm_eps == 1e-6
    header["__metadata__"] = {"minivan": 1}
    refused(file, joined(header, tensors))


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("minivan", "2", "minivan's format '2': a later one wrote it"),
        ("shape", None, "shape: 'shape' is missing"),
        ("shape", "{}", "shape: 'dims' is missing"),
        ("shape", '{"dims": [4,6,6,8], "depths": [1,2,1,1], "mlp_ratios": [3,2,2,1]}', "shape: 'classes' is missing"),
        ("shape", "3", "shape"),
        ("shape", "{", "the metadata's shape is not JSON"),
        ("shape", "[" * 100_000, "the metadata's shape is nested too deep"),
        ("shape", '{"dims": [4], "dims": [4]}', "'dims' twice"),
        ("shape", '{"dims": [4,6,6,8.5], "depths": [1,2,1,1], "mlp_ratios": [3,2,2,1], "classes": 5}', "a whole number"),
        ("shape", '{"dims": [4,6,6,true], "depths": [1,2,1,1], "mlp_ratios": [3,2,2,1], "classes": 5}', "a whole number"),
        ("shape", '{"dims": [4,6,6,8], "depths": [1,2,1,1], "mlp_ratios": [3,2,2,1], "classes": 99999999999}', "classes"),
        ("shape", '{"dims": [4,6,6,8], "depths": [1,2,2,1], "mlp_ratios": [3,2,2,1], "classes": 5}', "more)"),
        ("shape", '{"dims": [4,6,6,8], "depths": [1,2,1,1], "mlp_ratios": [3,2,2,1], "classes": 6}', "5 labels for 6 classes"),
        ("shape", '{"dims": [4,6,6,8], "depths": [1,65536,1,1], "mlp_ratios": [3,2,2,1], "classes": 5}', "most are missing"),
        ("eps", '{"layer_norm": 0.0, "batch_norm": 1e-5}', "an eps of 0.0"),
        ("eps", '{"layer_norm": NaN, "batch_norm": 1e-5}', "the number NaN"),
        ("eps", '{"layer_norm": "1", "batch_norm": 1e-5}', "an eps of '1'"),
        ("eps", '{"layer_norm": 1e-5}', "'batch_norm' is missing"),
        ("eps", "[]", "eps"),
        ("preprocessing", '{"crop": 0, "resize": 64, "mean": [0,0,0], "std": [1,1,1]}', "crop"),
        ("preprocessing", '{"crop": 64, "resize": 1e9, "mean": [0,0,0], "std": [1,1,1]}', "a whole number"),
        ("preprocessing", '{"crop": 64, "resize": 64, "mean": [0,0], "std": [1,1,1]}', "three numbers"),
        ("preprocessing", '{"crop": 64, "resize": 64, "mean": [0,0,0], "std": [1,0,1]}', "std positive"),
        ("preprocessing", '{"crop": 64, "resize": 64, "mean": [0,0,0], "std": "abc"}', "preprocessing"),
        ("preprocessing", '{"crop": 64, "resize": 64, "mean": [[],0,0], "std": [1,1,1]}', "preprocessing"),
        ("labels", '[["a","b"]]', "1 labels for 5 classes"),
        ("labels", '["a","b","c","d","e"]', "a label is a list of two texts"),
        ("labels", '[["a",1],["a","b"],["a","b"],["a","b"],["a","b"]]', "1 in the place of a text"),
        ("labels", '[["a","\\u001b[2J"],["a","b"],["a","b"],["a","b"],["a","b"]]', "in the place of a text on one line"),
        ("labels", "{}x", "labels is not JSON"),
        ("labels", "null", "labels"),
        ("version", "2\n", "in the place of a text on one line"),
        ("not_sure", "1.5", "it lies between 0 and 1"),
        ("not_sure", '"0.3"', "it lies between 0 and 1"),
        ("not_sure", "NaN", "the number NaN"),
        ("not_sure", "0.3 0.4", "not_sure is not JSON"),
        ("source", None, "'source' is missing"),
        ("source", "a\nb", "in the place of a text on one line"),
        ("layout", None, "'layout' is missing"),
    ],
)
def test_metadata_that_make_no_sense(file, key, value, words):
    header, tensors = split(file.read_bytes())
    if value is None:
        del header["__metadata__"][key]
    else:
        header["__metadata__"][key] = value
    refused(file, joined(header, tensors), words)


def test_a_pipe_is_not_a_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="a pipe is no file to read"):
        read(tmp_path / "pipe")
    with pytest.raises(OSError, match="a device is no file to read"):
        read("/dev/zero")
