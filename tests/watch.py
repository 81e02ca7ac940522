"""Sees what Python does while a file is read: imports, code run, processes started, files written."""

import sys
from contextlib import contextmanager

WATCHED = {
    "import", "exec", "compile", "os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "socket.connect",
    "pickle.find_class", "marshal.loads", "code.__new__", "ctypes.dlopen",
}  # fmt: skip
_seen: list | None = None


def _hook(event, args):
    if _seen is None:
        return
    if event in WATCHED or (event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+")):
        _seen.append((event, str(args[0])))


sys.addaudithook(_hook)  # there is no way to remove one


@contextmanager
def watching():
    """Give a list that fills with (event, what) until the block ends."""
    global _seen
    _seen = seen = []
    try:
        yield seen
    finally:
        _seen = None
