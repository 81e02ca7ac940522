"""Sees what Python does while a file is read: imports, code run, processes started, files written, files opened."""

import sys
from contextlib import contextmanager

import pytest

from minivan.checkpoint import CheckpointError, read

WATCHED = {
    "import", "exec", "compile", "os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "socket.connect",
    "pickle.find_class", "marshal.loads", "code.__new__", "ctypes.dlopen",
}  # fmt: skip


class Seen(list):
    """What happened that may not, as (event, what); `opened` are the files opened to be read."""

    def __init__(self):
        super().__init__()
        self.opened = []


_seen: Seen | None = None


def _hook(event, args):
    if _seen is None:
        return
    if event in WATCHED or (event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+")):
        _seen.append((event, str(args[0])))
    elif event == "open" and args[1] is not None:  # what `open` is given to open with says so a second time
        _seen.opened.append(str(args[0]))


sys.addaudithook(_hook)  # there is no way to remove one


@contextmanager
def watching():
    """Give a `Seen` that fills until the block ends."""
    global _seen
    _seen = seen = Seen()
    try:
        yield seen
    finally:
        _seen = None


def refused(path, data, *words):
    """Read a file of these bytes: it must be refused in one line with these words in it, and nothing may happen meanwhile."""
    path.write_bytes(data)
    with pytest.raises(CheckpointError):
        read(path)  # once beforehand: whatever minivan itself imports is imported now
    with watching() as seen, pytest.raises(CheckpointError) as raised:
        read(path)
    assert not seen
    message = str(raised.value)
    assert message.startswith(str(path)) and "\n" not in message and len(message) < 1200
    for word in words:
        assert word in message, message
