"""What a coverage-guided fuzzer feeds each reader, and what must hold whatever it feeds.

python tests/fuzz/readers.py READER [options of libFuzzer] CORPUS...

READER is one of `READERS`; it needs the extra `fuzz` (Linux). Every input is read or refused with the reader's own error, in
one short line; libFuzzer's `-timeout` and `-rss_limit_mb` bound the rest. `tests/test_corpus.py` replays the corpus without it.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

LONGEST_MESSAGE = 1500


def checkpoint(path: Path) -> None:
    """A PyTorch file, zip or legacy, or a safetensors file: a network, a segmentation head, or both."""
    from minivan.checkpoint.segmentation import read_any

    read_any(path)


def pickled(path: Path) -> None:
    """A pickle, as data.pkl of a zip file whose checksum is right: the damage gets past the zip layer."""
    from support import hostile

    data = path.read_bytes()
    path.write_bytes(hostile.zipped({"a/data.pkl": data, "a/data/0": bytes(512)}))
    checkpoint(path)


def trace(path: Path) -> None:
    """A trace, or a port's layers in a safetensors file."""
    from minivan.oracle import recorded

    recorded.read(path)
    recorded.read_trace(path)


def npz(path: Path) -> None:
    """A port's layers in an .npz file."""
    from minivan.oracle import recorded

    named = path.with_suffix(".npz")
    path.rename(named)
    try:
        recorded.read(named)
    finally:
        named.unlink()


def npy(path: Path) -> None:
    """One array."""
    from minivan.oracle import recorded

    recorded.read_npy(path)


def map_file(path: Path) -> None:
    """A map, and a port renamed by it."""
    from minivan.oracle import naming

    pairs = naming.read_names(path)
    naming.rename({}, pairs, ["block1.0.norm1", "block1.0.attn.proj_1", "head"])


READERS: dict[str, Callable[[Path], None]] = {
    "checkpoint": checkpoint, "pickle": pickled, "trace": trace, "npz": npz, "npy": npy, "map": map_file,
}  # fmt: skip


def judge(reader: str, data: bytes, folder: Path) -> str:
    """Let a reader read these bytes and return what it said, '' where it took them."""
    path = folder / f"case-{reader}"
    path.write_bytes(data)
    try:
        READERS[reader](path)
        return ""
    except (ValueError, OSError) as error:
        message = str(error)
        assert "\n" not in message and len(message) < LONGEST_MESSAGE, message[:3000]
        return message


def main() -> None:
    import atheris

    reader = sys.argv[1]
    with atheris.instrument_imports(include=["minivan.checkpoint", "minivan.oracle", "minivan.card"]):
        import minivan.checkpoint
        import minivan.oracle.recorded  # noqa: F401
    folder = Path(tempfile.mkdtemp(prefix=f"fuzz-{reader}-", dir="/dev/shm"))
    atheris.Setup([sys.argv[0], *sys.argv[2:]], lambda data: judge(reader, data, folder))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
