"""PyTorch's own files without PyTorch: the zip files of torch.save since 1.6 and the plain ones before.

`open_torch(file)` gives the pickled value with everything in it made inert, and tensors that are read one by one when
they are asked for. What nobody asks for, an optimizer's state say, is stepped over. Formats: torch/serialization.py,
`_save` and `_legacy_save`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from io import BufferedIOBase
from typing import Any

from ..errors import quote
from .archive import Archive, read_into
from .budget import Budget
from .cursor import Cursor
from .diagnoses import CUT_OFF, TORCHSCRIPT, WHOLE_MODEL
from .error import CheckpointError
from .inert import Name
from .interpreter import Interpreter
from .tensor import ITEM_SIZES, ByteOrder, Bytes, Storage, StoredTensor, is_natural

MAGIC = 0x1950A86A20F9469CFC6C  # torch.serialization.MAGIC_NUMBER
LEGACY_VERSION = 1001  # torch.serialization.PROTOCOL_VERSION
LARGEST_PICKLE = 64 << 20  # bytes of data.pkl
LONGEST_STORAGE = 64  # characters of a storage's key, a number, and of its place, 'cuda:0'
LONGEST_FOLDER = 255  # characters of the folder in a zip file, a file's name
BYTE_ORDERS: dict[bytes, ByteOrder] = {b"little": "<", b"big": ">"}


class Descriptions:
    """What a file says of each storage, and of each view of one: the same every time, as PyTorch keeps the first alone."""

    def __init__(self) -> None:
        self._first: dict[str, tuple[object, ...]] = {}

    def add(self, key: str, *description: object) -> None:
        """Note a description; CheckpointError where the key has another one."""
        if self._first.setdefault(key, description) != description:
            raise CheckpointError(f"storage {quote(key)} is described in two ways")


class ZipFile:
    """A file of torch.save since PyTorch 1.6: NAME/data.pkl, and each storage in a record NAME/data/KEY."""

    format = "PyTorch zip"

    def __init__(self, file: BufferedIOBase, size: int, budget: Budget, strict: bool = False) -> None:
        self.archive = Archive(file, size, budget)
        self.descriptions = Descriptions()
        self.folder = self._folder()
        self.archive.check_stored()
        self.byteorder = self._byteorder()
        name = f"{self.folder}/data.pkl"
        length = self.archive.entries[name].size
        if length > LARGEST_PICKLE:
            raise CheckpointError(f"zip record {quote(name)} of {length} bytes", f"the limit is {LARGEST_PICKLE}")
        start = self.archive.start(name)
        interpreter = Interpreter(Cursor(file, start, start + length), budget, self._storage, strict)
        try:
            self.contents, self.made = interpreter.run(), interpreter.made
        except CheckpointError as error:
            raise error.within(name) from None

    def _folder(self) -> str:
        """The one folder that all records lie in, named after the file that torch.save was given."""
        names = list(self.archive.entries)
        pickles = [name for name in names if name.endswith("/data.pkl") and name.count("/") == 1]
        if not pickles:
            raise CheckpointError(f"a zip file of {describe_zip(names)}", "not what torch.save writes: it has no data.pkl")
        folder = pickles[0].removesuffix("/data.pkl")
        if len(folder) > LONGEST_FOLDER:
            raise CheckpointError(f"zip record {quote(pickles[0])}", f"a folder's name has at most {LONGEST_FOLDER} characters")
        stranger = next((name for name in names if not name.startswith(f"{folder}/")), None)
        if stranger is not None:
            raise CheckpointError(f"zip record {quote(stranger)} outside {quote(folder)}", "torch.save writes one folder")
        if f"{folder}/constants.pkl" in self.archive.entries:
            raise CheckpointError("a TorchScript program", TORCHSCRIPT)
        return folder

    def _byteorder(self) -> ByteOrder:
        name = f"{self.folder}/byteorder"
        if name not in self.archive.entries:
            return "<"  # files from before PyTorch 2.1, as torch.load takes them
        word = self.archive.read(name, 0, min(16, self.archive.entries[name].size)).tobytes()
        if word not in BYTE_ORDERS:
            raise CheckpointError(f"byte order {quote(word.decode('latin-1'))}", "little or big")
        return BYTE_ORDERS[word]

    def _storage(self, identifier: object) -> Storage:
        dtype, key, location, count, view = check_identifier(identifier)
        if view is not None:
            raise CheckpointError(f"a view of storage {quote(key)}", "zip files of torch.save have none")
        self.descriptions.add(key, dtype, location, count)
        storage = Storage(key, dtype, count, self._fetch, byteorder=self.byteorder)
        entry = self.archive.entries.get(f"{self.folder}/data/{key}")
        if entry is None:
            raise CheckpointError(f"storage {quote(key)} has no record")
        if storage.size > entry.size:
            raise CheckpointError(f"storage {quote(key)} claims {storage.size} bytes", f"its record has {entry.size}")
        return storage

    def _fetch(self, key: str, start: int, size: int) -> Bytes:
        return self.archive.read(f"{self.folder}/data/{key}", start, size)


class LegacyFile:
    """A file of torch.save before PyTorch 1.6: five pickles in a row, then every storage with its length before it.

    Or a single pickle of a dictionary, which may hold NumPy arrays in the place of tensors.
    """

    format = "PyTorch legacy"
    contents: object

    def __init__(self, file: BufferedIOBase, size: int, budget: Budget, strict: bool = False) -> None:
        self.file, self.size = file, size
        self.descriptions = Descriptions()
        self.made: Counter[str] = Counter()  # stand-ins for objects of other packages
        self.storages: dict[str, Storage] = {}
        self.records: dict[str, int] = {}  # key -> where its bytes begin
        position = 0

        def pickled(place: str, storage: Callable[[object], Storage] | None = None) -> object:
            nonlocal position
            cursor = Cursor(file, position, size)
            interpreter = Interpreter(cursor, budget, storage, strict)
            try:
                value = interpreter.run()
            except CheckpointError as error:
                raise error.within(place) from None
            position = cursor.position
            self.made |= interpreter.made
            return value

        first = pickled("the magic number")
        if isinstance(first, dict) and position == size and _holds_arrays(first, budget):
            self.format, self.contents = "pickle", first
            return
        if first != MAGIC:
            raise CheckpointError("a pickle that torch.save did not write", "nor does it hold NumPy arrays by their names")
        version = pickled("the version")
        if version != LEGACY_VERSION:
            raise CheckpointError(f"version {quote(version)} of PyTorch's file format", f"{LEGACY_VERSION} is known")
        pickled("the system's sizes")  # the bytes that follow are little-endian on every system
        self.contents = pickled("the contents", self._storage)
        self._find(pickled("the list of storages"), position, budget)

    def _storage(self, identifier: object) -> Storage:
        dtype, key, location, count, view = check_identifier(identifier)
        self.descriptions.add(key, dtype, location, count)
        whole = self.storages.setdefault(key, Storage(key, dtype, count, self._fetch))
        if view is None:
            return whole
        own_key, first, length = view
        if not (is_natural(first) and is_natural(length) and first + length <= count):
            raise CheckpointError(f"a view of storage {quote(key)} reaches beyond it")
        if not isinstance(own_key, str) or len(own_key) > LONGEST_STORAGE:
            raise CheckpointError(f"a view of storage {quote(key)} with the key {quote(own_key)}")
        self.descriptions.add(own_key, "view", key, first, length)
        return Storage(key, dtype, length, self._fetch, first)

    def _find(self, keys: object, position: int, budget: Budget) -> None:
        """Note where each storage begins, reading only its length."""
        if not isinstance(keys, list):
            raise CheckpointError(f"{quote(keys)} in the place of the list of storages")
        budget.step(5 * len(keys))
        for key in keys:
            storage = self.storages.get(key) if isinstance(key, str) else None
            if storage is None or key in self.records:
                raise CheckpointError(f"storage {quote(key)} in the list", "described nowhere, or listed twice")
            count = Cursor(self.file, position, self.size).number(8)
            if count != storage.count:
                raise CheckpointError(f"storage {quote(key)} claims {storage.count} elements", f"its record has {count}")
            self.records[key] = position + 8
            position += 8 + storage.size
            if position > self.size:
                raise CheckpointError(f"storage {quote(key)} ends {position - self.size} bytes after the file", CUT_OFF)
        if position != self.size:
            raise CheckpointError(f"{self.size - position} bytes follow the last storage", "torch.save writes none")

    def _fetch(self, key: str, start: int, size: int) -> Bytes:
        storage = self.storages[key]
        if key not in self.records:
            raise CheckpointError(f"storage {quote(key)} has no record")
        if start < 0 or start + size > storage.size:
            raise CheckpointError(f"storage {quote(key)}", f"bytes {start} to {start + size} of {storage.size} are wanted")
        return read_into(self.file, self.records[key] + start, size)


def check_identifier(identifier: object) -> tuple[str, str, str, int, tuple[object, ...] | None]:
    """Return dtype, key, location, element count and view of ("storage", class, key, location, count[, view])."""
    if not (isinstance(identifier, tuple) and identifier and isinstance(identifier[0], str)):
        raise CheckpointError("a persistent id that is no storage")
    if identifier[0] == "module":
        raise CheckpointError("a whole pickled model", WHOLE_MODEL)
    if identifier[0] != "storage" or len(identifier) not in (5, 6):
        raise CheckpointError(f"a persistent id of the kind {quote(identifier[0])}", "only storages are known")
    kind, key, location, count = identifier[1:5]
    view = identifier[5] if len(identifier) == 6 else None
    if not (isinstance(kind, Name) and kind.dtype in ITEM_SIZES):
        raise CheckpointError(f"a storage of the class {quote(kind.path if isinstance(kind, Name) else kind)}")
    if not isinstance(key, str) or len(key) > LONGEST_STORAGE or not is_natural(count):
        raise CheckpointError(f"a storage with the key {quote(key)} and {quote(count)} elements")
    if not isinstance(location, str) or len(location) > LONGEST_STORAGE:
        raise CheckpointError(f"storage {quote(key)} at the location {quote(location)}")
    if view is not None and not (isinstance(view, tuple) and len(view) == 3):
        raise CheckpointError(f"a view of storage {quote(key)} that is not key, offset and size")
    return kind.dtype, key, location, count, view


def _holds_arrays(contents: dict[Any, object], budget: Budget) -> bool:
    """Tell whether a pickle holds arrays: by themselves, or after the name that PaddlePaddle gives each."""
    budget.step(len(contents))
    values = (value[-1] if isinstance(value, tuple) and value else value for value in contents.values())
    return any(isinstance(value, (StoredTensor, dict)) for value in values)


def describe_zip(names: list[str]) -> str:
    """Say what a zip file without a data.pkl holds."""
    if names and all(name.endswith(".npy") for name in names):
        return "NumPy arrays (.npz)"
    return f"{len(names)} records" + (f", {quote(names[0])} first" if names else "")


def open_torch(file: BufferedIOBase, budget: Budget, strict: bool = False) -> ZipFile | LegacyFile:
    """Understand an open PyTorch file of either kind within a budget; its tensors can be read as long as it stays open.

    `strict` refuses names of other packages, for which there are stand-ins else: `made` counts them by class. Raises
    CheckpointError for what is neither, or damaged, or asks for more than inert values.
    """
    size = file.seek(0, 2)
    file.seek(0)
    return (ZipFile if file.read(4) == b"PK\3\4" else LegacyFile)(file, size, budget, strict)
