"""Tensors that PyTorch computes from others: pruned ones, and those of weight_norm and spectral_norm.

A checkpoint has the others instead, under names made of the tensor's: `weight_orig` and `weight_mask` (prune.py in
torch/nn/utils), `weight_g` and `weight_v` (weight_norm.py), `weight_orig`, `weight_u` and `weight_v` (spectral_norm.py), and
since PyTorch 1.9 `parametrizations.weight.original0` and so on (parametrizations.py). What is computed here is what PyTorch
computes in `eval()`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import quote
from .error import CheckpointError
from .tensor import Derived, StoredTensor

Numbers = npt.NDArray[np.floating[Any]]

_ROLE = re.compile(
    r"(?P<old>weight|bias|layer_scale_[12])_(?P<suffix>orig|mask|[guv])\Z"
    r"|(?:(?<=\.)|\A)parametrizations\.(?P<new>weight|bias|layer_scale_[12])\.(?P<part>original[01]?|0\._[uv])\Z"
)
PARTS = {"original": "orig", "original0": "g", "original1": "v", "0._u": "u", "0._v": "v"}
PLAIN = ("weight", "bias", "mean", "var", "tracked", "scale_1", "scale_2")  # ends of names without a role


def split(key: str) -> tuple[str, str]:
    """Return the name of the tensor that a tensor is a part of, and which part it is; the key itself and '' for a whole one.

    'fc1.weight_orig' gives 'fc1.weight' and 'orig', 'fc1.parametrizations.weight.original0' gives 'fc1.weight' and 'g'.
    """
    if key.endswith(PLAIN):
        return key, ""
    match = _ROLE.search(key)
    if match is None:
        return key, ""
    name = match["old"] or match["new"]
    return key[: match.start()] + name, match["suffix"] or PARTS[match["part"]]


def whole(name: str, parts: Mapping[str, object]) -> tuple[object, str]:
    """Return a tensor by its parts, and what it was computed by: 'weight_norm'; '' for one that is there itself.

    Raises CheckpointError for parts that give no tensor.
    """
    if len(parts) == 1 and "" in parts:
        return parts[""], ""
    wanted = FORMULAS.get(frozenset(parts))
    if wanted is None:
        raise CheckpointError(f"{name} is there in parts ({', '.join(sorted(map(quote, parts)))})", "they make no tensor")
    title, roles, formula = wanted
    tensors = [tensor for role in roles if isinstance(tensor := parts[role], StoredTensor)]
    if len(tensors) < len(roles):
        raise CheckpointError(f"{name} is there in parts", "not all of them are tensors that can be read")
    _check(name, title, tensors)
    main = tensors[roles.index("v" if title == "weight_norm" else "orig")]
    return Derived(main.shape, main.dtype, _no_bytes, parts=tuple(tensors), formula=formula), title


def _check(name: str, title: str, tensors: list[StoredTensor]) -> None:
    """Raise CheckpointError where the parts' shapes do not belong together."""
    shapes = [tensor.shape for tensor in tensors]
    if title == "a pruning mask":
        right = shapes[0] == shapes[1]
    elif title == "weight_norm":
        g, v = shapes
        kept = [axis for axis, side in enumerate(g) if side != 1]
        right = g == () or (len(g) == len(v) and len(kept) <= 1 and all(g[axis] == v[axis] for axis in kept))
    else:
        orig, u, v = shapes
        right = len(orig) > 1 and u == orig[:1] and v == (int(np.prod(orig[1:])),)
    if not right:
        raise CheckpointError(f"{name} is there in parts ({title})", f"their shapes are {', '.join(map(str, shapes))}")


def _masked(orig: Numbers, mask: Numbers) -> Numbers:
    return orig * mask.astype(orig.dtype)


def _weight_norm(g: Numbers, v: Numbers) -> Numbers:
    """g v / ||v||, the norm taken over the axes along which g does not vary."""
    axes = tuple(axis for axis in range(v.ndim) if g.ndim == 0 or g.shape[axis] == 1)
    exact = v.astype(np.float64)
    with np.errstate(all="ignore"):
        return np.asarray(g * (exact / np.sqrt((exact**2).sum(axes, keepdims=True))), v.dtype)


def _spectral_norm(orig: Numbers, u: Numbers, v: Numbers) -> Numbers:
    """W / sigma with sigma = u W v, as it was when the file was saved."""
    exact = orig.astype(np.float64)
    with np.errstate(all="ignore"):
        sigma = u.astype(np.float64) @ exact.reshape(len(exact), -1) @ v.astype(np.float64)
        return np.asarray(exact / sigma, orig.dtype)


FORMULAS = {
    frozenset(roles): (title, roles, formula)
    for title, roles, formula in (
        ("a pruning mask", ("orig", "mask"), _masked),
        ("weight_norm", ("g", "v"), _weight_norm),
        ("spectral_norm", ("orig", "u", "v"), _spectral_norm),
    )
}


def _no_bytes(start: int, size: int) -> Any:
    raise AssertionError("a tensor that is computed has no bytes of its own")
