"""Every known trick with a pickle or a zip file: nothing runs, nothing is imported, one line says what was found."""

import contextlib
import os
import pickle
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from support import saved
from support.judge import torch, torch_van
from support.watch import refused, watching

from minivan.checkpoint import CheckpointError, interpreter, read
from minivan.checkpoint.torchfile import LEGACY_VERSION, MAGIC


@pytest.fixture
def file(tmp_path):
    return tmp_path / "checkpoint.pth"


@pytest.fixture
def attack(file):
    """Refuse a pickle as data.pkl of a zip file, and as the contents of a legacy file."""

    def both(pickled, *words):
        refused(file, saved.around(pickled), *words)
        refused(file, legacy(pickled), *words)

    return both


def legacy(contents: bytes, keys=(), storages=b"") -> bytes:
    head = b"".join(pickle.dumps(value, 2) for value in (MAGIC, LEGACY_VERSION, {"little_endian": True}))
    return head + contents + pickle.dumps(list(keys), 2) + storages


# calls


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


@pytest.mark.parametrize("protocol", [2, 4])
def test_os_system_by_reduce(attack, tmp_path, protocol):
    marker = tmp_path / "it ran"
    payload = pickle.dumps({"state_dict": Call(os.system, f"touch '{marker}'")}, protocol)
    pickle.loads(payload)
    assert marker.exists(), "the payload works where pickle is used"
    marker.unlink()
    attack(payload, "the file names", f"{os.name}.system", "not on the list")
    assert not marker.exists()


def test_os_system_by_stack_global(attack):
    attack(b"\x80\x04" + saved.short("os") + saved.short("system") + b"\x93" + saved.short("true") + b"\x85R.", "'os.system'")


def test_stack_global_with_something_else_than_texts(attack):
    attack(b"\x80\x04K\x01K\x02\x93.", "1 and 2 in the place of")


def test_a_dotted_name_reaches_no_attribute(attack):
    name = saved.short("collections") + saved.short("OrderedDict.__class__.__base__") + b"\x93"
    attack(b"\x80\x04" + name + b")R.", "'collections.OrderedDict.__class__.__base__'")


def test_inst(attack):
    attack(b"(S'true'\nios\nsystem\n.", "opcode 'S'")
    attack(b"\x80\x02(" + saved.short("true") + b"ios\nsystem\n.", "opcode 'i'")


def test_obj(attack):
    attack(b"\x80\x02(cos\nsystem\n" + saved.short("true") + b"o.", "'os.system'")
    attack(b"\x80\x02(ccollections\nOrderedDict\no.", "opcode 'o'")


@pytest.mark.parametrize(
    "name",
    [
        "builtins eval", "builtins exec", "builtins __import__", "builtins compile", "builtins open", "__builtin__ eval",
        "builtins breakpoint", "builtins input", "builtins type", "builtins globals", "builtins map", "builtins print",
    ],
)  # fmt: skip
def test_builtins_eval_and_its_like(attack, name):
    module, function = name.split()
    call = f"c{module}\n{function}\n".encode() + saved.short("__import__('os').system('true')") + b"\x85R."
    attack(b"\x80\x02" + call, repr(f"{module}.{function}"))


@pytest.mark.parametrize(
    "name",
    [
        "posix system", "nt system", "subprocess Popen", "subprocess check_output", "runpy _run_code", "pickle loads",
        "_pickle loads", "torch load", "torch.storage _load_from_bytes", "torch.hub load", "torch.jit load", "numpy load",
        "importlib import_module", "operator attrgetter", "functools partial", "types FunctionType", "types CodeType",
        "marshal loads", "socket socket", "webbrowser open", "shutil rmtree", "pathlib Path.unlink", "sys exit",
        "torch._dynamo.guards GuardBuilder.get", "torch.utils.collect_env run", "pip main", "code interact", "bdb Bdb.run",
        "ctypes CDLL", "asyncio create_subprocess_shell", "logging.config listen", "timeit timeit", "pdb run", "apport x",
    ],
)  # fmt: skip
def test_names_that_scanners_of_pickles_know(attack, name):
    module, function = name.split()
    attack(b"\x80\x02c" + f"{module}\n{function}\n".encode() + b")R.", repr(f"{module}.{function}"))


def test_getattr(attack):
    for module in ("builtins", "__builtin__"):
        name = b"c" + module.encode() + b"\ngetattr\n"
        attack(b"\x80\x02" + name + b"ccollections\nOrderedDict\n" + saved.short("fromkeys") + b"\x86R.", "calls getattr")
        buffer = b"cmmengine.logging.history_buffer\nHistoryBuffer\n"
        attack(b"\x80\x02" + name + buffer + saved.short("__class__") + b"\x86R.", "calls getattr")


def test_new_object_of_a_class_not_listed(attack):
    attack(b"\x80\x02csubprocess\nPopen\n" + saved.short("true") + b"\x85\x81.", "'subprocess.Popen'")
    attack(b"\x80\x04" + saved.short("subprocess") + saved.short("Popen") + b"\x93)}\x92.", "'subprocess.Popen'")


def test_what_a_call_gave_cannot_be_called(attack):
    attack(b"\x80\x02cargparse\nNamespace\n)R)R.", "the file calls an Inert")
    attack(b"\x80\x02" + saved.short("os.system") + b")R.", "the file calls 'os.system'")
    attack(b"\x80\x02})R.", "the file calls a dict")


def test_build_on_a_class(attack):
    attack(b"\x80\x02ccollections\nOrderedDict\n}" + saved.short("__init__") + b"Nsb.", "a state set on a Name")
    attack(b"\x80\x02" + saved.short("text") + b"}b.", "a state set on 'text'")


def test_a_setstate_in_the_file_is_not_called(file, tmp_path):
    """BUILD with a state that names `__setstate__` and more: it is let go, and the checkpoint around it is read."""
    state = saved.state_dict(saved.SMALLEST)
    record = b"cargparse\nNamespace\n)\x81}(" + saved.short("__setstate__") + saved.short("os.system") + b"ub"
    records = saved.records(saved.save(state, tmp_path / "plain.pth"))
    name = next(name for name in records if name.endswith("data.pkl"))
    records[name] = b"\x80\x02}" + saved.short("x") + record + b"s0" + records[name].removeprefix(b"\x80\x02")
    file.write_bytes(saved.zip_of(records))
    with watching() as seen:
        assert read(file).config == saved.SMALLEST
    assert not seen


def test_a_whole_pickled_module(file, tmp_path):
    saved.save(torch_van.TorchVAN(saved.SMALLEST), file)
    refused(file, file.read_bytes(), "'support.torch_van.TorchVAN'")
    persistent = b"(" + saved.short("module") + b"ccollections\nOrderedDict\n" + saved.short("a.py") + saved.short("") + b"tQ."
    refused(file, saved.around(b"\x80\x02" + persistent), "a whole pickled module", "save its state_dict")


def test_extension_opcodes_buffers_and_text_persistent_ids(attack):
    for code, name in ((b"\x82\x01", "x82"), (b"\x83\x01\x00", "x83"), (b"\x84\x01\x00\x00\x00", "x84"), (b"\x97", "x97"),
                       (b"\x98", "x98"), (b"Pid\n", "P"), (b"S'a'\n", "S"), (b"Va\n", "V"), (b"F1.0\n", "F"),
                       (b"\x96" + bytes(8), "x96"), (b"g0\n", "g"), (b"p0\n", "p"), (b"\xff", "xff")):  # fmt: skip
        attack(b"\x80\x04" + code + b".", "opcode", name)


def test_a_protocol_to_come(attack):
    attack(b"\x80\x06N.", "pickle protocol 6")


# memory and time


def test_memo_tricks(attack):
    attack(b"\x80\x02h\x00.", "memo entry 0 is read before it is written")
    attack(b"\x80\x02Nq\x00Nq\x00.", "memo entry 0 is written twice")
    attack(b"\x80\x02Nr\xff\xff\xff\xff.", "memo entry 4294967295", "the limit")
    attack(b"\x80\x02q\x00.", "empty stack")
    attack(b"\x80\x02(q\x00.", "empty stack")


def test_a_mark_is_no_value(attack):
    for tail in (b"(2.", b"(R.", b"()R.", b"(.", b"(K\x01s.", b"((\x85.", b"}(K\x01u.", b"t.", b"(0u.", b"K\x01u."):
        attack(b"\x80\x02" + tail)


def test_billion_laughs(attack):
    attack(b"\x80\x02)" + b"2\x86" * 150 + b".", "nested more than 100 deep")
    attack(b"\x80\x02" + saved.short("lol") + b"2\x86" * 98 + b".", "the file holds a tuple")  # 2^98 texts if written out
    deep = saved.short("lol") + b"2\x86" * 98
    attack(b"\x80\x02}" + deep + b"Ns.", "a dictionary's key is a tuple")
    for rebuilt in (b"K\x00" + deep + deep, deep + b"))"):
        attack(b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(N" + rebuilt + b"tR.")


def test_lists_and_calls_nested_without_end(attack):
    attack(b"\x80\x02" + b"]" * 101 + b"a" * 100 + b".", "nested more than 100 deep")
    attack(b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".", "nested more than 100 deep")
    attack(b"\x80\x02" + b"(" * 500_000 + b"t" * 500_000 + b".", "nested more than 100 deep")


def test_a_list_in_itself(attack):
    attack(b"\x80\x02]q\x00h\x00a.", "the file holds a list")
    attack(b"\x80\x02}q\x00" + saved.short("state_dict") + b"h\x00s.", "no dictionary of a VAN's tensors")


def test_texts_and_integers_that_claim_to_be_huge(attack):
    for code in (b"X\xff\xff\xff\xff", b"B\xff\xff\xff\x7f", b"\x8d" + b"\xff" * 8, b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f"):
        attack(b"\x80\x04" + code + b"a.", "a text of")
    attack(b"\x80\x02X\xff\xff\x00\x00a.", "the data ends")
    attack(b"\x80\x02\x8b\xff\xff\xff\x7f\x01.", "an integer of")
    attack(b"\x80\x02\x8a\xff\x01.", "the data ends")
    attack(b"\x80\x02L" + b"9" * 100_000 + b"L\n.", "a name without an end")
    attack(b"\x80\x02c" + b"a" * 100_000 + b"\nb\n.", "a name without an end")
    attack(b"\x80\x02\x95\xff\xff\xff\xff\xff\xff\xff\xff.")


def peak_while_refused(file, pickled, words):
    file.write_bytes(saved.around(pickled))
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match=words):
            read(file)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_many_objects_from_few_bytes(file, monkeypatch):
    """What objects take is counted as they are made, so a smaller limit shows that the real one holds."""
    assert interpreter.MOST_MEMORY == 128 << 20
    monkeypatch.setattr(interpreter, "MOST_MEMORY", 2 << 20)
    words = "the pickle's objects need too much memory: the limit is 2 MiB"
    size = b"ctorch\nSize\nq\x01"
    for pickled in (
        b"]" * 25_000,
        b"}" * 25_000,
        b"\x8f" * 60_000,
        b"N" * 500_000,
        (saved.integer(1 << 62) + b"0") * 50_000,
        b"N" + b"\x94" * 50_000,
        saved.short("a" * 200) * 12_500,
        b"(" + b"N" * 10_000 + b"lq\x00" + size + b"h\x01h\x00\x85R" * 75,  # a copy of a list by every call
        b"cargparse\nNamespace\nq\x00" + b"h\x00)\x81" * 25_000,
        b"}" + b"".join(b"(" + saved.integer(i) + b"Nu" for i in range(40_000)),
    ):
        assert peak_while_refused(file, b"\x80\x04" + pickled + b".", words) < 3 << 20, pickled[:12]


def test_keys_that_collide(attack):
    attack(b"\x80\x02}" + saved.integer(1 << 63) + b"Ns.", "a dictionary's key is 9223372036854775808")
    attack(b"\x80\x02}G?\xf0\x00\x00\x00\x00\x00\x00Ns.", "a dictionary's key is 1.0")
    attack(b"\x80\x02}]Ns.", "a dictionary's key is a list")


def test_too_many_arguments(attack):
    attack(b"\x80\x02ccollections\nOrderedDict\n(" + b"N" * 65 + b"tR.", "up to 64 arguments")


# tensors

HUGE = 1 << 62


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        (dict(count=5), "claims 20 bytes: its record has 16"),
        (dict(count=HUGE), f"claims {4 * HUGE} bytes"),
        (dict(count=-1), "-1 elements"),
        (dict(shape=(5,)), "it ends at element 5 of a storage of 4"),
        (dict(offset=1), "it ends at element 5 of a storage of 4"),
        (dict(offset=-1), "begins at element -1"),
        (dict(offset=1 << 63), "begins at element"),
        (dict(offset=HUGE), "of a storage of 4"),
        (dict(shape=(-4,)), "shape is not"),
        (dict(shape=(1 << 64,)), "shape is not"),
        (dict(shape=(HUGE, HUGE), strides=(0, 0)), "overlap"),
        (dict(shape=(HUGE,), strides=(0,)), "overlap"),
        (dict(shape=(65536, 65536), strides=(0, 0)), "overlap"),
        (dict(shape=(3, 2), strides=(1, 1)), "overlap"),
        (dict(shape=(2, 3), strides=(1, 1)), "overlap"),
        (dict(shape=(4,), strides=(2,)), "it ends at element 7"),
        (dict(shape=(4,), strides=(-1,)), "strides is not"),
        (dict(shape=(2, 2), strides=(1,)), "with 1 strides"),
        (dict(shape=(1,) * 9, strides=(1,) * 9), "shape is not"),
        (dict(shape=(2, 2), strides=(HUGE, HUGE)), "of a storage of 4"),
        (dict(kind="Tensor"), "a storage of the class 'torch.Tensor'"),
        (dict(kind="float32"), "'0' claims"),
        (dict(key="1"), "has no record"),
        (dict(key="../data.pkl"), "has no record"),
    ],
    ids=str,
)
def test_a_tensor_that_claims_what_its_storage_does_not_have(file, numbers, words):
    if numbers == dict(kind="float32"):
        numbers, words = dict(kind="float32", count=5), "claims 20 bytes"
    pickled = saved.pickled_dict(state_dict=b"}" + saved.short("head.bias") + saved.pickled_tensor(**numbers) + b"s")
    refused(file, saved.around(pickled, **{"0": saved.floats(1, 2, 3, 4)}), words)


def test_a_legacy_storage_that_claims_more_than_its_record(file):
    pickled = saved.pickled_dict(a=saved.pickled_tensor())
    good = (4).to_bytes(8, "little") + saved.floats(1, 2, 3, 4)
    refused(file, legacy(pickled, ["0"], good), "not a VAN: 1 entries, 'a' first")  # so the file itself is sound
    refused(file, legacy(pickled, ["0"], (5).to_bytes(8, "little") + saved.floats(1, 2, 3, 4, 5)), "claims 4 elements", "has 5")
    refused(file, legacy(pickled, ["0"], good[:-1]), "ends 1 bytes after the file")
    refused(file, legacy(pickled, ["0"], good + b"x"), "1 bytes follow the last storage")
    refused(file, legacy(pickled, ["0", "0"], good * 2), "listed twice")
    refused(file, legacy(pickled, ["1"], good), "described nowhere")
    claims = pickled.replace(saved.integer(4) + b"tQ", saved.integer(HUGE) + b"tQ")
    refused(file, legacy(claims, ["0"], good), f"claims {HUGE} elements", "its record has 4")
    two = saved.pickled_dict(a=saved.pickled_tensor(), b=saved.pickled_tensor(count=2, shape=(2,)))
    refused(file, legacy(two, ["0"], good), "described in two ways")
    refused(file, legacy(pickled, [["0"]], good), "storage a list in the list")


def test_a_few_bytes_seen_by_many_tensors(file):
    """Each tensor is sound by itself; together they would make gigabytes of a file of 40 kilobytes."""
    config = saved.SMALLEST
    state = saved.state_dict(config)
    flat = torch.zeros(10_000)
    state = {name: flat[:: 9999 // (tensor.numel() - 1)][: tensor.numel()].view(tensor.shape) if tensor.numel() > 1 else tensor
             for name, tensor in state.items()}  # fmt: skip
    saved.save(state, file)
    refused(file, file.read_bytes(), "times its size")


def test_a_persistent_id_that_is_no_storage(attack):
    for identifier in (b"N", b")", b"K\x01", saved.short("0"), b"(K\x01t", b"(" + saved.short("file") + b"t"):
        attack(b"\x80\x02" + identifier + b"Q.", "persistent id")


def test_arguments_of_the_wrong_kind(attack):
    for name in ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3"):
        for args in (b")", b"N\x85", b"(NNNNt", b"(" + b"]" * 8 + b"t", b"(" + b"K\x01" * 8 + b"t"):
            attack(b"\x80\x02ctorch._utils\n" + name.encode() + b"\n" + args + b"R.")
    for call in (b"ctorch\nSize\n)R", b"ctorch\nSize\nK\x01\x85R", b"ccollections\nOrderedDict\nK\x01\x85R",
                 b"ccollections\nOrderedDict\n](K\x01K\x02ee\x85R", b"ctorch._tensor\n_rebuild_from_type_v2\n)R",
                 b"ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._tensor\n_rebuild_from_type_v2\nN)NtR",
                 b"ctorch\nFloatStorage\n)R", b"ctorch\nfloat32\n)R", b"cbuiltins\nset\nNR"):  # fmt: skip
        attack(b"\x80\x02" + call + b".")


def test_items_put_where_none_go(attack):
    for tail in (b"NNa.", b"N(Ne.", b"NNNs.", b"N(NNu.", b"}(Nu.", b"}(N\x90.", b"](NNu.", b"}Na."):
        attack(b"\x80\x02" + tail)


# zip files


@pytest.fixture
def records(tmp_path):
    """The records of a sound checkpoint, under the folder 'net'."""
    return saved.records(saved.save(saved.state_dict(saved.SMALLEST), tmp_path / "net.pth"))


def test_a_second_data_pkl(file, records):
    pickled = records["net/data.pkl"]
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = saved.zip_of([*records.items(), ("net/data.pkl", pickled)])
    refused(file, twice, "'net/data.pkl'", "two of that name")
    refused(file, saved.zip_of([*records.items(), ("other/data.pkl", pickled)]), "'other/data.pkl' outside 'net'")
    refused(file, saved.zip_of([("other/data.pkl", pickled), *records.items()]), "outside 'other'")
    refused(file, saved.zip_of([*records.items(), ("net/DATA.PKL", pickled)]), "apart from case")
    refused(file, saved.zip_of([*records.items(), ("data.pkl", pickled)]), "outside 'net'")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressed_records(file, records, method):
    refused(file, saved.zip_of(records, method), "is compressed")


def test_encrypted_records(file, records):
    data = bytearray(saved.zip_of(records))
    for signature, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(signature) + place] |= 1
    refused(file, bytes(data), "is encrypted")


def test_bytes_before_between_and_after_the_records(file, records):
    data = saved.zip_of(records)
    refused(file, b"PK\3\4" + data, "before its first record")
    refused(file, data + b"x", "something follows it")
    refused(file, data + data, "before its first record")
    end = data.rindex(b"PK\5\6")
    commented = data[: end + 20] + struct.pack("<H", 5) + b"hello"
    refused(file, commented, "something follows it")
    start = struct.unpack_from("<L", data, end + 16)[0]
    moved = data[:start] + b"hidden" + data[start:end] + data[end : end + 16] + struct.pack("<L", start) + data[end + 20 :]
    refused(file, moved, "before its first record or after its last")


@pytest.mark.parametrize("name", ["/etc/passwd", "../net/data/0", "net", "net\\data\\0", "NET/data/0", ""])
def test_a_record_outside_the_folder(file, records, name):
    refused(file, saved.zip_of([*records.items(), (name, b"x")]))


def test_a_local_header_that_contradicts_the_directory(file, records):
    data = saved.zip_of(records)
    names = data.replace(b"net/data.pkl", b"net/data.pk1", 1)  # the local header's name comes first
    refused(file, names, "its header contradicts the directory")
    for place, name in ((18, "packed size"), (22, "size"), (14, "checksum")):
        changed = bytearray(data)
        changed[place] ^= 1
        refused(file, bytes(changed), "contradicts the directory"), name
    changed = bytearray(data)
    changed[8] = 8
    refused(file, bytes(changed), "is compressed")


def test_records_that_overlap(file, records):
    data = bytearray(saved.zip_of(records))
    central = [i for i in range(len(data)) if data[i : i + 4] == b"PK\1\2"]
    struct.pack_into("<L", data, central[1] + 42, 0)  # the second record is said to begin where the first does
    refused(file, bytes(data), "does not follow the one before it")
    data = bytearray(saved.zip_of(records))
    for place in (20, 24):
        struct.pack_into("<L", data, central[0] + place, len(data))
    refused(file, bytes(data))


def test_a_wrong_checksum(file, records):
    pickled = records["net/data.pkl"]
    refused(file, saved.zip_of(records).replace(pickled, pickled[:-1] + b"0"), "its checksum is wrong")
    data = bytearray(saved.zip_of(records))
    data[data.index(records["net/data/0"]) + 1] ^= 1
    refused(file, bytes(data), "patch_embed1.proj.weight: zip record 'net/data/0': its checksum is wrong")


def test_a_damaged_end(file, records):
    data = saved.zip_of(records)
    end = data.rindex(b"PK\5\6")
    for place, value in ((4, 1), (6, 1), (8, 1), (10, 1), (12, 1), (16, 1), (20, 1)):
        changed = bytearray(data)
        changed[end + place] ^= value
        refused(file, bytes(changed))
    new = saved.save(saved.state_dict(saved.SMALLEST), file).read_bytes()
    for signature in (b"PK\6\6", b"PK\6\7"):
        start = new.rindex(signature)
        for place in range(20 if signature == b"PK\6\7" else 56):
            if signature == b"PK\6\6" and place in (12, 13, 14, 15):  # versions of the zip standard: nobody minds
                continue
            changed = bytearray(new)
            changed[start + place] ^= 0x80
            file.write_bytes(bytes(changed))
            with contextlib.suppress(CheckpointError):
                assert read(file).config == saved.SMALLEST  # the older end says the same and is sound


def test_cut_short_anywhere(file):
    for legacy in (False, True):
        whole = saved.save(saved.training_checkpoint(saved.state_dict(saved.SMALLEST)), file, legacy).read_bytes()
        for size in [*range(0, 600, 7), *range(600, len(whole), 97), *range(len(whole) - 60, len(whole))]:
            file.write_bytes(whole[:size])
            with pytest.raises(CheckpointError):
                read(file)


def test_a_byte_order_that_is_none(file, records):
    records["net/byteorder"] = b"middle"
    refused(file, saved.zip_of(records), "byte order 'middle'")


# other files


OTHERS = {
    "empty": (b"", "the file is empty"),
    "text": (b"these are not weights\n" * 50, "a text file"),
    "web page": (b"\n<!DOCTYPE html><html><body>404</body></html>", "a web page"),
    "git lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n", "a Git LFS pointer"),
    "gzip": (b"\x1f\x8b\x08\0" + bytes(99), "a gzip file"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(99), "an HDF5 file"),
    "npy": (b"\x93NUMPY\x01\0" + bytes(99), "a NumPy array"),
    "jpeg": (b"\xff\xd8\xff\xe0" + bytes(99), "a JPEG image"),
    "zeros": (bytes(1000), "neither a PyTorch nor a safetensors file"),
    "pickle": (pickle.dumps({"a": 1}), "a pickle that torch.save did not write"),
    "pickled list": (pickle.dumps([1, 2]), "a pickle that torch.save did not write"),
    "empty zip": (saved.zip_of({}), "an empty zip file"),
    "npz": (saved.zip_of({"a.npy": b"x"}), "NumPy arrays (.npz)"),
    "other zip": (saved.zip_of({"word/document.xml": b"x"}), "'word/document.xml' first"),
    "TorchScript": (saved.zip_of({"m/data.pkl": b"x", "m/constants.pkl": b"y"}), "a TorchScript program"),
}


@pytest.mark.parametrize(("data", "words"), OTHERS.values(), ids=OTHERS)
def test_other_files_are_called_what_they_are(file, data, words):
    refused(file, data, words)


def test_the_old_tar_format(file):
    import io
    import tarfile

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("sys_info", "pickle", "tensors", "storages"):
            tar.addfile(tarfile.TarInfo(name))
    refused(file, buffer.getvalue(), "a tar file", "PyTorch's format before")


@pytest.mark.filterwarnings("ignore:.*is deprecated")
def test_torch_jit(file):
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(file))
    refused(file, file.read_bytes(), "a TorchScript program")


def test_names_in_messages_cannot_move_the_cursor(attack, file):
    attack(b"\x80\x02c\x1b[2Jos\nsys\x07tem\n.", r"\x1b[2Jos.sys\x07tem")
    refused(file, saved.zip_of({"\x1b[31m/data.pkl": b"x", "\x1b[31m/\r": b"y"}))


def test_numpy_is_not_asked_to_unpickle(file):
    np.save(file.with_suffix(".npy"), np.array([Call(os.system, "true")], dtype=object), allow_pickle=True)
    refused(file, file.with_suffix(".npy").read_bytes(), "a NumPy array")
