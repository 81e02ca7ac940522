"""Traces, arrays and maps that are broken, endless, or far larger inside than outside: one clear line, and exit status 2."""

import io
import itertools
import os
import re
import struct
import time
import zipfile

import numpy as np
import pytest
from support import hostile
from support.measure import counting, tracing
from support.ports import X, reference

from minivan.oracle import arrays, naming, recorded, trace
from minivan.oracle.compare import compare
from minivan.oracle.recorded import Recorded


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    path = tmp_path_factory.mktemp("sound") / "trace.safetensors"
    trace.write(reference(), path)
    return path


@pytest.fixture
def judged(sound, run, tmp_path):
    """Compare the trace with something; it cannot be judged, and one line says why."""

    def judge(other, *words, flags=()):
        status, out, err = run("oracle", "compare", sound, other, *flags)
        assert (status, out) == (2, "") and err.count("\n") == 1 and len(err) < 1200, err
        for word in words:
            assert word in err, err

    return judge


def npy(header: str, data: bytes = b"", version: int = 1) -> bytes:
    """An .npy file with any header."""
    length = struct.pack("<H" if version == 1 else "<L", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + length + header.encode("latin-1") + data


def header(dtype="'<f4'", shape="(1,)", order="False") -> str:
    return f"{{'descr': {dtype}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (npy(header(shape=f"({1 << 50},)"), bytes(100)), "numbers of 4503599627370496 bytes in a file that has 100"),
        (npy(header(shape="(" + "9" * 4000 + ",)")), "an integer of"),
        (npy(header(shape="(" + "9" * 5000 + ",)")), "damaged one"),
        (npy(header(shape="(0, " + "9" * 40 + ")")), "damaged one"),
        (npy(header(shape="(" + "1, " * 70 + ")"), bytes(4)), "damaged one"),
        (npy(header(dtype="'|O'"), bytes(8)), "the dtype '|O'; numbers are read, and no objects"),
        (npy(header(dtype="[('a', '<f4')]"), bytes(8)), "its header is none of an array of numbers"),
        (npy(header(dtype="'<f3'"), bytes(8)), "the dtype '<f3', which NumPy does not know"),
        (npy(header(shape="(-1,)"), bytes(8)), "its header is none of an array of numbers"),
        (npy(header(shape="(__import__('os').system('true'),)"), bytes(8)), "its header is none of an array of numbers"),
        (npy("(" * 9000), "its header is none of an array of numbers"),
        (npy("{" + "'descr': '<f4', " * 500 + "}"), "its header is none of an array of numbers"),
        (npy(" " * 9999 + "{"), "its header is none of an array of numbers"),
        (npy(header() + " " * 20_000, bytes(4)), "a header of 20058 bytes; the limit is 10000"),
        (npy(header() + "\xff", bytes(4)), "its header is none of an array of numbers"),
        (npy(header(), bytes(3)), "numbers of 4 bytes in a file that has 3"),
        (npy(header(), bytes(4), version=9), "it does not begin as one"),
        (b"\x93NUMPY\1\0\xff\xff", "a header of 65535 bytes"),
        (b"", "it does not begin as one"),
    ],
)
def test_a_broken_array(judged, tmp_path, data, words):
    (tmp_path / "port").mkdir()
    (tmp_path / "port" / "head.npy").write_bytes(data)
    with tracing() as memory:
        judged(tmp_path / "port", "head.npy: not an .npy file of numbers, or a damaged one", words)
    assert memory.traced < 8 << 20


def test_an_array_is_read_as_numpy_reads_it(tmp_path):
    shapes = ((), (0,), (3,), (2, 3), (2, 0, 3), (2, 3, 4))
    dtypes = ("<f4", ">f4", "<f8", "<f2", ">i2", "|u1", "<c8", "|b1")
    for dtype, shape, order, version in itertools.product(dtypes, shapes, "CF", (1, 2, 3)):
        array = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
        with open(tmp_path / "a.npy", "wb") as file:
            np.lib.format.write_array(file, np.asarray(array, order=order), (version, 0))
        ours = arrays.read_npy(tmp_path / "a.npy")
        theirs = np.load(tmp_path / "a.npy")
        found, right = (ours.dtype, ours.shape, ours.tobytes()), (theirs.dtype, theirs.shape, theirs.tobytes())
        assert found == right, (dtype, shape, order, version)


def test_headers_of_other_writers(tmp_path):
    array = np.arange(6, dtype="<f4")
    for text in (
        "{'shape':(2,3),'fortran_order':False,'descr':'<f4'}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 3L)}   \n",
        '{"descr": "<f4", "fortran_order": False, "shape": (2, 3), }',
    ):
        (tmp_path / "a.npy").write_bytes(npy(text, array.tobytes()))
        assert np.array_equal(arrays.read_npy(tmp_path / "a.npy"), array.reshape(2, 3))


def packed(records, method=zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, data in records:
            file.writestr(name, data)
    return buffer.getvalue()


def with_flag(data: bytes, flag: int) -> bytes:
    data = bytearray(data)
    for signature, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(signature) + place] |= flag
    return bytes(data)


ONE = npy(header(), bytes(4))
TWICE = packed([("a.npy", ONE), ("b.npy", ONE)])
NPZ = {
    "encrypted": (with_flag(packed([("a.npy", ONE)]), 1), "port.npz, a.npy: encrypted; save it without a password"),
    "cut short": (packed([("a.npy", ONE)])[:-30], "not an .npz file, or a damaged one"),
    "packed otherwise": (packed([("a.npy", ONE)], zipfile.ZIP_LZMA), "packed in another way than NumPy packs"),
    "packed otherwise again": (packed([("a.npy", ONE)], zipfile.ZIP_BZIP2), "packed in another way than NumPy packs"),
    "a wrong checksum": (packed([("a.npy", ONE)], zipfile.ZIP_STORED).replace(ONE, ONE[:-1] + b"x"), "damaged one"),
    "one name twice": (TWICE.replace(b"b.npy", b"a.npy"), "two records are the layer 'a'"),
    "a claim": (packed([("a.npy", npy(header(shape=f"({1 << 50},)")))]), "numbers of 4503599627370496 bytes"),
    "objects": (packed([("a.npy", npy(header(dtype="'|O'")))]), "the dtype '|O'"),
    "a long name": (packed([("a" * 60_000 + ".npy", ONE)]), "has 60000 characters; a layer's name has at most 500"),
    "too many": (packed([(f"{i}.npy", b"") for i in range(10_001)], zipfile.ZIP_STORED), "10,001 arrays; at most 10,000"),
    "a name of two lines": (packed([("a\nb", b"")]), r"port.npz, a\nb: not an array"),
    "none at all": (packed([]), "the port holds no layers"),
}


@pytest.mark.parametrize("what", NPZ)
def test_a_broken_npz(judged, tmp_path, what):
    data, words = NPZ[what]
    (tmp_path / "port.npz").write_bytes(data)
    judged(tmp_path / "port.npz", words)


def test_an_npz_that_is_a_thousand_times_larger_inside(judged, tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "UNPACKED", 1 << 20)
    (tmp_path / "bomb.npz").write_bytes(packed([("a.npy", npy(header(shape=f"({8 << 20},)")) + bytes(32 << 20))]))
    assert (tmp_path / "bomb.npz").stat().st_size < 1 << 16
    with tracing() as memory:
        judged(tmp_path / "bomb.npz", "arrays of 32 MiB; from a file of its size at most 1.2")
    assert memory.traced < 8 << 20


def test_an_npz_that_says_less_than_it_holds(judged, tmp_path):
    """Its directory claims ten bytes for a record that unpacks to a megabyte: no more than it claims is unpacked."""
    data = packed([("a.npy", npy(header(shape="(250000,)")) + bytes(1_000_000))])
    size = struct.pack("<L", 1_000_000 + len(npy(header(shape="(250000,)"))))
    (tmp_path / "port.npz").write_bytes(data.replace(size, struct.pack("<L", 90)))
    with tracing() as memory:
        judged(tmp_path / "port.npz", "damaged one")
    assert memory.traced < 1 << 20


def test_what_is_no_file_is_refused_before_it_is_opened(judged, tmp_path, sound, run):
    folder = tmp_path / "port"
    folder.mkdir()
    os.mkfifo(folder / "head.npy")
    judged(folder, "head.npy: a pipe is no file to read")
    (folder / "head.npy").unlink()
    (folder / "head.npy").symlink_to("/dev/zero")
    judged(folder, "head.npy: a device is no file to read")
    os.mkfifo(tmp_path / "pipe")
    for other in (tmp_path / "pipe", "/dev/zero", "/dev/null"):
        judged(other, "is no file to read")
        status, out, err = run("oracle", "compare", other, sound)
        assert (status, out) == (2, "") and "is no file to read" in err
    os.mkfifo(tmp_path / "pipe.npz")
    judged(tmp_path / "pipe.npz", "a pipe is no file to read")
    judged("/proc/self/maps", "/proc/self/maps: ")
    judged(sound, "a device is no file to read", flags=["--map", "/dev/zero"])


def test_a_folder_that_leads_into_itself(judged, tmp_path):
    for name in ("a", "b"):
        (tmp_path / "port" / name).mkdir(parents=True)
        for loop in ("c", "d"):
            (tmp_path / "port" / name / loop).symlink_to(tmp_path / "port")
    judged(tmp_path / "port", "a folder without .npy files")


def test_a_folder_with_two_files_of_one_name_or_too_many(judged, tmp_path, monkeypatch):
    folder = tmp_path / "port"
    (folder / "a").mkdir(parents=True)
    for name in ("a.b.npy", "a/b.npy"):
        np.save(folder / name, X)
    judged(folder, "two files are the layer 'a.b'")
    monkeypatch.setattr(arrays, "MOST_ENTRIES", 2)
    judged(folder, "more than 2 files: name the folder of the layers")


@pytest.mark.slow
def test_a_folder_that_is_far_too_deep(judged, tmp_path):
    """Deeper than Python may call itself, and than its own functions that remove folders go."""
    deep = tmp_path / "deep"
    deep.mkdir()
    try:
        for _ in range(1500):
            deep = deep / "d"
            deep.mkdir()
        judged(tmp_path / "deep", "a folder without .npy files")
    finally:
        while deep != tmp_path:
            deep.rmdir()
            deep = deep.parent


def test_a_subfolder_that_cannot_be_looked_into(judged, tmp_path, monkeypatch):
    """It is named, not passed over: what lies in it would be missing in silence. (Root may look everywhere.)"""
    closed, scandir = tmp_path / "port" / "closed", os.scandir
    closed.mkdir(parents=True)
    np.save(tmp_path / "port" / "head.npy", X)

    def refusing(path):
        if str(path) == str(closed):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    judged(tmp_path / "port", f"{closed}: Permission denied")


@pytest.mark.parametrize("what", hostile.SAFETENSORS)
def test_a_hostile_header_costs_a_trace_no_more_than_its_budget(judged, tmp_path, what):
    (tmp_path / "file").write_bytes(hostile.SAFETENSORS[what](200_000))
    with tracing() as memory:
        judged(tmp_path / "file")
    assert memory.traced < 32 << 20


def a_trace(layers, **metadata) -> bytes:
    """A trace of empty layers with these names, and with metadata of any kind."""
    texts = {"format": "minivan-trace 1", "order": "[]", "sha256": "{}"} | metadata
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    return hostile.safetensors({"__metadata__": texts} | dict.fromkeys(layers, empty))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (a_trace([], order="[" * 100_000), "its order is nested too deep"),
        (a_trace([], order='["' + "x" * 100_000 + '"]'), "is not in it"),
        (a_trace([], order="[[]]"), "its order or digests cannot be read"),
        (a_trace([], order="3"), "its order or digests cannot be read"),
        (a_trace([], precision="\x1b half"), r"damaged trace, its precision '\x1b half' is none of float16"),
        (a_trace([], sha256="[]"), "its order or digests cannot be read"),
        (a_trace(["x" * 501]), "has 501 characters; a layer's name has at most 500"),
        (a_trace([str(i) for i in range(10_001)]), "10,001 arrays; at most 10,000 are compared"),
        (a_trace(["y" * 400]), "does not have the SHA-256 it was recorded with"),
    ],
)
def test_a_trace_that_lies(run, sound, tmp_path, data, words):
    (tmp_path / "trace").write_bytes(data)
    status, out, err = run("oracle", "compare", tmp_path / "trace", sound)
    assert (status, out) == (2, "") and words in err and err.count("\n") == 1 and len(err) < 1200, err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("*" * 200 + " = " + "*" * 200, "line 1: two '*' in one part of '***"),
        ("*a*a*a*a*b = *x*x*x*x*", "line 1: two '*' in one part"),
        ("x" * 2_000_000, "more than 1 MiB, the limit for such a file"),
        ("x" * 100_000, "expected 'checkpoint path = name in the port', got 'xxx"),
        ("*.* = *.*\n" * 60_000, "60,000 lines with '*' for"),
        ("head = " + "x" * 100_000, "but the port has no layer of that name"),
        ("\xff", "a map file is UTF-8 text"),
    ],
)
def test_a_map_that_would_take_for_ever(judged, sound, tmp_path, text, words):
    (tmp_path / "map").write_bytes(text.encode("latin-1"))
    judged(sound, words, flags=["--map", tmp_path / "map"])


def test_many_layers_and_many_lines_are_compared_in_few_calls():
    """Every layer is looked up, and none is looked for among all."""
    names = [f"a{i}.b" for i in range(1000)]
    layers = {name: np.zeros(1, np.float32) for name in names}
    with counting() as cost:
        report = compare(
            trace.Trace(layers, None, {}),
            {f"x{i}": Recorded(np.zeros(1, np.float32), "float32") for i in range(1000)},
            names=[(f"a{i}.b", f"x{i}") for i in range(1000)],
        )
    assert report.bit_equal and len(report.rows) == 1000 and cost.calls < 1000 * 400


def test_what_a_star_stands_for():
    layers = {name: Recorded(np.zeros(i), "float64") for i, name in enumerate(("s1/u0", "s22/u3", "p.q"))}
    renamed = naming.rename(layers, [("block*.*.norm1", "s*/u*"), ("x*y", "*.q")], ["block1.0.norm1", "block22.3.norm1", "xpy"])
    assert [renamed[name].values.size for name in ("block1.0.norm1", "block22.3.norm1", "xpy")] == [0, 1, 2]
    for path in ("block.0.norm1", "block1.norm1", "block1.0.norm2", "block1.0.norm1.x", "xy"):
        assert path not in naming.rename(layers, [("block*.*.norm1", "s*/u*"), ("x*y", "*.q")], [path])


def test_the_first_line_that_fits_decides():
    layers = {name: Recorded(np.zeros(i), "float64") for i, name in enumerate(("one", "two-a"))}
    for names, size in (([("a", "one"), ("*", "two-*")], 0), ([("*", "two-*"), ("a", "one")], 1)):
        assert naming.rename(layers, names, ["a"])["a"].values.size == size


def test_a_fault_of_minivan_s_own_is_no_verdict(judged, sound, monkeypatch):
    """Python ends with 1 after an exception that nobody expects, and 1 means that layers differ."""
    from minivan import oracle

    for error in (TypeError("x" * 900), RecursionError("deep"), ZeroDivisionError()):
        monkeypatch.setattr(oracle.Baseline, "judge", lambda *args, error=error: (_ for _ in ()).throw(error))
        judged(sound, "nothing was judged, by a fault of minivan's own", type(error).__name__)


def test_memory_that_ends_is_no_verdict(judged, sound, monkeypatch):
    from minivan import oracle

    monkeypatch.setattr(oracle.Baseline, "judge", lambda *args: (_ for _ in ()).throw(MemoryError()))
    judged(sound, "not enough memory")


@pytest.mark.long
@pytest.mark.parametrize("what", hostile.SAFETENSORS)
def test_no_trace_under_ten_megabytes_takes_two_seconds(tmp_path, what):
    (tmp_path / "file").write_bytes(hostile.SAFETENSORS[what](9_900_000))
    start = time.process_time()
    with pytest.raises(ValueError, match=re.escape(str(tmp_path))):
        recorded.read_trace(tmp_path / "file")
    assert time.process_time() - start < 2
