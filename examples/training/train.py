"""Train a VAN on photos in class folders, by PyTorch, and write it as a file that minivan takes everywhere.

    python examples/training/train.py photos/ -o mine.safetensors --validation others/ --size 64 --epochs 60
    python examples/training/train.py photos/ -o mine.safetensors --from b0 --size 96 --epochs 10    # go on from weights

A stopped training goes on where it stood when the same command is given again; what it needs for that is kept beside the
file, in mine.safetensors.training, until it is done. PHOTOS is whatever `minivan evaluate` takes. It needs the extra `torch`.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

sys.path[:0] = [str(Path(__file__).parents[2])]

from minivan import checkpoint, image, initial, variants  # noqa: E402
from minivan.card import PRESETS, Card, Label, imagenet1k, input_size  # noqa: E402
from minivan.errors import printable, sentence  # noqa: E402
from minivan.evaluate import Example, open_dataset  # noqa: E402
from minivan.output import check_ending, place  # noqa: E402

if TYPE_CHECKING:
    from photos import Photos

PREPROCESSING = PRESETS["hf"]  # ImageNet's mean and deviations; the crop is the whole of the shorter side
HELD_BACK = 10  # of so many photos of a class, one is kept to judge by where no others are given


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse_args(argv)
    try:
        run(args)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except (OSError, ValueError, image.ImageError, checkpoint.CheckpointError, ModuleNotFoundError) as error:
        raise SystemExit(printable(sentence(error))) from None


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    made.add_argument("photos", type=Path, help="a folder of class folders, or what else `minivan evaluate` takes")
    made.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="the weights to write, .safetensors")
    made.add_argument("--validation", type=Path, metavar="PHOTOS", help="photos to judge by (default: one in ten)")
    made.add_argument("--variant", default="b0", help="the shape of a network that begins anew (default: b0)")
    made.add_argument("--dims", type=numbers, metavar="N,N,...", help="channels of each stage, for a shape of your own")
    made.add_argument("--depths", type=numbers, metavar="N,N,...", help="blocks of each stage, with --dims")
    made.add_argument(
        "--from", dest="begin", metavar="WEIGHTS", help="weights to go on from, with their head for the same classes"
    )
    made.add_argument("--size", type=int, default=64, metavar="PIXELS", help="side of the square it sees (default: 64)")
    made.add_argument("--soft-labels", type=Path, metavar="FILE", help="an .npz of a teacher's answers: see README.md")
    made.add_argument("--soft-share", type=float, default=0.6, metavar="SHARE", help="of them in the target (default: 0.6)")
    made.add_argument("--stochastic-depth", type=float, default=0.03, metavar="P", help="of the last block (default: 0.03)")
    made.add_argument("--device", default="cpu", help="as PyTorch calls it: cpu, cuda (default: cpu)")
    made.add_argument("--workers", type=int, default=0, metavar="N", help="processes that prepare photos (default: none)")
    for name, kind, default, text in recipe_options():
        made.add_argument(f"--{name.replace('_', '-')}", type=kind, default=default, help=f"{text} (default: {default})")
    return made


def recipe_options() -> list[tuple[str, type, Any, str]]:
    """The options that make a recipe, by the names of its fields: `loop`, which needs PyTorch, is not imported for --help."""
    return [
        ("epochs", int, 30, "times that each photo is seen"),
        ("batch", int, 64, "photos in a step"),
        ("learning_rate", float, 1e-3, "at its highest"),
        ("weight_decay", float, 0.05, "of kernels and matrices"),
        ("warm_up", float, 1.0, "epochs in which the learning rate rises"),
        ("average", float, 0.998, "of the averaged weights, what a step leaves as it is"),
        ("precision", str, "float32", "of the products: float32 or bfloat16"),
        ("seed", int, 0, "another one is another training"),
    ]


def run(args: argparse.Namespace) -> None:
    """Do what a command line says. Raises ValueError, or what reading and writing raise, where it cannot be done."""
    from loop import Machine, Recipe, train
    from network import Classifier, soft_cross_entropy

    check_ending(args.output, (".safetensors",), "weights are")
    place(args.output)
    if not 0 <= args.soft_share <= 1:
        raise ValueError(f"the share of soft labels is from 0 to 1, not {args.soft_share}")
    machine = Machine(args.device, args.workers)
    recipe = Recipe(**{field.name: getattr(args, field.name) for field in fields(Recipe) if hasattr(args, field.name)})
    learned, judged, labels = datasets(args)
    config, tensors, card = beginning(args, labels)
    preprocessing = card.preprocessing
    recipe = replace(recipe, subject=subject(args, learned))
    learned, judged = replace(learned, preprocessing=preprocessing), replace(judged, preprocessing=preprocessing)
    print(f"{len(learned):,} photos of {len(labels)} classes, {len(judged):,} to judge by; {variants.title_with_shape(config)}")
    forward = Classifier(config, args.stochastic_depth)
    found: list[float] = []

    def say(epoch: int, loss: float, average: dict[str, np.ndarray]) -> None:
        found[:] = [top1(forward, average, judged, args)]
        print(f"epoch {epoch:3} of {recipe.epochs}: loss {loss:.4f}, top-1 {found[0]:.1%}", flush=True)

    keep = args.output.with_name(f"{args.output.name}.training")
    average = train(forward, tensors, learned, soft_cross_entropy, recipe, keep, say, machine)
    checkpoint.write(checkpoint.Weights(config, average, card), args.output)
    keep.unlink(missing_ok=True)
    print(f"{args.output}: {variants.title_with_shape(config)}, {len(labels)} classes")


def subject(args: argparse.Namespace, learned: Photos) -> str:
    """Say in words what is trained on what: a kept training that says anything else is another one."""
    seen = hashlib.sha256()
    for example, index in zip(learned.examples, learned.classes, strict=True):
        seen.update(f"{example.path}\0{example.label}\0{index}\0".encode("utf-8", "surrogateescape"))
        if example.path in learned.soft:
            seen.update(learned.soft[example.path].tobytes())
    return (
        f"{len(learned):,} photos ({seen.hexdigest()[:8]}) at {args.size} pixels, from {args.begin or 'nothing'}, "
        f"stochastic depth {args.stochastic_depth:g}, soft share {args.soft_share:g}"
    )


def top1(forward: Any, tensors: dict[str, np.ndarray], judged: Photos, args: argparse.Namespace) -> float:
    """Return the share of photos whose likeliest class is theirs."""
    from loop import outputs

    right = sum(
        int((logits.argmax(1) == targets.argmax(1)).sum())
        for logits, targets in outputs(forward, tensors, judged, args.batch, args.workers)
    )
    return right / len(judged)


def datasets(args: argparse.Namespace) -> tuple[Photos, Photos, tuple[Label, ...]]:
    """Return the photos to learn from, those to judge by, and the classes in index order: the folders' names, sorted."""
    from photos import Photos

    examples = usable(args.photos)
    names = sorted({example.label for example in examples})
    if len(names) < 2:
        raise ValueError(f"{args.photos}: one class, {names[0]}: there is nothing to tell apart")
    if args.validation is None:
        examples, others = held_back(examples)
    else:
        others = usable(args.validation)
        if strange := sorted({example.label for example in others} - set(names)):
            raise ValueError(f"{args.validation}: {strange[0]} is none of the classes in {args.photos}")
    soft = soft_labels(args.soft_labels, len(names)) if args.soft_labels else {}
    if soft and not any(example.path in soft for example in examples):
        raise ValueError(f"{args.soft_labels}: it names none of the photos in {args.photos}")

    def made(chosen: Sequence[Example]) -> Photos:
        classes = [names.index(example.label) for example in chosen]
        return Photos(chosen, classes, len(names), PREPROCESSING, args.seed, soft=soft, share=args.soft_share)

    known = {label.wnid: label for label in imagenet1k()}
    return made(examples), made(others), tuple(known.get(name, Label("", name)) for name in names)


def usable(source: Path) -> list[Example]:
    """Return the labelled photos of a source that can be decoded, and say which cannot."""
    found = []
    for example in open_dataset(source).examples:
        try:
            if example.image.fault:
                raise image.ImageError(example.image.fault)
            image.decode(example.image.source())
        except (image.ImageError, OSError, ValueError) as error:
            print(f"{printable(example.image.name)}: left out: {printable(sentence(error))}", file=sys.stderr)
        else:
            found.append(example)
    if not found:
        raise ValueError(f"{source}: no photo that can be used")
    return found


def held_back(examples: Sequence[Example]) -> tuple[list[Example], list[Example]]:
    """Part photos into those to learn from and those to judge by: of each class of two or more one in ten, and at least one."""
    of_class: dict[str, list[Example]] = {}
    for example in examples:
        of_class.setdefault(example.label, []).append(example)
    judged = [example for each in of_class.values() if len(each) > 1 for example in each[:: max(2, min(HELD_BACK, len(each)))]]
    if not judged:
        raise ValueError("there are no photos to judge by: give more than one of a class, or --validation")
    paths = {example.path for example in judged}
    return [example for example in examples if example.path not in paths], judged


def soft_labels(path: Path, classes: int) -> dict[str, np.ndarray]:
    """Return a teacher's probabilities (classes,) by the paths of photos, from an .npz of `paths` and `probabilities`."""
    with np.load(path, allow_pickle=False) as held:
        if not {"paths", "probabilities"} <= set(held):
            raise ValueError(f"{path}: an .npz of paths (N,) and probabilities (N, classes) is wanted")
        paths, probabilities = held["paths"], np.asarray(held["probabilities"], np.float32)
    if probabilities.shape != (len(paths), classes):
        wanted = len(paths), classes
        raise ValueError(f"{path}: its probabilities have the shape {probabilities.shape}; for its photos it is {wanted}")
    return dict(zip(map(str, paths), probabilities, strict=True))


def beginning(args: argparse.Namespace, labels: tuple[Label, ...]) -> tuple[variants.Config, dict[str, np.ndarray], Card]:
    """Return the network to begin with: drawn at random, or that of a file, whose head is drawn anew for other classes."""
    side = input_size(args.size)
    if args.begin is None:
        config = shape(args, len(labels))
        preprocessing = replace(PREPROCESSING, crop=side, resize=side)
        tensors = initial.tensors(config, args.seed)
    else:
        weights = checkpoint.read(checkpoint.find(args.begin))
        config = replace(weights.config, classes=len(labels))
        preprocessing = weights.card.preprocessing.at(side)
        tensors = initial.tensors(config, args.seed)
        same = [label.wnid or label.name for label in weights.card.labels] == [label.wnid or label.name for label in labels]
        tensors |= {name: tensor for name, tensor in weights.tensors.items() if same or not name.startswith("head.")}
    return config, tensors, Card(args.output.stem, preprocessing, labels, source=f"trained on {args.photos.name}")


def shape(args: argparse.Namespace, classes: int) -> variants.Config:
    if args.dims is None and args.depths is None:
        return replace(variants.variant(args.variant), classes=classes)
    dims, depths = args.dims or (), args.depths or ()
    return variants.Config(dims, depths, variants.Config.mlp_ratios[: len(dims)], classes)


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


if __name__ == "__main__":
    main()
