"""ICC profiles written by the tests from the specification (ICC.1), and what colours they mean, computed in float64."""

import struct
import zlib
from functools import cache

import numpy as np

from support.pictures import chunk, encode, segment

D65, D50 = (0.3127, 0.3290), (0.3457, 0.3585)
SPACES = {  # name -> red, green, blue, white, exponent
    "Display P3": ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), D65, 2.2),
    "Adobe RGB": ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06), D65, 2.2),
    "ProPhoto": ((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001), D50, 1.8),
    "sRGB": ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), D65, 0),
}
NAMES = (b"rXYZ", b"gXYZ", b"bXYZ")
CONES = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
WHITE = np.array([0.9642, 1, 0.8249])


def to_d50(space):
    """Return the matrix from light of red, green and blue to XYZ, relative to D50."""
    *points, white, _ = space
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in points]).T
    x, y = white
    xyz = np.array([x / y, 1, (1 - x - y) / y])
    columns = columns * np.linalg.solve(columns, xyz)
    return np.linalg.inv(CONES) @ np.diag((CONES @ WHITE) / (CONES @ xyz)) @ CONES @ columns


def light(values, gamma):
    return values**gamma if gamma else np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def in_srgb(pixels, space):
    """Return what 8-bit pixels (..., 3) of a space are in sRGB, in 0..255, not rounded: relative colorimetric, clipped."""
    xyz = light(np.asarray(pixels) / 255, space[-1]) @ to_d50(space).T
    linear = np.clip(xyz @ np.linalg.inv(to_d50(SPACES["sRGB"])).T, 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055)


def numbers(*values):
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def curve(gamma):
    if gamma:
        return b"para\0\0\0\0\0\0\0\0" + numbers(gamma)
    return b"para\0\0\0\0\0\3\0\0" + numbers(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def written(space, tags, inside=b"XYZ ", kind=b"mntr", version=0x02400000):
    """Return a profile of tags, name -> body."""
    table, body, start = b"", b"", 132 + 12 * len(tags)
    for name, data in tags.items():
        data += bytes(-len(data) % 4)
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data
    head = struct.pack(">I4sI4s4s4s12s4s", start + len(body), b"lcms", version, kind, space, inside, bytes(12), b"acsp")
    return head + bytes(28) + numbers(*WHITE) + bytes(48) + struct.pack(">I", len(tags)) + table + body


@cache
def profile(name, *codes):
    """Return the profile of one of SPACES, with codes beside its curves if they are given."""
    space = SPACES[name]
    points = {key: b"XYZ \0\0\0\0" + numbers(*column) for key, column in zip(NAMES, to_d50(space).T, strict=True)}
    said = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(78)
    more = {b"cicp": b"cicp\0\0\0\0" + bytes(codes)} if codes else {}
    return written(b"RGB ", {b"desc": said, **points, **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve(space[-1])), **more})


def grey_profile(gamma):
    return written(b"GRAY", {b"wtpt": b"XYZ \0\0\0\0" + numbers(*WHITE), b"kTRC": curve(gamma)})


def inks_profile(tag=b"A2B0"):
    """Return a profile of inks: a table of two values each, from inks to Lab, black where there is any K."""
    straight = b"".join(struct.pack(">H", value) for value in (0, 65535))
    corners = []
    for i in range(16):
        c, m, y, k = (i >> 3) & 1, (i >> 2) & 1, (i >> 1) & 1, i & 1
        corners.append((0 if k else 100 - 30 * (c + m + y), 0 if k else 60 * (m - c), 0 if k else 60 * (y - c)))
    scaled = [(l_ * 652.8, 256 * (a + 128), 256 * (b + 128)) for l_, a, b in corners]
    table = b"".join(struct.pack(">HHH", *map(round, each)) for each in scaled)
    body = b"mft2\0\0\0\0" + bytes([4, 3, 2, 0]) + numbers(1, 0, 0, 0, 1, 0, 0, 0, 1) + struct.pack(">HH", 2, 2)
    return written(b"CMYK", {tag: body + straight * 4 + table + straight * 3}, b"Lab ", b"prtr")


def with_profile(picture, kind, icc):
    """Return an image file of a kind, without loss but for JPEG and AVIF, with a profile in it."""
    if kind in ("JPEG", "PNG", "TIFF", "AVIF", "WEBP"):
        more = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}, "AVIF": {"quality": 100}}.get(kind, {})
        return encode(picture, kind, icc_profile=icc, **more)
    data = encode(picture, kind)
    if kind == "GIF":
        blocks = b"".join(bytes([len(icc[i : i + 255])]) + icc[i : i + 255] for i in range(0, len(icc), 255))
        place = data.index(b",", 13 + 3 * 256) if picture.mode == "P" else data.index(b",")
        return data[:place] + b"!\xff\x0bICCRGBG1012" + blocks + b"\0" + data[place:]
    if kind == "JPEG2000":
        place = data.index(b"colr") - 4
        size = int.from_bytes(data[place : place + 4])
        box = struct.pack(">I", 11 + len(icc)) + b"colr\2\0\0" + icc
        head = data.index(b"jp2h") - 4
        grown = struct.pack(">I", int.from_bytes(data[head : head + 4]) + len(box) - size)
        return data[:head] + grown + data[head + 4 : place] + box + data[place + size :]
    assert kind == "BMP"
    pixels = data[54:]
    head = struct.pack("<IiiHHIIiiII", 124, *picture.size, 1, 24, 0, len(pixels), 0, 0, 0, 0) + bytes(16) + b"DEBM" + bytes(48)
    head += struct.pack("<IIII", 4, 124 + len(pixels), len(icc), 0)
    return b"BM" + struct.pack("<IHHI", 138 + len(pixels) + len(icc), 0, 0, 138) + head + pixels + icc


def png_with(picture, *chunks):
    """Return a PNG file with chunks of one's own, (name, body), before its pixels."""
    data = encode(picture)
    return data[:33] + b"".join(chunk(*each) for each in chunks) + data[33:]


def packed(icc):
    """Return the body of an iCCP chunk."""
    return b"icc\0\0" + zlib.compress(icc)


def in_segments(icc, each, change=lambda parts: parts):
    """Return a profile as the segments of a JPEG file, so many bytes in each."""
    parts = [icc[i : i + each] for i in range(0, len(icc), each)]
    numbered = [b"ICC_PROFILE\0" + bytes([i, len(parts)]) + part for i, part in enumerate(parts, start=1)]
    return b"".join(segment(0xE2, part) for part in change(numbered))
