"""Images whose decoders do not do for this process: OpenJPEG lets no other thread run, libtiff prints lines of its own, and
libheif and libde265 are not Pillow's.

Each is decoded by a process of its own (`child.py`), which gets the file on its standard input, writes the pixels on its
standard output, and is ended when it takes too long. It inherits no other open file and its standard error leads nowhere.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import IO

import PIL
from PIL import Image

from .. import shipped
from ..errors import reason
from .bounds import LONGEST, STORED, Bytes, ImageError, Look, patches
from .kinds import KINDS

INTERPRETER = 256 << 20  # bytes of address space that Python and Pillow take themselves
LONGEST_LINE = 300  # bytes of what the process says before the pixels


def available() -> bool:
    """Whether another process can be started: not where the executable of this one is a program with Python inside."""
    return bool(sys.executable) and not getattr(sys, "frozen", False)


def decoded_apart(look: Look) -> Image.Image:
    """Decode in a process of its own; return the picture. Raises ImageError for what that process says."""
    kind = KINDS[look.kind]
    arguments = [_folders(kind.module), kind.module, kind.decoder, str(look.held + INTERPRETER), str(LONGEST)]
    arguments.append(str(os.getpid()))
    script = shipped.PACKAGE / "image" / "child.py"
    inside = shipped.content(script)  # a script in a zip is no file that Python could run
    command = [sys.executable, "-I", "-S", *([str(script)] if inside is None else ["-c", inside.decode()]), *arguments]
    late = threading.Event()
    environment = os.environ | {"MALLOC_ARENA_MAX": "1"}  # glibc takes 64 MiB of addresses for each further thread
    pipe = subprocess.PIPE
    try:
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=environment)
    except OSError as error:
        raise ImageError(f"decoding it takes a process of its own, which cannot be started: {reason(error)}") from None
    assert process.stdin and process.stdout

    def end() -> None:
        late.set()
        process.kill()

    clock = threading.Timer(LONGEST, end)
    clock.daemon = True
    feeder = threading.Thread(target=_feed, args=(process.stdin, look.parts), daemon=True)
    try:
        clock.start()
        feeder.start()
        return _received(process.stdout, look)
    except ImageError:
        if late.is_set():
            raise ImageError(f"it took longer than {LONGEST} seconds to decode") from None
        raise
    except RuntimeError:
        raise ImageError("the system gives no more threads, and decoding it takes two") from None
    finally:
        clock.cancel()
        process.kill()
        process.wait()
        if feeder.ident is None:
            process.stdin.close()
        else:
            feeder.join()
        process.stdout.close()


def _folders(module: str) -> str:
    """Return the folders that Pillow and the decoder's package lie in, as a path of the system's."""
    found = importlib.util.find_spec(module.partition(".")[0])
    places = found.submodule_search_locations if found else None
    return os.pathsep.join(dict.fromkeys([str(Path(place).parent) for place in (*PIL.__path__, *(places or ()))]))


def _feed(file: IO[bytes], parts: Iterable[Bytes]) -> None:
    with contextlib.suppress(OSError), file:  # a process that has ended reads no more: what it wrote says why
        for part in parts:
            file.write(part)


def _received(file: IO[bytes], look: Look) -> Image.Image:
    """Make a picture of what the process writes, a part at a time."""
    words = file.readline(LONGEST_LINE).decode("ascii", "replace").split()
    if words[:1] == ["!"]:
        raise ImageError(f"damaged image: {' '.join(words[1:])}")
    if words[:1] == ["?"]:
        raise ImageError(f"its decoder cannot be imported: {' '.join(words[1:])}")
    if len(words) != 3:
        raise ImageError("damaged image: its decoder ended without a word")
    mode, width, height = words[0], int(words[1]), int(words[2])
    if width * height * STORED.get(mode, 4) > look.pixels * 4:
        raise ImageError(f"damaged image: {look.width} x {look.height} pixels, or {width} x {height}")
    picture = Image.new(mode, (width, height))
    for left, top, right, bottom in patches(width, height):
        size = right - left, bottom - top
        needed = len(Image.new(mode, (size[0], 1)).tobytes()) * size[1]
        pixels = file.read(needed)
        if len(pixels) < needed:
            raise ImageError("damaged image: its decoder ended too early")
        picture.paste(Image.frombytes(mode, size, pixels), (left, top))
    return picture
