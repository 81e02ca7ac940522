"""Whose names a pickle may use: those of the libraries that minivan knows, one by one, and those of anybody else's package.

A name below builtins, the standard library, PyTorch or NumPy is read as `inert` says, or the file is refused: some of them do
harm, and one that is new may mean other numbers. A name of another package stands for nothing minivan could compute with.
"""

from __future__ import annotations

import sys

KNOWN_PACKAGES = ("builtins", "torch", "numpy")
# The standard library's modules that Pythons of today do not have: those of Python 2, and what was taken out since 3.10.
OLD_MODULES = (
    "__builtin__", "BaseHTTPServer", "Bastion", "CGIHTTPServer", "ConfigParser", "Cookie", "HTMLParser", "Queue",
    "SimpleHTTPServer", "SimpleXMLRPCServer", "SocketServer", "StringIO", "Tkinter", "UserDict", "UserList", "UserString",
    "anydbm", "cPickle", "cStringIO", "commands", "compiler", "cookielib", "copy_reg", "dbhash", "dircache", "dl",
    "dumbdbm", "dummy_thread", "dummy_threading", "exceptions", "future_builtins", "gdbm", "hotshot", "htmlentitydefs",
    "htmllib", "httplib", "ihooks", "imputil", "md5", "mhlib", "mimetools", "mimify", "multifile", "mutex", "new", "os2",
    "popen2", "posixfile", "repr", "rexec", "rfc822", "robotparser", "sets", "sgmllib", "sha", "sre", "statvfs", "strop",
    "sunaudio", "thread", "toaiff", "tkMessageBox", "urllib2", "urlparse", "user", "whichdb", "xmlrpclib", "aifc",
    "asynchat", "asyncore", "audioop", "binhex", "cgi", "cgitb", "chunk", "crypt", "distutils", "formatter", "imghdr",
    "imp", "lib2to3", "macpath", "macurl2path", "mailcap", "msilib", "nis", "nntplib", "ossaudiodev", "parser", "pipes",
    "smtpd", "sndhdr", "spwd", "sunau", "symbol", "telnetlib", "uu", "xdrlib", "_bootlocale", "_dummy_thread", "_sha256",
    "_sha512", "_crypt",
)  # fmt: skip
RESERVED = frozenset((*KNOWN_PACKAGES, *sys.stdlib_module_names, *OLD_MODULES)) - {"__main__"}


def is_reserved(module: str) -> bool:
    """Tell whether a module is one of the libraries whose names are looked up one by one; a script's own is not."""
    return module.partition(".")[0] in RESERVED


_SCHEDULERS = (
    "LRScheduler", "_LRScheduler", "LambdaLR", "MultiplicativeLR", "StepLR", "MultiStepLR", "ConstantLR", "LinearLR",
    "ExponentialLR", "SequentialLR", "CosineAnnealingLR", "ChainedScheduler", "ReduceLROnPlateau", "CyclicLR",
    "CosineAnnealingWarmRestarts", "OneCycleLR", "PolynomialLR",
)  # fmt: skip
_OPTIMIZERS = (
    "optimizer.Optimizer", "adadelta.Adadelta", "adagrad.Adagrad", "adam.Adam", "adamax.Adamax", "adamw.AdamW", "asgd.ASGD",
    "lbfgs.LBFGS", "nadam.NAdam", "radam.RAdam", "rmsprop.RMSprop", "rprop.Rprop", "sgd.SGD", "sparse_adam.SparseAdam",
    "_adafactor.Adafactor", "_muon.Muon", "optimizer._RequiredParameter", "swa_utils.SWALR",
)  # fmt: skip
_LOSSES = (
    "BCELoss", "BCEWithLogitsLoss", "CrossEntropyLoss", "GaussianNLLLoss", "HuberLoss", "KLDivLoss", "L1Loss", "MSELoss",
    "MultiLabelMarginLoss", "MultiLabelSoftMarginLoss", "MultiMarginLoss", "NLLLoss", "SmoothL1Loss", "SoftMarginLoss",
)  # fmt: skip
_SCALER = ("GradScaler", "OptState", "_refresh_per_optimizer_state")
_RANDOM = (
    "_pickle.__randomstate_ctor", "_pickle.__generator_ctor", "_pickle.__bit_generator_ctor", "mtrand.RandomState",
    "_generator.Generator", "_mt19937.MT19937", "_pcg64.PCG64", "_pcg64.PCG64DXSM", "_philox.Philox", "_sfc64.SFC64",
    "bit_generator.SeedSequence", "bit_generator.__pyx_unpickle_SeedSequence", "bit_generator.__pyx_unpickle_BitGenerator",
)  # fmt: skip
_TYPES = (
    "Any", "Union", "Optional", "List", "Dict", "Tuple", "Set", "Sequence", "Mapping", "Literal", "Callable", "Type",
    "Iterable",
)  # fmt: skip
_PLACEMENTS = ("Shard", "Replicate", "Partial", "_Partial", "_StridedShard", "_MaskPartial")
_TENSOR = ("torch.distributed.tensor", "torch.distributed._tensor")  # since PyTorch 2.5, and before

# What a training script keeps beside the weights; nothing in them is read.
BESIDE = (
    *(f"torch.optim.lr_scheduler.{name}" for name in _SCHEDULERS), *(f"torch.optim.{name}" for name in _OPTIMIZERS),
    *(f"torch.nn.modules.loss.{name}" for name in _LOSSES),
    *(f"torch.{module}.{name}" for module in ("amp.grad_scaler", "cuda.amp.grad_scaler") for name in _SCALER),
    *(f"numpy.random.{name}" for name in _RANDOM), "random.Random",
    *(f"typing.{name}" for name in _TYPES), "operator.getitem", "_operator.getitem", "types.GenericAlias", "re._compile",
    "__builtin__.unicode", "__builtin__.long", "__builtin__.xrange",  # what Python 3 calls them in protocol 2
)  # fmt: skip
# Functions of schedulers that their state refers to.
ANNEALING = (
    "_annealing_cos", "_annealing_linear", "_triangular_scale_fn", "_triangular2_scale_fn", "_exp_range_scale_fn",
)  # fmt: skip

# What a distributed tensor is described by. What it says of the parts is kept: whether all of the tensor is in this file.
DTENSORS = tuple(f"{module}.DTensor" for at in _TENSOR for module in (at, f"{at}.api", f"{at}._api"))
SPECS = tuple(f"{module}.DTensorSpec" for at in _TENSOR for module in (f"{at}._dtensor_spec", f"{at}.placement_types"))
DISTRIBUTED = (
    *(f"{at}.placement_types.{name}" for at in _TENSOR for name in _PLACEMENTS),
    *(f"{at}.{name}" for at in _TENSOR for name in ("_dtensor_spec.TensorMeta", "_dtensor_spec.ShardOrderEntry",
                                                     "placement_types.TensorMeta", "device_mesh.DeviceMesh")),
    "torch.distributed.device_mesh.DeviceMesh", "torch.distributed._device_mesh.DeviceMesh",
    "torch.distributed._mesh_layout._MeshLayout", "torch.distributed._mesh_layout._FlatLayout",
    "torch.distributed.distributed_c10d.ReduceOp.RedOpType",
    "torch._C._distributed_c10d.ReduceOp", "torch.strided",
)  # fmt: skip
