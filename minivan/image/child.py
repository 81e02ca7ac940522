"""The process in which one image is decoded: a script, run by `apart.py`, that imports nothing but Pillow and a plug-in.

    python -I -S child.py FOLDERS MODULE CLASS BYTES SECONDS < file > 'MODE WIDTH HEIGHT', a line, and then the pixels

Instead of the mode there is an exclamation mark before what went wrong, or a question mark where the decoder is not there.
"""

import contextlib
import importlib
import io
import os
import sys

AS_THEY_ARE = ("1", "L", "LA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "I", "F", "I;16", "I;16B")
STRIP = 1 << 20  # pixels that are written at once


def limit(held: int, seconds: int) -> None:
    """Let the system end this process, or give it no more memory, where it takes too much."""
    try:
        import resource
    except ImportError:  # Windows
        return
    for what, most in ((resource.RLIMIT_AS, held), (resource.RLIMIT_CPU, seconds), (resource.RLIMIT_CORE, 0)):
        with contextlib.suppress(ValueError, OSError):  # macOS sets no limit on addresses: the other two still count
            hard = resource.getrlimit(what)[1]
            resource.setrlimit(what, ((most if hard == resource.RLIM_INFINITY else min(most, hard)), hard))


def end_with_parent(parent: int) -> None:
    """Have Linux end this process with the thread that started it; elsewhere `limit` ends it after its seconds.

    The parent may be gone before Linux is asked: then it is another one by now.
    """
    try:
        import ctypes

        ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL
    except (ImportError, OSError, AttributeError, TypeError):
        pass
    if sys.platform.startswith("linux") and os.getppid() != parent:
        os._exit(1)


def main(folders: str, module: str, decoder: str, held: str, seconds: str, parent: str) -> None:
    out = sys.stdout.buffer
    try:
        end_with_parent(int(parent))
        sys.path.extend(folders.split(os.pathsep))
        make = getattr(importlib.import_module(module), decoder)
        limit(int(held), int(seconds))
        with make(io.BytesIO(sys.stdin.buffer.read())) as picture:
            picture.load()
        if picture.mode not in AS_THEY_ARE:
            picture = picture.convert("RGBA" if picture.mode in ("PA", "RGBa") else "RGB")
        width, height = picture.size
        out.write(f"{picture.mode} {width} {height}\n".encode())
        wide = min(width, STRIP)
        rows = max(1, STRIP // wide)
        for top in range(0, height, rows):
            for left in range(0, width, wide):
                out.write(picture.crop((left, top, min(left + wide, width), min(top + rows, height))).tobytes())
    except MemoryError:
        out.write(b"! it needs more memory than its header says\n")
    except Exception as error:
        sign = b"? " if isinstance(error, ImportError) else b"! "
        out.write(sign + " ".join(str(error).split())[:200].encode("ascii", "replace") + b"\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
