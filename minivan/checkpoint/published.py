"""Where the published checkpoints lie, and what is known of each file: its SHA-256, its size."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..variants import canonical, parameter_shapes, variant
from .error import CheckpointError

COPIES = 4  # of every parameter, in float32, that a checkpoint may have: weights, their average, and two of the optimizer's
LARGEST = 4 << 30  # bytes: B6, the largest VAN, has 200 million parameters, so that four copies are 3.2 GB


@dataclass(frozen=True)
class Source:
    """One file that can be fetched. `sha256` may be whole (64 digits), its beginning (8, from its name), or unknown ('')."""

    variant: str  # '' for a file that is not one of SOURCES
    library: str  # of layouts.LAYOUTS
    url: str
    sha256: str = ""
    megabytes: float | None = None  # of 10^6 bytes, in the three digits that the page shows on which it lies

    @property
    def sizes(self) -> range:
        """How many bytes it may have: about what is known, else what a checkpoint of its variant, or of any VAN, can have."""
        if self.megabytes is not None:
            return range(int(self.megabytes * 0.99e6), int(self.megabytes * 1.01e6) + 1)
        if not self.variant:
            return range(LARGEST + 1)
        parameters = sum(math.prod(shape) for _, shape in parameter_shapes(variant(self.variant)))
        return range(COPIES * 4 * parameters + 1)


def _authors(variant: str, size: str, file: str, megabytes: float, sha256: str = "") -> Source:
    url = f"https://huggingface.co/Visual-Attention-Network/VAN-{size}-original/resolve/main/{file}"
    return Source(variant, "authors", url, sha256, megabytes)


def _huggingface(variant: str, size: str, megabytes: float | None = None, sha256: str = "") -> Source:
    url = f"https://huggingface.co/Visual-Attention-Network/van-{size}/resolve/main/pytorch_model.bin"
    return Source(variant, "huggingface", url, sha256, megabytes)


def _openmmlab(variant: str, file: str) -> Source:
    """OpenMMLab ends a file's name with the first eight digits of its SHA-256."""
    url = f"https://download.openmmlab.com/mmclassification/v0/van/{file}"
    return Source(variant, "openmmlab", url, file.removesuffix(".pth")[-8:])


# In the order in which `fetch` prefers them. Where no hash is known, none is made up.
SOURCES = (
    _authors("b0", "Tiny", "van_tiny_754.pth.tar", 49.6),
    _authors("b1", "Small", "van_small_811.pth.tar", 167),
    _authors("b2", "Base", "van_base_828.pth.tar", 320, "3fbae1db35c4f1f96c4d66f1c8b13cac9194043171ff8a7e87fd21eb43a93725"),
    _authors("b3", "Large", "van_large_839.pth.tar", 538, "47010a5f353820551108cbd10c2ad60670c6e8a9cf7869867ea682caca23a677"),
    _huggingface("b0", "tiny", None, "df40b091c7f2067c8086d24c6fd9b7403ce773593f2a6df02ad035e0de575ec0"),
    _huggingface("b1", "small"),
    _huggingface("b2", "base", 107),
    _huggingface("b3", "large", 180, "823d81085813ec89c353eb37855181e63a9d6ca6337f06f8425f166f219dd579"),
    _openmmlab("b0", "van-tiny_8xb128_in1k_20220501-385941af.pth"),
    _openmmlab("b1", "van-small_8xb128_in1k_20220501-17bc91aa.pth"),
    _openmmlab("b2", "van-base_8xb128_in1k_20220501-6a4cc31b.pth"),
    _openmmlab("b3", "van-large_8xb128_in1k_20220501-f212ba21.pth"),
    _openmmlab("b4", "van-b4_3rdparty_in1k_20220909-f4665b92.pth"),
)


def published(name: str, library: str | None = None) -> Source:
    """Return the published checkpoint of a variant, from `library` or from the first that has it.

    Raises ValueError for a name that is no variant's, CheckpointError for a variant that is not published there.
    """
    variant = canonical(name)
    found = [source for source in SOURCES if source.variant == variant and library in (None, source.library)]
    if not found:
        there = sorted({source.variant for source in SOURCES if library in (None, source.library)})
        raise CheckpointError(
            f"no address of {variant} is known{f' from {library}' if library else ''}",
            f"known are {', '.join(there)}; any other file: --url URL",
        )
    return found[0]
