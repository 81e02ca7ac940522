"""A real HTTP server on this machine that serves a small checkpoint, and fails in every way when told to."""

import contextlib
import hashlib
import http.server
import socket
import threading
from contextlib import contextmanager

from support import CHECKPOINTS

OFFICIAL = (CHECKPOINTS / "official.pth.tar").read_bytes()
OFFICIAL_SHA256 = hashlib.sha256(OFFICIAL).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves `body` under any name; `faults` says what goes wrong with each of the next answers; a function gives it itself.

    With an `etag` it sends what a Range asks for, if an If-Range names that; `headers` go with every answer.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.faults, self.body, self.asked = [], OFFICIAL, []
        self.etag, self.headers, self.ranges = "", {}, []
        self.hanging, self.released = threading.Event(), threading.Event()  # of an answer that stops half-way

    def url(self, name="official.pth.tar"):
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        self.server.ranges.append((self.headers.get("Range"), self.headers.get("If-Range")))
        fault = self.server.faults.pop(0) if self.server.faults else None
        if callable(fault):
            with contextlib.suppress(ConnectionError):  # whoever asked has had enough
                fault(self)
            self.close_connection = True
            return
        if fault in (404, 500):
            self.send_error(fault)
            return
        body = b"<!doctype html><p>log in first" if fault == "page" else self.server.body
        body = self.begin(body)
        if fault != "no length":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if fault in ("cut", "reset", "hang"):
            self.half(body, fault)
            return
        if fault == "damaged":
            body = body[:5000] + bytes([body[5000] ^ 1]) + body[5001:]
        if fault == "short":
            body = body[:-1000]
        self.wfile.write(body)

    def begin(self, body):
        """Send the status and what belongs to it, and return the part of the body that is asked for."""
        asked, etag = self.server.ranges[-1]
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and etag == self.server.etag else 0
        self.send_response(416 if start >= len(body) else 206 if start else 200)
        for name, value in {"ETag": self.server.etag, **self.server.headers}.items():
            if value:
                self.send_header(name, value)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        return body[start:]

    def half(self, body, fault):
        self.wfile.write(body[: len(body) // 2])
        self.wfile.flush()
        if fault == "hang":
            self.server.hanging.set()
            self.server.released.wait(30)
        if fault == "reset":  # not an orderly end of the connection but an abort
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.connection.close()

    def log_message(self, *_):
        pass


@contextmanager
def serving():
    server = Server()
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
