"""A training loop: any network written against minivan's operators, any dataset, any loss.

What is trained is a dictionary of tensors. `forward(ops, x, tensors, random)` computes with it by the operators that it is
given; `loss(outputs, targets)` is one number; the dataset is one of PyTorch's, whose targets are whatever the loss takes.

AdamW, a learning rate that rises over the first part of an epoch and falls as a cosine, averaged weights (EMA), bfloat16
where asked for. After each epoch everything is kept in one file: a training that was stopped goes on from there, and ends
with the bits that it would have had.
"""

from __future__ import annotations

import contextlib
import math
import pickle
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path[:0] = [str(Path(__file__).parents[2])]

from minivan.engines.torch import Operators  # noqa: E402
from minivan.output import replacing  # noqa: E402
from minivan.variants import is_learned  # noqa: E402

Tensors = Mapping[str, torch.Tensor]
Forward = Callable[[Operators, Any, Tensors, torch.Generator | None], Any]
PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class Recipe:
    """How to train. Another recipe is another training: a kept one goes on only with its own."""

    epochs: int = 30
    batch: int = 64
    learning_rate: float = 1e-3  # at its highest
    weight_decay: float = 0.05  # of kernels and matrices; what has one number a channel is left alone
    warm_up: float = 1.0  # epochs in which the learning rate rises
    average: float = 0.998  # of the averaged weights, how much a step leaves as it is, at most
    clip: float = 1.0  # the longest gradient, all parameters taken as one vector
    precision: str = "float32"  # of the products: float32, or bfloat16 by torch.autocast
    seed: int = 0
    subject: str = ""  # what is trained on what, in words: a kept training of something else is not gone on with

    def __post_init__(self) -> None:
        """Raise ValueError for what no training can have."""
        for name, least in (("epochs", 1), ("batch", 1), ("seed", 0), ("weight_decay", 0), ("warm_up", 0), ("average", 0)):
            if not getattr(self, name) >= least:
                raise ValueError(f"{name} is at least {least}, not {getattr(self, name)}")
        if self.average > 1 or not 0 < self.learning_rate < math.inf:
            raise ValueError(f"average is 1 at most ({self.average}), and the learning rate above 0 ({self.learning_rate})")
        if self.precision not in PRECISIONS:
            raise ValueError(f"the precision is {' or '.join(PRECISIONS)}, not {self.precision}")


@dataclass(frozen=True)
class Machine:
    """Where to train: nothing that is learned depends on the workers, and on the device only by rounding."""

    device: str = "cpu"  # as torch.device has it
    workers: int = 0  # processes that prepare examples, beside this one

    def __post_init__(self) -> None:
        """Raise ValueError for a device that this PyTorch has not, and for fewer workers than none."""
        if self.workers < 0:
            raise ValueError(f"workers are at least 0, not {self.workers}")
        try:
            torch.empty(0, device=self.device)
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            said = str(error).partition("\n")[0]
            raise ValueError(f"PyTorch cannot use the device {self.device}: {said}") from None


HERE = Machine()


@dataclass
class Trained:
    """Where a training stands: its tensors, their average, and how far it has come."""

    tensors: dict[str, torch.Tensor]
    average: dict[str, torch.Tensor]
    optimizer: torch.optim.Optimizer
    epoch: int = 0  # how many are done
    step: int = 0
    loss: float = math.nan  # mean of the last epoch's


def train(
    forward: Forward,
    tensors: Mapping[str, np.ndarray],
    dataset: torch.utils.data.Dataset,
    loss: Callable[[Any, Any], torch.Tensor],
    recipe: Recipe,
    keep: Path | None = None,
    say: Callable[[int, float, dict[str, np.ndarray]], None] = lambda epoch, loss, average: None,
    machine: Machine = HERE,
) -> dict[str, np.ndarray]:
    """Train, and return the averaged tensors, float32, by name.

    `tensors` are those to begin with; a BatchNorm's running statistics among them are gathered, all others learned. Where the
    dataset has `at(epoch)`, each epoch's examples are those of what it returns. `keep` is the file of what a stopped training
    goes on from; one that is there already is gone on from. After each epoch, `say(epoch, mean loss, averaged tensors)` is
    called, and again for the last epoch of a training that is gone on with: it may have been stopped before that. Raises
    ValueError where `keep` is of another recipe or other tensors, and where the loss is no number any more.
    """
    torch.manual_seed(recipe.seed)
    state = _begin(tensors, recipe, machine)
    if keep is not None and keep.exists():
        _go_on(state, recipe, keep)
        say(state.epoch, state.loss, _arrays(state.average))
    ops = Operators(training=True)
    while state.epoch < recipe.epochs:
        batches = _batches(dataset, recipe, state.epoch, machine)
        rates = [learning_rate(recipe, state.step + i, len(batches)) for i in range(len(batches))]
        losses = [_step(forward, ops, loss, state, recipe, batch, rate) for batch, rate in zip(batches, rates, strict=True)]
        state.epoch, state.loss = state.epoch + 1, sum(losses) / len(losses)
        if keep is not None:
            _keep(state, recipe, keep)
        say(state.epoch, state.loss, _arrays(state.average))
    return _arrays(state.average)


def outputs(
    forward: Forward, tensors: Mapping[str, np.ndarray], dataset: torch.utils.data.Dataset, batch: int = 64, workers: int = 0
) -> Iterator[tuple[Any, Any]]:
    """Yield a network's outputs, as inference computes them, and the targets, a batch at a time."""
    held = {name: torch.from_numpy(array) for name, array in tensors.items()}
    for x, targets in torch.utils.data.DataLoader(dataset, batch, num_workers=workers):
        with torch.inference_mode():
            yield forward(Operators(), x, held, None), targets


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """Return the learning rate of a step, of `steps` an epoch: a straight line up, then half a cosine down to 0."""
    rising, all_steps = recipe.warm_up * steps, recipe.epochs * steps
    if step < rising:
        return recipe.learning_rate * (step + 1) / (rising + 1)
    return recipe.learning_rate * (1 + math.cos(math.pi * (step - rising) / max(1.0, all_steps - rising))) / 2


def _step(
    forward: Forward,
    ops: Operators,
    loss: Callable[[Any, Any], torch.Tensor],
    state: Trained,
    recipe: Recipe,
    batch: tuple[Any, Any],
    rate: float,
) -> float:
    """Learn from one batch; return its loss."""
    device = next(iter(state.tensors.values())).device
    x, targets = (_on(device, each) for each in batch)
    random = torch.Generator().manual_seed(recipe.seed * 1_000_003 + state.step)  # of this step, whenever it is taken
    with torch.autocast(device.type, torch.bfloat16) if recipe.precision == "bfloat16" else contextlib.nullcontext():
        out = forward(ops, x, state.tensors, random)
    found = loss(out, targets)
    if not torch.isfinite(found):
        raise ValueError(f"the loss is {found.item()} after {state.step} steps: a lower learning rate may help")
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    state.optimizer.zero_grad()
    found.backward()
    torch.nn.utils.clip_grad_norm_([each for group in state.optimizer.param_groups for each in group["params"]], recipe.clip)
    state.optimizer.step()
    state.step += 1
    kept = min(recipe.average, state.step / (state.step + 10))  # the first steps' weights are soon forgotten
    with torch.no_grad():
        for name, tensor in state.tensors.items():
            state.average[name].lerp_(tensor, 1 - kept)
    return found.item()


def _on(device: torch.device, given: Any) -> Any:
    """Return a tensor, or a list of some, on a device."""
    return [_on(device, each) for each in given] if isinstance(given, (list, tuple)) else given.to(device)


def _batches(dataset: torch.utils.data.Dataset, recipe: Recipe, epoch: int, machine: Machine) -> torch.utils.data.DataLoader:
    """Return an epoch's batches: every example once, in an order of this epoch's own. A last one that is not full is left out,
    unless it is the only one: BatchNorm would take its statistics from too few."""
    examples = dataset.at(epoch) if hasattr(dataset, "at") else dataset
    order = np.random.default_rng((recipe.seed, epoch)).permutation(len(examples))
    whole = len(order) >= recipe.batch
    return torch.utils.data.DataLoader(
        examples, recipe.batch, sampler=order.tolist(), drop_last=whole, num_workers=machine.workers
    )


def _begin(tensors: Mapping[str, np.ndarray], recipe: Recipe, machine: Machine) -> Trained:
    held = {
        name: torch.tensor(array, dtype=torch.float32, device=machine.device, requires_grad=is_learned(name))
        for name, array in tensors.items()
    }
    learned = [tensor for tensor in held.values() if tensor.requires_grad]
    groups = [
        {"params": [tensor for tensor in learned if tensor.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [tensor for tensor in learned if tensor.ndim <= 1], "weight_decay": 0.0},
    ]
    average = {name: tensor.detach().clone() for name, tensor in held.items()}
    return Trained(held, average, torch.optim.AdamW(groups, recipe.learning_rate))


def _keep(state: Trained, recipe: Recipe, path: Path) -> None:
    """Write where a training stands, whole or not at all."""
    held = {name: tensor.detach() for name, tensor in state.tensors.items()}
    said = {"recipe": asdict(recipe), "epoch": state.epoch, "step": state.step, "loss": state.loss}
    with replacing(path) as file:
        torch.save({**said, "tensors": held, "average": state.average, "optimizer": state.optimizer.state_dict()}, file)


def _go_on(state: Trained, recipe: Recipe, path: Path) -> None:
    try:
        kept = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError):
        raise ValueError(f"{path}: nothing that a training kept, or damaged: remove it to begin anew") from None
    if not isinstance(kept, dict) or not {"recipe", "tensors", "average", "optimizer", "epoch", "step", "loss"} <= set(kept):
        raise ValueError(f"{path}: nothing that a training kept: remove it to begin anew")
    differing = [name for name, value in asdict(recipe).items() if kept["recipe"].get(name) != value]
    if differing:
        name = differing[0]
        was, now = kept["recipe"].get(name), asdict(recipe)[name]
        raise ValueError(f"{path}: that training had {name} {was}, not {now}: say the same, or remove the file")
    shapes = {name: tensor.shape for name, tensor in state.tensors.items()}
    if shapes != {name: tensor.shape for name, tensor in kept["tensors"].items()}:
        raise ValueError(f"{path}: that training is of another network or of other classes: remove the file to begin anew")
    with torch.no_grad():
        for name, tensor in kept["tensors"].items():
            state.tensors[name].copy_(tensor)
            state.average[name].copy_(kept["average"][name])
    state.optimizer.load_state_dict(kept["optimizer"])
    state.epoch, state.step, state.loss = kept["epoch"], kept["step"], kept["loss"]


def _arrays(tensors: Tensors) -> dict[str, np.ndarray]:
    return {name: tensor.detach().cpu().numpy().copy() for name, tensor in tensors.items()}
