"""ICC profiles (ICC.1:2022), and the way that they show from a picture's numbers to sRGB.

LittleCMS never sees a file's own profile. It is given a new one of those tags that lead to colours, each of a form whose
evaluation takes a fixed number of steps: matrices, curves and tables, and of tables only those whose numbers are all there.
"""

from __future__ import annotations

import functools
import io
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from . import shared_blue
from .bounds import HIGH_RANGE, ImageError, Stated
from .spaces import SRGB, UNREAD, Space, written

Levels = npt.NDArray[np.uint8]

LARGEST_PROFILE = 4 << 20  # bytes
TOO_LARGE = f"it is larger than {LARGEST_PROFILE >> 20} MiB"
MOST_TAGS = 100
CODES = b"cicp"  # the name of the tag, and of its type: four bytes, of which the second is the curve's code of H.273
KEPT = 8  # ways that are kept for further pictures: those of one folder are mostly of one camera
CURVES, TABLES, POINT = (b"curv", b"para"), (b"mft1", b"mft2", b"mAB "), (b"XYZ ",)
TAGS = {
    b"rXYZ": POINT, b"gXYZ": POINT, b"bXYZ": POINT, b"rTRC": CURVES, b"gTRC": CURVES, b"bTRC": CURVES, b"kTRC": CURVES,
    b"A2B0": TABLES, b"A2B1": TABLES,
}  # fmt: skip
PERCEPTUAL, RELATIVE = 0, 1  # intents
CHANNELS = {b"RGB ": 3, b"GRAY": 1, b"CMYK": 4}
MODES = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK"}  # of Pillow's
GREY = ("1", "L", "LA", "La", "I;16", "I;16L", "I;16B", "I;16N", "I", "F")
UNCACHED, EXACT = 0x40, 0x100  # cmsFLAGS: neighbours in a photo are seldom equal, and looking costs a third
STEPS = 17  # values of each colour that a way is tried with, to see whether it leads anywhere


class _Unusable(ValueError):
    """A profile that is not used; the message is a phrase that says why."""


@dataclass(frozen=True)
class Way:
    """What makes sRGB of a picture's colours."""

    mode: str  # of the pictures that it takes: RGB, L, CMYK or LAB
    transform: Any  # of ImageCms
    greys: tuple[tuple[int, ...], ...] = ()  # where it takes L: the red, green and blue that each of 256 values becomes
    tables: shared_blue.Tables | None = None  # where they do the same in half the time

    def fits(self, picture: Image.Image) -> bool:
        """Tell whether it is about such pictures: inks are no light, and colours no grey."""
        if {self.mode, picture.mode} & {"CMYK", "LAB"}:
            return self.mode == picture.mode
        return self.mode == "RGB" or picture.mode in GREY

    def of(self, picture: Image.Image) -> Image.Image:
        """Return a picture in sRGB: one of RGB changed where it is, otherwise a new one.

        Where grey ones are taken, a picture of RGB or RGBA is one whose colours are equal.
        """
        if picture.mode == "RGBA":
            made = self.of(picture.convert("RGB"))
            made.putalpha(picture.getchannel("A"))
        elif self.mode == "L":
            grey = picture.getchannel(0)
            made = Image.merge("RGB", [grey.point(list(values)) for values in self.greys])
        elif self.tables is not None:
            self.tables.change(picture)
            made = picture
        else:
            made = self.transform.apply(picture, picture if self.mode == "RGB" else None)
        return made


def check(stated: tuple[Stated, ...]) -> None:
    """Raise ImageError where the statement that holds names a space whose values are no light of a screen."""
    first = next((each for each in stated if not isinstance(each, str)), None)
    unread = first.unread if isinstance(first, Space) else _unread(first) if first else ""
    if unread:
        raise ImageError(f"{HIGH_RANGE} ({unread}, ITU-R BT.2100), which minivan does not read: export it as SDR")


def _unread(profile: bytes) -> str:
    """Return the name of the curve without light of a screen that a profile states in its codes; nothing where it does not.

    Its tags are for those who know no such curve (ICC.1:2022, 9.2.17 and 10.3).
    """
    for i in range(min(_number(profile, 128), MOST_TAGS)):
        if profile[132 + 12 * i : 136 + 12 * i] == CODES:
            start = _number(profile, 136 + 12 * i)
            codes = profile[start : start + 12]
            return UNREAD.get(codes[9], "") if codes[:4] == CODES and len(codes) == 12 else ""
    return ""


def way(stated: tuple[Stated, ...], picture: Image.Image) -> tuple[Way | None, list[str]]:
    """Return what makes sRGB of a picture, by the first of several statements that can be used; and what to say of others.

    None stands for a picture that is sRGB as it is. Raises as `check` does.
    """
    notes: list[str] = []
    for i, each in enumerate(stated):
        check(stated[i:])
        if each == SRGB:
            break
        found = each if isinstance(each, str) else _way(each)
        if found is None:
            break
        if isinstance(found, Way) and found.fits(picture):
            return found, notes
        said = found if isinstance(found, str) else f"it is one for {found.mode}, of a picture of {picture.mode}"
        notes.append(f"its colour profile is not used: {said}")
    return None, notes


@functools.lru_cache(KEPT)
def _way(stated: bytes | Space) -> Way | str | None:
    """Return the way to sRGB, None where that is no change by more than one level, or why there is none."""
    try:
        from PIL import ImageCms

        profile = stated.profile() if isinstance(stated, Space) else checked(stated)
        space = profile[16:20]
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        direction = ImageCms.Direction.INPUT
        intent = RELATIVE if source.profile.is_intent_supported(RELATIVE, direction) else PERCEPTUAL
        mode, flags = MODES[space], ImageCms.Flags(EXACT if space == b"GRAY" else UNCACHED)
        made = ImageCms.buildTransform(source, _screen(), mode, "RGB", ImageCms.Intent(intent), flags)
    except MemoryError:
        raise
    except _Unusable as error:
        return str(error)
    except ImportError:
        return "this Pillow was built without LittleCMS"
    except Exception as error:  # LittleCMS meets hostile bytes with OSError, ImageCms with its own
        return f"it is damaged ({' '.join(str(error).split())[:100]})"
    found = Way(mode, made, _greys(made) if mode == "L" else ())
    if mode == "CMYK":
        return found
    tried = _tried(mode)
    led = _seen(found, tried)
    if _are_alike(tried, led):
        return None
    quick = replace(found, tables=shared_blue.tables(profile))
    return quick if quick.tables and _are_alike(_seen(quick, tried), led) else found


def from_lab() -> Way:
    """Return what makes sRGB of CIE Lab, relative to D50."""
    from PIL import ImageCms

    made = ImageCms.buildTransform(ImageCms.createProfile("LAB"), _screen(), "LAB", "RGB", ImageCms.Intent(RELATIVE))
    return Way("LAB", made)


def _screen() -> Any:
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _greys(transform: Any) -> tuple[tuple[int, ...], ...]:
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    return tuple(map(tuple, np.asarray(transform.apply(ramp))[0].T.tolist()))


def _tried(mode: str) -> Levels:
    """Return the colours (N, 3) that a way for RGB or L is tried with: a lattice, and ramps of each colour and of grey."""
    ramp = np.arange(256, dtype=np.uint8)
    greys = np.repeat(ramp[:, None], 3, axis=1)
    if mode == "L":
        return greys
    levels = np.rint(np.linspace(0, 255, STEPS)).astype(np.uint8)
    lattice = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 3)
    ramps = np.kron(np.eye(3, dtype=np.uint8), ramp[:, None]).reshape(-1, 3)
    return np.concatenate([lattice, ramps, greys])


def _seen(found: Way, colours: Levels) -> Levels:
    led: Levels = np.asarray(found.of(Image.fromarray(colours[None])))[0]
    return led


def _are_alike(some: Levels, others: Levels) -> bool:
    """Tell whether no colour is off by more than one level."""
    return int(np.abs(some.astype(np.int16) - others).max()) <= 1


def checked(profile: bytes) -> bytes:
    """Return a profile of those tags of a file's own that lead to colours.

    Raises _Unusable, a phrase that says why, for one that is damaged, of another kind or too large.
    """
    if len(profile) > LARGEST_PROFILE:
        raise _Unusable(TOO_LARGE)
    space, inside = profile[16:20], profile[20:24]
    if len(profile) < 132 or profile[36:40] != b"acsp":
        raise _Unusable("it is no profile, or a damaged one")
    if profile[12:16] not in (b"mntr", b"scnr", b"prtr", b"spac") or space not in CHANNELS or inside not in (b"XYZ ", b"Lab "):
        kind = f"{profile[12:16]!r} from {space!r} to {inside!r}"
        raise _Unusable(f"it is of a kind that is not read ({kind})")
    tags: dict[bytes, bytes] = {}
    places: dict[tuple[int, int], bytes] = {}
    for i in range(min(_number(profile, 128), MOST_TAGS)):
        name = profile[132 + 12 * i : 136 + 12 * i]
        start, size = _number(profile, 136 + 12 * i), _number(profile, 140 + 12 * i)
        if name not in TAGS or name in tags:
            continue
        body = places.setdefault((start, size), profile[start : start + size])
        if len(body) < size or body[:4] not in TAGS[name]:
            raise _Unusable(f"it is damaged, in its tag {name.decode()}")
        if sum(map(len, places.values())) > len(profile):
            raise _Unusable("it is damaged: its tags lie over one another")
        if body[:4] in TABLES:
            _check_table(name, body, CHANNELS[space])
        tags[name] = body
    if not tags:
        raise _Unusable("it has nothing that leads to colours")
    return written(space, tags, inside, _number(profile, 8))


def _check_table(name: bytes, body: bytes, channels: int) -> None:
    """Raise _Unusable for a table of other channels, or whose numbers are not all there."""
    inputs, outputs, points = body[8:9], body[9:10], body[10:11]
    needed, held = 0, len(body)
    if body[:4] == b"mAB ":
        start = _number(body, 24)
        if start:
            grid, width = body[start : start + channels], body[start + 16 : start + 17]
            needed = int(np.prod([*grid], dtype=object)) * 3 * max(1, int.from_bytes(width))
            held -= start + 20
    else:
        needed = int.from_bytes(points) ** channels * 3 * (1 if body[:4] == b"mft1" else 2)
    if (inputs, outputs) != (bytes([channels]), b"\3") or needed > held:
        raise _Unusable(f"it is damaged, in its tag {name.decode()}")


def _number(data: bytes, start: int) -> int:
    return int.from_bytes(data[start : start + 4])
