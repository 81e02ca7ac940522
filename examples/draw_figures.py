"""Draw what `explain` shows of the photographs here, with the bundled weights: the figures of README and docs/explain.md.

    python examples/draw_figures.py

First it puts the four photographs into one, four.jpg: each takes a quarter, so that `explain`, which shows the network twice
as many pixels a side as it was trained on, shows it each of them at the size of the training.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from PIL import Image, ImageOps

from minivan.checkpoint.hub import bundled
from minivan.cli import main as minivan

HERE = Path(__file__).resolve().parent
FOUR = ("cat", "coffee", "rocket", "astronaut")  # left to right, then down
QUARTER = 300  # pixels
WIDTH = 1000  # pixels that a page shows of a figure
LANCZOS = Image.Resampling.LANCZOS
FIGURES = {
    "four_gradcam": ["explain", "four.jpg", "--class", "Egyptian cat", "--class", "espresso"],
    "coffee_stages": ["explain", "coffee.jpg", "--layer", "all"],
    "coffee_attention": ["explain", "coffee.jpg", "--attention"],
    "receptive_field": ["receptive-field"],
}


def four() -> Image.Image:
    """Return the middle square of each photograph, in one picture."""
    picture = Image.new("RGB", (2 * QUARTER, 2 * QUARTER))
    for place, name in enumerate(FOUR):
        with Image.open(HERE / f"{name}.jpg") as photo:
            square = ImageOps.fit(photo.convert("RGB"), (QUARTER, QUARTER), Image.Resampling.BICUBIC)
        picture.paste(square, (QUARTER * (place % 2), QUARTER * (place // 2)))
    return picture


def main() -> None:
    os.chdir(HERE)
    four().save("four.jpg", quality=92)
    for name, command in FIGURES.items():
        path = f"figures/{name}.png"
        if status := minivan([*command, "--weights", str(bundled()[0]), "-o", path]):
            sys.exit(status)
        with Image.open(path) as picture:
            smaller = picture.convert("RGB").resize((WIDTH, round(picture.height * WIDTH / picture.width)), LANCZOS)
        smaller.save(path, optimize=True)


if __name__ == "__main__":
    main()
