"""Train LKA and seven changes of it, each from the same five seeds, on a task that needs reach.

    python examples/training/compare_lka.py                          all that is not in comparison.json yet
    python examples/training/compare_lka.py --variant LKA --seed 0   one training, whose figures are printed, not kept

One core, some ten minutes in all; stopped, it goes on with the next training that is lacking. Two may run at the same time
with different --seed and --output. It needs the extra `torch`.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path[:0] = [str(Path(__file__).parents[2])]

from comparison import FIGURES, SEEDS, VARIANTS, read, summaries  # noqa: E402
from drawings import SIDE, draw  # noqa: E402

from minivan import variants  # noqa: E402
from minivan.errors import printable, sentence  # noqa: E402
from minivan.geometry import stage_sizes  # noqa: E402
from minivan.output import replacing  # noqa: E402

CONFIG = variants.Config((16,), (1,), (2,), classes=2, channels=1)
BATCHES, BATCH = 50, 32  # of an epoch, all its drawings new
JUDGED = 2000  # drawings that no training saw
RECIPE = {"epochs": 16, "batch": BATCH, "learning_rate": 5e-3, "average": 0.98}


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse_args(argv)
    try:
        run(args)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except (OSError, ValueError, ModuleNotFoundError) as error:
        raise SystemExit(printable(sentence(error))) from None


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    made.add_argument("--variant", choices=list(VARIANTS), help="this one alone (default: all)")
    made.add_argument("--seed", type=int, action="append", help="this one; may be said again (default: 0 to 4)")
    made.add_argument("-o", "--output", type=Path, metavar="FILE", help="where figures are kept (default: comparison.json)")
    return made


def run(args: argparse.Namespace) -> None:
    """Train what is lacking, and keep each training's figures as soon as they are there."""
    import minivan.engines.torch  # noqa: F401 - where there is no PyTorch, it says what to install

    chosen, seeds = [args.variant] if args.variant else list(VARIANTS), args.seed or list(SEEDS)
    if args.output is None and args.variant and args.seed:
        for seed in seeds:
            print(json.dumps(train(args.variant, seed)))
        return
    path = args.output or FIGURES
    kept = read(path) if path.exists() else {"runs": {}}
    for seed in seeds:
        for variant in chosen:
            if str(seed) in kept["runs"].get(variant, {}):
                continue
            kept["runs"].setdefault(variant, {})[str(seed)] = made = train(variant, seed)
            keep(kept, path)
            print(f"{variant}, seed {seed}: {made['accuracy']:.1%}, loss {made['losses'][-1]:.3f}", flush=True)
    for variant, summary in summaries(kept["runs"], seeds).items():
        print(f"{variant:18} {summary.mean:5.1f} % +- {summary.spread:.1f}")


def keep(figures: dict[str, Any], path: Path) -> None:
    """Write the figures with what made them, whole or not at all."""
    import torch

    height, width = stage_sizes(1, SIDE, SIDE)[0]
    C = CONFIG.dims[0]
    figures["costs"] = {
        name: {
            "parameters": variant.weights(C) + variant.biases(C),
            "multiply_adds": variant.multiply_adds(C, height * width),
            "reach": variant.reach,
        }
        for name, variant in VARIANTS.items()
    }
    figures["recipe"] = {**RECIPE, "batches_per_epoch": BATCHES, "judged": JUDGED, "threads": 1}
    figures["versions"] = {"python": platform.python_version(), "numpy": np.__version__, "torch": torch.__version__}
    figures["processor"] = processor()
    with replacing(path) as file:
        file.write((json.dumps(figures, indent=1, sort_keys=True) + "\n").encode())


def processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def train(variant: str, seed: int) -> dict[str, Any]:
    """Train a variant from a seed on one thread; return its accuracy on fresh drawings and each epoch's mean loss.

    Drawings and first weights depend on the seed alone: all variants have the same.
    """
    import torch
    import torch.nn.functional as F
    from lka_variants import Classifier, beginning
    from loop import Recipe, outputs
    from loop import train as learn

    class Drawings(torch.utils.data.Dataset):  # type: ignore[misc]
        """Drawings of a seed and of a number: an epoch's, or those to judge by."""

        def __init__(self, count: int, number: int) -> None:
            self.count = count
            self.images, self.targets = draw(count, np.random.default_rng((seed, number)))

        def at(self, epoch: int) -> Drawings:
            return Drawings(self.count, epoch + 1)

        def __len__(self) -> int:
            return self.count

        def __getitem__(self, i: int) -> tuple[Any, Any]:
            return self.images[i], self.targets[i]

    losses: list[float] = []
    forward = Classifier(CONFIG, variant)
    begin, learned = beginning(CONFIG, variant, seed), Drawings(BATCHES * BATCH, 0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        recipe = Recipe(seed=seed, **RECIPE)  # type: ignore[arg-type]
        tensors = learn(forward, begin, learned, F.cross_entropy, recipe, say=lambda epoch, loss, average: losses.append(loss))
        judged = outputs(forward, tensors, Drawings(JUDGED, recipe.epochs + 1))
        right = sum(int((logits.argmax(1) == targets).sum()) for logits, targets in judged)
    finally:
        torch.set_num_threads(threads)
    return {"accuracy": right / JUDGED, "losses": losses}


if __name__ == "__main__":
    main()
