"""What readers make of one small file of each kind that they differ on: the table in docs/images.md.

python benchmarks/images.py                          # minivan and Pillow, and OpenCV where it is installed
python benchmarks/images.py --opencv PYTHON          # OpenCV in another environment
python benchmarks/images.py --chromium chromium --write   # and the browser; the table goes into docs/images.md
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np  # noqa: E402
import PIL  # noqa: E402
from PIL import Image  # noqa: E402
from support.photo_kinds import Kind, kinds, verdict  # noqa: E402

from minivan import image  # noqa: E402

BEGIN, END = "<!-- kinds: benchmarks/images.py --write -->", "<!-- end of kinds -->"
OPENCV = """
import sys, cv2, numpy as np
print(cv2.__version__)
for path in sys.argv[1:]:
    made = cv2.imread(path, cv2.IMREAD_COLOR)
    np.save(path + ".npy", np.zeros(0) if made is None else made[..., ::-1])
"""
PAGE = """<body><pre id=out></pre><script>
const files = %s, found = [];
const draw = (file) => new Promise((done) => {
  const image = new Image();
  image.onerror = () => done(null);
  image.onload = () => {
    const canvas = document.createElement("canvas");
    canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
    const pen = canvas.getContext("2d");
    pen.fillStyle = "white"; pen.fillRect(0, 0, canvas.width, canvas.height); pen.drawImage(image, 0, 0);
    done([canvas.width, canvas.height, ...pen.getImageData(0, 0, canvas.width, canvas.height).data]);
  };
  image.src = file;
});
(async () => {
  for (const file of files) found.push(await draw(file));
  document.getElementById("out").textContent = "found" + JSON.stringify(found) + "end";
})();
</script>"""
MIME = {"jpg": "jpeg", "png": "png", "bmp": "bmp", "webp": "webp", "tif": "tiff", "avif": "avif", "heic": "heic"}

Picture = Any  # an array (H, W, 3), or None where there is none


def by_minivan(kind: Kind) -> Picture:
    try:
        return np.asarray(image.decode(kind.data))
    except image.ImageError:
        return None


def by_pillow(kind: Kind) -> Picture:
    try:
        with Image.open(io.BytesIO(kind.data)) as opened:
            return np.asarray(opened.convert("RGB"))
    except Exception:  # whatever it says, it has made no picture
        return None


def by_opencv(python: str) -> tuple[str, list[Picture]]:
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for i, kind in enumerate(kinds().values()):
            paths.append(f"{folder}/{i}.{kind.ending}")
            Path(paths[-1]).write_bytes(kind.data)
        done = subprocess.run([python, "-c", OPENCV, *paths], capture_output=True, text=True, check=True)
        made = [np.load(path + ".npy") for path in paths]
    return f"OpenCV {done.stdout.split()[0]}", [each if each.size else None for each in made]


def by_chromium(browser: str) -> tuple[str, list[Picture]]:
    files = [f"data:image/{MIME[kind.ending]};base64,{base64.b64encode(kind.data).decode()}" for kind in kinds().values()]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "page.html").write_text(PAGE % json.dumps(files))
        flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/user", "--force-color-profile=srgb"]
        flags += ["--virtual-time-budget=60000", "--dump-dom", f"file://{folder}/page.html"]
        said = subprocess.run([browser, *flags], capture_output=True, text=True, timeout=300, check=True).stdout
    found = re.search(r"found(\[.*\])end</pre>", said)
    assert found, "the browser has shown nothing"
    version = subprocess.run([browser, "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    pictures = [each and np.array(each[2:]).reshape(each[1], each[0], 4)[..., :3] for each in json.loads(found[1])]
    return f"Chromium {version.partition('.')[0]}", pictures


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--opencv", metavar="PYTHON")
    parser.add_argument("--chromium", metavar="BROWSER")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    columns = {
        "minivan": [*map(by_minivan, kinds().values())],
        f"Pillow {PIL.__version__}": [*map(by_pillow, kinds().values())],
    }
    columns |= dict([by_opencv(args.opencv)]) if args.opencv else {}
    columns |= dict([by_chromium(args.chromium)]) if args.chromium else {}
    lines = [f"| file | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    for i, (name, kind) in enumerate(kinds().items()):
        lines.append(f"| {name} | {' | '.join(verdict(kind, made[i]) for made in columns.values())} |")
    print("\n".join(lines))
    if args.write:
        path = ROOT / "docs" / "images.md"
        before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
        path.write_text(before + "\n".join([BEGIN, "", *lines, "", END]) + rest.partition(END)[2], encoding="utf-8")


if __name__ == "__main__":
    main()
