"""Damaged traces, arrays and maps: each is read or refused in one line, within the calls and the bytes that its size allows."""

import io
import random
import zipfile

import numpy as np
import pytest
from support.measure import counting, tracing
from support.ports import reference

from minivan.checkpoint.budget import Budget
from minivan.oracle import arrays, naming, recorded, trace

CALLS, TRACED = 30, 16  # for one step of the budget, and for one byte of the file
FIXED = 2 << 20  # bytes besides: what is read at once

MAP = b"# ours = theirs\npatch_embed1.proj = embed_first\nblock*.*.norm1 = stage*/unit*/bn1  # two parts\n\nhead = logits\n"
PATHS = ["patch_embed1.proj", "block1.0.norm1", "block3.17.norm1", "head", "x" * 300]
INSERTS = [b"\0", b"\xff" * 8, b"\n", b"*" * 40, b"[" * 300, b'"', b"{", b"}", b",", b"(1, ) " * 30, b"9" * 300, b"\n=\n", b"L"]


def damaged(draw, data):
    """A few of: bytes changed, a piece cut out, said again or put elsewhere, something put between; the end cut off."""
    data = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 3, 8))):
        at, size = draw.randrange(len(data) + 1), draw.choice((1, 2, 4, 8, 30, 300))
        kind = draw.randrange(7)
        if kind <= 1 and at < len(data):
            data[at] = draw.choice((0, 0xFF, data[at] ^ 1 << draw.randrange(8), draw.randrange(256)))
        elif kind == 2:
            data[at : at + 8] = draw.choice((0, 1 << 31, (1 << 63) - 1, (1 << 64) - 1)).to_bytes(8, "little")
        elif kind == 3:
            del data[at : at + size]
        elif kind == 4:
            data[at:at] = data[at : at + size] * draw.choice((1, 1, 50))
        elif kind == 5:
            data[at:at] = draw.choice(INSERTS)
        elif draw.random() < 0.3:
            del data[at:]
    return bytes(data)


def a_trace(folder):
    layers = dict(list(reference().layers.items())[:3])
    small = {name: array[..., :2, :2] for name, array in layers.items()}
    digests = {name: trace.digest(array) for name, array in small.items()}
    metadata = {"format": trace.FORMAT, "order": str(list(small)).replace("'", '"'), "sha256": str(digests).replace("'", '"')}
    trace.write(trace.Trace(small, None, metadata), folder / "sound")
    return (folder / "sound").read_bytes()


def an_npz(folder):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, head=np.ones((2, 3), np.float32), **{"block1.0.norm1": np.zeros((1, 2), ">f8")})
    return buffer.getvalue()


def an_npz_around(draw, array):
    """An .npz whose checksums are right, around a damaged array: the damage gets past the zip layer."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as file:
        file.writestr("head.npy", damaged(draw, array))
    return buffer.getvalue()


def an_npy(folder):
    buffer = io.BytesIO()
    np.save(buffer, np.asfortranarray(np.arange(6, dtype="<f8").reshape(2, 3)))
    return buffer.getvalue()


def read_map(path):
    naming.rename({}, [(ours, "x" * 9 + theirs) for ours, theirs in naming.read_names(path) if "*" in ours], PATHS)


KINDS = {  # how it ends -> what is damaged, and what reads it
    "trace": (a_trace, damaged, recorded.read_trace, ".safetensors"),
    "layers": (a_trace, damaged, recorded.read, ".safetensors"),
    "npz": (an_npz, damaged, recorded.read, ".npz"),
    "npz, arrays": (an_npy, an_npz_around, recorded.read, ".npz"),
    "npy": (an_npy, damaged, arrays.read_npy, ".npy"),
    "map": (lambda folder: MAP, damaged, read_map, ".map"),
}


def run(kind, count, folder):
    """Return how many damaged files were read after all."""
    make, damage, read, suffix = KINDS[kind]
    sound, path, draw = make(folder), (folder / "case").with_suffix(suffix), random.Random(5)
    number = 0
    for case in range(count):
        path.write_bytes(damage(draw, sound))
        budget = Budget(path.stat().st_size)
        try:
            with tracing() as memory, counting() as calls:
                read(path)
            number += 1
        except ValueError as error:
            message = str(error)
            assert "\n" not in message and len(message) < 1100 + len(str(path)), (kind, case, message)
        assert calls.calls <= CALLS * budget.most_steps / 100, (kind, case)  # these are small: far fewer than their budget
        assert memory.traced <= FIXED + TRACED * path.stat().st_size, (kind, case)
    return number


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_read_or_refused(kind, tmp_path):
    assert 0 < run(kind, 60, tmp_path) < 60


@pytest.mark.once
@pytest.mark.parametrize("kind", KINDS)
def test_much_more_damage_is_read_or_refused(kind, tmp_path):
    run(kind, 5000, tmp_path)
