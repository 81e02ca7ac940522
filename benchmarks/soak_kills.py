"""The part of soak.py that kills: every command that writes, with SIGKILL, at random moments."""

from __future__ import annotations

import contextlib
import http.server
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from PIL import Image

from minivan.checkpoint import bundled

ROOT = Path(__file__).parents[1]
LOST = 20  # seconds after which a process that has not followed its parent is left behind
COFFEE, BUNDLED = ROOT / "examples" / "coffee.jpg", bundled()[0]
OFFICIAL = ROOT / "tests" / "checkpoints" / "official.pth.tar"
SMALL = [COFFEE, "--weights", BUNDLED, "--engine", "numpy"]
WRITERS = {
    "convert": ["convert", OFFICIAL, "OUT/net"],
    "oracle record": ["oracle", "record", COFFEE, "--model", BUNDLED, "--engine", "numpy", "-o", "OUT/trace"],
    "oracle vectors": ["oracle", "vectors", "-o", "OUT/vectors"],
    "explain": ["explain", *SMALL, "--size", "32", "--method", "cam", "-o", "OUT/figure.png"],
    "receptive-field": ["receptive-field", COFFEE, "--weights", BUNDLED, "--size", "32", "-o", "OUT/figure.png"],
    "lka": ["lka", "--plot", "OUT/figure.png"],
    "fetch": ["fetch", "b0", "--url", "URL"],
    "warmup": ["warmup", "--engine", "exact", "--cache", "OUT/kernels"],
    "explain, a folder": ["explain", *SMALL, "--size", "32", "--method", "cam", "-o", "OUT/figures/"],
    "explore": ["explore", COFFEE, "--light", "-o", "OUT/page.html"],
    "classify": ["classify", "PHOTOS", *SMALL[1:], "--resume", "-o", "OUT/rows.csv"],
    "embed": ["embed", "PHOTOS", *SMALL[1:], "--resume", "-o", "OUT/features.npy"],
    "finetune": ["finetune", "PHOTOS", *SMALL[1:], "-o", "OUT/net.safetensors"],
    "evaluate": ["evaluate", "PHOTOS", *SMALL[1:], "-o", "OUT/evaluation"],
    "segment": ["segment", "PHOTOS", "--engine", "numpy", "--side", "64", "--overlay", "-o", "OUT/masks/"],
}
GONE_ON = ("classify", "embed", "evaluate")  # whose journal stays: the same command goes on from there
JOURNALS = (".partial", "journal.jsonl")


def kills(number: int, seed: int, folder: Path) -> dict[str, object]:
    """Kill each writer `number` times at random moments, and look at what there is afterwards."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Official)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    random_ = random.Random(seed)
    counted = "kills", "after the end", "half written", "left over", "processes left", "gone on from", "otherwise than at once"
    made = dict.fromkeys(counted, 0)
    photos = labelled_photos(folder / "photos")
    for name, words in WRITERS.items():
        place = folder / name.replace(" ", "-")
        line = [sys.executable, "-m", "minivan", *(str(word).replace("URL", f"http://127.0.0.1:{server.server_port}/x")
                                                  .replace("OUT", str(place)).replace("PHOTOS", str(photos))
                                                  for word in words)]  # fmt: skip
        environment = os.environ | {"MINIVAN_HOME": str(place), "NO_PROXY": "127.0.0.1"}
        options = dict(cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        place.mkdir()
        begin = time.monotonic()
        subprocess.run(line, check=True, **options)
        usual, whole = time.monotonic() - begin, contents(place)
        if name in GONE_ON:  # what tells the time, or when a file was made, is another each time
            shutil.rmtree(place)
            place.mkdir()
            subprocess.run(line, check=True, **options)
            second = contents(place)
            same = [file for file in whole if whole[file] == second[file] and not file.endswith(JOURNALS)]
        for turn in range(number):
            anew = turn % 2 == 1 and name != "warmup"
            if anew:  # else what is there already is to be replaced
                shutil.rmtree(place)
                place.mkdir()
            child = subprocess.Popen(line, **options)
            time.sleep(random_.uniform(0.3, 1.0) * usual)
            child.kill()
            made["after the end"] += child.wait() == 0
            made["kills"] += 1
            made["processes left"] += outlives(child.pid)
            found = contents(place)
            if anew and (place / "vectors").exists():  # a folder that has its name has all its files
                made["half written"] += not whole.keys() <= found.keys()
            for file, data in found.items():
                if "minivan-download-" in file or (name == "oracle vectors" and file.startswith(".minivan-")):
                    continue  # in a folder that says whose it is, and that a later fetch sweeps away, or in a hidden one
                elif name in GONE_ON and (file.endswith(JOURNALS) or file not in same):
                    continue
                elif name == "warmup" and file.endswith(".tmp"):
                    made["left over"] += 1
                elif file not in whole:
                    made["left over"] += name != "warmup"  # kernels are named after all that they depend on
                elif name != "warmup" and data != whole[file]:
                    made["half written"] += 1
            if name in GONE_ON and child.returncode != 0:
                made["gone on from"] += any(file.endswith(JOURNALS) for file in found)
                subprocess.run(line, check=True, **options)
                after = contents(place)
                made["otherwise than at once"] += any(after.get(file) != whole[file] for file in same)
    server.shutdown()
    return made


def labelled_photos(folder: Path) -> Path:
    """Make thirty photos in class folders; return the folder."""
    for i in range(30):  # each another one
        path = folder / ("n07920052", "n02124075")[i % 2] / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.open(COFFEE).resize((100 + 5 * i, 90)).save(path)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def outlives(group: int) -> bool:
    """Tell whether a process of a group is still there LOST seconds after its leader was killed."""
    until = time.monotonic() + LOST
    while time.monotonic() < until:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.05)
    os.killpg(group, signal.SIGKILL)
    return True


class Official(http.server.BaseHTTPRequestHandler):
    """Serves one small checkpoint, slowly enough to be killed in between."""

    def do_GET(self) -> None:
        data = OFFICIAL.read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        with contextlib.suppress(OSError):
            for at in range(0, len(data), 1 << 14):
                self.wfile.write(data[at : at + (1 << 14)])
                time.sleep(0.02)

    def log_message(self, *_: object) -> None:
        pass
