"""Check what would be published: sizes, and that nothing is in it that is not ours to hand on.

python .ci/published.py dist/*.whl dist/*.tar.gz
"""

import sys
import tarfile
import zipfile
from pathlib import Path

WEIGHTS = Path(__file__).parents[1] / "weights"  # networks, heads for them, their classes and terms
LARGEST = {".whl": 13_500_000, ".gz": 22_000_000}  # bytes; the weights are 7.9 million and a head up to 4, the lessons 4
SCENES = ("tiny_imagenet_val_1000.zip", "camvid.zip")  # what tests are given, and nobody is handed on
# The free photographs of examples/IMAGES.md.
OURS = {"cat.jpg", "coffee.jpg", "astronaut.jpg", "rocket.jpg", "four.jpg", "china.jpg"}

for name in sys.argv[1:]:
    path = Path(name)
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
        bundled = {"coffee.jpg", "TERMS.md", "van_b0_tiny_imagenet200.safetensors", *(file.name for file in WEIGHTS.iterdir())}
        page = ("minivan/page/page.html", "minivan/page/page.css", "minivan/page/van.js", "minivan/page/figures.json")
        for wanted in ("minivan/py.typed", "minivan/imagenet1k.tsv", *page, *(f"minivan/bundled/{name}" for name in bundled)):
            assert wanted in members, f"{path.name} lacks {wanted}"
    else:
        with tarfile.open(path) as archive:
            members = archive.getnames()
    photographs = [m for m in members if m.lower().endswith((".jpg", ".jpeg")) and Path(m).name not in OURS]
    assert not photographs, f"{path.name} holds photographs that are not ours: {photographs[:3]}"
    assert not any(m.endswith(SCENES) for m in members), f"{path.name} holds photographs that tests are given"
    size = path.stat().st_size
    assert size <= LARGEST[path.suffix], f"{path.name}: {size:,} bytes, more than {LARGEST[path.suffix]:,}"
    print(f"{path.name}: {size:,} bytes, {len(members)} files")
