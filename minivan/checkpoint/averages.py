"""Weights that were averaged over the training: which of a file's networks they are, and those that have no names.

torch_ema and diffusers' EMAModel keep `shadow_params`, a list of what `model.parameters()` gave: tensors in the order of the
network's own, without names and without BatchNorm's statistics (torch_ema/ema.py, diffusers/training_utils.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ..errors import quote
from ..variants import is_learned
from .holdings import Nameless
from .network import Network
from .tensor import FLOATING, StoredTensor

# Words in a key that say: averaged over the training, and so the network for inference.
AVERAGED = {"ema", "emas", "ewa", "swa", "average", "averaged", "avg", "polyak", "shadow"}
ASIDE = {"backup", "collected", "stored"}  # what was in the network before the average was put there to be tried
MOMENTS = "exp_avg"  # how PyTorch's Adam calls the averages of gradients and of their squares
_WORD = re.compile("[A-Z]?[a-z]+|[A-Z]+")
_OPTIMIZER = re.compile(r"(?:^|\.)optim(?!al|um|i[sz](?:ed|ation))", re.IGNORECASE)


def says_averaged(name: str) -> bool:
    """Tell whether one of a name's words says that weights were averaged; what an optimizer averages are gradients."""
    words = {word.lower() for word in _WORD.findall(name)}
    return bool(words & AVERAGED) and not words & ASIDE and MOMENTS not in name and not is_optimizers(name)


def is_optimizers(label: str) -> bool:
    """Tell whether one of the keys above a place is an optimizer's."""
    return bool(_OPTIMIZER.search(label))


def swapped(contents: object) -> tuple[str, str]:
    """Return the library that saves the average as `state_dict`, and under which key it puts what was averaged; '' for none.

    MMEngine's EMAHook and Lightning's WeightAveraging swap before they save: `ema_state_dict` (mmengine/hooks/ema_hook.py) and
    `current_model_state` (lightning/pytorch/callbacks/weight_averaging.py) are the raw weights.
    """
    if isinstance(contents, Mapping):
        meta = contents.get("meta")
        if "message_hub" in contents or (isinstance(meta, Mapping) and "mmengine_version" in meta):
            return "MMEngine", "ema_state_dict"
        if "current_model_state" in contents:
            return "Lightning", "current_model_state"
    return "", ""


def is_unfinished(path: Sequence[str]) -> bool:
    """Tell whether a dictionary is the average that Lightning's StochasticWeightAveraging has not yet put into the network.

    It copies the network before the training and averages parameters alone, so that BatchNorm's statistics in it are those of
    a network that was not trained; at the end it puts the parameters into `state_dict`, which `load_from_checkpoint` reads
    (lightning/pytorch/callbacks/stochastic_weight_avg.py).
    """
    return path[:1] == ("callbacks",) and "average_model_state" in path


def take_nameless(network: Network, lists: Sequence[Nameless]) -> tuple[str, str]:
    """Put the average of nameless tensors into a network that was not averaged, where there is one and it fits exactly.

    It fits where its tensors have the shapes of all the network's parameters, in their order. Returns where it lies, '' where
    none was taken, and what to say, '' where there is none.
    """
    averages = [one for one in lists if says_averaged(".".join(one.path))]
    if not averages:
        return "", ""
    label = ".".join(averages[0].path)
    learned = {name: value for name, value in network.named.items() if is_learned(name)}
    given = averages[0].tensors
    fits = len(given) == len(learned) and all(
        isinstance(value, StoredTensor) and value.shape == tensor.shape and tensor.dtype in FLOATING
        for value, tensor in zip(learned.values(), given, strict=True)
    )
    if len(averages) > 1 or averages[0].inside or network.computed or not fits:
        return "", f"{quote(label)} has an average of {len(given)} tensors without names: it was left out"
    network.named |= dict(zip(learned, given, strict=True))
    return label, f"{quote(label)} was read, the averaged weights, by their order and shapes, as they have no names"
