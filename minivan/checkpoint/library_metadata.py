"""What a config.json says besides the shape and the class names: eps, the activation, what makes probabilities of logits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..card import usual_activation
from ..errors import quote
from ..variants import Config
from .beside import CONFIG
from .error import CheckpointError

MULTI_LABEL = "multi_label_classification"  # config.json's problem_type: each class for itself
REGRESSION = "regression"  # and: no classes at all
MODEL_TYPE = "van"
EXACT_GELU = ("gelu", "gelu_python")  # transformers/activations.py has both by erf


def huggingface_config(fields: Mapping[str, object], config: Config, is_huggingface: bool) -> tuple[Config, str]:
    """Take LayerNorm's eps and what makes probabilities from the fields of a config.json; {} gives what is usual.

    Raises CheckpointError where it describes another network than the one minivan computes.
    """
    kind = fields.get("model_type", MODEL_TYPE)
    if is_huggingface and kind != MODEL_TYPE:
        said = f"{CONFIG} says model_type {quote(kind)}, and the network in the file has {quote(MODEL_TYPE)}"
        raise CheckpointError(said, "the two do not belong together")
    if (fields.get("hidden_act") or "gelu") not in EXACT_GELU:
        raise CheckpointError(f"{CONFIG} asks for the activation {quote(fields['hidden_act'])}", "minivan computes gelu")
    eps = fields.get("layer_norm_eps", config.layer_norm_eps)
    if not isinstance(eps, float) or not 0 < eps < 1:
        raise CheckpointError(f"{CONFIG} has layer_norm_eps {quote(eps)}", "it lies between 0 and 1")
    problem = fields.get("problem_type")
    if problem == REGRESSION and config.classes:
        why = "its head measures, and minivan classifies: without the head's tensors the file gives features"
        raise CheckpointError(f"{CONFIG} says problem_type regression", why)
    activation = "sigmoid" if problem == MULTI_LABEL else usual_activation(config.classes)
    return replace(config, layer_norm_eps=eps), activation
