"""Files that ask for more time or memory than they have bytes: each kind in any size, from a few kilobytes to ten megabytes.

`PICKLES`, `ZIPS` and `SAFETENSORS` (all of them: `KINDS`) map what a kind does to a function that makes one of about so many
bytes. Nothing here needs PyTorch: what is sound in them is the smallest network of `tests/checkpoints`.
"""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from pathlib import Path

SMALLEST = Path(__file__).parents[1] / "checkpoints" / "smallest.pth"


def text(value: str | bytes) -> bytes:
    data = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
    return b"X" + struct.pack("<L", len(data)) + data


def number(value: int) -> bytes:
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def put(index: int) -> bytes:
    return b"r" + struct.pack("<L", index)


def get(index: int) -> bytes:
    return b"j" + struct.pack("<L", index)


def filled(unit: bytes, size: int) -> bytes:
    return unit * (size // len(unit))


def zipped(records: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as file:
        for name, data in records.items():
            file.writestr(zipfile.ZipInfo(name), data)
    return buffer.getvalue()


def around(body: bytes) -> bytes:
    """A zip checkpoint whose pickle is this body."""
    return zipped({"a/data.pkl": b"\x80\x04" + body + b"."})


def state(pairs: bytes) -> bytes:
    """A zip checkpoint of these pairs of keys and values, and of one tensor more under the key 'zz'."""
    tensor = (
        b"ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu")
        + b"K\x01tQK\x00K\x01\x85K\x01\x85\x89NtR"
    )  # fmt: skip
    pickled = b"\x80\x04}(" + pairs + b"u(" + text("zz") + tensor + b"u."
    return zipped({"a/data.pkl": pickled, "a/data/0": bytes(4)})


def sound_with(entry: bytes, key: str = "meta") -> bytes:
    """The smallest network, with one entry more in its outermost dictionary."""
    with zipfile.ZipFile(SMALLEST) as file:
        records = {name: file.read(name) for name in file.namelist()}
    name = next(name for name in records if name.endswith("data.pkl"))
    records[name] = records[name][:-1] + text(key) + entry + b"s."
    return zipped(records)


# Places that a Python dictionary looks at one after another, for a key whose upper bits are zero.
def probed(start: int, bits: int, count: int) -> list[int]:
    mask, perturb, at, found = (1 << bits) - 1, start, start & ((1 << bits) - 1), []
    while len(found) < count:
        found.append(at)
        perturb >>= 5
        at = (at * 5 + perturb + 1) & mask
    return found


def memo_collisions(size: int) -> bytes:
    bits = max(8, min(21, (size // 16).bit_length()))
    taken = list(dict.fromkeys(probed(1 << bits, bits, (1 << bits) * 5 // 9)))
    body = b"N" + b"".join(put(i) for i in taken) + put(1 << bits)
    return around(body + b"0" + filled(get(1 << bits) + b"0", size - len(body)) + b"N")


def key_collisions(size: int) -> bytes:
    bits = max(8, min(20, (size // 20).bit_length()))
    taken = list(dict.fromkeys(probed(1 << 62, bits, (1 << bits) * 5 // 9)))
    body = b"}(" + b"".join(number(i) + b"N" for i in taken) + b"u" + number(1 << 62) + put(0) + b"Ns"
    return around(body + filled(get(0) + b"Ns", size - len(body)))


def equal_keys(size: int) -> bytes:
    long = "k" * (size // 4)
    body = b"}" + text(long) + b"q\x00Ns" + text(long) + b"q\x01Ns"
    return around(body + filled(b"h\x00Nsh\x01Ns", size // 2))


def equal_pairs(size: int) -> bytes:
    long = "k" * (size // 4)
    body = b"".join(text(long) + b"K\x01\x86" + put(i) + b"0" for i in (0, 1))
    pairs = b"(" + filled(b"h\x00h\x01", size // 2) + b"l"
    return around(body + b"ccollections\nOrderedDict\n" + pairs + b"\x85R")


def long_names(size: int) -> bytes:
    body = text("m" * (size // 2)) + b"q\x00q\x01"
    return around(body + b"N" + filled(b"h\x00h\x00\x93", size // 2))


def long_storage_keys(size: int) -> bytes:
    long = text("k" * (size // 2)) + b"q\x00"
    parts = text("storage") + b"q\x02ctorch\nFloatStorage\nq\x03" + text("cpu") + b"q\x04"
    body = b"0".join((long, parts, b"")) + b"(h\x02h\x03h\x00h\x04K\x00tq\x05"
    pickled = b"\x80\x04" + body + filled(b"h\x05Q0", size // 3) + b"."
    return zipped({"a/data.pkl": pickled, f"a/data/{'k' * 60000}": b""})


def copies(name: bytes, one: bytes, size: int) -> bytes:
    """A long list, and a call with it again and again: each copies it."""
    body = b"c" + name + b"\nq\x01(" + filled(one, size // 2) + b"lq\x02\x85q\x030"
    return around(body + filled(b"h\x01h\x03R0", size // 2) + b"N")


def inner_list(name: bytes, one: bytes, size: int) -> bytes:
    """A list in a tuple, and a call that returns the list again and again: what a call is given is short."""
    body = b"ctorch._tensor\nNAME\nq\x01(".replace(b"NAME", name) + filled(one, size // 20) + b"lq\x02\x85q\x030"
    body += b"ctorch._utils\n_rebuild_parameter\nNh\x03\x87q\x040"
    return around(body + filled(b"h\x01h\x04R0", size // 2) + b"N")


def copied_dict(size: int) -> bytes:
    body = b"ccollections\nOrderedDict\nq\x01}(" + numbered(size // 2) + b"uq\x02\x85q\x030"
    return around(body + filled(b"h\x01h\x03R0", size // 2) + b"N")


def numbered(size: int, value: bytes = b"N", prefix: str = "") -> bytes:
    count = size // (len(prefix) + 13)
    return b"".join(text(f"{prefix}{i:07d}") + value for i in range(count))


def aliased_dict(size: int) -> bytes:
    inner = b"}(" + numbered(size // 2) + b"u" + put(1) + b"0"
    pairs = b"".join(text(f"{i:05d}") + get(1) for i in range(size // 40))
    return around(inner + b"}(" + pairs + b"u")


def aliased_state(size: int) -> bytes:
    """One dictionary of tensors under many keys: which one is the network's?"""
    inner = state(numbered(size // 2, prefix="module."))
    with zipfile.ZipFile(io.BytesIO(inner)) as file:
        pickled = file.read("a/data.pkl")[2:-1]
    pairs = b"".join(text(f"{i:05d}") + get(100) for i in range(size // 40))
    return zipped({"a/data.pkl": b"\x80\x04" + pickled + put(100) + b"0}(" + pairs + b"u.", "a/data/0": bytes(4)})


def class_list(name: str):
    """Far more class names than classes, all of them one long text."""

    def make(size: int) -> bytes:
        long = text(name * (size // 2 // len(name.encode()))) + put(9000)
        return sound_with(long + b"0}" + text("CLASSES") + b"(" + filled(get(9000), size // 2) + b"ls")

    return make


def few_long_classes(size: int) -> bytes:
    """As many class names as classes, each the same long text of characters that are shown as their codes."""
    return sound_with(text("\xa0" * (size // 2)) + put(9000) + b"0}" + text("CLASSES") + b"(" + get(9000) * 3 + b"ls")


def tensors(size: int) -> bytes:
    """A tensor's description again and again, of one storage."""
    body = (
        b"ctorch._utils\n_rebuild_tensor_v2\nq\x01((" + text("storage") + b"ctorch\nFloatStorage\n" + text("0")
        + text("cpu") + b"K\x01tQK\x00K\x01\x85K\x01\x85\x89Ntq\x02"
    )  # fmt: skip
    pickled = b"\x80\x04]" + body + filled(b"h\x01h\x02R0", size) + b"0."
    return zipped({"a/data.pkl": pickled, "a/data/0": bytes(4)})


def grown(size: int) -> bytes:
    """Lists nested without end, each put into the one before while both are empty."""
    return around(b"]" + b"".join(b"]" + put(i) + b"a0" + get(i) for i in range(size // 13)))


def one_key(key: str) -> bytes:
    """A dictionary with one tensor."""
    with zipfile.ZipFile(io.BytesIO(state(b""))) as file:
        pickled = file.read("a/data.pkl")
    return zipped({"a/data.pkl": pickled.replace(text("zz"), text(key)), "a/data/0": bytes(4)})


PICKLES = {
    "memo entries that collide": memo_collisions,
    "integer keys that collide": key_collisions,
    "two equal long keys set again and again": equal_keys,
    "pairs of two equal long keys": equal_pairs,
    "a long name looked up again and again": long_names,
    "a storage with a long key named again and again": long_storage_keys,
    "a list copied by torch.Size": lambda size: copies(b"torch\nSize", b"N", size),
    "a list of pairs made a dictionary": lambda size: copies(b"collections\nOrderedDict", text("k") + b"N\x86", size),
    "a dictionary copied": copied_dict,
    "a list as its own parameter": lambda size: copies(b"torch._utils\n_rebuild_parameter", b"N", size),
    "a list within an argument": lambda size: inner_list(b"_rebuild_from_type_v2", b"N", size),
    "a list within an argument, of containers": lambda size: inner_list(b"_rebuild_from_type", b")", size),
    "one dictionary under many keys": aliased_dict,
    "one dictionary of tensors under many keys": aliased_state,
    "prefixes of one key": lambda size: one_key("module." * (size // 7)),
    "prefixes of one key that is short enough": lambda size: one_key("module." * 580),
    "a class list of one long text": class_list("a"),
    "a class list of one long text of odd characters": class_list("\xa0"),
    "class names of a megabyte": few_long_classes,
    "tensors by the hundred thousand": tensors,
    "nesting that grows afterwards": grown,
    "lists": lambda size: around(filled(b"]", size)),
    "dictionaries": lambda size: around(filled(b"}", size)),
    "sets": lambda size: around(filled(b"\x8f", size)),
    "frozensets": lambda size: around(filled(b"(\x91", size)),
    "None pushed and dropped": lambda size: around(filled(b"N0", size) + b"N"),
    "marks": lambda size: around(filled(b"(", size // 2) + filled(b"t", size // 2)),
    "pairs of pairs": lambda size: around(b")" + filled(b"2\x860)", size)),
    "integers of 255 bytes": lambda size: around(filled(b"\x8a\xff" + b"\x7f" * 255 + b"0", size) + b"N"),
    "integers of 500 digits": lambda size: around(filled(b"I" + b"9" * 500 + b"\n0", size) + b"N"),
    "real numbers": lambda size: around(b"(" + filled(b"G" + bytes(8), size) + b"l"),
    "texts of one character": lambda size: around(b"(" + filled(b"\x8c\x02\xc3\xa9", size) + b"l"),
    "bytes of one byte": lambda size: around(b"(" + filled(b"C\x01a", size) + b"l"),
    "a long text of wide characters": lambda size: around(text("\U0001f600" * (size // 4))),
    "namespaces": lambda size: around(b"cargparse\nNamespace\nq\x00" + filled(b"h\x00)\x81", size)),
    "ordered dictionaries": lambda size: around(b"ccollections\nOrderedDict\nq\x00" + filled(b"h\x00)R", size)),
    "names": lambda size: around(filled(b"ctorch\nSize\n0", size) + b"N"),
    "states set": lambda size: around(b"}" + filled(b"Nb", size)),
    "keys of one dictionary": lambda size: around(b"}(" + numbered(size) + b"u"),
    "keys with nothing known in them": lambda size: state(numbered(size)),
    "keys that are nearly known": lambda size: state(numbered(size, prefix="block1.0.attn.spatial_gating_unit.conv_spatial")),
}  # fmt: skip


def many_records(name, extra: bytes = b""):
    """Empty records; `name(i)` names them."""

    def make(size: int) -> bytes:
        pickled = b"\x80\x04}."
        records = [("a/data.pkl", pickled)]
        used = 0
        for i in range(1 << 20):
            one = name(i)
            used += 2 * len(one) + 76 + len(extra)
            if used > size:
                break
            records.append((one, b""))
        local, central = [], []
        at = 0
        for one, data in records:
            raw = one.encode()
            fields = struct.pack("<5H3L2H", 20, 0, 0, 0, 0, zlib.crc32(data), len(data), len(data), len(raw), 0)
            local.append(b"PK\3\4" + fields + raw + data)
            fields = fields[:-2] + struct.pack("<H", len(extra))
            central.append(b"PK\1\2" + struct.pack("<H", 20) + fields + struct.pack("<3H2L", 0, 0, 0, 0, at) + raw + extra)
            at += len(local[-1])
        directory = b"".join(central)
        count = len(records)
        end64 = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, len(directory), at)
        locator = struct.pack("<4sLQL", b"PK\6\7", 0, at + len(directory), 1)
        end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
        return b"".join(local) + directory + end64 + locator + end

    return make


ZIPS = {
    "records": many_records(lambda i: f"a/{i}"),
    "records with long names": many_records(lambda i: f"a/{i}/" + "n" * 60_000),
    "records with long extra fields": many_records(lambda i: f"a/{i}", bytes(4) * 12_000),
    "a folder with a long name": lambda size: _renamed(tensors(size // 2), "f" * 60_000),
}


def _renamed(data: bytes, folder: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return zipped({name.replace("a/", f"{folder}/", 1): file.read(name) for name in file.namelist()})


def safetensors(header: dict | bytes | str, data: bytes = b"") -> bytes:
    raw = header if isinstance(header, bytes) else (header if isinstance(header, str) else json.dumps(header)).encode()
    return struct.pack("<Q", len(raw)) + raw + data


LARGEST = (8 << 20) - 64  # bytes of a header


def repeated(before: str, unit: str, after: str):
    """A header of a unit again and again."""

    def make(size: int) -> bytes:
        size = min(size, LARGEST)
        return safetensors(before + unit * ((size - len(before) - len(after)) // len(unit.encode())) + after)

    return make


def empty_tensors(name, metadata: str = ""):
    def make(size: int) -> bytes:
        size, used, parts = min(size, LARGEST), 2 + len(metadata), []
        for i in range(1 << 20):
            part = f'"{name(i)}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}'
            used += len(part.encode()) + 1
            if used > size:
                break
            parts.append(part)
        return safetensors("{" + metadata + ",".join(parts) + "}")

    return make


def own(**parts: str) -> bytes:
    """A file of minivan's own with these parts of its metadata."""
    metadata = {
        "minivan": "1", "layout": "authors", "source": "", "source_sha256": "",
        "shape": '{"dims": [2], "depths": [1], "mlp_ratios": [2], "classes": 3}',
        "eps": '{"layer_norm": 1e-6, "batch_norm": 1e-5}', "labels": "[]",
        "preprocessing": '{"crop": 64, "resize": 64, "mean": [0, 0, 0], "std": [1, 1, 1]}',
    }  # fmt: skip
    return safetensors({"__metadata__": metadata | parts})


def fitted(make):
    return lambda size: make(min(size, LARGEST) - 1000)


def an_empty_tensor(name: str) -> bytes:
    return safetensors({name: {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}})


def keyed_twice(size: int) -> bytes:
    return safetensors("{" + ",".join(f'"{i}":1' for i in range(size // 11)) + ',"1":1}')


def own_shape(dims: str) -> bytes:
    return own(shape=f'{{"dims": {dims}, "depths": [1], "mlp_ratios": [1], "classes": 3}}')


def own_mean(mean: str) -> bytes:
    return own(preprocessing=f'{{"crop": 64, "resize": 64, "mean": {mean}, "std": [1, 1, 1]}}')


SAFETENSORS = {
    "lists in the header": repeated('{"a":[', "[],", "1]}"),
    "objects in the header": repeated('{"a":[', "{},", "1]}"),
    "numbers in the header": repeated('{"a":[', "1,", "1]}"),
    "real numbers in the header": repeated('{"a":[', "1.5,", "1]}"),
    "texts in the header": repeated('{"a":[', '"ab",', "1]}"),
    "escapes in the header": repeated('{"a":"', "\\u0001", '"}'),
    "wide characters in the header": repeated('{"a":"', "\U0001f600", '"}'),
    "texts of wide characters in the header": repeated('{"a":["', '\U0001f600","', '"]}'),
    "one long number": repeated('{"a":', "9", "}"),
    "one long real number": repeated('{"a":', "9", ".5}"),
    "numbers of 4,300 digits": repeated('{"a":[', "9" * 4300 + ",", "1]}"),
    "real numbers of a thousand digits": repeated('{"a":[', "9" * 1000 + ".5,", "1]}"),
    "blanks in the header": repeated('{"a":1', " ", "}"),
    "nested lists": repeated('{"a":', "[", "1}"),
    "nested lists that end": fitted(lambda size: safetensors('{"a":' + "[" * (size // 2) + "]" * (size // 2) + "}")),
    "one key twice, of many": fitted(keyed_twice),
    "empty tensors": empty_tensors(str),
    "empty tensors with nearly known names": empty_tensors(lambda i: f"block1.0.attn.spatial_gating_unit.conv0{i}"),
    "empty tensors with wide names": empty_tensors(lambda i: f"{i}" + "\U000e0001" * 25),
    "prefixes of one name": fitted(lambda size: an_empty_tensor("module." * (size // 7))),
    "prefixes of many names": empty_tensors(lambda i: "module." * 60 + str(i)),
    "metadata": fitted(lambda size: safetensors({"__metadata__": {str(i): "" for i in range(size // 16)}})),
    "own dims": fitted(lambda size: own_shape("[" + "1," * (size // 3) + "1]")),
    "own dims of 4,000 digits": fitted(lambda size: own_shape(f"[{'9' * 4000}]")),
    "own means": fitted(lambda size: own_mean("[" + "1," * (size // 3) + "1]")),
    "a text of own means": fitted(lambda size: own_mean(f'"{"1" * size}"')),
    "own labels": fitted(lambda size: own(labels="[" + '["",""],' * (size // 14) + '["",""]]')),
    "own labels that are long": fitted(lambda size: own(labels=json.dumps([["", "\xa0" * (size // 36)]] * 3))),
    "own labels that are lists": fitted(lambda size: own(labels="[" + "[]," * (size // 4) + "[]]")),
    "own classes of a head": fitted(lambda size: own(segmentation='{"classes": [' + '"",' * (size // 3) + '""]}')),
    "an own source": fitted(lambda size: own(source="\xa0" * (size // 7))),
    "an own number of many digits": fitted(lambda size: own(not_sure="9" * size)),
    "an own part that is missing": fitted(lambda size: own(shape='{"x' + "y" * size + '": 1}')),
}

KINDS = {"pickle": PICKLES, "zip": ZIPS, "safetensors": SAFETENSORS}
