"""From a model and images to maps: the method by its name, at the layers asked for."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .. import backward
from ..ops import softmax
from . import cam, perturb

# From the activation at a layer and the logit's derivative by it.
LAYER_METHODS = {
    "gradcam": cam.gradcam,
    "gradcam++": cam.gradcam_plus_plus,
    "hirescam": cam.hirescam,
    "layercam": cam.layercam,
}
INPUT_METHODS = {"smoothgrad": perturb.smoothgrad, "occlusion": perturb.occlusion}
METHODS = ("gradcam", "cam", "hirescam", "layercam", "gradcam++", "smoothgrad", "occlusion")
SIGNED = ("cam", "hirescam", "occlusion")  # a negative value speaks against the class


class Maps(NamedTuple):
    """What `maps` found for N images."""

    method: str
    target: np.ndarray  # (N,) the class that each image's maps are about
    probabilities: np.ndarray  # (N, classes)
    maps: dict[str, np.ndarray]  # path of the layer, or 'input' -> (N, H, W)


def maps(model, x, target=None, method: str = "gradcam", layers=None) -> Maps:
    """Return where the network looks for a class, as arrays.

    x is float32 (N, 3, H, W) as for a call of the model. `target` is a class, or one class per image (N,); by default
    each image's top class. `method` is one of METHODS, explained in minivan.explain.cam and .perturb. `layers` are paths of
    (N, C, H, W) arrays, by default the last LayerNorm: the last place before the pooling, where each position still has
    its own voice, and where Grad-CAM is exact. cam knows that one layer only; smoothgrad and occlusion see the input.
    Raises ValueError for an unknown method, class or layer.
    """
    if method not in METHODS:
        raise ValueError(f"no method is called {method!r}; the methods are {', '.join(METHODS)}")
    last = f"norm{model.config.stages}"
    if layers is not None and method not in LAYER_METHODS and list(layers) != [last]:
        place = f"is defined at {last}" if method == "cam" else "looks at the input, not at a layer"
        raise ValueError(f"{method} {place}: choose layers with {', '.join(LAYER_METHODS)}")
    x = np.asarray(x)
    wrt = [last] if layers is None else list(layers)
    if method in LAYER_METHODS:
        found = model.derive(x, target, wrt)
        for path in wrt:
            if found.values[path].ndim != 4:
                raise ValueError(f"{path} has no positions, its shape is {found.values[path].shape}: choose another layer")
        of = LAYER_METHODS[method]
        pictures = {path: of(found.values[path], found.gradients[path]) for path in wrt}
        logits, classes = found.logits, found.target.argmax(axis=1)
    else:
        seen = model.arrays(x, [last])
        logits = seen["head"]
        weights = backward.logit_weights(target, logits)
        classes = weights.argmax(axis=1)
        if method == "cam":
            pictures = {last: cam.cam(seen[last], model.tensors["head.weight"][classes])}
        else:
            pictures = {"input": INPUT_METHODS[method](model, x, weights)}
    return Maps(method, classes, softmax(logits), pictures)


def stages(model) -> list[str]:
    """Return the paths of the stages' outputs, after their LayerNorm: norm1 first."""
    return [f"norm{i}" for i in range(1, model.config.stages + 1)]
