"""PaddlePaddle's weights under PyTorch's conventions: `.pdparams`, a pickle of NumPy arrays.

Sources: `_build_saved_state_dict` and `_pickle_save` in python/paddle/framework/io.py; ppcls/arch/backbone/model_zoo/van.py of
PaddleClas, whose modules have the authors' names and LayerNorm's eps of 1e-6. Three things differ: BatchNorm's statistics are
called `_mean` and `_variance`, a Linear's weight is (in, out), and bfloat16 comes as uint16, NumPy having no such type.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .budget import Budget
from .tensor import StoredTensor

FORMAT = "PaddlePaddle"
NAMES = "StructuredToParameterName@@"  # beside the tensors: what the framework calls each
STATISTICS = {"._mean": ".running_mean", "._variance": ".running_var"}


def is_paddle(contents: object) -> bool:
    """Tell whether what a pickle holds is PaddlePaddle's: by the names it adds, or those of BatchNorm's statistics."""
    return isinstance(contents, dict) and (NAMES in contents or any(_is_statistic(key) for key in contents))


def as_pytorch(contents: Mapping[Any, object], budget: Budget) -> dict[Any, object]:
    """Return PaddlePaddle's tensors as PyTorch has them, by PyTorch's names; what is no tensor is left as it is."""
    budget.step(2 * len(contents))
    budget.hold(500 * len(contents))
    return {_name(key): _tensor(key, value) for key, value in contents.items() if key != NAMES}


def _is_statistic(key: object) -> bool:
    return isinstance(key, str) and key.endswith(tuple(STATISTICS))


def _name(key: object) -> object:
    if isinstance(key, str) and _is_statistic(key):
        module, dot, last = key.rpartition(".")
        return module + STATISTICS[dot + last]
    return key


def _tensor(key: object, value: object) -> object:
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], StoredTensor):
        value = value[1]  # after the framework's name for it
    if not isinstance(value, StoredTensor):
        return value
    if value.dtype == "uint16":
        value = replace(value, dtype="bfloat16")
    return transposed(value) if str(key).endswith(".weight") and len(value.shape) == 2 else value


def transposed(tensor: StoredTensor) -> StoredTensor:
    """Return a matrix with its axes exchanged."""
    rows, columns = tensor.shape
    across, along = tensor.strides or (columns, 1)
    return replace(tensor, shape=(columns, rows), strides=(along, across))
