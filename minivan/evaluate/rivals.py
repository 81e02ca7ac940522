"""What a model's answers are compared with: other weights, another engine, an ONNX file, or logits that a port has written."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from .. import input, npy
from ..card import Card, Label, Preprocessing, file_sha256
from ..checkpoint import load
from ..engines import NAMED
from ..errors import printable, quote, reason
from ..input import amount
from ..oracle.arrays import ENCRYPTED, METHODS, PER_BYTE, UNPACKED
from ..predict import make_ready
from ..predict.identity import identity

if TYPE_CHECKING:
    from ..van import VAN

Float32 = npt.NDArray[np.float32]

LOGITS = (".npy", ".npz", ".jsonl")
LARGEST_LINE = 16 << 20  # bytes of one image's logits as JSON
LARGEST_ARRAY = 16 << 20  # bytes of one image's logits in an .npz


class Rival(Protocol):
    """Whoever gives logits for the images of a dataset."""

    name: str
    identity: str  # that of another one is another text
    card: Card  # whose classes and activation its logits have
    preprocessing: Preprocessing | None  # how it wants images prepared; None where it does not look at them

    def check(self, paths: Sequence[str]) -> None:
        """Raise ValueError where it cannot answer for a dataset of these paths."""

    def logits(self, indices: Sequence[int], paths: Sequence[str], x: Float32) -> list[Float32 | None]:
        """Return the logits (classes,) of some images, given their places, their paths, and themselves prepared (n, C, H, W).

        None in the place of one that it has no logits of.
        """


@dataclass
class Network:
    """Other weights, or another engine."""

    model: VAN
    name: str

    def __post_init__(self) -> None:
        self.card = self.model.card
        self.preprocessing: Preprocessing | None = self.card.preprocessing
        self.identity = _identity(self.model)

    def check(self, paths: Sequence[str]) -> None:
        make_ready(self.model)

    def logits(self, indices: Sequence[int], paths: Sequence[str], x: Float32) -> list[Float32 | None]:
        return list(self.model(x))


@dataclass
class Recorded:
    """Logits that a port has written: (N, classes) in the dataset's order, or those of each path."""

    name: str
    card: Card
    classes: int
    identity: str
    in_order: npt.NDArray[Any] | None
    by_path: dict[str, npt.NDArray[Any]]
    preprocessing: Preprocessing | None = None

    def check(self, paths: Sequence[str]) -> None:
        if self.in_order is not None:
            if self.in_order.shape != (len(paths), self.classes):
                wanted = f"({len(paths)}, {self.classes}), a row for each image of the dataset in its order"
                raise ValueError(f"{self.name}: logits of the shape {self.in_order.shape}; expected {wanted}")
            return
        for path, values in self.by_path.items():
            if values.shape != (self.classes,):
                raise ValueError(f"{self.name}: {quote(path)}: logits of the shape {values.shape}; expected ({self.classes},)")
        if self.by_path.keys().isdisjoint(paths):
            given = quote(next(iter(self.by_path), ""))
            raise ValueError(f"{self.name}: none of its paths, {given} say, is one of the dataset's, {quote(paths[0])} say")

    def logits(self, indices: Sequence[int], paths: Sequence[str], x: Float32) -> list[Float32 | None]:
        rows = [self.by_path.get(p) if self.in_order is None else self.in_order[i] for i, p in zip(indices, paths, strict=True)]
        return [None if row is None else np.asarray(row, np.float32) for row in rows]


class OnnxFile:
    """A network in an ONNX file, run by onnxruntime: one input of images, float32, and one output of logits."""

    def __init__(self, path: str, model: VAN) -> None:
        self.name, self.card, self.classes, self.identity = path, model.card, model.config.classes, file_sha256(path)
        self.preprocessing: Preprocessing | None = self.card.preprocessing
        self.session = _session(path)
        images = self._input()
        batch, *size = images.shape
        wanted = [self.card.preprocessing.channels, *2 * [self.card.preprocessing.crop]]
        if any(isinstance(side, int) and side != want for side, want in zip(size, wanted, strict=True)):
            raise ValueError(f"{path}: it takes images of the shape {size}; {self.card.name} has them prepared as {wanted}")
        self.at_once = batch if isinstance(batch, int) else 0  # 0: as many as there are
        self.input, self.output = images.name, self._output().name

    def _input(self) -> Any:
        """Return what the session says of its one input; ValueError where that is no float32 (N, C, H, W)."""
        first, *others = self.session.get_inputs()
        if others or len(first.shape) != 4 or first.type != "tensor(float)":
            found = ", ".join(f"{each.name} {each.type} {each.shape}" for each in (first, *others))
            raise ValueError(f"{self.name}: expected one input, float32 (N, C, H, W), found {found}")
        return first

    def _output(self) -> Any:
        """Return what the session says of its one output that has, or may have, as many columns as there are classes."""
        flat = [each for each in self.session.get_outputs() if len(each.shape) == 2]
        given = [each for each in flat if each.shape[1] == self.classes]
        given = given or [each for each in flat if not isinstance(each.shape[1], int)]
        if len(given) != 1:
            found = ", ".join(f"{each.name} {each.shape}" for each in self.session.get_outputs())
            raise ValueError(f"{self.name}: expected one output of logits (N, {self.classes}), found {found}")
        return given[0]

    def check(self, paths: Sequence[str]) -> None:
        """It can answer for any images."""

    def logits(self, indices: Sequence[int], paths: Sequence[str], x: Float32) -> list[Float32 | None]:
        size = self.at_once or len(x)
        found = list[Float32 | None]()
        for first in range(0, len(x), size):
            part = x[first : first + size]
            whole = np.concatenate([part, np.zeros((size - len(part), *part.shape[1:]), np.float32)])
            try:
                made = self.session.run([self.output], {self.input: whole})[0]
            except Exception as error:  # as above
                raise ValueError(f"{self.name}: onnxruntime cannot run it: {reason(error)}") from None
            if np.shape(made) != (size, self.classes):
                raise ValueError(f"{self.name}: it gives an array {np.shape(made)}, not logits {(size, self.classes)}")
            found += list(np.asarray(made, np.float32)[: len(part)])
        return found


def rival(against: str | os.PathLike[str] | VAN | npt.NDArray[Any], model: VAN) -> Rival:
    """Return what a model's answers are compared with.

    `against` is the name of an engine, which then runs the model's own weights; an .onnx file; a file of logits, .npy
    (N, classes) in the dataset's order, .npz with an array (classes,) for each path, or .jsonl with a line
    {"path": ..., "logits": [...]} for each image; an array (N, classes); the name or a file of weights; or a model. Raises
    ValueError where it cannot be used, or where its classes are not the model's; OSError where a file cannot be read.
    """
    if isinstance(against, np.ndarray):
        digest = hashlib.sha256(np.ascontiguousarray(against).tobytes()).hexdigest()
        return Recorded("the logits", model.card, model.config.classes, digest, against, {})
    if not isinstance(against, (str, os.PathLike)):
        return _network(against, against.card.name, model)
    name = os.fspath(against)
    if name in NAMED:
        from ..van import VAN

        asked = VAN(model.config, model.tensors, name, model.card).settled()
        return _network(asked, f"engine {asked.engine}", model)
    if name.lower().endswith(".onnx"):
        return OnnxFile(name, model)
    if name.lower().endswith(LOGITS):
        return _recorded(name, model)
    weights = Path(name) if os.path.exists(name) else name
    other = load(weights, model.engine)
    return _network(other, other.card.name, model)


def _session(path: str) -> Any:
    """Open an ONNX file with onnxruntime; ValueError where there is none, or where it cannot run the file."""
    try:
        runtime = importlib.import_module("onnxruntime")
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == "onnxruntime"
        why = "it is run by onnxruntime: pip install onnxruntime" if missing else f"onnxruntime cannot be imported: {error}"
        raise ValueError(f"{path}: {why}") from None
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    try:
        return runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own kinds, which derive from nothing narrower
        raise ValueError(f"{path}: onnxruntime cannot run it: {reason(error)}") from None


def _network(other: VAN, name: str, model: VAN) -> Network:
    """Return other weights as a rival; ValueError where they have other classes, or other channels."""
    if other.config.classes != model.config.classes or other.config.channels != model.config.channels:
        own, others = (f"{each.config.classes} classes and {each.config.channels} channels" for each in (model, other))
        raise ValueError(f"{name} has {others}, {model.card.name} {own}: answers to the same question are compared")
    for index, (one, two) in enumerate(zip(model.card.labels, other.card.labels, strict=False)):
        if not _same_class(one, two):
            raise ValueError(f"class {index} is {quote(two.short)} in {name} and {quote(one.short)} in {model.card.name}")
    return Network(other, name)


def _same_class(one: Label, two: Label) -> bool:
    return one.wnid == two.wnid if one.wnid and two.wnid else one.short.lower() == two.short.lower()


def _recorded(name: str, model: VAN) -> Recorded:
    """Read a file of logits."""
    in_order, by_path = None, dict[str, npt.NDArray[Any]]()
    try:
        if name.lower().endswith(".npy"):
            with input.opened(name) as file, input.named(name):
                in_order = npy.read(file, os.fstat(file.fileno()).st_size)
        elif name.lower().endswith(".npz"):
            by_path = _arrays(name)
        else:
            with input.opened(name) as file, input.named(name):
                by_path = _lines(file)
    except ValueError as error:
        raise ValueError(f"{name}: no file of logits: {error}") from None
    return Recorded(name, model.card, model.config.classes, file_sha256(name), in_order, by_path)


def _arrays(name: str) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of an .npz file under their names; nothing is unpacked that is larger than logits can be."""
    found = dict[str, npt.NDArray[Any]]()
    with input.opened(name) as file, input.named(name):
        size = os.fstat(file.fileno()).st_size
        try:
            with zipfile.ZipFile(file) as archive:
                members = archive.infolist()
                _check_sizes(members, UNPACKED + PER_BYTE * size)
                for each in members:
                    with archive.open(each) as member:
                        found[each.filename.removesuffix(".npy")] = npy.read(member, each.file_size)
        except (OSError, MemoryError):
            raise
        except Exception as error:  # zipfile and zlib meet hostile bytes with NotImplementedError, struct.error and more
            raise ValueError(printable(reason(error))) from None
    return found


def _check_sizes(members: Sequence[zipfile.ZipInfo], limit: int) -> None:
    """Raise ValueError for records that are packed as NumPy packs none, or that say that they are too large."""
    for each in members:
        if each.compress_type not in METHODS or each.flag_bits & ENCRYPTED:
            raise ValueError(f"{quote(each.filename)} is packed in another way than NumPy packs: save it with numpy.savez")
        if each.file_size > LARGEST_ARRAY:
            raise ValueError(
                f"{quote(each.filename)} takes {amount(each.file_size)}; logits take {amount(LARGEST_ARRAY)} at most"
            )
    if (wanted := sum(each.file_size for each in members)) > limit:
        raise ValueError(f"arrays of {amount(wanted)}; from a file of its size at most {amount(limit)} are unpacked")


def _lines(file: IO[bytes]) -> dict[str, npt.NDArray[Any]]:
    """Return the logits of JSON lines under their paths."""
    found = dict[str, npt.NDArray[Any]]()
    for number, line in enumerate(iter(lambda: file.readline(LARGEST_LINE), b""), start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            found[str(entry["path"])] = np.array(entry["logits"], np.float32)
        except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
            raise ValueError(f'line {number} is not {{"path": ..., "logits": [...]}}') from None
    return found


def identity_of(model: VAN) -> str:
    """Return what tells a model's weights from others, those of the same file too: the SHA-256 of their shape and numbers."""
    digest: str = identity(model)["sha256"]
    return digest


def _identity(model: VAN) -> str:
    """Return what tells a model that is compared with from others: its weights, how it sees images, and what computes it."""
    said = [identity(model), model.card.activation, model.engine.name]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()
