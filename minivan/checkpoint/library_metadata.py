"""What libraries write beside the weights: Hugging Face's config.json, and class names in many places."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..card import Label, imagenet1k, usual_activation
from ..errors import is_line, printable, quote
from ..geometry import PATCH_KERNELS, PATCH_STRIDES
from ..input import read
from ..variants import COLOURS, Config, variant_of
from .budget import Budget
from .error import CheckpointError
from .json_text import parse_json
from .tensor import is_natural

LONGEST_INDEX = 9  # digits
WORDNET = re.compile("n[0-9]{8}")
MULTI_LABEL = "multi_label_classification"  # config.json's problem_type: each class for itself
REGRESSION = "regression"  # and: no classes at all
LARGEST_CONFIG = 8 << 20  # bytes of a config.json; one with 21,841 class names, twice each, takes about 2 MB


def huggingface_config(path: Path, config: Config) -> tuple[Config, tuple[Label, ...], str]:
    """Take eps, class names and what makes probabilities from the config.json beside a Hugging Face checkpoint, if it is there.

    Raises CheckpointError where it describes another network than the one minivan computes.
    """
    if not os.path.lexists(path):
        return config, (), usual_activation(config.classes)
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
    problem = fields.get("problem_type")
    if problem == REGRESSION and config.classes:
        why = "its head measures, and minivan classifies: without the head's tensors the file gives features"
        raise CheckpointError(f"{path.name} says problem_type regression", why)
    activation = "sigmoid" if problem == MULTI_LABEL else usual_activation(config.classes)
    names = fields.get("id2label")
    return config, labels_of(in_order(names, budget) if isinstance(names, dict) else (), config.classes, budget), activation


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
        "num_channels": config.channels,
    }


CLASS_NAMES = ("class_to_idx", "idx_to_class", "id2label", "classes", "CLASSES", "class_names")


def labels_beside(contents: object, classes: int, budget: Budget) -> tuple[Label, ...]:
    """Return the class names that a pickle has beside the weights, as `labels_of` does; none where it has none.

    They lie at the top, among Lightning's `hyper_parameters`, or in OpenMMLab's `meta` (mmcls) and its `dataset_meta`
    (MMEngine): in a list, or a dictionary from index to name, or from name to index as torchvision's folders have it.
    """
    top = contents if isinstance(contents, dict) else {}
    meta = top.get("meta")
    dataset = meta.get("dataset_meta") if isinstance(meta, dict) else None
    for place in (top, top.get("hyper_parameters"), dataset, meta):
        if not isinstance(place, dict):
            continue
        for key in CLASS_NAMES:
            if names := in_order(place.get(key), budget, by_name=key == "class_to_idx"):
                return labels_of(names, classes, budget)
    return ()


def usual_labels(config: Config) -> tuple[Label, ...]:
    """Return ImageNet-1k's classes for a published variant with a thousand of them; for any other network none."""
    published = variant_of(config) is not None and config.channels == COLOURS
    return imagenet1k() if published and config.classes == 1000 else ()


def in_order(names: object, budget: Budget, by_name: bool = False) -> list[object]:
    """Return the names of a list or of a dictionary by their indices, or from them to their indices, in the indices' order.

    None where the indices are not 0, 1, 2 and so on, nor where all names are LABEL_0, LABEL_1 and so on, which transformers
    writes where nobody gave any.
    """
    found: list[object] = []
    if isinstance(names, (list, tuple)):
        budget.step(len(names))
        found = list(names)
    elif isinstance(names, dict):
        budget.step(2 * len(names))
        budget.hold(120 * len(names))
        pairs = ((i, name) for name, i in names.items()) if by_name else names.items()
        places = {_index(i): name for i, name in pairs}
        if len(places) == len(names) and all(i in places for i in range(len(names))):
            found = [places[i] for i in range(len(names))]
    return [] if all(name == f"LABEL_{i}" for i, name in enumerate(found)) else found


def _index(key: object) -> int:
    """Return an index that a file gives as a number or, as every key of JSON is, as a text; -1 for anything else."""
    if isinstance(key, str):
        return int(key) if key.isdecimal() and len(key) < LONGEST_INDEX else -1
    return key if type(key) is int else -1


def labels_of(names: Sequence[object], classes: int, budget: Budget) -> tuple[Label, ...]:
    """Return labels for class names in index order, with the WordNet ids of ImageNet-1k where the names are its own.

    Where all are WordNet ids, those of ImageNet-1k get their names.

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
    if all(WORDNET.fullmatch(text) for text in texts):  # torchvision's folders of ImageNet are named so
        named = {known.wnid: known.name for known in imagenet1k()}
        return tuple(Label(text, named.get(text, text)) for text in texts)
    for index, known in enumerate(imagenet1k() if len(labels) == 1000 else ()):
        if known.name.lower() == labels[index].name.lower():
            labels[index] = known
    return tuple(labels)
