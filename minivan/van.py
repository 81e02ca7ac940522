"""A VAN with its weights, on one engine: images in; logits, features and derivatives out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from . import backward, model, paths, training
from .card import Card, Preprocessing, default_preprocessing, input_size, usual_activation
from .checks import Float32
from .engines import ENGINES, Engine, Plan, find
from .floating import undisturbed
from .geometry import SMALLEST_SIDE
from .hooks import Callback, Hook, renamed
from .operators import Array, Derivatives
from .variants import COLOURS, Config, check_tensors, counted, is_learned, title, unusual_channels


class VAN:
    """A VAN with its weights, on one engine.

    `tensors` maps the names of `variants.parameter_shapes(config)` to floating arrays of those shapes, which are rounded to
    float32; ValueError names what is missing, unknown, misshapen or not floating. `engine` is 'exact', 'numpy', 'fast', 'auto',
    or an Engine of your own (see minivan.engines). 'fast' compiles the network as a whole, and 'auto' takes 'numpy' or 'fast',
    whichever answers first: what needs the arrays between operators, a hook or a gradient, is computed by those of 'exact'.
    """

    def __init__(
        self, config: Config, tensors: Mapping[str, Any], engine: str | Engine = "exact", card: Card | None = None
    ) -> None:
        self.engine = find(engine)
        self.config = config
        self.card = card or Card("unnamed", default_preprocessing(config.channels), activation=usual_activation(config.classes))
        check_channels(config, self.card)
        with undisturbed():
            self.tensors: dict[str, Float32] = {
                name: np.asarray(tensors[name], np.float32) for name in check_tensors(config, tensors)
            }
            self._make_ready()

    def _make_ready(self) -> None:
        """Make of the tensors what the engine computes with."""
        self.parameters = paths.nested({name: self.engine.array(tensor) for name, tensor in self.tensors.items()})
        self.plan = self.engine.compile(self.config, self.tensors) if self.engine.compile else None
        self._plans: dict[str, Plan] = {}  # of the engines that this one has chosen

    def settled(self, images: int | None = None, height: int | None = None, width: int | None = None) -> VAN:
        """Return this model on the engine that 'auto' takes for so many images of a size; itself on any other engine.

        None is a number of images that is not known, and counts as many; a side is by default that of the card's crop. The
        model that is returned keeps its engine: whoever has many images has them all computed by one.
        """
        if self.engine.choose is None:
            return self
        side = self.card.preprocessing.crop
        with undisturbed():
            return self.on(self.engine.choose(self.config, images, height or side, width or side))

    def on(self, engine: Engine) -> VAN:
        """Return this model on another of the built-in engines: of the same tensors, and what was once made of them."""
        plan = self._plans.get(engine.name)
        if plan is None and engine.compile is not None:
            with undisturbed():
                plan = self._plans[engine.name] = engine.compile(self.config, self.tensors)
        made = object.__new__(type(self))
        vars(made).update(vars(self), engine=engine, plan=plan)
        return made

    def __getstate__(self) -> dict[str, Any]:
        """What of a model travels to another process, or into a copy: the tensors, not what was made of them."""
        return {name: value for name, value in vars(self).items() if name not in ("parameters", "plan", "_plans")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        with undisturbed():
            self._make_ready()

    def __call__(self, x: npt.ArrayLike, hook: Callback | None = None, *, tap: Callback | None = None) -> Float32:
        """Return float32 logits (N, classes) for float32 images (N, C, H, W) with H, W >= 32, already normalised.

        C is `config.channels`, 3 for photos.
        `hook(path, array)` is shown every operator's output under its path in the checkpoint, 'block1.0.attn.proj_1' say,
        in order; an array that it returns takes the place of the one it was shown. Both are of the engine's own kind.
        Raises ValueError for another shape or dtype, and for a bare backbone, which has features but no classes. `tap` is
        the old name of `hook`.
        """
        hook = renamed(hook, tap)
        self._check_classes()
        images = self.checked(x)
        if hook is None and self.engine.choose is not None:
            return self.settled(len(images), *images.shape[2:])(images)
        if self.plan is not None and hook is None:
            return self.plan(images)
        with undisturbed():
            maps = self._features(images, hook)
            logits = model.classifier(self.engine.ops, Hook(hook), maps[-1], head=self.parameters["head"])
        return np.asarray(logits, np.float32)

    def features(self, x: npt.ArrayLike, hook: Callback | None = None, *, tap: Callback | None = None) -> list[Float32]:
        """Return each stage's output after its LayerNorm, (N, C, H / 4, W / 4) first; arguments as for a call."""
        hook = renamed(hook, tap)
        images = self.checked(x)
        if hook is None and self.engine.choose is not None:
            return self.settled(len(images), *images.shape[2:]).features(images)
        if self.plan is not None and hook is None:
            return self.plan.features(images)
        with undisturbed():
            return [np.asarray(y, np.float32) for y in self._features(images, hook)]

    def embed(self, x: npt.ArrayLike) -> Float32:
        """Return pooled features (N, C): the last stage's output after its LayerNorm, averaged over all places.

        The head reads them; timm gives them for `num_classes=0`. x is as for a call; weights without a head serve too.
        """
        return np.asarray(self.features(x)[-1].mean(axis=(2, 3), dtype=np.float64), np.float32)

    def with_size(self, size: int) -> Self:
        """Return a model of the same tensors whose card has photos prepared as squares of `size` pixels a side.

        The crop stays the card's share of the shorter side (`Preprocessing.at`). Nothing is copied or compiled anew. Raises
        ValueError for another size than 32 to 2048 pixels, and for one that the engine does not take.
        """
        side = input_size(size)
        if self.engine.size not in (None, (side, side)):
            raise ValueError(f"the engine {self.engine} takes {self.engine.size} pixels alone, not {side} x {side}")
        made = object.__new__(type(self))
        vars(made).update(vars(self))
        made.card = replace(self.card, preprocessing=self.card.preprocessing.at(side), size_said=True)
        return made

    def gradients(
        self, x: npt.ArrayLike, target: npt.ArrayLike | None = None, wrt: str | Iterable[str] = (paths.INPUT,)
    ) -> dict[str, Array]:
        """Return the derivative of a logit by the images, by any array that a hook sees, by any parameter: name -> array.

        `wrt` is one or several of: 'input'; an array's path, 'block1.0.attn.proj_1'; a parameter's name in the authors'
        checkpoint, 'block1.0.attn.proj_1.weight'; 'parameters', which stands for the names of all that training learns. A
        layer scale, whose name is the path of an array too, is 'block1.0.layer_scale_1.weight' beside paths.

        x is as for a call. `target` is a class, one class per image (N,), or floating weights of the logits, (classes,)
        or (N, classes), whose weighted sum is then derived; without it, each image's top class. Every derivative has the
        shape of what it belongs to, float32 on `exact`, float64 on `numpy`; those by parameters are sums over the images, on
        `exact` the same bits for any number of threads. BatchNorm is in inference form: `training_pass` has the other. The
        backward pass stops at the deepest of `wrt`. Raises ValueError for an unknown name or class, and for an engine
        without derivatives.
        """
        return self.derive(x, target, wrt).gradients

    def derive(
        self, x: npt.ArrayLike, target: npt.ArrayLike | None = None, wrt: str | Iterable[str] = (paths.INPUT,)
    ) -> backward.Gradients:
        """Run the network forward, and as far backward as `wrt` needs: `gradients` with the logits and the arrays there."""
        self.derivatives()  # an engine that has none says so before the forward pass
        wanted = [wrt] if isinstance(wrt, str) else list(wrt)
        return self.derive_from(self.arrays(x, wanted), target, wanted)

    def derive_from(
        self, saved: Mapping[str, Array], target: npt.ArrayLike | None = None, wrt: str | Iterable[str] = (paths.INPUT,)
    ) -> backward.Gradients:
        """Run the network backward alone, from what `arrays(x, wrt)` saved: for several targets of the same images.

        The arguments are those of `gradients`. Raises ValueError also where `saved` lacks an array that is needed.
        """
        grad = self.derivatives()
        names = backward.names_of(wrt, self.config)
        places = self.paths()
        first = min((paths.needed_from(step) for step in names.values()), default=1)
        needed = [path for path in places if path != paths.INPUT and paths.needed_from(path) >= first]
        lacking = [path for path in (*(step for step in names.values() if step in places), *needed) if path not in saved]
        if lacking:
            raise ValueError(f"the saved arrays lack {lacking[0]}: save those that `arrays` returns for {', '.join(names)}")
        logits = np.asarray(saved[paths.HEAD])
        weights = backward.logit_weights(target, logits)
        with undisturbed():
            steps = backward.network(grad, self.engine.array(weights), saved, self.parameters, self.config)
            found = backward.take(steps, names.values())
        own = {paths.parameter(name): tensor for name, tensor in self.tensors.items()}
        values = {name: saved[step] if step in places else own[step] for name, step in names.items()}
        return backward.Gradients(logits, weights, values, {name: found[step] for name, step in names.items()})

    def training_pass(self, x: npt.ArrayLike, hook: Callback | None = None) -> training.TrainingPass:
        """Run the network forward in training form, BatchNorm by the statistics of this batch, ready for the way back.

        x and `hook` are as for a call. What is returned has the logits, and gives the gradients of any loss:

            step = model.training_pass(x)                       # forward
            gradients = step.gradients(dlogits)                 # the loss's derivative by step.logits -> by all parameters
            tensors |= step.running_statistics(tensors)         # what inference will need

        On `exact` and `numpy` a model computes with the float32 arrays that it was made of: what is written into them in
        place is what the next call reads. Raises ValueError for an engine without a training form, for a bare backbone, and
        for a batch of which some BatchNorm sees a single value of each channel.
        """
        if not self.engine.trains:
            able = ", ".join(name for name, engine in ENGINES.items() if engine.trains)
            raise ValueError(f"the engine {self.engine} has no training form; {able} have")
        self._check_classes()
        images = self.checked(x)
        with undisturbed():
            learned = {name: self.engine.array(tensor) for name, tensor in self.tensors.items() if is_learned(name)}
            return training.forward(self.engine, images, paths.nested(learned), self.config, hook)

    def derivatives(self) -> Derivatives:
        """Return the derivatives of the engine's operators; ValueError for an engine that has none."""
        if self.engine.grad is None:
            derivable = ", ".join(name for name, engine in ENGINES.items() if engine.grad is not None)
            raise ValueError(f"the engine {self.engine} has no derivatives; {derivable} have")
        return self.engine.grad

    def arrays(self, x: npt.ArrayLike, wanted: Iterable[str] = ()) -> dict[str, Array]:
        """Return the arrays at the wanted paths, the logits under 'head', and all that a backward pass to them needs.

        x is as for a call; the images are under 'input'. Names of parameters ask for what their derivatives need. Raises
        ValueError for a path that no hook sees, and a name that no parameter has.
        """
        steps = backward.names_of(wanted, self.config).values()
        first = min((paths.needed_from(step) for step in steps), default=1)
        saved: dict[str, Array] = {paths.INPUT: self.engine.array(np.asarray(x))}

        def keep(path: str, array: Array) -> None:
            if paths.needed_from(path) >= first:
                saved[path] = array

        last = paths.norm(self.config.stages)
        if not self.engine.hooks and first >= paths.needed_from(last):  # it has the stages' outputs
            saved[last] = self.engine.array(self.features(x)[-1])
            with undisturbed():
                model.classifier(self.engine.ops, Hook(keep), saved[last], head=self.parameters["head"])
        else:
            self(x, keep)
        return saved

    def paths(self) -> list[str]:
        """Return the path of every array that a hook sees, in order, with the images' own before them."""
        return paths.all_paths(self.config.depths, bool(self.config.classes))

    def __str__(self) -> str:
        """Which weights these are, of which variant, and for how many classes: 'van_tiny_754 (VAN-B0, 1000 classes)'."""
        return f"{self.card.name} ({title(self.config)}{unusual_channels(self.config)}, {self.config.classes} classes)"

    def __repr__(self) -> str:
        """The same, with the side of the photos that it wants and its engine."""
        return f"<VAN {self}, {self.card.preprocessing.crop} pixels, engine {self.engine}>"

    def _features(self, images: Float32, hook: Callback | None) -> list[Array]:
        x = self.engine.array(images)
        return model.features(self.engine.ops, Hook(hook), x, self.parameters, self.config)

    def _check_classes(self) -> None:
        if not self.config.classes:
            raise ValueError("these weights are a backbone without a head: they give features, not classes")

    def checked(self, x: npt.ArrayLike) -> Float32:
        """Return images as float32 (N, C, H, W); ValueError for what this network and its engine do not take."""
        images = check_images(x, self.config.channels)
        if self.engine.size is not None and images.shape[2:] != self.engine.size:
            height, width = self.engine.size
            raise ValueError(f"the engine {self.engine} takes images of {height} x {width} pixels, got {images.shape}")
        return images


class Prepared(Protocol):
    """Anything that says how images are prepared: a card."""

    @property
    def preprocessing(self) -> Preprocessing: ...


def check_channels(config: Config, card: Prepared) -> None:
    """Raise ValueError where a card's mean and std are not one number for each channel of the network's images."""
    if card.preprocessing.channels != config.channels:
        given = f"{counted(card.preprocessing.channels, 'number')} each"
        raise ValueError(f"mean and std are {given}, and the network takes {counted(config.channels)}")


def check_images(x: npt.ArrayLike, channels: int = COLOURS) -> Float32:
    """Return x as float32 (N, channels, H, W).

    Raises ValueError for another shape, a dtype that is not floating, or a side below 32.
    """
    x = np.asarray(x)
    if x.ndim != 4 or x.shape[1] != channels:
        raise ValueError(f"images must have the shape (N, {channels}, H, W), got {x.shape}")
    if not np.issubdtype(x.dtype, np.floating):
        raise ValueError(f"images must be floating and normalised (see minivan.image.prepare), got dtype {x.dtype}")
    if min(x.shape[2:]) < SMALLEST_SIDE:
        raise ValueError(f"images must be at least {SMALLEST_SIDE} x {SMALLEST_SIDE} pixels, got {x.shape[2]} x {x.shape[3]}")
    with undisturbed():  # a float64 may be too large or too small for float32
        return x.astype(np.float32, copy=False)
