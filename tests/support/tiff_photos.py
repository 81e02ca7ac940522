"""TIFF photos of any samples, written from the specification (TIFF 6.0) without any library."""

import lzma
import struct
import zlib

import numpy as np

RAW, LZW, DEFLATE, PACKBITS, LZMA = 1, 5, 8, 32773, 34925
DIFFERENCES = 2  # a predictor
MIRRORED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))
FORMATS = {"u": 1, "i": 2, "f": 3}


def packed(compression, data):
    """Return bytes packed as a reader has to unpack them, if not smaller."""
    if compression == DEFLATE:
        return zlib.compress(data)
    if compression == LZMA:
        return lzma.compress(data)
    if compression == PACKBITS:
        runs = [data[i : i + 128] for i in range(0, len(data), 128)]
        return b"".join(bytes([len(run) - 1]) + run for run in runs)
    if compression == LZW:  # every byte its own code of 9 bits, and the table cleared before codes need more
        codes = [code for i, byte in enumerate(data) for code in ([256, byte] if i % 200 == 0 else [byte])]
        bits = "".join(f"{code:09b}" for code in [*codes, 257])
        return int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8))
    return data


def as_bytes(block, bits, order):
    """Return samples (H, W, C) as rows of bits, each row filled up to a byte."""
    if bits == 8 * block.dtype.itemsize:
        return block.astype(block.dtype.newbyteorder(order)).tobytes()
    rows = block.reshape(len(block), -1).astype(np.uint64)
    digits = (rows[..., None] >> np.arange(bits - 1, -1, -1, dtype=np.uint64)) & np.uint64(1)
    return np.packbits(digits.astype(np.uint8).reshape(len(block), -1), axis=1).tobytes()


def differences(block):
    """Return what each sample adds to the one on its left, of (H, W, C)."""
    whole = block.view(f"u{block.dtype.itemsize}")
    return np.concatenate([whole[:, :1], whole[:, 1:] - whole[:, :-1]], axis=1)


def photo_tiff(array, photometric, bits=None, planar=False, tile=None, rows=None, compression=RAW, order="<", changed=None):
    """Return a file of an array (H, W, C) of samples of so many bits: planar or not, in strips of `rows`, or in tiles.

    `changed` are further entries by their tags, each a list of short numbers; those of none are left out. Where 317 says so,
    samples that fill bytes are stored as their differences, and where 266 does, the lowest bit of each byte first.
    """
    height, width, count = array.shape
    bits = bits or 8 * array.dtype.itemsize
    high, wide = (tile, tile) if tile else (rows or height, width)
    chunks = []
    for part in np.moveaxis(array, 2, 0)[..., None] if planar else [array]:
        for top in range(0, height, high):
            for left in range(0, width, wide):
                block = part[top : top + high, left : left + wide]
                if tile:
                    block = np.pad(block, ((0, high - block.shape[0]), (0, wide - block.shape[1]), (0, 0)))
                if (changed or {}).get(317) == [DIFFERENCES]:
                    block = differences(block)
                chunk = packed(compression, as_bytes(block, bits, order))
                chunks.append(chunk.translate(MIRRORED) if (changed or {}).get(266) == [2] else chunk)
    starts, sizes = np.cumsum([8, *map(len, chunks)])[:-1].tolist(), list(map(len, chunks))
    shorts = {258: [bits] * count, 259: [compression], 262: [photometric], 277: [count], 284: [2 if planar else 1]}
    shorts |= {339: [FORMATS[array.dtype.kind]] * count} | (changed or {})
    longs = {256: [width], 257: [height]}
    longs |= {322: [tile], 323: [tile], 324: starts, 325: sizes} if tile else {273: starts, 278: [high], 279: sizes}
    body = b"".join(chunks)
    body += bytes(len(body) % 2)
    entries, more = b"", b""
    for tag, kind, values in sorted([(t, 3, v) for t, v in shorts.items() if v] + [(t, 4, v) for t, v in longs.items()]):
        raw = struct.pack(f"{order}{len(values)}{'H' if kind == 3 else 'I'}", *values)
        if len(raw) > 4:
            more, raw = more + raw + bytes(len(raw) % 2), struct.pack(f"{order}I", 8 + len(body) + len(more))
        entries += struct.pack(f"{order}HHI", tag, kind, len(values)) + raw.ljust(4, b"\0")
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8 + len(body) + len(more))
    return head + body + more + struct.pack(f"{order}H", len(entries) // 12) + entries + bytes(4)
