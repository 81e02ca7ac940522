"""Every known trick with a zip file: one line says what was found."""

import contextlib
import struct
import zipfile

import pytest
from support import saved
from support.watch import refused

from minivan.checkpoint import CheckpointError, read


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
        for size in [*range(0, 600, 17), *range(600, len(whole), 293), *range(len(whole) - 60, len(whole), 3), len(whole) - 1]:
            file.write_bytes(whole[:size])
            with pytest.raises(CheckpointError):
                read(file)


def test_a_byte_order_that_is_none(file, records):
    records["net/byteorder"] = b"middle"
    refused(file, saved.zip_of(records), "byte order 'middle'")
