"""The paper's table: seven published shapes of one network, and any shape of your own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from . import paths
from .errors import quote
from .geometry import CONV0, CONV_SPATIAL, DWCONV, PATCH_EMBEDS, POINTWISE, Kernel

MOST_HINTS, MOST_NEAR = 4, 40  # missing tensors for which a name near theirs is sought, and names that are looked at
LONGEST_LIST = 400  # characters of the faults that one message names
LARGEST_DIMENSION = 1 << 16  # far above any VAN; a shape beyond it is a damaged file, not a network
COLOURS = 3  # channels of a photo, which every published VAN takes
MOST_CHANNELS = 1024  # of an image: several times what hyperspectral cameras have, some 200 to 400 bands
RUNNING = ("running_mean", "running_var")  # of a BatchNorm


@dataclass(frozen=True)
class Config:
    """The shape of a VAN: everything the forward pass needs to know besides the tensors."""

    dims: tuple[int, ...]  # channels of each stage
    depths: tuple[int, ...]  # blocks of each stage
    mlp_ratios: tuple[int, ...] = (8, 8, 4, 4)  # hidden channels of the MLP over dims
    classes: int = 1000  # 0 is a bare backbone: feature maps and no head
    layer_norm_eps: float = 1e-6  # 1e-6 in the authors' and Hugging Face's code, 1e-5 in OpenMMLab's
    batch_norm_eps: float = 1e-5  # torch.nn.BatchNorm2d's default in all three
    channels: int = COLOURS  # of the images that it takes: 3 for photos, 1 for grey ones, 13 for a satellite's bands

    def __post_init__(self) -> None:
        for field in ("dims", "depths", "mlp_ratios"):
            object.__setattr__(self, field, tuple(int(v) for v in getattr(self, field)))
        if not self.dims or not len(self.dims) == len(self.depths) == len(self.mlp_ratios) <= len(PATCH_EMBEDS):
            raise ValueError(
                f"a VAN has one to four stages, each with a dim, a depth and an MLP ratio; "
                f"got dims {self.dims}, depths {self.depths}, mlp_ratios {self.mlp_ratios}"
            )
        for value in (*self.dims, *self.depths, *self.mlp_ratios, self.classes or 1):
            if not 1 <= value <= LARGEST_DIMENSION:
                raise ValueError(f"every dim, depth, MLP ratio and class count lies in 1..{LARGEST_DIMENSION}; got {self}")
        if not 1 <= self.channels <= MOST_CHANNELS:
            raise ValueError(f"a network takes images of 1 to {MOST_CHANNELS} channels; got {self.channels}")

    @property
    def stages(self) -> int:
        """How many stages it has, one to four."""
        return len(self.dims)


# Guo et al. 2022, table 3 (b0-b6); b0-b3 are the authors' van_tiny, van_small, van_base and van_large.
VARIANTS = {
    "b0": Config((32, 64, 160, 256), (3, 3, 5, 2)),
    "b1": Config((64, 128, 320, 512), (2, 2, 4, 2)),
    "b2": Config((64, 128, 320, 512), (3, 3, 12, 3)),
    "b3": Config((64, 128, 320, 512), (3, 5, 27, 3)),
    "b4": Config((64, 128, 320, 512), (3, 6, 40, 3)),
    "b5": Config((96, 192, 480, 768), (3, 3, 24, 3)),
    "b6": Config((96, 192, 384, 768), (6, 6, 90, 6)),
}
ALIASES = {"tiny": "b0", "small": "b1", "base": "b2", "large": "b3"}

# ImageNet-1k top-1 in per cent, as published: b0-b4 trained on ImageNet-1k, b5 and b6 pretrained on ImageNet-22k.
PRETRAINED = ("b5", "b6")
PUBLISHED_TOP1 = {"b0": 75.4, "b1": 81.1, "b2": 82.8, "b3": 83.9, "b4": 84.2, "b5": 86.3, "b6": 86.9}


def canonical(name: str) -> str:
    """Return 'b0'..'b6' for a variant's name or alias ('B0', 'van_b0', 'van-tiny', 'tiny'); ValueError for any other."""
    short = name.lower().removeprefix("van").lstrip("_-")
    short = ALIASES.get(short, short)
    if short not in VARIANTS:
        known = ", ".join([*VARIANTS, *ALIASES])
        raise ValueError(f"no VAN variant is called {name!r}; the variants are {known}")
    return short


def variant(name: str) -> Config:
    """Return the published shape of a variant ('b0'..'b6', or the old names tiny, small, base, large)."""
    return VARIANTS[canonical(name)]


def variant_of(config: Config) -> str | None:
    """Return the variant whose dims, depths and ratios these are ('b0'..'b6'), or None for a shape of one's own."""
    shape = (config.dims, config.depths, config.mlp_ratios)
    return next((n for n, c in VARIANTS.items() if (c.dims, c.depths, c.mlp_ratios) == shape), None)


def title(config: Config) -> str:
    """Return what a network is called: 'VAN-B0', or 'VAN' for a shape of one's own."""
    short = variant_of(config)
    return f"VAN-{short.upper()}" if short else "VAN"


def title_with_shape(config: Config) -> str:
    """Return what tells a network from others: 'VAN-B0', or 'VAN (8, 16) x (1, 2)' with a shape of one's own."""
    return title(config) if variant_of(config) else f"{title(config)} {config.dims} x {config.depths}"


def counted(channels: int, kind: str = "channel", kinds: str = "") -> str:
    """Return '1 channel' or '13 channels'."""
    return f"{channels} {kind if channels == 1 else kinds or f'{kind}s'}"


def unusual_channels(config: Config) -> str:
    """Return how many channels its images have, where they are not a photo's three: ', 13 input channels'; else ''."""
    return "" if config.channels == COLOURS else f", {counted(config.channels, 'input channel')}"


def said(config: Config) -> dict[str, Any]:
    """Return a shape's fields by name, as files of minivan's own have them: without the number of channels where it is 3."""
    fields = asdict(config)
    return {name: value for name, value in fields.items() if (name, value) != ("channels", COLOURS)}


def parameter_shapes(config: Config) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield every tensor of the network in order: its name in the authors' checkpoint, and its shape.

    BatchNorm's `num_batches_tracked` counters are left out: inference has no use for them.
    """
    c_in = config.channels
    for i, (dim, depth, ratio) in enumerate(zip(config.dims, config.depths, config.mlp_ratios, strict=True), start=1):
        yield from _conv(f"{paths.patch_embed(i)}.proj", dim, c_in, PATCH_EMBEDS[i - 1])
        yield from _batch_norm(f"{paths.patch_embed(i)}.norm", dim)
        for j in range(depth):
            yield from _block(paths.block(i, j), dim, ratio * dim)
        yield f"{paths.norm(i)}.weight", (dim,)
        yield f"{paths.norm(i)}.bias", (dim,)
        c_in = dim
    if config.classes:
        yield "head.weight", (config.classes, c_in)
        yield "head.bias", (config.classes,)


def is_learned(name: str) -> bool:
    """Return whether training learns a tensor: all but BatchNorm's running statistics, which it gathers."""
    return not name.endswith(RUNNING)


def _block(name: str, dim: int, hidden: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    unit = f"{name}.{paths.UNIT}"
    yield f"{name}.layer_scale_1", (dim,)
    yield f"{name}.layer_scale_2", (dim,)
    yield from _batch_norm(f"{name}.norm1", dim)
    yield from _conv(f"{name}.attn.proj_1", dim, dim, POINTWISE)
    yield from _conv(f"{unit}.conv0", dim, 1, CONV0)
    yield from _conv(f"{unit}.conv_spatial", dim, 1, CONV_SPATIAL)
    yield from _conv(f"{unit}.conv1", dim, dim, POINTWISE)
    yield from _conv(f"{name}.attn.proj_2", dim, dim, POINTWISE)
    yield from _batch_norm(f"{name}.norm2", dim)
    yield from _conv(f"{name}.mlp.fc1", hidden, dim, POINTWISE)
    yield from _conv(f"{name}.mlp.dwconv.dwconv", hidden, 1, DWCONV)
    yield from _conv(f"{name}.mlp.fc2", dim, hidden, POINTWISE)


def _conv(name: str, c_out: int, c_in: int, kernel: Kernel) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (c_out, c_in, kernel.side, kernel.side)
    yield f"{name}.bias", (c_out,)


def _batch_norm(name: str, channels: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    for part in ("weight", "bias", *RUNNING):
        yield f"{name}.{part}", (channels,)


Shapes = Mapping[str, tuple[int, ...] | None]


def tensor_faults(config: Config, found: Shapes, strangers: Shapes | None = None) -> Iterator[str]:
    """Say what is unknown, missing or misshapen in a network's tensors: a phrase each, in the network's order.

    `found` maps names to shapes; None stands for something that is no tensor of numbers. `strangers` are what else there
    is, under names that stand for no tensor of a VAN, though they may read like one.
    """
    expected = dict(parameter_shapes(config))
    hints = MOST_HINTS if strangers else 0
    for name, shape in [*(strangers or {}).items(), *((n, s) for n, s in found.items() if n not in expected)]:
        yield f"{quote(name)} {'(no tensor)' if shape is None else shape} is unknown"
    for name, shape in expected.items():
        if name not in found:
            import difflib

            near = difflib.get_close_matches(name, list(strangers)[:MOST_NEAR], 1, 0.8) if strangers and hints else []
            hints -= bool(near)
            yield f"{name} {shape} is missing{f', near it is {quote(near[0])}' if near else ''}"
            continue
        there = found[name]
        if there is None:
            yield f"{name} is not a tensor that can be read"
        elif there != shape:
            weight = found.get("head.weight")
            either = name == "head.bias" and weight is not None and weight[:1] == shape  # may be wrong
            yield f"{name} has the shape {there}, not {shape}{f' as head.weight {weight} has it' if either else ''}"


def listed(faults: Iterable[str]) -> str:
    """Return faults as one line, which says how many more there are where they are many; '' for none."""
    named: list[str] = []
    length = more = 0
    for fault in faults:
        length += len(fault)
        if named and length > LONGEST_LIST:
            more += 1
        else:
            named.append(fault)
    return "; ".join(named) + (f" (and {more} more)" if more else "")


def check_tensors(config: Config, tensors: Mapping[str, Any]) -> list[str]:
    """Return the names of a network's tensors in order; ValueError where `tensors` does not hold exactly these, floating."""
    faults = list(tensor_faults(config, {name: np.shape(tensor) for name, tensor in tensors.items()}))
    for name, tensor in tensors.items():
        dtype = np.asarray(tensor).dtype
        if not np.issubdtype(dtype, np.floating):
            faults.append(f"{name} has the dtype {dtype}, which is not floating")
    if faults:
        raise ValueError(f"these tensors are not a VAN of {config}: {listed(faults)}")
    return [name for name, _ in parameter_shapes(config)]
