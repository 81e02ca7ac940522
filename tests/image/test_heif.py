"""What the boxes of AVIF and HEIC files say, of files that are made of boxes alone."""

import struct

import pytest

from minivan import image
from minivan.image import ImageError, spaces
from minivan.image.bounds import Steps
from minivan.image.headers import heif

pytestmark = pytest.mark.loop


def box(name, body):
    return struct.pack(">I", 8 + len(body)) + name + body


def nclx(primaries):
    return box(b"colr", b"nclx" + struct.pack(">HHHB", primaries, 13, 0, 128))


SIZE = box(b"ispe", bytes(4) + struct.pack(">II", 9, 9))
PROPERTIES = box(b"ipco", SIZE + nclx(9) + nclx(12))
P3 = (spaces.coded(12, 13),)


def stated(wide, given, references=b""):
    """Return the colours of a file that shows picture 5, and gives the third or the second property to some pictures."""

    def number(picture):
        return struct.pack(">I" if wide else ">H", picture)

    def index(place):
        return struct.pack(">H", 0x8000 | place) if wide else bytes([0x80 | place])

    head = bytes([wide, 0, 0, 0])
    pairs = b"".join(number(picture) + bytes([2]) + index(1) + index(place) for picture, place in given)
    properties = box(b"iprp", PROPERTIES + box(b"ipma", bytes([wide, 0, 0, wide]) + struct.pack(">I", len(given)) + pairs))
    parts = b""
    for name, of, *others in references:
        parts += box(name, number(of) + struct.pack(">H", len(others)) + b"".join(map(number, others)))
    body = bytes(4) + box(b"pitm", head + number(5)) + properties + box(b"iref", head + parts)
    return heif.avif(box(b"ftyp", b"avif\0\0\0\0avif") + box(b"meta", body), Steps()).colours


@pytest.mark.parametrize("wide", [False, True])
def test_codes_belong_to_the_picture_that_is_shown(wide):
    """Or to its parts, and not to its thumbnail or its transparency."""
    assert stated(wide, [(7, 2), (5, 3)]) == P3
    assert stated(wide, [(7, 2)], [(b"thmb", 7, 5)]) == ()
    assert stated(wide, [(7, 2), (9, 3)], [(b"thmb", 7, 5), (b"dimg", 7, 7), (b"dimg", 5, 8, 9)]) == P3


def test_a_film_without_a_picture_is_said_to_be_one(monkeypatch):
    monkeypatch.setattr("minivan.image.decoding.check_readable", lambda kind: None)
    data = box(b"ftyp", b"msf1\0\0\0\0msf1hevc") + box(b"moov", box(b"trak", b"")) + box(b"mdat", bytes(99))
    with pytest.raises(ImageError, match=r"^a HEIC film, which minivan does not read: export a picture of it as JPEG or PNG$"):
        image.decode(data)
    with pytest.raises(ImageError, match="states no size"):
        image.decode(data.replace(b"moov", b"free"))
