"""A soak test: calls from 16 threads, interrupts, forks, damaged images, and kill -9 during every command that writes.

    python benchmarks/soak.py                        # all of it: half an hour on two cores
    python benchmarks/soak.py --calls 5000 --images 200 --kills 3
    python benchmarks/soak.py --write                # and put the figures into docs/robustness.md

Every answer of a call is compared, bit for bit, with one that was computed alone before; those of the command, in the six
digits that it prints, for up to 300 images. It ends with status 1 where one was wrong,
something was left behind or half written, or memory grew by more than GROWTH.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import numpy as np  # noqa: E402
from machine import machine  # noqa: E402
from PIL import Image  # noqa: E402
from soak_kills import BUNDLED, kills  # noqa: E402

from minivan import seeded  # noqa: E402
from minivan.errors import CannotCompute  # noqa: E402
from minivan.van import VAN  # noqa: E402
from minivan.variants import Config  # noqa: E402

THREADS = 16
GROWTH = 32  # MiB from a tenth of the calls to their end
SHAPES = [(n, 3, h, w) for n, h, w in ((1, 32, 32), (1, 33, 47), (2, 32, 32), (1, 64, 64), (3, 48, 40), (5, 32, 64))]
CONFIGS = [
    Config((8, 12), (1, 1), (2, 2), classes=7),
    Config((4, 6, 6, 8), (1, 2, 1, 1), (3, 2, 2, 1), classes=5),
    Config((16, 24), (1, 1), (4, 2), classes=11),
]
SHARES = {"fast": 0.6, "exact": 0.3, "numpy": 0.1}  # of the calls
FORMATS = {"png": {}, "jpg": {"quality": 80}, "webp": {}, "gif": {}, "bmp": {}, "tif": {}, "ppm": {}}
DAMAGED = 0.05


def resident() -> float:
    """This process's memory in MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


class Calls:
    """Calls from THREADS threads and the main one, which is interrupted and forks meanwhile."""

    def __init__(self, calls: int, seed: int) -> None:
        self.calls, self.seed = calls, seed
        self.models = {(e, c): VAN(config, seeded.tensors(config), e) for e in SHARES for c, config in enumerate(CONFIGS)}
        self.inputs = [seeded.images(shape) for shape in SHAPES]
        self.expected = {
            (e, c, s): model(x).tobytes() for (e, c), model in self.models.items() for s, x in enumerate(self.inputs)
        }
        self.lock = threading.Lock()
        self.done = self.wrong = self.interrupts = self.forks = self.told = self.lost_children = 0
        self.memory: list[tuple[int, float]] = []
        self.children: set[int] = set()

    def one(self, random_: random.Random, engine: str | None = None) -> bool:
        engine = engine or random_.choices(list(SHARES), list(SHARES.values()))[0]
        c, s = random_.randrange(len(CONFIGS)), random_.randrange(len(SHAPES))
        return self.models[engine, c](self.inputs[s]).tobytes() == self.expected[engine, c, s]

    def count(self, right: bool) -> bool:
        with self.lock:
            self.done += 1
            self.wrong += not right
            if self.done % max(1, self.calls // 200) == 0:
                self.memory.append((self.done, resident()))
            return self.done < self.calls

    def work(self, number: int) -> None:
        random_ = random.Random(f"{self.seed} {number}")
        try:
            while self.count(self.one(random_)):
                pass
        except BaseException:
            self.wrong += 1
            raise

    def fork(self, random_: random.Random) -> None:
        """Fork while the others compute; the child answers, or says that it cannot."""
        engine = random_.choice(list(SHARES))
        child = os.fork()
        if child == 0:
            status = 3
            with contextlib.suppress(BaseException):
                signal.alarm(120)
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                try:
                    status = 0 if self.one(random_, engine) else 1
                except CannotCompute:
                    status = 2
            os._exit(status)
        self.children.add(child)
        self.forks += 1

    def reap(self, wait: bool) -> None:
        for child in list(self.children):
            ended, status = os.waitpid(child, 0 if wait else os.WNOHANG)
            if ended:
                self.children.discard(child)
                code = os.waitstatus_to_exitcode(status)
                self.told += code == 2
                self.lost_children += code not in (0, 2)

    def run(self) -> dict[str, object]:
        begin = time.monotonic()
        random_ = random.Random(self.seed)
        workers = [threading.Thread(target=self.work, args=(n,), daemon=True) for n in range(THREADS)]
        over = threading.Event()

        def interrupt() -> None:
            mine = random.Random(self.seed + 1)
            while not over.wait(mine.uniform(0.01, 0.5)):
                os.kill(os.getpid(), signal.SIGINT)

        signal.signal(signal.SIGINT, signal.default_int_handler)
        for worker in workers:
            worker.start()
        interrupter = threading.Thread(target=interrupt, daemon=True)
        interrupter.start()
        going = True
        while going:
            try:
                going = self.count(self.one(random_))
                if random_.random() < 0.02 and len(self.children) < 4:
                    self.fork(random_)
                self.reap(wait=False)
            except KeyboardInterrupt:
                self.interrupts += 1
        while True:
            try:
                over.set()
                interrupter.join()
                break
            except KeyboardInterrupt:
                self.interrupts += 1
        for worker in workers:
            worker.join()
        self.reap(wait=True)
        seconds = time.monotonic() - begin
        first = next(size for done, size in self.memory if done >= self.calls / 10)
        return {
            "calls": self.done, "wrong": self.wrong, "seconds": round(seconds), "interrupts": self.interrupts,
            "forks": self.forks, "forks told to use spawn": self.told, "forks that failed": self.lost_children,
            "MiB after a tenth": round(first, 1), "MiB at the end": round(self.memory[-1][1], 1),
        }  # fmt: skip


def picture(random_: np.random.Generator, ending: str) -> bytes:
    """Return an image file: blobs of colour, of 32 to 160 pixels a side."""
    height, width = random_.integers(32, 161, 2)
    small = random_.integers(0, 256, (6, 6, 3), np.uint8)
    image = Image.fromarray(small).resize((int(width), int(height)), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    image.save(file, {"jpg": "JPEG", "tif": "TIFF"}.get(ending, ending.upper()), **FORMATS[ending])
    return file.getvalue()


def damage(random_: np.random.Generator, data: bytes) -> bytes:
    """Cut a file short, or change up to 20 of its bytes, or put zeros into it."""
    at, kind = int(random_.integers(1, len(data))), random_.integers(3)
    if kind == 0:
        return data[:at]
    changed = bytearray(data)
    if kind == 1:
        for place in random_.integers(0, len(data), 20):
            changed[place] = random_.integers(256)
    else:
        changed[at : at + 200] = bytes(len(changed[at : at + 200]))
    return bytes(changed)


def images(number: int, seed: int, folder: Path) -> dict[str, object]:
    """Classify a folder of images, some damaged, by the command; whole ones must be answered as they are alone."""
    from minivan import load
    from minivan.predict import classify

    random_ = np.random.default_rng(seed)
    whole, damaged = [], set()
    for n in range(number):
        ending = list(FORMATS)[n % len(FORMATS)]
        data, path = picture(random_, ending), folder / f"{n:05}.{ending}"
        if random_.random() < DAMAGED:
            data = damage(random_, data)
            damaged.add(path.name)
        else:
            whole.append(path)
        path.write_bytes(data)
    begin = time.monotonic()
    done = command(["classify", folder, "--json", "--weights", BUNDLED, "--engine", "fast", "--top-k", "3"])
    seconds = time.monotonic() - begin
    found = {Path(answer["image"]).name: answer["top"] for answer in map(json.loads, done.stdout.splitlines())}
    named = {name for name in damaged if f"{name}:" in done.stderr}
    model, wrong = load(BUNDLED, "fast"), 0
    for path in random.Random(seed).sample(whole, min(300, len(whole))):
        (alone,) = classify(model, path, 3)
        wrong += alone.as_dict()["top"] != found.get(path.name)
    unsaid = number - len(found) - len(named)
    return {
        "images": number, "damaged": len(damaged), "answered": len(found), "named as unusable": len(named),
        "neither": unsaid + len({path.name for path in whole} - set(found)), "wrong": wrong,
        "status": done.returncode, "seconds": round(seconds), "tracebacks": done.stderr.count("Traceback"),
    }  # fmt: skip


def command(words: list[object], **options: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "minivan", *map(str, words)]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False, **options)


BEGIN, END = "<!-- soak: benchmarks/soak.py --write -->", "<!-- end of soak -->"


def write(report: dict[str, dict[str, object]]) -> None:
    """Put the figures between the two marks of docs/robustness.md, or at its end."""
    path = ROOT / "docs" / "robustness.md"
    text = path.read_text(encoding="utf-8") if path.exists() else "# Robustness\n"
    lines = [BEGIN, "", "| part | what | measured |", "|---|---|--:|"]
    for part, figures in report.items():
        lines += [
            f"| {part} | {what} | {value if isinstance(value, str) else format(value, ',')} |"
            for what, value in figures.items()
        ]
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    path.write_text(before.rstrip("\n") + "\n\n" + "\n".join([*lines, "", END]) + (after or "\n"), encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--images", type=int, default=3_000)
    parser.add_argument("--kills", type=int, default=25, help="of each command that writes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="put the figures into docs/robustness.md")
    args = parser.parse_args()
    report: dict[str, dict[str, object]] = {"machine": machine("numpy", "numba", "pillow")}
    with tempfile.TemporaryDirectory() as made:
        for name in ("images", "kills"):
            (Path(made) / name).mkdir()
        if args.calls:
            report["calls"] = Calls(args.calls, args.seed).run()
            print(json.dumps(report["calls"]), flush=True)
        if args.images:
            report["images"] = images(args.images, args.seed, Path(made) / "images")
            print(json.dumps(report["images"]), flush=True)
        if args.kills:
            report["kills"] = kills(args.kills, args.seed, Path(made) / "kills")
            print(json.dumps(report["kills"]), flush=True)
    if args.write:
        write(report)
    calls, pictures, killed = (report.get(part, {}) for part in ("calls", "images", "kills"))
    faults = [
        *(calls.get(what) for what in ("wrong", "forks that failed")),
        *(pictures.get(what) for what in ("wrong", "neither", "tracebacks")),
        *(killed.get(what) for what in ("half written", "left over", "processes left", "otherwise than at once")),
    ]
    grown = float(calls.get("MiB at the end", 0)) - float(calls.get("MiB after a tenth", 0))  # type: ignore[arg-type]
    return int(any(faults) or grown > GROWTH)


if __name__ == "__main__":
    sys.exit(main())
