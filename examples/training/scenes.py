"""Scenes and their masks, what a frozen backbone makes of them once, and both as a dataset of PyTorch's.

A scene is a photo and a mask of its size, whose pixels are numbers of classes; a number that is no class's is void: nothing is
learned from such a pixel, and none is judged.
"""

from __future__ import annotations

import sys
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from math import exp, log, prod
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageEnhance

sys.path[:0] = [str(Path(__file__).parents[2])]

from minivan import image  # noqa: E402
from minivan.card import Preprocessing  # noqa: E402
from minivan.output import replacing  # noqa: E402
from minivan.van import VAN  # noqa: E402

VOID = 255  # in a target, whatever number a mask has there
COARSEST = 32  # pixels of a photo to one place of the coarsest map: sides are padded to multiples of it
TARGET = 2  # pixels of a photo to one of a target, a side
ZOOM = (0.75, 1.5)  # of a view against the whole scene
LIGHT = 0.3  # brightness, contrast and colour lie within 1 +- this
CHANGES = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
INDEXED = ("L", "P", "1")  # Pillow's modes whose pixels are numbers up to 255

Size = tuple[int, int]  # width and height, as Pillow has them
Maps = list[npt.NDArray[np.float16]]  # (C_i, H_i, W_i), the finest first


@dataclass(frozen=True)
class Scene:
    """A photo and its mask, as bytes of their files."""

    name: str
    photo: bytes
    mask: bytes

    @property
    def size(self) -> Size:
        with Image.open(BytesIO(self.mask)) as picture:
            return picture.size

    def picture(self) -> Image.Image:
        return image.decode(self.photo)

    def classes(self, count: int) -> Image.Image:
        """Return the mask, 8 bits a pixel, everything but 0 to count - 1 being VOID."""
        with Image.open(BytesIO(self.mask)) as picture:
            numbers = np.asarray(picture)
        return Image.fromarray(np.where(numbers < count, numbers, VOID).astype(np.uint8))


def scenes(source: Path, part: str) -> list[Scene]:
    """Return the scenes in the folder `part` of a folder or a .zip, sorted by name.

    The mask of train/NAME.jpg is train/NAME.png; that of train/images/NAME.jpg may be train/masks/NAME.png. Raises ValueError
    where a photo has no mask, where the two differ in size, where a mask has colours, and where there is no scene.
    """
    files = _files(source, part)
    pngs = {name for name in files if name.lower().endswith(".png")}
    found, masks = [], set[str]()
    for name in sorted(files):
        path = PurePosixPath(name)
        if path.suffix.lower() not in image.SUFFIXES or path.parent.name == "masks":
            continue
        beside = str(path.with_suffix(".png"))
        apart = str(path.parent.parent / "masks" / f"{path.stem}.png")
        mask = apart if apart in pngs else beside if beside in pngs and beside != name else ""
        if not mask and name in pngs:
            continue  # a mask beside its photo
        if not mask:
            raise ValueError(f"{source}: {name} has no mask: {beside} or {apart} is wanted")
        masks.add(mask)
        found.append(_checked(Scene(name, files[name], files[mask]), source))
    if not found:
        raise ValueError(f"{source}: no scenes in {part}/: photos NAME.jpg are wanted, each with its mask NAME.png beside it")
    return found


def _checked(scene: Scene, source: Path) -> Scene:
    try:
        with Image.open(BytesIO(scene.mask)) as mask:
            mode = mask.mode
        size = scene.picture().size
    except (OSError, ValueError) as error:
        raise ValueError(f"{source}: {scene.name} or its mask cannot be read: {error}") from None
    if mode not in INDEXED:
        raise ValueError(f"{source}: the mask of {scene.name} is {mode}: grey or a palette's numbers of 8 bits are wanted")
    if size != scene.size:
        raise ValueError(f"{source}: {scene.name} has {size[0]} x {size[1]} pixels, its mask {scene.size[0]} x {scene.size[1]}")
    return scene


def _files(source: Path, part: str) -> dict[str, bytes]:
    """Return the files under a part of a folder or a .zip by their paths, with '/'."""
    if source.is_dir():
        root = source / part
        return {path.relative_to(source).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
    try:
        with zipfile.ZipFile(source) as archive:
            names = [name for name in archive.namelist() if name.startswith(f"{part}/") and not name.endswith("/")]
            return {name: archive.read(name) for name in names}
    except zipfile.BadZipFile:
        raise ValueError(f"{source}: neither a folder nor a .zip of scenes") from None


@dataclass(frozen=True)
class View:
    """A part of a scene as the network sees it: where it lies, at what size, perhaps mirrored, in what light."""

    box: tuple[float, float, float, float]  # of the scene: left, top, right, bottom
    size: Size
    mirrored: bool = False
    light: tuple[float, ...] = ()  # factors of brightness, contrast, colour

    def photo(self, scene: Scene, preprocessing: Preprocessing, padded: Size) -> npt.NDArray[np.float32]:
        """Return the network's input, (3, H, W), zeros to the right and below up to the padded size."""
        picture = scene.picture().resize(self.size, Image.Resampling[preprocessing.interpolation.upper()], self.box)
        if self.mirrored:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        for change, factor in zip(CHANGES, self.light, strict=False):
            picture = change(picture).enhance(factor)
        x = np.zeros((3, padded[1], padded[0]), np.float32)
        x[:, : self.size[1], : self.size[0]] = image.normalise(picture, preprocessing.mean, preprocessing.std)
        return x

    def target(self, scene: Scene, classes: int, padded: Size) -> npt.NDArray[np.int64]:
        """Return the classes at 1 / TARGET of the input's size, VOID to the right and below."""
        width, height = (-(-side // TARGET) for side in self.size)
        mask = scene.classes(classes).resize((width, height), Image.Resampling.NEAREST, self.box)
        if self.mirrored:
            mask = mask.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        target = np.full((padded[1] // TARGET, padded[0] // TARGET), VOID, np.int64)
        target[:height, :width] = np.asarray(mask)
        return target


def whole(size: Size, side: int) -> View:
    """Return the view of a scene that inference has: all of it, its shorter side scaled to `side` pixels."""
    return View((0, 0, *size), scaled(size, side))


def varied(size: Size, side: int, frame: Size, random: np.random.Generator) -> View:
    """Return a view for training: nearer or further than the whole, a part of at most the frame's size, in another light."""
    width, height = size
    zoom = side / min(size) * exp(random.uniform(log(ZOOM[0]), log(ZOOM[1])))
    wide, high = (min(most, round(given * zoom)) for most, given in zip(frame, size, strict=True))
    left, top = random.uniform(0, width - min(width, wide / zoom)), random.uniform(0, height - min(height, high / zoom))
    box = left, top, min(width, left + wide / zoom), min(height, top + high / zoom)
    return View(box, (wide, high), bool(random.random() < 0.5), tuple(random.uniform(1 - LIGHT, 1 + LIGHT, 3)))


def scaled(size: Size, side: int) -> Size:
    """Return a size whose shorter side is `side`, the other truncated as `minivan.image` does."""
    width, height = size
    return (side, int(side * height / width)) if width <= height else (int(side * width / height), side)


def padded(size: Size) -> Size:
    """Return a size rounded up to multiples of COARSEST."""
    return -(-size[0] // COARSEST) * COARSEST, -(-size[1] // COARSEST) * COARSEST


@dataclass(frozen=True)
class Stored:
    """The four maps that a backbone has of each of many inputs: float16, one after the other in one file, read as needed."""

    path: Path
    dims: Sequence[int]  # channels of each map
    sizes: Sequence[Size]  # of each input
    numbers: npt.NDArray[np.float16]  # all of them
    starts: npt.NDArray[np.int64]  # where each input's begin

    @classmethod
    def at(cls, path: Path, dims: Sequence[int], sizes: Sequence[Size]) -> Stored | None:
        """Return what is kept in a file; None where there is none of this length."""
        starts = np.cumsum([0, *(sum(map(prod, _shapes(dims, size))) for size in sizes)])
        if not path.exists():
            return None
        numbers = np.load(path, mmap_mode="r", allow_pickle=False)
        return cls(path, dims, sizes, numbers, starts) if numbers.shape == (starts[-1],) else None

    @classmethod
    def computed(cls, path: Path, backbone: VAN, sizes: Sequence[Size], inputs: Iterable[npt.NDArray[np.float32]]) -> Stored:
        """Compute them of inputs (3, H, W), one at a time, and write them."""
        dims = backbone.config.dims
        length = sum(prod(shape) for size in sizes for shape in _shapes(dims, size))
        with replacing(path) as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "<f2", "fortran_order": False, "shape": (length,)})
            for x in inputs:
                for values in backbone.features(x[None]):
                    file.write(values.astype("<f2").tobytes())
        made = cls.at(path, dims, sizes)
        if made is None:
            raise ValueError(f"{path}: it is not what was written: does another training write it?")
        return made

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, i: int) -> Maps:
        start, made = self.starts[i], []
        for shape in _shapes(self.dims, self.sizes[i]):
            made.append(np.array(self.numbers[start : start + prod(shape)]).reshape(shape))
            start += prod(shape)
        return made


def _shapes(dims: Sequence[int], size: Size) -> Iterator[tuple[int, int, int]]:
    for i, dim in enumerate(dims):
        yield dim, size[1] // (4 << i), size[0] // (4 << i)


def frame_of(found: Sequence[Scene], side: int) -> Size:
    """Return the size at which the commonest size of scenes is seen."""
    return scaled(Counter(scene.size for scene in found).most_common(1)[0][0], side)


@dataclass(frozen=True)
class Views(torch.utils.data.Dataset):
    """In every epoch another view of each scene: its four maps and its target. After the last of them comes the first again.

    The numbers of the seed, the view, the epoch and the scene decide what is seen, so that a training which was stopped goes on
    with what it would have seen.
    """

    scenes: Sequence[Scene]
    classes: int
    side: int  # of a scene's shorter side, before it is zoomed
    frame: Size  # of the largest part that a view shows
    count: int  # of views of each scene
    seed: int = 0
    crop: int | None = None  # pixels a side of the part of a view that an epoch learns from; None: all of it
    stored: Stored | None = None
    epoch: int = 0

    def at(self, epoch: int) -> Views:
        """Return the scenes as an epoch of a training sees them."""
        return replace(self, epoch=epoch)

    def view(self, number: int, i: int) -> View:
        """Return view `number` of scene i."""
        return varied(self.scenes[i].size, self.side, self.frame, np.random.default_rng((self.seed, number, i)))

    def inputs(self, preprocessing: Preprocessing) -> Iterator[npt.NDArray[np.float32]]:
        """Yield what the backbone is to see, view by view."""
        for number in range(self.count):
            for i, scene in enumerate(self.scenes):
                yield self.view(number, i).photo(scene, preprocessing, padded(self.frame))

    @property
    def sizes(self) -> list[Size]:
        """The sizes of all of them."""
        return [padded(self.frame)] * (self.count * len(self.scenes))

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, i: int) -> tuple[Maps, npt.NDArray[np.int64]]:
        if self.stored is None:
            raise ValueError("the backbone's maps are not computed yet")
        number = self.epoch % self.count
        maps = self.stored[number * len(self.scenes) + i]
        target = self.view(number, i).target(self.scenes[i], self.classes, padded(self.frame))
        return self._part(maps, target, i) if self.crop else (maps, target)

    def _part(self, maps: Maps, target: npt.NDArray[np.int64], i: int) -> tuple[Maps, npt.NDArray[np.int64]]:
        """Return a square part of maps and target that begins and ends with places of the coarsest map."""
        random, side = np.random.default_rng((self.seed, self.epoch, i, 1)), (self.crop or 0) // COARSEST
        top, left = (int(random.integers(max(0, length - side) + 1)) for length in maps[-1].shape[1:])

        def cut(array: npt.NDArray, scale: int) -> npt.NDArray:
            rows, columns = (slice(start * scale, (start + side) * scale) for start in (top, left))
            return np.ascontiguousarray(array[..., rows, columns])

        return [cut(each, COARSEST // (4 << k)) for k, each in enumerate(maps)], cut(target, COARSEST // TARGET)
