"""From a model and images to maps: the method by its name, at the layers asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .. import backward, paths
from ..checks import Float32, Floating, Integers
from ..engines import EXACT
from ..operators import Array
from ..van import VAN, check_images
from ..variants import Config
from . import cam, choices, perturb
from .probability import probabilities

# From the activation at a layer and the logit's derivative by it.
OF_A_LAYER: dict[str, Callable[[Floating, Floating], Floating]] = {
    "gradcam": cam.gradcam,
    "gradcam++": cam.gradcam_plus_plus,
    "hirescam": cam.hirescam,
    "layercam": cam.layercam,
}
# From the model, the images and what is asked of their logits, a target after another.
OF_THE_PIXELS: dict[str, Callable[[VAN, Float32, Floating], Float32]] = {
    "smoothgrad": perturb.smoothgrad,
    "occlusion": perturb.occlusion,
}


class Maps(NamedTuple):
    """What `maps` found for N images."""

    method: str
    target: Integers  # (N,) the class that each image's maps are about
    probabilities: Float32  # (N, classes)
    maps: dict[str, Floating]  # path of the layer, or 'input' -> (N, H, W)
    logits: Float32  # (N, classes)


def maps(
    model: VAN,
    x: npt.ArrayLike,
    target: npt.ArrayLike | None = None,
    method: str = choices.DEFAULT,
    layers: str | Iterable[str] | None = None,
) -> Maps:
    """Return where the network looks for a class, as arrays.

    x is float32 (N, C, H, W) as for a call of the model. `target` is a class, or one class per image (N,); by default
    each image's top class. `method` is one of METHODS, explained in minivan.explain.cam and .perturb. `layers` are paths of
    (N, C, H, W) arrays, by default the last LayerNorm: the last place before the pooling, where each position still has
    its own voice, and where Grad-CAM is exact. cam knows that one layer only; smoothgrad and occlusion see the input.
    Raises ValueError for an unknown method, class or layer, before anything is computed, and for an engine without the
    derivatives that a method needs.
    """
    return maps_of_classes(model, x, [target], method, layers)[0]


def maps_of_classes(
    model: VAN,
    x: npt.ArrayLike,
    targets: Sequence[npt.ArrayLike | None],
    method: str = choices.DEFAULT,
    layers: str | Iterable[str] | None = None,
) -> list[Maps]:
    """Return the maps of the same images for several targets, in their order; the arguments are those of `maps`.

    The forward passes, one for every method but smoothgrad and occlusion, are run once for all targets.
    """
    places = choose_layers(model.config, method, layers)
    images, last = check_images(x, model.config.channels), paths.norm(model.config.stages)
    if not len(targets):
        return []
    for target in targets:
        if target is not None:  # a wrong one is refused by the shape of the logits, before there are any
            backward.logit_weights(target, np.empty((len(images), model.config.classes)))
    if choices.find(method).derives:
        model.derivatives()  # an engine that has none says so now
    model = on_one_engine(model, method, places, len(images), *images.shape[2:])
    saved = model.arrays(images, places if method in OF_A_LAYER else [last])
    logits = np.asarray(saved[paths.HEAD])
    weights = [backward.logit_weights(target, logits) for target in targets]
    classes = [each.argmax(axis=1) for each in weights]
    if method in OF_A_LAYER:
        pictures = [_of_layers(model, saved, each, method, places) for each in weights]
    elif method == "cam":
        head, activation = model.tensors["head.weight"], np.asarray(saved[last])
        pictures = [{last: cam.cam(activation, head[each])} for each in classes]
    else:
        found = OF_THE_PIXELS[method](model, images, np.stack(weights))
        pictures = [{paths.INPUT: values} for values in found]
    chances = probabilities(logits, model.card.activation)
    return [Maps(method, each, chances, picture, logits) for each, picture in zip(classes, pictures, strict=True)]


def on_one_engine(model: VAN, method: str, places: list[str], images: int, height: int, width: int) -> VAN:
    """Return the model on the engine that 'auto' takes for the maps of so many images of a size; itself on any other engine.

    What needs the arrays between operators, at `places` or below, is computed by 'exact' as a whole.
    """
    chosen = choices.find(method)
    if model.engine.choose is None:
        return model
    if chosen.derives and places != [paths.norm(model.config.stages)]:
        return model.on(EXACT)
    return model.settled(images * chosen.passes, height, width)


def _of_layers(
    model: VAN, saved: Mapping[str, Array], weights: Floating, method: str, places: list[str]
) -> dict[str, Floating]:
    """Run backward once for one target, and make its map at every layer."""
    found = model.derive_from(saved, weights, places)
    of = OF_A_LAYER[method]
    return {path: of(np.asarray(found.values[path]), np.asarray(found.gradients[path])) for path in places}


def choose_layers(config: Config, method: str = choices.DEFAULT, layers: str | Iterable[str] | None = None) -> list[str]:
    """Return the paths of the layers whose maps a method makes: those given, 'all' for every stage's output, or its default.

    Raises ValueError for a backbone without a head, an unknown method or layer, a layer without positions, and one that
    the method does not look at.
    """
    chosen = choices.find(method)
    if not config.classes:
        raise ValueError("these weights are a backbone without a head: no class to look for, only attention")
    own = paths.INPUT if chosen.place == choices.PIXELS else paths.norm(config.stages)
    if layers is None:
        return [own]
    if isinstance(layers, str):
        layers = paths.norms(config.stages) if layers == choices.ALL_LAYERS else [layers]
    wanted = list(layers)
    if not wanted:
        raise ValueError(f"no layer to look at: give one at least, such as {own}")
    paths.check_known(wanted, paths.all_paths(config.depths))
    for path in wanted:
        if path != paths.INPUT and paths.stage_of(path) is None:
            raise ValueError(f"{path} has no positions, so there is no map of it: choose a layer such as {own}")
    if chosen.place != choices.ANY_LAYER and wanted != [own]:
        place = f"is defined at {own}" if chosen.place == choices.LAST_LAYER else "looks at the input, not at a layer"
        raise ValueError(f"{method} {place}: choose layers with {', '.join(OF_A_LAYER)}")
    return wanted


def stages(model: VAN) -> list[str]:
    """Return the paths of the stages' outputs, after their LayerNorm: norm1 first."""
    return paths.norms(model.config.stages)
