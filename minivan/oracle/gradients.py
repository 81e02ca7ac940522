"""Gradients in a trace: which loss they are of, what they are called there, and the run that shows them after the layers.

`gradient.PATH` is the derivative by the array at a path, `gradient.NAME` that by a tensor of the checkpoint; that by a layer
scale, whose name is an array's path too, is `gradient.block1.0.layer_scale_1.weight`. In training form the running statistics
after the batch stand between the layers and the gradients, under their names in the checkpoint.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from .. import paths
from ..backward import Later, Steps
from ..checkpoint.budget import Budget
from ..checkpoint.json_text import parse_json
from ..checks import REDUCTIONS, Integers
from ..hooks import Callback, Hook
from ..operators import Array, Derivatives
from ..training import TrainingPass
from ..van import VAN
from ..variants import LARGEST_DIMENSION, RUNNING, Config, is_learned, parameter_shapes
from .aside import on_engine
from .replay import GradientWitness
from .summands import summed

PREFIX = "gradient."
KEY, SIZES = "gradients", "gradient_terms"  # of a trace's metadata
DERIVED = ("dx", "dweight", "dbias", "dscale")  # what a test vector of an operator's way back calls its gradients
BATCH = ("batch_mean", "batch_var")  # what one of BatchNorm in training form gives besides
FORMS = ("training", "inference")
DIGITS = len(str(LARGEST_DIMENSION))  # of a class's number, at most
MOMENTUM = 0.1  # PyTorch's: the share of the batch in the running statistics


@dataclass(frozen=True)
class Loss:
    """What is derived: the cross-entropy -log softmax(logits)[target], summed over the images or their mean.

    `target` has a class for each image, None for each image's top class; `form` is that of BatchNorm. Raises ValueError for
    another reduction or form.
    """

    target: tuple[int, ...] | None = None
    reduction: str = "sum"
    form: str = "training"

    def __post_init__(self) -> None:
        if self.reduction not in REDUCTIONS or self.form not in FORMS:
            raise ValueError(
                f"a loss is a {' or '.join(REDUCTIONS)} over the images, in {' or '.join(FORMS)} form; got "
                f"{self.reduction!r} and {self.form!r}"
            )

    def check(self, images: int, classes: int) -> None:
        """Raise ValueError where the target is none of so many classes, or not one for each of so many images."""
        if self.target is None:
            return
        strange = next((number for number in self.target if not 0 <= number < classes), None)
        if strange is not None:
            raise ValueError(f"the target is one of {classes} classes, 0 to {classes - 1}; got {strange}")
        if len(self.target) not in (1, images):
            raise ValueError(f"a target is one class, or one for each of the {images} images; got {len(self.target)}")

    def of(self, logits: Array) -> Integers:
        """Return the targets (N,): a target of one class is that of all images. ValueError where they are not of the batch."""
        values = np.asarray(logits)
        if self.target is None:
            return np.asarray(values.argmax(axis=1))
        classes = np.array(self.target, np.int64)
        return np.resize(classes, len(values)) if classes.size == 1 else classes

    def metadata(self, target: Integers) -> dict[str, str]:
        """Return what a trace says of it, the targets by number: as many characters whatever their numbers are."""
        said = {"loss": "cross-entropy", "reduction": self.reduction, "form": self.form}
        numbers = ", ".join(f"{number:{DIGITS}}" for number in target.tolist())
        return {KEY: f'{json.dumps(said)[:-1]}, "target": [{numbers}]}}'}


def said_in(metadata: Mapping[str, str]) -> Loss | None:
    """Return the loss whose gradients a trace holds, None for a trace of layers alone. ValueError where it cannot be read."""
    text = metadata.get(KEY)
    if text is None:
        return None
    said = parse_json(text, "its gradients", Budget(len(text)))
    try:
        target, reduction, form = said["target"], said["reduction"], said["form"]
        if said["loss"] == "cross-entropy" and all(type(number) is int and abs(number) < 1 << 31 for number in target):
            return Loss(tuple(target), str(reduction), str(form))
    except (LookupError, TypeError) as error:
        raise ValueError(f"damaged trace, it does not say what its gradients are of ({type(error).__name__})") from None
    raise ValueError("damaged trace, it does not say what its gradients are of")


def is_gradient(path: str) -> bool:
    """Return whether a name in a trace, or in a test vector of an operator's way back, is that of a gradient."""
    return path.startswith(PREFIX) or path in DERIVED


def is_of_parameters(path: str) -> bool:
    """Return whether a name in a trace has a tensor's shape: a gradient by a parameter, or a running statistic."""
    return (
        path.endswith((*RUNNING, *BATCH))
        or path in DERIVED[1:]
        or (path.startswith(PREFIX) and path.endswith((".weight", ".bias")))
    )


def tensor_of(path: str) -> str:
    """Return the name in the checkpoint of the parameter that a gradient is by."""
    name = path.removeprefix(PREFIX)
    scale = name.removesuffix(".weight")
    return scale if paths.is_layer_scale(scale) else name


def names(config: Config, form: str) -> list[str]:
    """Return the names of what a trace of this form holds beside the layers, in order."""
    running = [name for name, _ in parameter_shapes(config) if not is_learned(name)]
    return [*(running if form == "training" else []), *order(config)]


def shapes(config: Config, layers: dict[str, tuple[int, ...]], form: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the names and shapes of what a trace holds beside the layers, whose shapes are given, in order."""
    tensors = dict(parameter_shapes(config))
    for name in names(config, form):
        path = name.removeprefix(PREFIX)
        yield name, layers[path] if path in layers else tensors[tensor_of(name)]


def order(config: Config) -> list[str]:
    """Return the names of all gradients, in the order in which the backward pass makes them."""
    own: dict[str, list[str]] = {}
    for name, _ in parameter_shapes(config):
        if is_learned(name):
            step = paths.parameter(name)
            own.setdefault(step.rpartition(".")[0], []).append(step)
    found = []
    for path in reversed(paths.all_paths(config.depths, bool(config.classes))):
        block = path if paths.block_of(path) == path else None
        found += [path, *own.get(f"{block}.layer_scale_2" if block else path, [])]
    return [f"{PREFIX}{name}" for name in found]


def watched(model: VAN, images: Array, loss: Loss, hook: Callback) -> tuple[Integers, dict[str, float]]:
    """Do what `run` does; return the targets, and how large the terms are that each gradient is the sum of (see `summands`)."""
    witness, sizes = GradientWitness(model.derivatives()), {}

    def look(path: str, array: Array) -> Array | None:
        call = witness.take(array) if is_gradient(path) else None
        if call is not None:
            sizes[path] = summed(call)[1]
        return hook(path, array)

    engine = replace(model.engine, grad=cast(Derivatives, witness))
    return run(on_engine(model, model.tensors, engine), images, loss, look), sizes


def sizes_text(names: Iterable[str], sizes: Mapping[str, float]) -> str:
    """Return how large the terms of gradients are, as JSON, as many characters whatever the numbers are; 0 for unknown ones."""
    known = {name: size if 0 < (size := sizes.get(name, 0.0)) < 1e99 else 0.0 for name in names}
    return "{" + ", ".join(f"{json.dumps(name)}: {max(size, 1e-99) if size else 0.0:.6e}" for name, size in known.items()) + "}"


def sizes_in(metadata: Mapping[str, str]) -> dict[str, float]:
    """Return how large the terms of a trace's gradients are; {} for a trace without. ValueError where it cannot be read."""
    text = metadata.get(SIZES, "{}")
    said = parse_json(text, "its gradients' sizes", Budget(len(text)))
    if not isinstance(said, dict) or not all(type(size) in (int, float) and 0 <= size < 1e99 for size in said.values()):
        raise ValueError("damaged trace, the sizes of its gradients' terms cannot be read")
    return {name: float(size) for name, size in said.items()}


def run(model: VAN, images: Array, loss: Loss, hook: Callback) -> Integers:
    """Run a network forward and backward, and show the hook everything in order; return the targets.

    What the hook returns takes a layer's or an array's gradient's place, and is not looked at for the others.
    """
    if loss.form == "training":
        step = model.training_pass(images, hook)
        for name, values in step.running_statistics(model.tensors, MOMENTUM).items():
            hook(name, values)
    else:
        step = forward(model, images, hook)
    target = loss.of(step.logits)
    grad = model.derivatives()
    show(step.steps(grad.cross_entropy_input(step.arrays[paths.HEAD], target, loss.reduction)), hook)
    return target


def forward(model: VAN, images: Array, hook: Callback) -> TrainingPass:
    """Run a network forward in inference form, as `VAN.training_pass` does in the other."""
    arrays: dict[str, Array] = {paths.INPUT: model.engine.array(np.asarray(images))}
    replaced = Hook(hook)

    def keep(path: str, array: Array) -> Array:
        arrays[path] = replaced(path, array)
        return arrays[path]

    model(images, keep)
    return TrainingPass(model.engine, model.config, model.parameters, arrays)


def show(steps: Steps, hook: Callback) -> None:
    """Show a hook all steps of a backward pass, those by arrays to be replaced."""
    answer = None
    while True:
        try:
            name, dy = steps.send(answer)
        except StopIteration:
            return
        later = isinstance(dy, Later)
        answer = hook(f"{PREFIX}{name}", dy.make() if isinstance(dy, Later) else dy)
        answer = None if later else answer
