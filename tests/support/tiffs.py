"""TIFF files of many bands, written from the specification (TIFF 6.0): Pillow writes none."""

import struct
import zlib

import numpy as np

FORMATS = {"u": 1, "i": 2, "f": 3}
NONE, DEFLATE = 1, 8
SHORT, LONG = 3, 4


def bands_tiff(array, planar=False, tile=None, rows=None, compression=NONE, predictor=1, order="<", changed=None):
    """Return a file of an array (H, W, C): chunky or planar, in strips of `rows` or tiles of `tile` pixels a side.

    `changed` are entries by their tags: (type, values), or None for one to leave out.
    """
    height, width, count = array.shape
    high, wide = (tile, tile) if tile else (rows or height, width)
    padded = np.zeros((-(-height // high) * high, -(-width // wide) * wide, count), array.dtype)
    padded[:height, :width] = array
    chunks = []
    for part in np.moveaxis(padded, 2, 0)[..., None] if planar else [padded]:
        for top in range(0, part.shape[0], high):
            for left in range(0, part.shape[1], wide):
                block = part[top : top + high, left : left + wide]
                if not tile:
                    block = block[: height - top]
                raw = _predicted(block, predictor, order)
                chunks.append(zlib.compress(raw) if compression == DEFLATE else raw)
    starts = np.cumsum([8, *map(len, chunks)])[:-1].tolist()
    entries = {
        256: (LONG, [width]), 257: (LONG, [height]), 258: (SHORT, [8 * array.dtype.itemsize] * count),
        259: (SHORT, [compression]), 262: (SHORT, [1]), 277: (SHORT, [count]), 284: (SHORT, [2 if planar else 1]),
        317: (SHORT, [predictor]), 339: (SHORT, [FORMATS[array.dtype.kind]] * count),
    }  # fmt: skip
    sizes = list(map(len, chunks))
    if tile:
        entries |= {322: (LONG, [tile]), 323: (LONG, [tile]), 324: (LONG, starts), 325: (LONG, sizes)}
    else:
        entries |= {273: (LONG, starts), 278: (LONG, [high]), 279: (LONG, sizes)}
    entries |= changed or {}
    return _file([(tag, *entry) for tag, entry in sorted(entries.items()) if entry], b"".join(chunks), order)


def _predicted(block, predictor, order):
    """Return a strip or tile (H, W, C) as bytes, after its predictor."""
    height, _, samples = block.shape
    if predictor == 2:
        bits = block.view(f"u{block.dtype.itemsize}")
        block = np.concatenate([bits[:, :1], bits[:, 1:] - bits[:, :-1]], axis=1).view(block.dtype)
    if predictor == 3:
        apart = np.ascontiguousarray(block.astype(block.dtype.newbyteorder(">"))).view(np.uint8)
        apart = apart.reshape(height, -1, block.dtype.itemsize).swapaxes(1, 2).reshape(height, -1, samples)
        return np.concatenate([apart[:, :1], apart[:, 1:] - apart[:, :-1]], axis=1).tobytes()
    return block.astype(block.dtype.newbyteorder(order)).tobytes()


def _file(entries, body, order):
    body += bytes(len(body) % 2)
    tail, directory = b"", b""
    for tag, kind, values in entries:
        packed = struct.pack(f"{order}{len(values)}{'H' if kind == SHORT else 'I'}", *values)
        if len(packed) > 4:
            place = 8 + len(body) + len(tail)
            tail += packed + bytes(len(packed) % 2)
            packed = struct.pack(f"{order}I", place)
        directory += struct.pack(f"{order}HHI", tag, kind, len(values)) + packed.ljust(4, b"\0")
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8 + len(body) + len(tail))
    return head + body + tail + struct.pack(f"{order}H", len(entries)) + directory + bytes(4)
