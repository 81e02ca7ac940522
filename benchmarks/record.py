"""Make every recorded figure again that depends on the bundled weights. After these change:

    python benchmarks/record.py

The accuracy, how sure the answers are and the SHA-256 are written into weights/README.md, the classify transcript and the
accuracy into README.md; then the scripts that own the other figures are run: the recorded bits of `exact`, the pictures, the
table of docs/explain.md, the notebooks, the ablations. It takes some forty minutes on two cores, needs the extras `test`,
`torch` and `examples`, and MINIVAN_LABELLED (see make_labelled.py).

Not reached, to be read and written by hand: the prose of README.md, docs/, the lessons and the ablations (ablate.py compares
these weights with version 1); in weights/README.md whatever is not measured here, and TERMS.md; the sizes that follow from the
input's, which the tests hold; the boxes in tests/support/sanity.py; the times in docs/performance.md, on a quiet machine.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import torch  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from support import torch_van  # noqa: E402
from support.labelled import logits  # noqa: E402

import minivan  # noqa: E402
from minivan import image, labelled  # noqa: E402
from minivan.checkpoint.hub import bundled  # noqa: E402
from minivan.ops import softmax  # noqa: E402
from minivan.van import VAN  # noqa: E402

PHOTOS = ("cat", "coffee", "rocket", "astronaut")
OWNERS = [
    ["tests/support/reproduce.py", "--write"],
    ["examples/draw_diagrams.py"],
    ["examples/draw_figures.py"],
    ["benchmarks/maps.py"],
    ["examples/build.py"],
    ["examples/ablations/ablate.py"],
    ["examples/ablations/where_or_which.py"],
]


def rewrite(path: Path, pattern: str, line: str) -> None:
    """Replace what the pattern matches, once, in a text file; SystemExit where it does not match."""
    text = path.read_text(encoding="utf-8")
    text, found = re.subn(pattern, lambda _: line, text, flags=re.DOTALL)
    if found != 1:
        sys.exit(f"{path}: the pattern {pattern!r} was found {found} times, not once")
    path.write_text(text, encoding="utf-8")


EDGES = (0.0, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0)  # of the table of how sure the answers are


def how_sure(logits: NDArray, targets: NDArray) -> str:
    """Return the rows of a table: how many answers have their first class's probability in each range, and are right."""
    top, is_right = softmax(logits).max(axis=1), logits.argmax(axis=1) == targets
    rows = []
    for low, high in pairwise(EDGES):
        inside = (top >= low) & ((top < high) | (high == 1))
        label = f"below {high}" if low == 0 else f"{low} to {high}" if high < 1 else f"from {low} on"
        rows.append(f"| {label} | {inside.sum()} | {100 * is_right[inside].mean():.0f} % |")
    return "\n".join(rows)


def accuracy(model: VAN) -> tuple[int, str, str]:
    """Say how many of the labelled photographs `exact` gets right, how many PyTorch does, and how sure the answers are."""
    inputs, targets = labelled.inputs(labelled.given(), model.card)
    net = torch_van.load(model.config, model.tensors)
    ours = logits(model, inputs)
    with torch.inference_mode():
        judged = logits(lambda x: net(torch.from_numpy(x)), inputs)
    (one, five), theirs = ([labelled.right(y, targets, k) for k in (1, 5)] for y in (ours, judged))
    if theirs[0] != one:
        sys.exit(f"exact gets {one} right and PyTorch {theirs[0]}: README.md and weights/README.md say that they are as many")
    said = f"{one} right ({one / 10:.1f} %), {five} among the first five ({five / 10:.1f} %)"
    return one, f"{said}; PyTorch on the same weights: the same {one}", how_sure(ours, targets)


def likeliest(model: VAN, name: str) -> tuple[str, float]:
    """Return the usual name and the probability of the likeliest class of a photograph in examples/."""
    x = image.prepare(ROOT / "examples" / f"{name}.jpg", model.card.preprocessing)
    probabilities = softmax(model(x[None]))[0]
    best = int(probabilities.argmax())
    return model.card.label(best).short, float(probabilities[best])


def main() -> None:
    path = bundled()[0]
    model = minivan.load(path, engine="exact")
    readme = ROOT / "weights" / "README.md"
    try:
        one, said, sure = accuracy(model)
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    rewrite(readme, r"1,000 labelled validation images: [^|]*(?= \|)", f"1,000 labelled validation images: {said}")
    rewrite(readme, r"(?<=\| first class's probability \| images \| right \|\n\|---\|--:\|--:\|\n).*?(?=\n\n)", sure)
    answers = [f"{name}.jpg is {label} at {p:.2f}" for name in PHOTOS for label, p in [likeliest(model, name)]]
    rewrite(readme, r"(?<=\| photographs \| )[^;|]*(?=; )", ", ".join(answers))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    rewrite(readme, r"(?<=\| this file \| SHA-256 `)[0-9a-f]{64}", sha256)
    rewrite(readme, r"(?<=SHA-256 `)[0-9a-f]{64}(?=` \|\n\| this file)", model.card.source_sha256)
    rewrite(ROOT / "README.md", r"(?<=They get \[)[\d.]+ %", f"{one / 10:.1f} %")
    rocket = "{} at {:.2f}".format(*likeliest(model, "rocket"))
    rewrite(ROOT / "README.md", r"(?<=`examples/rocket\.jpg` is an )[^:]*?(?=:)", rocket)
    command = [sys.executable, "-m", "minivan", "classify", "examples/coffee.jpg"]
    with tempfile.TemporaryDirectory() as home:  # where no other weights were fetched to
        environment = os.environ | {"MINIVAN_HOME": home}
        done = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, encoding="utf-8")
    transcript = done.stdout
    shown = "\n".join(line.rstrip() for line in transcript.strip("\n").splitlines())
    rewrite(ROOT / "README.md", r"(?<=\$ python -m minivan classify examples/coffee\.jpg\n).*?(?=\n```)", shown)
    print(said, *answers, sep="\n")
    for owner in OWNERS:
        print("python", *owner, flush=True)
        subprocess.run([sys.executable, *owner], cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
