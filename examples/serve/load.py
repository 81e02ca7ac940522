"""A load for server.py, and the table of latencies in README.md, which it makes.

    python examples/serve/load.py                          four servers, one after another, 60 seconds each
    python examples/serve/load.py --seconds 600 --write    and the table goes into README.md

Clients keep their connections and send photo after photo; every answer's digest is compared with that of a call that this
process made alone. It ends with status 1 where one differs, a photo is not answered, or a server does not end well.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import http.client
import io
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

import minivan
from minivan import processors

HERE = Path(__file__).parent
README, BEGIN, END = HERE / "README.md", "<!-- made by load.py -->\n", "<!-- end -->\n"
PATIENCE = 240  # seconds until a server is ready: two compile one after the other, on two processors in use
SIZES = (40, 96, 150, 300)  # pixels of the shorter side of further copies of the examples' photos


class Server:
    """server.py in a process of its own, ready once the block begins, and told to stop at its end."""

    def __init__(self, *arguments: str, cache: str | None = None, processes: int = 1) -> None:
        self.command = [sys.executable, str(HERE / "server.py"), "--port", "0", *arguments]
        self.environment = dict(os.environ) | ({"MINIVAN_CACHE": cache} if cache else {})
        self.processes, self.seconds = processes, 0.0
        self.status: int | None = None  # once it has ended

    def __enter__(self) -> Server:
        began = time.monotonic()
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(self.command, env=self.environment, stderr=self.log, cwd=HERE.parents[1])
        try:
            self._wait_until_ready(began + PATIENCE)
        except BaseException:
            self.__exit__()
            raise
        self.seconds = time.monotonic() - began
        return self

    def _wait_until_ready(self, until: float) -> None:
        while time.monotonic() < until and self.process.poll() is None:
            with contextlib.suppress(IndexError, ValueError, OSError, http.client.HTTPException):
                self.port = int(self.said().split("listening on port ")[1].split()[0])
                if self.metrics().get("minivan_ready") == self.processes:
                    return
            time.sleep(0.05)
        raise TimeoutError(f"the server is not ready: {self.said()}")

    def __exit__(self, *error: object) -> None:
        self.stop()
        self.log.close()

    def stop(self, seconds: float = 60) -> int:
        """Send SIGTERM, unless it has ended; return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.status = self.process.wait(seconds)
            return self.status
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def said(self) -> str:
        return os.pread(self.log.fileno(), 1 << 20, 0).decode()

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any]:
        """Send one request over a connection of its own; return the status, and JSON or a text."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=90)
        with contextlib.closing(connection):
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            text = answer.read().decode()
        return answer.status, json.loads(text) if text.startswith("{") else text

    def metrics(self) -> dict[str, float]:
        lines = str(self.ask("GET", "/metrics")[1]).splitlines()
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}

    def members(self) -> list[int]:
        """Return the processes that serve: the workers, or the server itself."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(child) for child in children] if self.processes > 1 else [self.process.pid]

    def memory(self) -> float:
        """Return what those processes hold, in MiB; what they share counts once (Linux)."""
        return sum(_proportional(process) for process in self.members())


def _proportional(process: int) -> float:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0


@dataclass
class Load:
    """What clients have seen."""

    seconds: float
    latencies: list[float] = field(default_factory=list)  # seconds, of photos answered
    faults: Counter[str] = field(default_factory=Counter)  # what went wrong instead
    memory: list[float] = field(default_factory=list)  # MiB, twice a second

    def percentile(self, percent: int) -> float:
        """Return the milliseconds within which so many of a hundred photos are answered."""
        return 1000 * statistics.quantiles(self.latencies, n=100, method="inclusive")[percent - 1]

    def memory_at(self, share: float) -> float:
        """Return the median of the memory around a moment: 0 is the begin, 1 the end."""
        width = max(1, len(self.memory) // 20)
        first = min(int(share * len(self.memory)), len(self.memory) - width)
        return statistics.median(self.memory[first : first + width])


def photos() -> list[bytes]:
    """Return the examples' photos, and smaller copies of them as PNG and JPEG."""
    found = [path.read_bytes() for path in sorted(HERE.parent.glob("*.jpg"))]
    for data, side, kind in itertools.product(tuple(found), SIZES, ("PNG", "JPEG")):
        file = io.BytesIO()
        picture = Image.open(io.BytesIO(data)).convert("RGB")
        scale = side / min(picture.size)
        picture.resize((round(picture.width * scale), round(picture.height * scale))).save(file, kind)
        found.append(file.getvalue())
    return found


def digests(sent: list[bytes], engine: str) -> dict[bytes, str]:
    """Return the digest of each photo's logits, computed in this process, one photo in a call."""
    model = minivan.load(engine=engine)
    settings = model.card.preprocessing
    return {photo: hashlib.sha256(model(minivan.image.prepare(photo, settings)[None])[0]).hexdigest() for photo in sent}


def drive(server: Server, expected: dict[bytes, str], clients: int, seconds: float) -> Load:
    """Have so many clients send photos at once, for so long."""
    load, until = Load(seconds), time.monotonic() + seconds

    def client(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=90)
        order = list(expected)
        for photo in itertools.cycle(order[number * 7 % len(order) :] + order[: number * 7 % len(order)]):
            began = time.monotonic()
            if began > until:
                break
            try:
                connection.request("POST", "/classify", photo, {"Content-Type": "image/*"})
                answer = connection.getresponse()
                said = json.loads(answer.read())
            except (OSError, ValueError, http.client.HTTPException) as error:
                load.faults[type(error).__name__] += 1
                connection.close()
                continue
            if answer.status != 200:
                load.faults[f"status {answer.status}"] += 1
            elif said["logits_sha256"] != expected[photo]:
                load.faults["other bits"] += 1
            else:
                load.latencies.append(time.monotonic() - began)
        connection.close()

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        load.memory.append(server.memory())
        time.sleep(0.5)
    return load


HEADER = (
    "| processes | kernels | ready after | photos a second | median | 95 % | 99 % | longest | in a batch "
    "| memory after a fifth | at the end |\n" + "|---" * 11 + "|\n"
)


def line(workers: int, cached: bool, server: Server, load: Load, metrics: dict[str, float]) -> str:
    """Return a server's line of the table."""
    together = metrics["minivan_batch_photos_sum"] / metrics["minivan_batch_photos_count"]
    times = " | ".join(f"{load.percentile(p):.0f} ms" for p in (50, 95, 99))
    return (
        f"| {f'{workers} workers' if workers else '1'} | {'cached' if cached else 'not cached'} | {server.seconds:.1f} s "
        f"| {len(load.latencies) / load.seconds:.0f} | {times} | {1000 * max(load.latencies):.0f} ms | {together:.1f} "
        f"| {load.memory_at(0.2):.0f} MiB | {load.memory_at(1):.0f} MiB |\n"
    )


def measured(workers: int, cached: bool, options: argparse.Namespace, expected: dict[bytes, str]) -> tuple[str, bool]:
    """Start a server, drive it, and return its line of the table, and whether all went well."""
    with tempfile.NamedTemporaryFile() as file:  # below a file, nothing can be kept
        arguments = ["--workers", str(workers), "--engine", options.engine]
        server = Server(*arguments, cache=None if cached else f"{file.name}/none", processes=max(1, workers))
        with server:
            load = drive(server, expected, options.clients, options.seconds)
            metrics, said = server.metrics(), server.said()
    if load.faults or server.status:
        print(f"went wrong: {dict(load.faults)}, exit status {server.status}\n{said}", file=sys.stderr)
    return line(workers, cached, server, load, metrics), not load.faults and not server.status


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60, help="for each server (%(default)s)")
    parser.add_argument("--clients", type=int, default=8, help="that send photos at once (%(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="of the server that preforks (%(default)s)")
    parser.add_argument("--engine", choices=("fast", "exact", "numpy"), default="fast")
    parser.add_argument("--write", action="store_true", help="put the table into README.md")
    options = parser.parse_args()
    busy = os.getloadavg()[0]
    expected = digests(photos(), options.engine)
    table, well = HEADER, True
    for cached, workers in itertools.product((True, False), (0, options.workers)):
        made, went_well = measured(workers, cached, options, expected)
        table, well = table + made, well and went_well
        print(made, end="", flush=True)
    text = (
        f"{options.clients} clients for {options.seconds:g} seconds each, {len(expected)} photos in turn, engine "
        f"{options.engine}. {processors.budget().threads} processors ({processors.name()}), which the clients used too; the "
        f"load average before all of it was {busy:.1f}. "
        f"{'Every answer had the bits of a call alone' if well else 'NOT ALL WENT WELL'}.\n\n{table}"
    )
    if options.write:
        before, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
        README.write_text(before + BEGIN + text + END + rest.partition(END)[2], encoding="utf-8")
    else:
        print(text)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
