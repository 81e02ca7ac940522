"""The names a checkpoint may use, and the harmless value that minivan puts in the place of each.

A pickle builds objects by naming a class or a function and calling it. Here a name is looked up in the tables below and
nowhere else: nothing is imported, no attribute is fetched, no function of the file's choosing is called. What the tables do not
list is refused if it is a name of Python's, PyTorch's or NumPy's; a name of any other package gives stand-ins.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NoReturn

from ..errors import quote
from . import diagnoses, known_classes, numpy_array
from .error import CheckpointError
from .standin import StandIn
from .stateful import Record, encode
from .tensor import ITEM_SIZES, Storage, StoredTensor, is_natural

LONGEST_KEY = 4096  # characters of a dictionary's key: two long ones that are equal take long to compare

Builder = Callable[..., object]  # what is called in the place of a class or function, with the arguments the file gives


class Inert:
    """An object that carries nothing minivan reads: a numpy.dtype, say. What the file puts in is let go.

    So one object stands for all of a class.
    """

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path


@dataclass(frozen=True)
class Name:
    """A class or function as the file names it, 'collections.OrderedDict', with what stands in for calling it."""

    path: str
    build: Builder
    dtype: str = ""  # of a storage class ('torch.FloatStorage') or a dtype ('torch.float32')
    foreign: bool = False  # of another package: what it builds is a StandIn


SET, FROZENSET = Inert("builtins.set"), Inert("builtins.frozenset")


@dataclass(frozen=True, slots=True)
class Unread:
    """A tensor of a kind minivan does not read (sparse, quantised, on no device); harmless until somebody wants it."""

    what: str  # 'a sparse tensor'
    why: str  # what to do instead


def find(module: str, name: str, strict: bool = False) -> Name:
    """Return what stands for a name in the tables, or, unless `strict`, for one of another package; CheckpointError else."""
    path = f"{module}.{name}"
    known = NAMES.get(path)
    if known is not None:
        return known
    for start, what, why in diagnoses.CLASSES:
        if path.startswith(start):
            raise CheckpointError(f"{what}: the file names {quote(path)}", why)
    if strict or known_classes.is_reserved(module):
        raise CheckpointError(f"the file names {quote(path)}", "not on the list of what a checkpoint needs")
    return Name(path, lambda *args: StandIn(path, args), foreign=True)


def _dictionary(path: str) -> Builder:
    def build(*args: object) -> dict[Any, object]:
        """OrderedDict(), OrderedDict([[key, value], ...]), defaultdict(factory), ConfigDict({...})"""
        if not args or isinstance(args[-1], (Name, Inert, StandIn)):
            return {}
        if len(args) == 1 and isinstance(args[0], dict):
            return dict(args[0])
        pairs = args[0]
        if len(args) != 1 or not isinstance(pairs, list):
            raise CheckpointError(f"{path} built from {quote(args[-1])}")
        if not all(isinstance(pair, (list, tuple)) and len(pair) == 2 and isinstance(pair[0], str) for pair in pairs):
            raise CheckpointError(f"{path} built from something else than pairs with text as keys")
        if any(len(key) > LONGEST_KEY for key, _ in pairs):
            raise CheckpointError(f"{path} with a key of more than {LONGEST_KEY} characters")
        return dict(pairs)

    return build


def _stand_in(path: str) -> Builder:
    return lambda *args: StandIn(path, args)


def _inert(path: str) -> Builder:
    one = Inert(path)
    return lambda *args: one


def _record(path: str) -> Builder:
    return lambda *args: Record(path)


def _unread(what: str, why: str) -> Builder:
    one = Unread(what, why)
    return lambda *args: one


def _refused(path: str) -> Builder:
    def build(*args: object) -> NoReturn:
        raise CheckpointError(f"the file calls {path}", "a class, not a function")

    return build


def _size(*args: object) -> tuple[object, ...]:
    if len(args) == 1 and isinstance(args[0], (tuple, list)):
        return tuple(args[0])
    raise CheckpointError(f"torch.Size of {len(args)} arguments", "one tuple")


def _named(*args: object) -> object:
    """PaddlePaddle pickles a tensor as `tuple((name, array))`, and any other tuple is not made by a call."""
    if len(args) == 1 and isinstance(args[0], tuple):
        return args[0]
    return Inert("builtins.tuple")


def _tensor(
    storage: object = None, offset: object = None, shape: object = None, strides: object = None, *rest: object
) -> StoredTensor:
    """torch._utils._rebuild_tensor and _v2: what follows the strides is requires_grad, hooks, metadata"""
    return _with_bits(_view(storage, offset, shape, strides, None), *rest[2:3])


def _tensor_v3(*args: object) -> StoredTensor:
    """torch._utils._rebuild_tensor_v3: an untyped storage, and the dtype by itself"""
    dtype = args[6] if len(args) > 6 else None  # after the four of `_tensor`, requires_grad and hooks
    if not (isinstance(dtype, Name) and dtype.dtype):
        raise CheckpointError("a tensor without a dtype")
    storage, offset, shape, strides = args[:4]
    return _with_bits(_view(storage, offset, shape, strides, dtype.dtype), *args[7:8])


def _with_bits(tensor: StoredTensor, metadata: object = None) -> StoredTensor:
    """Heed what torch._utils.get_tensor_metadata has said: a negated view keeps its base's numbers, and a bit `neg`.

    `conj` is of complex numbers alone, and leaves real ones as they are.
    """
    if metadata is None or metadata == {}:
        return tensor
    if not isinstance(metadata, dict):
        raise CheckpointError(f"a tensor whose metadata are {quote(metadata)}")
    negated = metadata.get("neg", False)
    strange = next((key for key, value in metadata.items() if key not in BITS or not isinstance(value, bool)), None)
    if strange is not None:
        return replace(tensor, unreadable=f"PyTorch has marked it with {quote(strange)}, which minivan does not know")
    return replace(tensor, negated=bool(negated))


def _view(storage: object, offset: object, shape: object, strides: object, dtype: str | None) -> StoredTensor:
    if not isinstance(storage, Storage):
        raise CheckpointError(f"a tensor whose storage is {quote(storage)}")
    return storage.view(offset, shape, strides, dtype)


def _parameter(data: object = None, *rest: object) -> object:
    """torch.nn.Parameter is its tensor, as far as numbers go; what follows it is requires_grad, hooks, state"""
    _check_state(*rest[2:3])
    return data


def _check_state(state: object = None) -> None:
    """PyTorch sets attributes from a state, a dictionary or one in a tuple; some would put other numbers in the tensor."""
    for part in state if isinstance(state, tuple) and len(state) == 2 else (state,):
        if isinstance(part, dict) and any(name in part for name in NUMBERS):
            raise CheckpointError("a tensor whose attributes hold other numbers than its own")


def _from_type(function: object = None, kind: object = None, args: object = None, *rest: object) -> object:
    """torch._tensor._rebuild_from_type_v2: a tensor subclass, or one with attributes, by the function that rebuilds it"""
    if not (isinstance(function, Name) and function.path.startswith("torch._utils._rebuild") and isinstance(args, tuple)):
        raise CheckpointError("a tensor rebuilt by something that rebuilds no tensors")
    if isinstance(kind, Name) and kind.path in known_classes.DTENSORS:
        return _distributed(args, *rest[:1])
    _check_state(*rest[:1])
    tensor = function.build(*args)
    if isinstance(kind, Name) and kind.foreign and isinstance(tensor, StoredTensor):
        why = f"it is of the class {quote(kind.path)}, whose numbers may be others: save plain tensors"
        return replace(tensor, unreadable=tensor.unreadable or why)
    return tensor


def _distributed(args: tuple[object, ...], state: object = None) -> object:
    """torch.distributed.tensor.DTensor: this process's part of a tensor, and a description of how the parts make the whole"""
    attributes: dict[Any, object] = {}
    for part in state if isinstance(state, tuple) else (state,):
        attributes |= part if isinstance(part, dict) else {}
    part, spec = attributes.get("_local_tensor"), attributes.get("_spec")
    described = spec.state if isinstance(spec, StandIn) and isinstance(spec.state, dict) else attributes
    placements = described.get("placements", described.get("_placements"))
    if not isinstance(part, StoredTensor) or not isinstance(placements, tuple) or len(args) < 3:
        return Unread("a distributed tensor whose description is not known", diagnoses.FULL)
    if any(not isinstance(place, Inert) or "Partial" in place.path for place in placements):
        return replace(part, unreadable=f"it is one of several parts that are still to be added; {diagnoses.FULL}")
    if part.shape != args[2]:
        size = args[2] if isinstance(args[2], tuple) and all(map(is_natural, args[2])) else ()
        why = f"it is one shard, {part.shape}, of a tensor of {size}; {diagnoses.FULL}"
        return StoredTensor(size, part.dtype, part.fetch, unreadable=why)
    return part


def _on_device(data: object = None, dtype: object = None, *rest: object) -> object:
    """torch._utils._rebuild_device_tensor_from_cpu_tensor: a tensor of another device, saved from the processor's memory"""
    if isinstance(data, StoredTensor) and not (isinstance(dtype, Name) and dtype.dtype == data.dtype):
        return replace(data, unreadable="it was of another dtype on its device than it was saved in")
    return data


def _reconstructed(kind: object = None, base: object = None, state: object = None, *rest: object) -> object:
    """copyreg._reconstructor: an object of a pickle of protocol 1, with what its base class, a dict say, holds"""
    return StandIn(kind.path, (state,)) if isinstance(kind, Name) and kind.foreign else RECONSTRUCTED


def _attribute(owner: object = None, name: object = None, *rest: object) -> object:
    """What a pickle has in the place of a method, or of an Enum's member: nothing is looked up, whatever the owner is

    Known are MMEngine's log buffers, which refer to their own averaging methods, schedulers to their curves, and what stands
    for another package's class or object; no other getattr is let by.
    """
    if isinstance(owner, Name) and owner.path == HISTORY_BUFFER and name in STATISTICS:
        return Inert(f"{owner.path}.{name}")
    if isinstance(owner, (Name, Inert)) and owner.path.startswith(SCHEDULER) and name in known_classes.ANNEALING:
        return Inert(owner.path)
    if (isinstance(owner, StandIn) or (isinstance(owner, Name) and owner.foreign)) and isinstance(name, str):
        return StandIn(owner.path)
    raise CheckpointError("the file calls getattr", "nothing that is looked up by name is ever used")


NUMBERS = ("data", "real", "imag")  # a tensor's attributes that are its numbers
BITS = ("neg", "conj")  # what a tensor's metadata can say: a view that PyTorch negates or conjugates when it is read
HISTORY_BUFFER = "mmengine.logging.history_buffer.HistoryBuffer"
STATISTICS = ("min", "max", "mean", "current")
SCHEDULER = "torch.optim.lr_scheduler."
RECONSTRUCTED = Inert("copyreg._reconstructor")

FROM_NUMPY = ("device_tensor_from_numpy", "xla_tensor", "mlc_tensor")

BUILDERS: dict[str, Builder] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._tensor._rebuild_from_type": _from_type,
    "torch._tensor._rebuild_from_type_v2": _from_type,
    **{f"torch._utils._rebuild_{kind}": numpy_array.on_device for kind in FROM_NUMPY},
    **{f"numpy.{core}.multiarray._reconstruct": numpy_array.reconstruct for core in ("core", "_core")},
    **{f"numpy.{core}.numeric._frombuffer": numpy_array.from_buffer for core in ("core", "_core")},
    "numpy.dtype": numpy_array.Dtype,
    "_codecs.encode": encode,
    "builtins.tuple": _named,
    "__builtin__.tuple": _named,
    "torch.Size": _size,
    "builtins.getattr": _attribute,
    "__builtin__.getattr": _attribute,
    "copyreg._reconstructor": _reconstructed,
    "copy_reg._reconstructor": _reconstructed,
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": _on_device,
}

DICTIONARIES = (
    "collections.OrderedDict", "collections.defaultdict", "collections.Counter", "addict.addict.Dict", "easydict.EasyDict",
    "mmcv.utils.config.ConfigDict", "mmengine.config.config.ConfigDict", "yacs.config.CfgNode",
    "builtins.dict", "__builtin__.dict",
)  # fmt: skip

UNREAD_TENSORS = {f"torch._utils._rebuild_{kind}": said for kind, said in diagnoses.TENSORS.items()}

# What describes a distributed checkpoint: torch/distributed/checkpoint
RECORDS = (
    *(f"torch.distributed.checkpoint.metadata.{name}" for name in (
        "Metadata", "MetadataIndex", "TensorStorageMetadata", "BytesStorageMetadata", "ChunkStorageMetadata",
        "TensorProperties", "StorageMeta", "_MEM_FORMAT_ENCODING",
    )),
    "torch.distributed.checkpoint.filesystem._StorageInfo",
)  # fmt: skip

PLAIN = (
    "set", "frozenset", "list", "int", "float", "bool", "str", "bytes", "bytearray", "complex", "slice", "range",
    "object",
)  # fmt: skip
NUMPY = ("core.multiarray.scalar",)
NAMESPACES = ("argparse.Namespace", "types.SimpleNamespace")  # a training script's arguments: `stated` reads some of them
INERT = (
    *(f"{module}.{name}" for module in ("builtins", "__builtin__") for name in PLAIN),
    *(f"pathlib{at}.{kind}Path" for at in ("", "._local") for kind in ("", "Posix", "PurePosix", "Windows", "PureWindows")),
    *(f"datetime.{name}" for name in ("datetime", "date", "time", "timedelta", "timezone")),
    "decimal.Decimal", "fractions.Fraction", "uuid.UUID", "collections.deque",
    "numpy.ndarray", *(f"numpy.{path}" for path in NUMPY), *(f"numpy._{path}" for path in NUMPY),
    *(f"numpy.{kind}{bits}" for kind in ("float", "int", "uint") for bits in (8, 16, 32, 64)), "numpy.bool_", "numpy.bool",
    *(f"numpy.dtypes.{kind}{bits}DType" for kind in ("Float", "Int", "UInt") for bits in (8, 16, 32, 64)),
    "numpy.dtypes.BoolDType",
    "torch.device", "torch.torch_version.TorchVersion", "torch.serialization._get_layout", "torch.Generator",
    "torch.Tensor", "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer", "torch._C._TensorBase",
    *(f"torch.per_{kind}" for kind in ("tensor_affine", "tensor_symmetric", "channel_affine", "channel_symmetric")),
    HISTORY_BUFFER, *(f"{HISTORY_BUFFER}.{name}" for name in STATISTICS),
    "mmengine.logging.message_hub.MessageHub", "mmcv.runner.log_buffer.LogBuffer",
    *known_classes.BESIDE, *known_classes.DTENSORS, *known_classes.DISTRIBUTED,
)  # fmt: skip

STORAGES = {
    "DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8", "ByteStorage": "uint8",
    "BoolStorage": "bool", "ComplexDoubleStorage": "complex128", "ComplexFloatStorage": "complex64",
    "QInt8Storage": "qint8", "QUInt8Storage": "quint8", "QInt32Storage": "qint32",
    "QUInt4x2Storage": "quint4x2", "QUInt2x4Storage": "quint2x4",
}  # fmt: skip

NAMES = (
    {path: Name(path, build) for path, build in BUILDERS.items()}
    | {path: Name(path, _dictionary(path)) for path in DICTIONARIES}
    | {path: Name(path, _unread(*said)) for path, said in UNREAD_TENSORS.items()}
    | {path: Name(path, partial(StandIn, path)) for path in known_classes.SPECS}
    | {path: Name(path, _inert(path)) for path in INERT}
    | {path: Name(path, _stand_in(path)) for path in NAMESPACES}
    | {path: Name(path, _record(path)) for path in RECORDS}
    | {f"torch.{name}": Name(f"torch.{name}", _refused(f"torch.{name}"), name) for name in ITEM_SIZES}
    | {
        path: Name(path, _refused(path), dtype)
        for name, dtype in STORAGES.items()
        for path in (f"torch.{name}", f"torch.cuda.{name}")
    }
    | {path: Name(path, _refused(path), "uint8") for path in ("torch.storage.UntypedStorage", "torch.UntypedStorage")}
)
