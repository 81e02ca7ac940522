"""What libraries write beside the weights: Hugging Face's config.json, OpenMMLab's `meta`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..card import Label, imagenet1k
from ..errors import is_line, printable, quote
from ..geometry import PATCH_KERNELS, PATCH_STRIDES
from ..input import read
from ..variants import Config
from .budget import Budget
from .error import CheckpointError
from .json_text import parse_json
from .tensor import is_natural

LARGEST_CONFIG = 8 << 20  # bytes of a config.json; one with 21,841 class names, twice each, takes about 2 MB


def huggingface_config(path: Path, config: Config) -> tuple[Config, tuple[Label, ...]]:
    """Take eps and class names from the config.json beside a Hugging Face checkpoint, where there is one.

    Raises CheckpointError where it describes another network than the one minivan computes.
    """
    if not os.path.lexists(path):
        return config, ()
    data = read(path, LARGEST_CONFIG, pipe=False)
    budget = Budget(len(data))
    fields = parse_json(data, path.name, budget)
    if not isinstance(fields, dict):
        raise CheckpointError(f"{path.name} holds {quote(fields)}", "a Hugging Face model's is an object")
    for field, here in described(config).items():
        if field in fields and fields[field] != here:
            said = f"{path.name} says {field} {_shown(fields[field])}, and the network in the file has {_shown(here)}"
            raise CheckpointError(said, "the file is not all of that network, or the two do not belong together")
    if fields.get("hidden_act", "gelu") != "gelu":
        raise CheckpointError(f"{path.name} asks for the activation {quote(fields['hidden_act'])}", "minivan computes gelu")
    eps = fields.get("layer_norm_eps", config.layer_norm_eps)
    if not isinstance(eps, float) or not 0 < eps < 1:
        raise CheckpointError(f"{path.name} has layer_norm_eps {quote(eps)}", "it lies between 0 and 1")
    config = replace(config, layer_norm_eps=eps)
    names = fields.get("id2label")
    if isinstance(names, Mapping):
        budget.step(len(names))
        in_order = [names.get(str(index)) for index in range(len(names))]
        if any(name != f"LABEL_{index}" for index, name in enumerate(in_order)):  # transformers' own stand-ins
            return config, labels_of(in_order, config.classes, budget)
    return config, ()


def states_shape(path: Path) -> bool:
    """Tell whether a config.json that was taken says of which shape the network is, so that none of its blocks is missing."""
    if not os.path.lexists(path):
        return False
    data = read(path, LARGEST_CONFIG, pipe=False)
    return b'"depths"' in data and b'"hidden_sizes"' in data


def _shown(value: object) -> str:
    """Return a field's value for a message: short lists of numbers as they are."""
    numbers = isinstance(value, list) and len(value) <= 2 * len(PATCH_STRIDES) and all(is_natural(item) for item in value)
    return str(value) if numbers else quote(value)


def described(config: Config) -> dict[str, object]:
    """Return what a Hugging Face config.json would say of a network's shape, and of what every VAN has."""
    return {
        "model_type": "van",
        "depths": list(config.depths),
        "hidden_sizes": list(config.dims),
        "mlp_ratios": list(config.mlp_ratios),
        "patch_sizes": list(PATCH_KERNELS[: config.stages]),
        "strides": list(PATCH_STRIDES[: config.stages]),
        "num_channels": 3,
    }


def openmmlab_labels(contents: object, classes: int, budget: Budget) -> tuple[Label, ...]:
    """Return the class names in the `meta` of an OpenMMLab checkpoint: CLASSES (mmcls) or dataset_meta's classes (MMEngine)."""
    meta = contents.get("meta") if isinstance(contents, dict) else None
    if not isinstance(meta, dict):
        return ()
    dataset = meta.get("dataset_meta")
    names = meta.get("CLASSES") or (isinstance(dataset, dict) and (dataset.get("classes") or dataset.get("CLASSES"))) or ()
    return labels_of(names, classes, budget) if isinstance(names, (list, tuple)) else ()


def labels_of(names: Sequence[object], classes: int, budget: Budget) -> tuple[Label, ...]:
    """Return labels for class names in index order, with the WordNet ids of ImageNet-1k where the names are its own.

    None at all where one of the names is no text or empty. Where there are not as many as `classes`, only their number means
    something: the labels have no names.
    """
    budget.step(len(names))
    texts = [name for name in names if isinstance(name, str) and name]
    if len(texts) != len(names):
        return ()
    if len(texts) != classes:
        return (Label("", ""),) * len(texts)
    labels = []
    for text in texts:
        budget.step(1 + len(text) // 16)
        budget.hold(200)
        if not text.isprintable():
            budget.step(len(text) // 4)
            budget.hold(10 * len(text))  # each character may be shown as its code
        labels.append(Label("", text if is_line(text) else printable(text)))
    for index, known in enumerate(imagenet1k() if len(labels) == 1000 else ()):
        if known.name.lower() == labels[index].name.lower():
            labels[index] = known
    return tuple(labels)
