"""minivan behind HTTP, with the standard library alone: batches, health, metrics, worker processes, a graceful stop.

    python examples/serve/server.py                      one process, on 127.0.0.1:8080
    python examples/serve/server.py --workers 4          four processes that share one socket
    curl --data-binary @examples/cat.jpg -H 'Content-Type: image/jpeg' 'http://127.0.0.1:8080/classify?top=3'

POST /classify answers a photo, GET /health says whether it would, GET /metrics counts, for Prometheus. A `Network` decodes and
computes, a `Handler` is one connection, a `Service` is what one process does, `supervise` keeps such processes alive.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import logging
import mmap
import os
import queue
import re
import select
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler
from typing import Any, NoReturn
from urllib.parse import parse_qs

import minivan  # it imports NumPy when it is used first: the parent of workers never does, and starts no thread
from minivan.errors import sentence
from minivan.processors import budget

LARGEST_BODY = 8 << 20  # bytes of one photo; all connections of a process together hold CONNECTIONS times as many
MOST_PIXELS = 64_000_000  # of one photo: half a gigabyte while it is decoded, times the processors
CONNECTIONS = 64  # open at once in one process
EXTRA = 8  # beyond them, for requests without a photo: /health answers whatever the others do; the next ones wait in the queue
WAITING = 32  # photos at once in one process; the next ones are answered with 503
BATCH, WINDOW = 8, 0.003  # photos in one forward pass; seconds that the first waits for others that are being decoded
IDLE, HEADERS, BODY, LINGER = 30, 10, 10, 1  # seconds for the next request, its headers, its body, a last word
BUSY = float("inf")
POLL = 0.05  # seconds between two looks at what wakes nobody up
MOST_WORKERS = 256  # more is a mistake
HOPELESS = 5  # workers in a row that die before they are ready: then the server gives up

SECONDS, PHOTOS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10), (1, 2, 4, 8)
STATUSES = [f'{{status="{s}"}}' for s in (200, 400, 404, 405, 408, 411, 413, 414, 415, 431, 500, 501, 503, 505)]
METRICS: dict[str, tuple[str, Any, str]] = {  # name -> kind, labels or the upper ends of a histogram, what it says
    "minivan_requests_total": ("counter", STATUSES, "Requests answered, by status."),
    "minivan_request_seconds": ("histogram", SECONDS, "From the first byte of a photo's request to the last of its answer."),
    "minivan_batch_photos": ("histogram", PHOTOS, "Photos in one forward pass."),
    "minivan_photos_in_flight": ("gauge", [""], "Photos that are decoded, wait, or are computed."),
    "minivan_queue_length": ("gauge", [""], "Decoded photos that wait for the network."),
    "minivan_connections": ("gauge", [""], "Open connections."),
    "minivan_ready": ("gauge", [""], "Processes that are ready."),
}


class Board:
    """What is counted, in memory that forked processes share: each writes its own row, and who reads adds the rows up."""

    def __init__(self, rows: int) -> None:
        names: list[str] = []
        for name, (kind, labels, _) in METRICS.items():
            if kind == "histogram":
                labels = [*(f'_bucket{{le="{end}"}}' for end in (*labels, "+Inf")), "_sum"]
            names += [name + label for label in labels]
        self.place = {name: i for i, name in enumerate(names)}
        self.row, self.lock = 0, threading.Lock()
        self.numbers = memoryview(mmap.mmap(-1, 8 * rows * len(names))).cast("d")

    def add(self, name: str, amount: float = 1) -> None:
        with self.lock:
            self.numbers[self.row * len(self.place) + self.place[name]] += amount

    def observe(self, name: str, value: float) -> None:
        end = next((end for end in METRICS[name][1] if value <= end), "+Inf")
        self.add(f'{name}_bucket{{le="{end}"}}')
        self.add(f"{name}_sum", value)

    def total(self, name: str) -> float:
        return sum(self.numbers[i] for i in range(self.place[name], len(self.numbers), len(self.place)))

    def forget(self, row: int) -> bool:
        """Clear the gauges of a process that has ended; its counts remain. Tell whether it had been ready."""
        first = row * len(self.place)
        was_ready = self.numbers[first + self.place["minivan_ready"]] > 0
        for name in (name for name, (kind, _, _) in METRICS.items() if kind == "gauge"):
            self.numbers[first + self.place[name]] = 0
        return was_ready

    def text(self) -> str:
        """Return all of it in Prometheus' text format, in which a histogram's bucket counts those below it as well."""
        lines = []
        for name, (kind, _, said) in METRICS.items():
            lines += [f"# HELP {name} {said}", f"# TYPE {name} {kind}"]
            count = 0.0
            for series in (series for series in self.place if series.startswith(name)):
                value = self.total(series)
                if "_bucket" in series:
                    count = value = count + value
                lines.append(f"{series} {value:.15g}")
            lines += [f"{name}_count {count:.15g}"] if kind == "histogram" else []
        return "\n".join(lines) + "\n"


class Refused(Exception):
    """A request that is not answered: the status, one line for whoever sent it, and further headers."""

    def __init__(self, status: int, line: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(line)
        self.status, self.headers = status, headers or {}


def later(line: str) -> Refused:
    return Refused(503, line, {"Retry-After": "1"})


class Network:
    """Photos in, logits out: decoded in as many threads as there are processors, computed in batches by one thread."""

    def __init__(self, board: Board, threads: int) -> None:
        self.board, self.lock, self.photos = board, threading.Lock(), 0
        self.decoders = threading.BoundedSemaphore(threads)
        self.queue: queue.SimpleQueue[tuple[Any, Future[Any]]] = queue.SimpleQueue()
        self.computing = float("inf")  # since when a batch is computed; infinity between two of them

    def load(self, weights: str | None, engine: str) -> None:
        """Load the weights, compile or load the kernels, and give a first answer."""
        import numpy as np

        self.model = minivan.load(weights, engine=engine)
        channels, side = self.model.config.channels, self.model.card.preprocessing.crop
        minivan.predict.guesses(self.model.card, self.model(np.zeros((1, channels, side, side), np.float32))[0])

    def hold(self, amount: int) -> None:
        with self.lock:
            if amount > 0 and self.photos >= WAITING:
                raise later(f"{WAITING} photos wait already")
            self.photos += amount
        self.board.add("minivan_photos_in_flight", amount)

    def logits(self, photo: bytes) -> Any:
        """Return the logits (classes,) of one photo, computed with those that come at the same time."""
        longest, done = minivan.image.LONGEST, Future[Any]()
        self.hold(1)
        try:
            x = self.decoded(photo, longest)
        except BaseException:
            self.hold(-1)
            raise
        self.board.add("minivan_queue_length")
        self.queue.put((x, done))
        try:
            return done.result(longest)
        except TimeoutError:
            raise later(f"the network gave no answer within {longest} seconds") from None

    def decoded(self, photo: bytes, longest: float) -> Any:
        """Return the network's input. A decoder that takes too long is left alone, and another photo has its turn."""
        done, settings = Future[Any](), self.model.card.preprocessing

        def decode() -> None:
            try:
                examined = minivan.image.examine(photo, settings.channels)
                if examined.look.pixels > MOST_PIXELS:
                    raise Refused(413, f"a photo has at most {MOST_PIXELS} pixels, and this one {examined.look.pixels}")
                view = minivan.image.view(examined.decode(), settings)
                done.set_result(minivan.image.normalise(view, settings.mean, settings.std))
            except BaseException as error:
                done.set_exception(error)

        if not self.decoders.acquire(timeout=longest):
            raise later("photos before it are still being decoded")
        try:
            threading.Thread(target=decode, daemon=True).start()
            return done.result(longest)
        except RuntimeError:
            raise later("the system gives no more threads") from None
        except TimeoutError:
            raise Refused(400, f"it took longer than {longest} seconds to decode") from None
        except (minivan.image.ImageError, OSError) as error:
            raise Refused(400, sentence(error)) from None
        finally:
            self.decoders.release()

    def compute(self) -> NoReturn:
        """Take a photo, wait a moment for those that are still being decoded, compute them as one batch; for ever."""
        import numpy as np

        while True:
            batch, until = [self.queue.get()], time.monotonic() + WINDOW
            with contextlib.suppress(queue.Empty):
                while len(batch) < min(BATCH, self.photos):
                    batch.append(self.queue.get(timeout=max(0, until - time.monotonic())))
            self.board.add("minivan_queue_length", -len(batch))
            self.board.observe("minivan_batch_photos", len(batch))
            self.computing = time.monotonic()
            try:
                answers = self.model(np.stack([x for x, _ in batch]))
                for (_, done), row in zip(batch, answers, strict=True):
                    done.set_result(row)
            except BaseException as error:
                for _, done in batch:
                    done.set_exception(error)
            self.computing = float("inf")
            self.hold(-len(batch))
            del batch


class Patient(io.RawIOBase):
    """What a client sends, up to a moment: one byte now and then keeps no thread for longer."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection, self.until = connection, 0.0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if (left := self.until - time.monotonic()) <= 0:
            raise TimeoutError
        self.connection.settimeout(left)
        return self.connection.recv_into(buffer)


class Handler(BaseHTTPRequestHandler):
    """One connection: request after request, each answered with one line of JSON."""

    protocol_version, server_version, sys_version = "HTTP/1.1", "minivan", ""  # 1.1 keeps connections alive
    wbufsize, disable_nagle_algorithm = -1, True  # an answer leaves in one piece, and at once
    server: Any  # the Service

    def setup(self) -> None:
        super().setup()
        self.patient, self.unread = Patient(self.connection), False
        self.rfile = self.coming = io.BufferedReader(self.patient)

    def wait(self, seconds: float) -> None:
        self.patient.until = time.monotonic() + seconds

    def handle_one_request(self) -> None:
        self.wait(IDLE)
        self.server.open[self.connection] = time.monotonic()
        while (ahead := self.coming.peek(1)) and (empty := len(ahead) - len(ahead.lstrip(b"\r\n"))):
            self.coming.read(empty)  # lines before a request (RFC 9112, 2.2)
        self.close_connection = not ahead
        self.server.open[self.connection] = BUSY
        if not self.close_connection:
            self.began, self.unread, self.command = time.perf_counter(), True, ""
            self.wait(LINGER if self.server.is_crowded() else HEADERS)
            super().handle_one_request()

    def handle_expect_100(self) -> bool:
        return True  # `body` tells the client to go on, once its photo is wanted

    def route(self) -> None:
        self.unread = "Transfer-Encoding" in self.headers or self.headers.get("Content-Length", "0") != "0"
        path, _, query = re.sub("^https?://[^/?]*", "", self.path, flags=re.IGNORECASE).partition("?")  # as sent to a proxy
        try:
            methods, answer = {
                "/classify": ("POST", self.classify),
                "/health": ("GET, HEAD", self.health),
                "/metrics": ("GET, HEAD", self.metrics),
            }.get(path, ("", None))
            if answer is None:
                raise Refused(404, "there are /classify, /health and /metrics, and nothing else")
            if self.command not in methods.split(", "):
                raise Refused(405, f"{path} takes {methods}", {"Allow": methods})
            answer(query)
        except Refused as refused:
            self.say(refused.status, {"error": str(refused)}, refused.headers)
        except (ConnectionError, TimeoutError):  # the client is gone, or does not take its answer
            raise
        except Exception:
            logging.exception("a request failed")
            self.say(500, {"error": "the server failed; its log says more"})

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = route

    def classify(self, query: str) -> None:
        top = parse_qs(query, keep_blank_values=True).get("top", ["5"])[-1]
        if not (top.isascii() and top.isdecimal() and len(top) < 5 and int(top)):
            raise Refused(400, "top is a number of classes, from 1 to 9999")
        self.say(200, self.server.answer(self.body(), int(top)))
        self.server.board.observe("minivan_request_seconds", time.perf_counter() - self.began)

    def health(self, query: str) -> None:
        if trouble := self.server.trouble():
            raise later(trouble)
        self.say(200, {"status": "ready", **self.server.about()})

    def metrics(self, query: str) -> None:
        self.say(200, self.server.board.text(), {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    def body(self) -> bytes:
        """Return the photo; refuse what can be none before a byte of it is read."""
        kind, sizes = self.headers.get_content_type(), set(self.headers.get_all("Content-Length", []))
        named = self.headers.get("Content-Type", "").strip()
        if named and not kind.startswith("image/") and kind != "application/octet-stream":
            raise Refused(415, "send the photo's bytes as they are, with Content-Type: image/jpeg, or whichever it is")
        if "Transfer-Encoding" in self.headers or not sizes:
            raise Refused(411, "send a Content-Length, and the photo in one piece")
        size = sizes.pop()
        if sizes or not (size.isascii() and size.isdecimal() and size.strip("0")):
            raise Refused(400, "Content-Length is the number of the photo's bytes, and more than 0")
        if len(size) > 15 or int(size) > LARGEST_BODY:
            raise Refused(413, f"a photo has at most {LARGEST_BODY} bytes")
        if self.server.is_crowded():
            raise later(f"{CONNECTIONS} connections are busy already")
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.send_response_only(100)
            self.end_headers()
            self.wfile.flush()
        self.wait(BODY)
        try:
            data = self.rfile.read(int(size))
        except TimeoutError:
            raise Refused(408, f"the photo did not arrive within {BODY} seconds") from None
        if len(data) < int(size):
            raise ConnectionError("the client is gone")
        self.unread = False
        return data

    def say(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        """Answer with JSON, or with a text. Where something unread would follow, the connection ends."""
        body = (content if isinstance(content, str) else json.dumps(content) + "\n").encode()
        self.close_connection |= self.unread or self.server.stopping.is_set() or self.request_version != "HTTP/1.1"
        self.request_version = "HTTP/1.1"  # who speaks an older one, or nonsense, is answered in this one
        self.connection.settimeout(HEADERS)
        self.send_response(status)
        close = {"Connection": "close"} if self.close_connection else {}
        usual = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        for header in (usual | (headers or {}) | close).items():
            self.send_header(*header)
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)
        self.wfile.flush()
        self.server.board.add(f'minivan_requests_total{{status="{status}"}}')

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        self.say(code, {"error": message or self.responses[code][0]})

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: /metrics counts requests."""

    def finish(self) -> None:
        """Close. Who is still sending is heard out for a moment: the answer would be lost with what was not read."""
        with contextlib.suppress(OSError):
            if self.unread:
                self.connection.shutdown(socket.SHUT_WR)
                self.wait(LINGER)
                while self.coming.read1(1 << 16):
                    pass
        super().finish()


class Service:
    """What one process does: load a network, accept connections, and end when it is told to."""

    def __init__(self, listener: socket.socket, board: Board, options: argparse.Namespace, parent: int = 0) -> None:
        self.listener, self.board, self.options, self.parent = listener, board, options, parent
        self.network = Network(board, max(1, budget().threads // max(1, options.workers)))
        self.ready, self.stopping, self.lock, self.status = threading.Event(), threading.Event(), threading.Lock(), 0
        self.open: dict[socket.socket, float] = {}  # connections -> since when they wait for a request, or BUSY

    def work(self) -> None:
        try:
            self.network.load(self.options.weights, self.options.engine)
        except Exception as error:
            logging.error("cannot answer: %s", sentence(error))
            self.status = 1
            self.stopping.set()
            return
        self.board.add("minivan_ready")
        self.ready.set()
        logging.info("ready: %s", self.network.model)
        self.network.compute()

    def run(self) -> int:
        """Serve until told to stop, answer who has connected by then, and return the exit status."""
        threading.Thread(target=self.work, daemon=True).start()
        self.listener.setblocking(False)
        while not self.stopping.is_set():
            if len(self.open) >= CONNECTIONS:
                self.close_idle()
                time.sleep(POLL)  # another process that has room is faster
            if len(self.open) >= CONNECTIONS + EXTRA or self.is_spare():
                time.sleep(POLL)
            elif select.select([self.listener], [], [], POLL)[0]:
                self.accept()
            if self.parent and os.getppid() != self.parent:
                self.stopping.set()
        stopped = time.monotonic()
        while not self.is_spare() and self.accept() and time.monotonic() < stopped + LINGER:
            pass
        self.listener.close()
        while self.open and time.monotonic() < stopped + self.options.grace:
            time.sleep(POLL)
            if time.monotonic() > stopped + LINGER:  # until then a client may send one more request, which is answered
                self.close_idle()
        if self.open:
            logging.error("%d connections are cut off after %g seconds of grace", len(self.open), self.options.grace)
        return 1 if self.open else self.status

    def is_crowded(self) -> bool:
        """Whether more than CONNECTIONS are in the middle of a request."""
        return list(self.open.values()).count(BUSY) > CONNECTIONS

    def is_spare(self) -> bool:
        """Whether another process is ready, and this one is not."""
        return not self.ready.is_set() and self.board.total("minivan_ready") > 0

    def accept(self) -> bool:
        try:
            connection, address = self.listener.accept()
        except BlockingIOError:  # there is none, or another process was faster
            return False
        except OSError:  # the client is gone already, or no more files can be opened
            time.sleep(POLL)
            return False
        self.open[connection] = time.monotonic()
        try:
            threading.Thread(target=self.talk, args=(connection, address), daemon=True).start()
        except RuntimeError:  # the system gives no more threads
            self.close(connection)
        return True

    def talk(self, connection: socket.socket, address: Any) -> None:
        self.board.add("minivan_connections")
        with contextlib.suppress(OSError):  # the client is gone, or was too slow
            Handler(connection, address, self)  # type: ignore[arg-type]  # it needs no more of a server
        self.board.add("minivan_connections", -1)
        self.close(connection)

    def close(self, connection: socket.socket) -> None:
        with self.lock:
            del self.open[connection]
            connection.close()

    def close_idle(self) -> None:
        with self.lock:
            for connection in [c for c, since in self.open.items() if since < time.monotonic() - LINGER]:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RD)

    def trouble(self) -> str:
        """Return why a photo would not be answered now; nothing where it would."""
        if self.stopping.is_set():
            return "stopping"
        stuck = time.monotonic() - self.network.computing > minivan.image.LONGEST
        return "the network does not answer" if stuck else "" if self.ready.is_set() else "loading"

    def about(self) -> dict[str, str]:
        model = self.network.model
        return {"model": model.card.name, "version": model.card.version, "engine": model.engine.name}

    def answer(self, photo: bytes, top: int) -> dict[str, Any]:
        if not self.ready.is_set():
            raise later("loading")
        logits = self.network.logits(photo)
        guesses = minivan.predict.guesses(self.network.model.card, logits, top)
        sure = self.network.model.card.is_sure(guesses[0].probability)
        digest = hashlib.sha256(logits.tobytes()).hexdigest()  # of the very bits that a call without a server gives
        return {"top": [asdict(guess) for guess in guesses], "sure": sure, **self.about(), "logits_sha256": digest}


STOP = signal.SIGTERM, signal.SIGINT


def supervise(listener: socket.socket, board: Board, options: argparse.Namespace) -> int:
    """Keep so many processes alive until told to stop; return the exit status.

    The first one starts alone: it compiles the kernels where they are not cached, and the others load them. All are forked
    from this process, which has no threads and computes nothing.
    """
    workers: dict[int, tuple[int, float]] = {}  # process -> its row on the board, and when it started
    due = dict.fromkeys(range(options.workers), 0.0)  # row without a process -> when it gets one
    stops, failures, ever_ready, status = [], 0, False, 0

    def stop(number: int, frame: Any) -> None:
        stops.append(number)
        if len(stops) > 1:
            end(signal.SIGKILL)
            os._exit(128 + number)

    def end(number: int) -> None:
        for process in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)

    def ended() -> Iterator[tuple[int, int]]:
        """Yield the workers that have ended, and how. Other processes end beneath this one too: those that whoever started
        it had started before, and as the first process of a container, all that have lost their parents."""
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                if found[0] in workers:
                    yield found

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # where it is ignored, nobody is told that a worker has ended
    for number in STOP:
        signal.signal(number, stop)
    while not stops and failures < HOPELESS:
        ever_ready = ever_ready or board.total("minivan_ready") > 0
        for row in [row for row, moment in due.items() if moment <= time.monotonic()]:
            if ever_ready or not workers:
                workers[fork(row, listener, board, options)] = row, time.monotonic()
                del due[row]
        for process, how in ended():
            row, started = workers.pop(process)
            failures = 0 if board.forget(row) else failures + 1
            due[row] = max(started + 1, time.monotonic() + 0.1 * 2**failures)
            logging.error("worker %d ended with %d, another one takes its place", process, os.waitstatus_to_exitcode(how))
        time.sleep(POLL)
    if failures >= HOPELESS:
        logging.error("%d workers in a row ended before they were ready: giving up", failures)
        status = 1
    listener.close()
    end(signal.SIGTERM)
    until = time.monotonic() + options.grace + 2
    while workers and time.monotonic() < until:
        for process, how in ended():
            del workers[process]
            status = status or int(how != 0)
        time.sleep(POLL if workers else 0)
    end(signal.SIGKILL)
    return 1 if workers else status


def fork(row: int, listener: socket.socket, board: Board, options: argparse.Namespace) -> int:
    """Start a worker with its share of the processors; return its process."""
    parent = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP)  # none gets lost before the worker can take it
    process = os.fork()
    if not process:
        status = 1
        try:
            for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
                os.environ.setdefault(name, str(max(1, budget().threads // options.workers)))
            board.row = row
            service = Service(listener, board, options, parent)
            signal.signal(signal.SIGTERM, lambda number, frame: service.stopping.set())
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the parent decides
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP)
            status = service.run()
        except Exception:
            logging.exception("the worker failed")
        finally:
            os._exit(status)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP)
    return process


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="minivan behind HTTP: POST /classify, GET /health, GET /metrics")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080, help="0 takes any that is free (%(default)s)")
    parser.add_argument("--workers", type=int, default=0, help="processes beside this one; 0: this one serves (%(default)s)")
    parser.add_argument("--weights", help="a name or a file; the default weights without it")
    parser.add_argument("--engine", choices=("fast", "exact", "numpy"), default="fast")
    parser.add_argument("--grace", type=float, default=20, help="seconds in which a stop answers what is open (%(default)s)")
    return parser


def main() -> int:
    options = parser().parse_args()
    if not 0 <= options.workers <= MOST_WORKERS:
        parser().error(f"--workers is a number from 0 to {MOST_WORKERS}")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(process)d %(levelname)s %(message)s")
    board, family = Board(max(1, options.workers)), socket.AF_INET6 if ":" in options.host else socket.AF_INET
    try:
        listener = socket.create_server((options.host, options.port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        parser().error(f"cannot listen on {options.host}, port {options.port}: {sentence(error)}")
    logging.info("listening on port %d", listener.getsockname()[1])
    if options.workers > 0:
        return supervise(listener, board, options)
    service = Service(listener, board, options)

    def stop(number: int, frame: Any) -> None:
        for each in STOP:
            signal.signal(each, lambda number, frame: os._exit(128 + number))  # the next one ends it at once
        service.stopping.set()

    for each in STOP:
        signal.signal(each, stop)
    return service.run()


if __name__ == "__main__":
    os._exit(main())  # whatever a thread still does, nobody waits for it
