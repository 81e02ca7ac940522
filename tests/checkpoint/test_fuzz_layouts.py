"""Damage that knows the format: sound files of every layout and format, changed where a reader believes them.

Each case is read or refused, and function calls and traced bytes stay within what its size allows; by hand (`long`), seconds
and resident memory too. The draws are seeded.
"""

import json
import pickletools
import random
import struct
import zipfile

import pytest
from support import ROOT, hostile
from support.measure import counting, resources, tracing

from minivan.checkpoint import CheckpointError, read, write
from minivan.checkpoint.budget import Budget

CHECKPOINTS = ROOT / "tests" / "checkpoints"
SOUND = {
    "authors', zip": CHECKPOINTS / "official.pth.tar",
    "authors', legacy": CHECKPOINTS / "official_legacy.pth.tar",
    "Hugging Face, zip": CHECKPOINTS / "huggingface" / "pytorch_model.bin",
    "Hugging Face, safetensors": CHECKPOINTS / "huggingface" / "model.safetensors",
    "OpenMMLab, zip": CHECKPOINTS / "mmpretrain.pth",
    "smallest, zip": CHECKPOINTS / "smallest.pth",
    "smallest, legacy": CHECKPOINTS / "smallest_legacy.pth",
}
KINDS = pytest.mark.parametrize("kind", [*SOUND, "minivan's own"])
CALLS, TRACED = 15, 8  # as in test_budget.py
TENSORS = 4 << 20  # bytes: those of the small networks here, twice

# What stands between two opcodes of a pickle in the place of, or beside, what was there.
PIECES = [
    *(hostile.number(value) for value in (0, -1, 1 << 31, 1 << 62, (1 << 63) - 1, -(1 << 63))),
    *(hostile.text(value) for value in ("", "module.", "k" * 3000, "\U0001f600" * 300, "cuda:0", "state_dict")),
    b"N", b"\x88", b")", b"]", b"}", b"(", b"0", b"2", b"a", b"s", b"t", b"u", b"e", b"R", b"\x81", b"b", b"Q", b"\x94",
    b"2\x86" * 50, b"]" * 50, b"q\x00", b"h\x00", b"h\x01", b"j\x05\x00\x00\x00", b"r\xff\xff\x3f\x00",
    b"(" + b"h\x00" * 2000 + b"l",
    b"ccollections\nOrderedDict\n", b"ctorch\nSize\n", b"cargparse\nNamespace\n", b"cbuiltins\nset\n",
    b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch._utils\n_rebuild_parameter\n", b"ctorch\nHalfStorage\n",
]  # fmt: skip


def pickle_damaged(draw, pickled, boundaries):
    """A pickle with one to six of its opcodes left out, said again, moved, or with pieces put among them."""
    for _ in range(draw.choice((1, 1, 2, 6))):
        at, other = draw.choice(boundaries), draw.choice(boundaries)
        kind = draw.randrange(5)
        if kind == 0:
            pickled = pickled[:at] + pickled[min(at + draw.choice((1, 2, 5, 9, 40)), len(pickled)) :]
        elif kind == 1:
            pickled = pickled[:at] + pickled[other : other + draw.choice((2, 20, 200, 2000))] + pickled[at:]
        else:
            pickled = pickled[:at] + draw.choice(PIECES) * draw.choice((1, 1, 1, 3, 300)) + pickled[at:]
    return pickled


def header_damaged(draw, header):
    """A safetensors header with entries said otherwise, renamed, given each other's places, or thousands more."""
    changed = dict(header)
    names = [name for name in changed if name != "__metadata__"]
    for _ in range(draw.choice((1, 1, 2, 6))):
        name, other = draw.choice(names), draw.choice(names)
        kind = draw.randrange(7)
        entry = dict(changed.get(name, {}))
        if kind == 0:
            entry["shape"] = draw.choice(([], [0], [1 << 62], entry.get("shape", [])[::-1], [1] * 9, "4", [2.5], [None]))
        elif kind == 1:
            entry["data_offsets"] = draw.choice(([0, 0], changed.get(other, {}).get("data_offsets"), [0, 1 << 60], [-1, 4]))
        elif kind == 2:
            entry["dtype"] = draw.choice(("F64", "F16", "BF16", "I8", "X", None, ["F32"]))
        elif kind == 3:
            changed = {
                draw.choice(("module.", "model.", "_orig_mod.")) * draw.choice((1, 9)) + n: v for n, v in changed.items()
            }
            names = [n for n in changed if not n.endswith("__metadata__")]
            continue
        elif kind == 4:
            empty = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
            changed |= {f"{name}{i}": empty for i in range(draw.choice((1, 50, 1500)))}
        elif kind == 5:
            values = ("", "[" * 900, "1" * 5000, "[]", "{}", "x" * 30_000, "[" + "1," * 9000 + "1]", '[["",""]]')
            texts = dict(changed.get("__metadata__") or {})
            key = draw.choice([*texts, "minivan"]) if texts else "minivan"
            changed["__metadata__"] = texts | {key: draw.choice(values)}
            continue
        else:
            changed.pop(name, None)
            names = [n for n in changed if n != "__metadata__"]
            continue
        changed[name] = entry
    return changed


def cases(kind, draw, folder):
    """Yield damaged files of one layout and format without end."""
    path = SOUND.get(kind)
    if path is None:
        path = folder / "own.safetensors"
        write(read(SOUND["authors', zip"]), path)
    whole = path.read_bytes()
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as file:
            records = {name: file.read(name) for name in file.namelist()}
        name = next(name for name in records if name.endswith("data.pkl"))
        boundaries = [position for _, _, position in pickletools.genops(records[name])]
        while True:
            changed = dict(records)
            changed[name] = pickle_damaged(draw, records[name], boundaries)
            if draw.random() < 0.1:
                del changed[draw.choice(list(changed))]
            yield hostile.zipped(changed)
    elif path.suffix == ".safetensors":
        length = struct.unpack("<Q", whole[:8])[0]
        header = json.loads(whole[8 : 8 + length])
        while True:
            yield hostile.safetensors(header_damaged(draw, header), whole[8 + length :])
    else:
        starts, rest = [], whole
        for _ in range(5):
            starts.append(len(whole) - len(rest))
            rest = rest[1 + max(position for _, _, position in pickletools.genops(rest)) :]
        start, end = starts[3], starts[4]
        boundaries = [position for _, _, position in pickletools.genops(whole[start:end])]
        while True:
            yield whole[:start] + pickle_damaged(draw, whole[start:end], boundaries) + whole[end:]


def outcome(path):
    try:
        read(path)
        return "read"
    except CheckpointError as error:
        message = str(error).removeprefix(str(path))
        assert "\n" not in message and len(message) < 1100
        return "refused"


def run(kind, count, seed, folder, measured):
    """Read `count` damaged files, every one of them measured; return how many were read after all."""
    path, files, outcomes = folder / "case", cases(kind, random.Random(seed), folder), {"read": 0, "refused": 0}
    path.write_bytes(next(files))
    outcome(path)
    for _ in range(count):
        path.write_bytes(next(files))
        outcomes[measured(path)] += 1
    return outcomes


def counted(path):
    """Read a file twice: function calls and traced bytes are within what its size allows."""
    size = path.stat().st_size
    budget = Budget(size)
    with counting() as calls:
        outcome(path)
    with tracing() as memory:
        said = outcome(path)
    assert calls.calls <= CALLS * budget.most_steps
    assert memory.traced <= budget.most_memory + TRACED * size + TENSORS
    return said


def timed(path):
    with resources() as cost:
        said = outcome(path)
    assert cost.seconds < 2 and cost.resident < 256 << 20
    return said


@KINDS
def test_damage_that_knows_the_format(kind, tmp_path):
    run(kind, 1, 1, tmp_path, counted)


@pytest.mark.once
@KINDS
def test_more_damage_that_knows_the_format(kind, tmp_path):
    outcomes = run(kind, 60, 2, tmp_path, counted)
    assert min(outcomes.values()) > 0, "the damage is neither nothing nor everything"


@pytest.mark.long
@KINDS
def test_damage_that_knows_the_format_in_seconds_and_resident_memory(kind, tmp_path):
    outcomes = run(kind, 4000, 3, tmp_path, timed)
    print(f"\n{kind}: {outcomes}")
