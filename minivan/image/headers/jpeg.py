"""JPEG: the segments up to the first scan, and how many scans follow. ITU-T T.81, annex B."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from ..bounds import Bytes, ImageError, Look, Steps
from ..profiles import LARGEST_PROFILE, TOO_LARGE

FRAMES = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))  # SOF
PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)
SCAN, END, COMMENT = 0xDA, 0xD9, 0xFE
ALONE = (0x01, *range(0xD0, 0xD9))  # markers without a segment behind them
MODES = {1: "L", 3: "RGB", 4: "CMYK"}
BLOCK = 8  # pixels square
REDUCED = (2, 4, 8)  # what libjpeg divides sides by, while it decodes
# Times as many pixels a side as are wanted are left for Pillow to make smaller. Of 100 enlarged labelled photos no probability
# differs from the whole photo's by more than 0.085 for 1, 0.060 for 1.5, 0.038 for 2, 0.020 for 3: benchmarks/draft.py.
GAP = 2
FEW = 64  # scans that cost too little to be counted exactly
LARGEST_WORK = 3_000_000_000  # pixels times scans, each time that they are decoded: some six seconds
ZEROS = 64  # bytes: so many zeros at its end are seldom codes of a photo
LARGEST_METADATA = 1 << 20  # bytes of EXIF and of XMP that are looked at
PROFILE = b"ICC_PROFILE\0"  # then its number among the segments that the profile is in, from 1, and how many they are
MARKER = re.compile(rb"\xff([\xc0-\xcf\xd9-\xfe])")  # behind a scan, with a length: libjpeg passes over all others


def walk(data: bytes, steps: Steps) -> Look:
    """Look at a JPEG file, of which segments that hold no pixels are left out."""
    parts: list[bytes] = [b"\xff\xd8"]
    frame, progressive = b"", False
    exif, xmp = bytearray(), b""
    profile: dict[int, bytes] = {}
    place = 2
    while True:
        steps.take()
        place = data.find(b"\xff", place)
        while place >= 0 and data[place + 1 : place + 2] in (b"\xff", b"\0"):
            steps.take()
            place = data.find(b"\xff", place + 1)
        marker = data[place + 1] if 0 <= place < len(data) - 1 else END
        if marker in (SCAN, END):
            break
        if marker in ALONE:
            place += 2
            continue
        size = int.from_bytes(data[place + 2 : place + 4])
        end = place + 2 + size
        if size < 2 or end > len(data):
            raise ImageError("damaged image: image file is truncated in its header")
        if marker in FRAMES:
            if frame:
                raise ImageError("damaged image: a JPEG file with two frames")
            frame, progressive = data[place + 4 : end], marker in PROGRESSIVE
        if 0xE0 <= marker <= 0xEF or marker == COMMENT:
            if data.startswith((b"\xff\xe1", b"\xff\xe2", b"\xff\xe0", b"\xff\xee"), place):
                body = data[place + 4 : end]
                if marker == 0xE1 and body.startswith(b"Exif\0\0") and len(exif) < LARGEST_METADATA:
                    exif += body[6:]
                elif marker == 0xE1 and body.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
                    xmp = body
                elif marker == 0xE2 and body.startswith(PROFILE):
                    profile.setdefault(int.from_bytes(body[12:13]), body)
                elif body.startswith((b"JFIF", b"Adobe")):  # these say which colours are meant
                    parts.append(data[place:end])
        else:
            parts.append(data[place:end])
        place = end
    if len(frame) < 6 or marker == END:
        raise ImageError("damaged image: a JPEG file without a picture")
    width, height, count = int.from_bytes(frame[3:5]), int.from_bytes(frame[1:3]), frame[5]
    if frame[0] != 8 or count not in MODES:
        raise ImageError(f"a JPEG file of {frame[0]} bits and {count} channels: 8 bits and 1, 3 or 4 channels can be read")
    scans = count_scans(data, place, steps)
    times = 1 if data.rfind(b"\xff\xd9") >= place else 3  # without an end mark it is decoded so often
    check_work(scans, width, height, times)
    coefficients = _coefficients(frame, count) if progressive or scans > 1 else 0.0
    parts.append(data[place:] if len(parts) > 1 else b"")
    look = Look(
        "JPEG",
        width,
        height,
        MODES[count],
        tuple(parts),
        buffers=coefficients,
        exif=bytes(exif[:LARGEST_METADATA]),
        xmp=xmp,
        colours=_profile(profile),
    )
    return next((each for each in (look, *_reduced(look)) if each.fits()), look)


def check_work(scans: int, width: int, height: int, times: int) -> None:
    """Raise ImageError where decoding so many scans so many times takes too long."""
    if times * scans * width * height > LARGEST_WORK:
        raise ImageError(f"a JPEG file of {width} x {height} pixels in {scans:,} scans takes too long to decode")


def drafted(look: Look, shorter: int) -> Look:
    """Return a picture as reduced decoding makes it where its shorter side is to be scaled to so many pixels.

    It is reduced as far as that side still has GAP times as many pixels; a picture that is too small for that stays whole.
    """
    fine = [each for each in _reduced(look) if min(each.width, each.height) >= GAP * shorter]
    return fine[-1] if fine else look


def _reduced(look: Look) -> Iterator[Look]:
    """Yield what further reduced decoding makes of a picture, a half, a quarter or an eighth of its file's sides.

    It spares the picture alone: the coefficients that a decoder keeps between scans are those of the whole.
    """
    kept = look.extra + int(look.buffers * look.pixels)
    for scale in REDUCED:
        if scale > look.scale:
            width, height = (-(-side * look.scale // scale) for side in (look.width, look.height))
            yield replace(look, width=width, height=height, buffers=0.0, extra=kept, scale=scale)


def _profile(segments: dict[int, bytes]) -> tuple[bytes | str, ...]:
    """Return the profile that lies in numbered segments, or why it is none. ICC.1, annex B.4."""
    count = max((body[13] if len(body) > 13 else 0 for body in segments.values()), default=0)
    if not segments:
        return ()
    if [*range(1, count + 1)] != sorted(segments):
        return ("it is damaged: some of its parts are missing",)
    if sum(map(len, segments.values())) > LARGEST_PROFILE:
        return (TOO_LARGE,)
    return (b"".join(segments[i][14:] for i in range(1, count + 1)),)


def count_scans(data: bytes, first: int, steps: Steps) -> int:
    """Count the scans of the picture whose first one begins at `first`: at most all that look like one, exactly if many."""
    few = data.count(b"\xff\xda", first)  # also those of a thumbnail, or of a second picture, behind it
    if few <= FEW:
        return few
    count, place = 0, first
    while (found := MARKER.search(data, place)) and found[1][0] != END:
        steps.take()
        count += found[1][0] == SCAN
        place = found.end() + int.from_bytes(data[found.end() : found.end() + 2])
    return count


def codes_end(scans: Bytes, steps: Steps) -> tuple[int, int]:
    """Return where the last scan of a picture ends, at its end mark or the end of the file without the marker that begins
    there; and where the zeros before that begin, the same place where there are not more of them than a photo's codes make.
    """
    place, end, data = 0, len(scans), bytes(scans)
    while found := MARKER.search(data, place):
        steps.take()
        if found[1][0] == END:
            end = found.start()
            break
        place = found.end() + int.from_bytes(data[found.end() : found.end() + 2])
    end = len(data[:end].rstrip(b"\xff"))
    zeros = len(data[:end].rstrip(b"\0")) if data.endswith(bytes(ZEROS), 0, end) else end
    return end, zeros


def ends_in_zeros(scans: Bytes) -> bool:
    """Tell whether a picture has more zeros at its end than a photo's codes make."""
    if bytes(ZEROS) not in bytes(scans):  # as nearly all: no marker is looked for
        return False
    end, zeros = codes_end(scans, Steps())
    return zeros < end


def scan_headers(data: bytes, steps: Steps) -> Iterator[bytes]:
    """Yield what stands at the beginning of each scan: its length, how many colours, which, and which of their bits."""
    place = 0
    while (found := MARKER.search(data, place)) and found[1][0] != END:
        steps.take()
        size = int.from_bytes(data[found.end() : found.end() + 2])
        if found[1][0] == SCAN:
            yield data[found.end() : found.end() + size]
        place = found.end() + size


def _coefficients(frame: bytes, count: int) -> float:
    """Return the bytes of coefficients for each pixel that a decoder keeps between scans, two for each sample."""
    factors = [(max(1, frame[7 + 3 * i] >> 4), max(1, frame[7 + 3 * i] & 15)) for i in range(count) if 7 + 3 * i < len(frame)]
    most = max(across for across, _ in factors) * max(down for _, down in factors)
    return 2.0 * sum(across * down for across, down in factors) / most
