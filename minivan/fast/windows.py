"""The shapes of the patch embeddings' windows, laid out as rows (gather.py) so that a matrix product does the rest."""

from __future__ import annotations

from ..geometry import PATCH_EMBEDS
from .lanes import SHAPES, Shape

STEM, EMBED = PATCH_EMBEDS[0], PATCH_EMBEDS[1]  # the first embedding, and the one that all others are like
if {*PATCH_EMBEDS[1:]} != {EMBED}:
    raise NotImplementedError("fast has one kernel for the patch embeddings of all stages but the first")

# The stem's matrix has 7 kernel rows of 7 taps for each colour, each filled up to 8 with a zero: the seven pixels of a row
# lie together in the image, and a row of 8 is half a block of 16 channels, a block of 8 or two of 4: it never crosses blocks.
STEM_ROW = 1 << (STEM.side - 1).bit_length()
WIDEST = max(shape.lanes for shape in SHAPES.values())

# Matrix tiles of positions whose windows are laid out at once: few enough for them to be in the cache when multiplied.
STEM_TILES, EMBED_TILES = 8, 16


def stem_rows(colours: int, shape: Shape) -> int:
    """Rows of the stem's matrix for images of so many colours: 22 for three, as a row of zeros ends a block of 16."""
    block = max(WIDEST, shape.operand_lanes)
    return -(-colours * STEM.side * STEM_ROW // block) * block // STEM_ROW
