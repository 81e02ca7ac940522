"""What libraries write beside the weights: where the state dict lies, class names, eps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ..card import Label, imagenet1k
from ..errors import printable, quote
from ..geometry import PATCH_STRIDES
from ..variants import Config
from .error import CheckpointError
from .layouts import LAYOUTS, unwrap
from .safetensors_file import parse_json
from .tensor import StoredTensor

# Where a training script keeps the network, in the order in which timm's `load_state_dict` looks (timm/models/_helpers.py):
# averaged weights first. MMEngine's `ema_state_dict` is not among them: it holds what was averaged, `state_dict` the average.
STATE_DICTS = ("state_dict_ema", "model_ema", "state_dict", "model")
AVERAGED = STATE_DICTS[:2]
LARGEST_CONFIG = 8 << 20  # bytes of a config.json; one with 21,841 class names, twice each, takes about 2 MB


def state_dict(contents, key: str | None = None) -> tuple[dict, str]:
    """Return the network's tensors in a pickled checkpoint and the key they lie under ('' where they are at the top).

    With `key`, only that one is looked at. Raises CheckpointError where there is no dictionary of tensors.
    """
    if not isinstance(contents, dict):
        raise CheckpointError(f"the file holds {quote(contents)}", "a dictionary of tensors is wanted")
    if key is not None:
        if not isinstance(contents.get(key), dict):
            keys = ", ".join(quote(k) for k in list(contents)[:8])
            raise CheckpointError(f"the file has no dictionary under {quote(key)}", f"its keys are {keys}")
        return contents[key], key
    for name in STATE_DICTS:
        if _holds_tensors(contents.get(name)):
            return contents[name], name
    if _holds_tensors(contents):
        return contents, ""
    others = [name for name, value in contents.items() if _holds_tensors(value) and _knows(value)]
    if len(others) == 1:
        return contents[others[0]], str(others[0])
    keys = ", ".join(quote(k) for k in list(contents)[:8])
    raise CheckpointError("the file has no dictionary of a VAN's tensors", f"its keys are {keys}" if keys else "it is empty")


def _holds_tensors(value) -> bool:
    return isinstance(value, dict) and any(isinstance(tensor, StoredTensor) for tensor in value.values())


def _knows(state) -> bool:
    return any(layout.authors_name(key) for key in unwrap(state) for layout in LAYOUTS.values())


def openmmlab_labels(contents) -> tuple[Label, ...]:
    """Return the class names in the `meta` of an OpenMMLab checkpoint: CLASSES (mmcls) or dataset_meta's classes (MMEngine)."""
    meta = contents.get("meta") if isinstance(contents, dict) else None
    if not isinstance(meta, dict):
        return ()
    dataset = meta.get("dataset_meta")
    names = meta.get("CLASSES") or (isinstance(dataset, dict) and (dataset.get("classes") or dataset.get("CLASSES"))) or ()
    return label_names(names) if isinstance(names, (list, tuple)) else ()


def huggingface_config(path: Path, config: Config) -> tuple[Config, tuple[Label, ...]]:
    """Take eps and class names from the config.json beside a Hugging Face checkpoint, where there is one.

    Raises CheckpointError where it describes another network than the one minivan computes.
    """
    if not path.is_file():
        return config, ()
    if path.stat().st_size > LARGEST_CONFIG:
        raise CheckpointError(f"{path.name} of {path.stat().st_size} bytes", f"the limit is {LARGEST_CONFIG}")
    fields = parse_json(path.read_bytes(), path.name)
    if not isinstance(fields, dict) or fields.get("model_type", "van") != "van":
        return config, ()  # it belongs to something else
    if fields.get("hidden_act", "gelu") != "gelu":
        raise CheckpointError(f"{path.name} asks for the activation {quote(fields['hidden_act'])}", "minivan computes gelu")
    strides = fields.get("strides", list(PATCH_STRIDES))
    if strides != list(PATCH_STRIDES[: config.stages]):
        raise CheckpointError(f"{path.name} asks for other strides than a VAN's", f"{PATCH_STRIDES[: config.stages]}")
    eps = fields.get("layer_norm_eps", config.layer_norm_eps)
    if not isinstance(eps, float) or not 0 < eps < 1:
        raise CheckpointError(f"{path.name} has layer_norm_eps {quote(eps)}", "it lies between 0 and 1")
    names = fields.get("id2label")
    if isinstance(names, Mapping):
        names = [names.get(str(index)) for index in range(len(names))]
        if any(name != f"LABEL_{index}" for index, name in enumerate(names)):  # transformers' own stand-ins
            return replace(config, layer_norm_eps=eps), label_names(names)
    return replace(config, layer_norm_eps=eps), ()


def label_names(names) -> tuple[Label, ...]:
    """Return labels for class names in index order, with the WordNet ids of ImageNet-1k where the names are its own."""
    if not all(isinstance(name, str) and name for name in names):
        return ()
    known = imagenet1k() if len(names) == 1000 else ()
    labels = [Label("", printable(name)) for name in names]
    for index, label in enumerate(known):
        if label.name.lower() == labels[index].name.lower():
            labels[index] = label
    return tuple(labels)
