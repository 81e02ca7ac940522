"""Images whose decoders do not do for this process: OpenJPEG lets no other thread run, libtiff prints lines of its own.

Each is decoded by a process of its own (`child.py`), which gets the file on its standard input, writes the pixels on its
standard output, and is ended when it takes too long. It inherits no other open file and its standard error leads nowhere.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import PIL
from PIL import Image

from .bounds import LONGEST, STORED, ImageError, Look
from .kinds import KINDS

INTERPRETER = 256 << 20  # bytes of address space that Python and Pillow take themselves


def decoded_apart(look: Look) -> tuple[Image.Image, bytes]:
    """Decode in a process of its own; return the picture, and no EXIF data. Raises ImageError for what that process says."""
    kind = KINDS[look.kind]
    arguments = [str(Path(PIL.__file__).parents[1]), kind.module, kind.decoder, str(look.held + INTERPRETER), str(LONGEST)]
    command = [sys.executable, "-I", "-S", str(Path(__file__).with_name("child.py")), *arguments]
    try:
        done = subprocess.run(
            command, input=b"".join(look.parts), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=LONGEST, check=False
        )
    except subprocess.TimeoutExpired:
        raise ImageError(f"it took longer than {LONGEST} seconds to decode") from None
    head, _, pixels = done.stdout.partition(b"\n")
    words = head.decode("ascii", "replace").split(" ")
    if words[0] == "!":
        raise ImageError(f"damaged image: {' '.join(words[1:])}")
    if done.returncode or len(words) != 3:
        raise ImageError(f"damaged image: its decoder ended with the status {done.returncode}")
    mode, width, height = words[0], int(words[1]), int(words[2])
    if width * height * STORED.get(mode, 4) > look.pixels * 4:
        raise ImageError(f"damaged image: {look.width} x {look.height} pixels, or {width} x {height}")
    return Image.frombytes(mode, (width, height), pixels), b""
