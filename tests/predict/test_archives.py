"""Archives are read like folders, nothing of them is unpacked onto the disk, and what they claim is bounded."""

import io
import os
import random
import struct
import subprocess
import tarfile
import tracemalloc
import zipfile
import zlib

import pytest
from support import EXAMPLES, ROOT

from minivan.card import PRESETS
from minivan.evaluate import open_dataset
from minivan.image import SUFFIXES
from minivan.input import amount
from minivan.predict import Found, archives, find_images, prepare_ahead
from minivan.predict.archives import DEFLATED, ArchiveError, Member, members

pytestmark = pytest.mark.loop

COFFEE, CAT = ((EXAMPLES / name).read_bytes() for name in ("coffee.jpg", "cat.jpg"))
FILES = {
    "b/cat.jpg": CAT, "a/coffee": COFFEE, "notes.txt": b"words", "__MACOSX/b/._cat.jpg": b"\0\5", "b/.DS_Store": b"\0",
    "b/Thumbs.db": b"x", "c" * 150 + ".jfif": COFFEE, "ünïcode.PNG": b"no image",
}  # fmt: skip
HARD = "d" * 120 + ".jpg"
IMAGES = ["a/coffee", "b/cat.jpg", "c" * 150 + ".jfif", HARD, "ünïcode.PNG"]


def zipped(path, method=zipfile.ZIP_DEFLATED, files=FILES):
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.mkdir("a")
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def tarred(path, form=tarfile.PAX_FORMAT):
    with tarfile.open(path, "w", format=form) as archive:
        for name, data in FILES.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
        for name, kind, target in (
            ("soft.jpg", tarfile.SYMTYPE, "/etc/passwd"), ("away.jpg", tarfile.LNKTYPE, "no/such.jpg"),
            (HARD, tarfile.LNKTYPE, "c" * 150 + ".jfif"), ("holes.jpg", tarfile.GNUTYPE_SPARSE, ""),
        ):  # fmt: skip
            link = tarfile.TarInfo(name)
            link.type, link.linkname = kind, target
            archive.addfile(link)
    return path


@pytest.fixture(params=["deflated", "stored", "pax", "gnu", "ustar"])
def archive(request, tmp_path):
    if request.param in ("deflated", "stored"):
        return zipped(tmp_path / "photos.zip", zipfile.ZIP_STORED if request.param == "stored" else zipfile.ZIP_DEFLATED)
    if request.param == "ustar":  # its names are shorter
        folder = tmp_path / "in"
        for name in ("b/cat.jpg", "a/coffee", "notes.txt"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(FILES[name])
        subprocess.run(["tar", "--format=ustar", "-cf", tmp_path / "photos.tar", "-C", folder, "."], check=True)
        return tmp_path / "photos.tar"
    return tarred(tmp_path / "photos.tar", tarfile.GNU_FORMAT if request.param == "gnu" else tarfile.PAX_FORMAT)


def test_an_archive_is_read_like_a_folder(archive):
    before = sorted(os.listdir(archive.parent))
    found = find_images([archive])
    names = [os.path.normpath(os.path.relpath(image.name, archive)) for image in found]
    assert names == [name for name in IMAGES if name in names] and names[:2] == IMAGES[:2] and not any(i.fault for i in found)
    assert [image.source() for image in found][:2] == [COFFEE, CAT] and found[0].size == len(COFFEE)
    links = HARD in names
    assert links == (archive.suffix == ".tar" and len(names) > 2)
    said = "4 files are no images: away.jpg, holes.jpg, notes.txt, ..." if links else "1 file is no image: notes.txt"
    assert found.said_of_others() == said
    assert all(image.source() == COFFEE for image in found if image.name.endswith(HARD))
    ready = list(prepare_ahead(found, PRESETS["official"]))
    assert [image.fault for image in ready][:2] == ["", ""] and sorted(os.listdir(archive.parent)) == before


def test_patterns_find_archives_and_folders_leave_them_out(tmp_path):
    zipped(tmp_path / "photos.zip", files={"cat.jpg": CAT})
    assert [image.name for image in find_images([tmp_path / "*.zip"])] == [f"{tmp_path}/photos.zip/cat.jpg"]
    (tmp_path / "cat.jpg").write_bytes(CAT)
    found = find_images([tmp_path])
    assert [image.name for image in found] == [str(tmp_path / "cat.jpg")]
    assert found.said_of_others() == "1 file is no image: photos.zip"


def test_a_file_in_an_archive_is_no_other_file_whatever_its_name(tmp_path):
    """Names lead nowhere: one that climbs out of its archive is not the file in the archive beside it."""
    zipped(tmp_path / "a.zip", files={"../b.zip/x.jpg": CAT, "y.jpg": CAT, "./y.jpg": COFFEE})
    zipped(tmp_path / "b.zip", files={"x.jpg": COFFEE})
    found = find_images([tmp_path / "a.zip", tmp_path / "b.zip", f"{tmp_path}/./b.zip"])
    assert [image.source() for image in found] == [CAT, COFFEE, CAT, COFFEE]


def test_large_archives_have_their_numbers_elsewhere(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive, archive.open("cat.jpg", "w", force_zip64=True) as file:
        file.write(CAT)
    data = (tmp_path / "a.zip").read_bytes()
    (listed,) = members(str(tmp_path / "a.zip"))
    assert listed.read(1 << 20) == CAT
    end = data.rindex(b"PK\5\6")
    length, start = struct.unpack("<II", data[end + 12 : end + 20])
    large = b"PK\6\6" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, 1, 1, length, start)
    locator = b"PK\6\7" + struct.pack("<IQI", 0, end, 1)
    tail = data[end : end + 12] + b"\xff" * 8 + data[end + 20 :]
    (tmp_path / "a.zip").write_bytes(data[:end] + large + locator + tail)
    assert members(str(tmp_path / "a.zip")) == [listed]


def changed(data, old, new):
    assert data.count(old)
    return data.replace(old, new)


def test_what_an_archive_says_wrongly_is_one_line(tmp_path, monkeypatch):
    whole = zipped(tmp_path / "a.zip", files={"cat.jpg": CAT}).read_bytes()
    central = whole.rindex(b"PK\1\2")
    cases = {
        "no zip file": b"no archive",
        "it is not what the archive says": whole[: central + 16] + bytes(4) + whole[central + 20 :],
        "damaged: it does not lie where": whole[: central + 42] + b"\x05\0\0\0" + whole[central + 46 :],
        "packed by method 99": whole[: central + 10] + b"\x63\0" + whole[central + 12 :],
        "encrypted": whole[: central + 8] + b"\1\0" + whole[central + 10 :],
        "more than the limit of": whole[: central + 24] + b"\xfe\xff\xff\xff" + whole[central + 28 :],
        "its files lie over one another": whole[: central + 20] + struct.pack("<I", len(whole) + 1) + whole[central + 24 :],
        "damaged, in its list": whole[:central] + b"PK\1\3" + whole[central + 4 :],
    }
    for said, data in cases.items():
        (tmp_path / "a.zip").write_bytes(data)
        with pytest.raises(ArchiveError, match=said):
            [member.read(512 << 20) for member in members(str(tmp_path / "a.zip"))]
    (tmp_path / "a.tar").write_bytes(b"x" + tarred(tmp_path / "b.tar").read_bytes())
    (fault,) = find_images([tmp_path / "a.tar"])
    assert fault.fault == "the archive cannot be read: no tar file, or one that is damaged"
    with tarfile.open(tmp_path / "a.tar", "w") as made:
        made.addfile(tarfile.TarInfo("x" * 70_000 + ".jpg"))
    (fault,) = find_images([tmp_path / "a.tar"])
    assert fault.fault == "the archive cannot be read: damaged: a name of 70,004 characters"
    monkeypatch.setattr(archives, "MOST_FILES", 2)
    for path in (tarred(tmp_path / "c.tar"), zipped(tmp_path / "c.zip")):
        (fault,) = find_images([path])
        assert "more than 2 files" in fault.fault


def test_of_a_tar_that_ends_early_there_is_what_is_whole_and_it_is_said(tmp_path):
    whole, path = tarred(tmp_path / "whole.tar").read_bytes(), tmp_path / "a.tar"
    second = whole.index(b"a/coffee")
    for end in (second, second + 512, second + 2000, second - 512, second + 100):  # between two files, and in the midst of them
        path.write_bytes(whole[:end])
        first, *rest = find_images([path])
        assert first == Found(str(path), "it ends early, without tar's mark of its end: files may be missing")
        assert [image.source() for image in rest] == ([CAT] if end >= second else [])
        with pytest.raises(ValueError, match=r"a\.tar: it ends early, without tar's mark of its end"):
            open_dataset(path)
    path.write_bytes(whole[: whole.rindex(b"ustar") // 512 * 512 + 1024])  # one block of zeros is a mark
    assert not any(image.fault for image in find_images([path]))


def test_a_photo_with_the_ending_of_an_archive_is_a_photo(tmp_path):
    for name in ("a.zip", "b.tar"):
        (tmp_path / name).write_bytes(CAT)
    assert find_images([tmp_path / "a.zip", f"{tmp_path}/*.tar"]) == [
        Found(str(tmp_path / name)) for name in ("a.zip", "b.tar")
    ]


def test_a_bomb_is_not_unpacked_beyond_what_it_says(tmp_path):
    """Of a file without an ending the first bytes are unpacked, no more; behind the end of what is packed nothing is read."""
    work = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = work.compress(b"x" * 99) + work.flush()
    (tmp_path / "b.zip").write_bytes(packed + bytes(8 << 20))
    zipped(tmp_path / "a.zip", files={"bomb": bytes(50 << 20), "bomb.jpg": bytes(50 << 20)})
    tracemalloc.start()
    try:
        (found,) = find_images([tmp_path / "a.zip"])
        with pytest.raises(ArchiveError, match=r"50 MiB is more than the limit of 1 MiB"):
            found.member.read(1 << 20)
        assert Member(str(tmp_path / "b.zip"), "x", 0, len(packed) + (8 << 20), 200, DEFLATED).first(200) == b"x" * 99
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("make", [zipped, tarred])
def test_damaged_archives_are_files_or_one_line(make, tmp_path):
    files = {"b/cat.jpg": b"a photo", "a/coffee": b"\xff\xd8\xff"}
    path = tmp_path / ("a.zip" if make is zipped else "a.tar")
    whole = make(path, files=files).read_bytes() if make is zipped else make(path).read_bytes()
    draw = random.Random(0)
    for _ in range(150):
        data = bytearray(whole[: draw.randrange(len(whole)) if draw.random() < 0.2 else len(whole)])
        for _ in range(draw.randint(1, 6)):
            if data:
                data[draw.randrange(len(data))] = draw.choice([0, 1, 32, 48, 57, 120, 127, 255])
        path.write_bytes(data)
        for found in find_images([path]):
            try:
                assert found.fault or isinstance(found.source(), bytes)
            except ValueError as error:
                assert len(str(error).splitlines()) == 1


def test_the_documentation_states_the_limits():
    text = (ROOT / "docs" / "robustness.md").read_text(encoding="utf-8")
    said = f"| {archives.MOST_FILES:,} | files that an archive lists, a zip's list taking {amount(archives.LARGEST_DIRECTORY)}"
    assert said in text
    assert "files of thirty endings" in (ROOT / "docs" / "images.md").read_text(encoding="utf-8") and len(SUFFIXES) == 30
