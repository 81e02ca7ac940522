"""Where the published checkpoints lie, and what is known of each file: its SHA-256, its size.

Those on Hugging Face lie in repositories of git, so that a file can be had as it was at a commit, and mirrors of the whole hub
answer as it does: HF_ENDPOINT names one, as for Hugging Face's own libraries.
"""

from __future__ import annotations

import ipaddress
import math
import os
import re
from dataclasses import dataclass, replace
from urllib.parse import quote as escaped
from urllib.parse import urlsplit

from ..errors import quote
from ..variants import canonical, parameter_shapes, variant
from .error import CheckpointError
from .transfer import is_address, shown

COPIES = 4  # of every parameter, in float32, that a checkpoint may have: weights, their average, and two of the optimizer's
HUB, MAIN = "https://huggingface.co", "main"
NAME_OF_REVISION = re.compile(r"(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9_.+-]*(/[A-Za-z0-9_][A-Za-z0-9_.+-]*)*")  # as git allows
LARGEST = 4 << 30  # bytes: B6, the largest VAN, has 200 million parameters, so that four copies are 3.2 GB


@dataclass(frozen=True)
class Source:
    """One file that can be fetched. `sha256` may be whole (64 digits), its beginning (8, from its name), or unknown ('')."""

    variant: str  # '' for a file that is not one of SOURCES
    library: str  # of layouts.LAYOUTS
    url: str
    sha256: str = ""
    megabytes: float | None = None  # of 10^6 bytes, in the three digits that the page shows on which it lies
    revision: str = MAIN  # what is known of the file is known of this one

    @property
    def sizes(self) -> range:
        """How many bytes it may have: about what is known, else what a checkpoint of its variant, or of any VAN, can have."""
        if self.megabytes is not None and self.revision == MAIN:
            return range(int(self.megabytes * 0.99e6), int(self.megabytes * 1.01e6) + 1)
        if not self.variant:
            return range(LARGEST + 1)
        parameters = sum(math.prod(shape) for _, shape in parameter_shapes(variant(self.variant)))
        return range(COPIES * 4 * parameters + 1)


def _authors(variant: str, size: str, file: str, megabytes: float, sha256: str = "") -> Source:
    url = f"{HUB}/Visual-Attention-Network/VAN-{size}-original/resolve/{MAIN}/{file}"
    return Source(variant, "authors", url, sha256, megabytes)


def _huggingface(variant: str, size: str, megabytes: float | None = None, sha256: str = "") -> Source:
    url = f"{HUB}/Visual-Attention-Network/van-{size}/resolve/{MAIN}/pytorch_model.bin"
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


def located(source: Source, revision: str | None = None) -> Source:
    """Return where a published checkpoint is asked for: at the mirror that HF_ENDPOINT names, and at `revision`.

    `revision` is a branch, a tag or a commit of its repository on Hugging Face. Raises CheckpointError for one that is none,
    for a file that lies elsewhere and has none, and for an HF_ENDPOINT that is no address of https, or of this machine.
    """
    on_hub = source.url.startswith(f"{HUB}/")
    if revision is not None:
        if not on_hub:
            raise CheckpointError(f"the revision {quote(revision)}", f"{shown(source.url)} has none: it lies in no repository")
        if len(revision) > 200 or not NAME_OF_REVISION.fullmatch(revision):
            raise CheckpointError(f"the revision {quote(revision)}", "the name of a branch or a tag is wanted, or a commit")
        asked = source.url.replace(f"/resolve/{MAIN}/", f"/resolve/{escaped(revision, safe='')}/")
        source = replace(source, url=asked, revision=revision)
    return replace(source, url=_mirrored(source.url)) if on_hub else source


def _mirrored(url: str) -> str:
    """Return an address of the hub's as one of the mirror that HF_ENDPOINT names, if it does."""
    endpoint = os.environ.get("HF_ENDPOINT", "").strip().rstrip("/")
    if not endpoint:
        return url
    if not is_address(endpoint) or not endpoint.isprintable() or set("?# ") & set(endpoint):
        raise CheckpointError(f"HF_ENDPOINT is {quote(endpoint)}", f"an address such as {HUB} is wanted, or none")
    mirrored = endpoint + url.removeprefix(HUB)
    if urlsplit(endpoint).scheme != "https" and not _is_here(urlsplit(endpoint).hostname or ""):
        why = "over http anybody on the way could change the file: make it https, or ask for it by"
        raise CheckpointError(f"HF_ENDPOINT is {shown(endpoint)}", f"{why} --url {shown(mirrored)}")
    return mirrored


def _is_here(host: str) -> bool:
    """Tell whether a host is this machine, to which nothing goes over a network."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
