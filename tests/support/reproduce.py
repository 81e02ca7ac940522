"""The recorded bits: what `exact` gives, and whether this process gives it too.

    python tests/support/reproduce.py --write          record all networks anew, into tests/digests/
    python tests/support/reproduce.py [NAME ...]       run networks: 1, 2 threads, batch 1, 8; exit status 1 if a bit differs

It needs minivan's own dependencies alone, so it also runs on machines without PyTorch; the environment decides how Numba
compiles (NUMBA_CPU_NAME, NUMBA_OPT, NUMBA_DISABLE_JIT). With --set LIBRARY:FUNCTION, a C library's function changes the
floating-point environment before anything is computed (see tests/support/floating.py).
"""

from __future__ import annotations

import argparse
import ctypes
import functools
import platform
import re
import sys
import warnings
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

import minivan  # noqa: E402  as a script, from the checkout it stands in
from minivan import fpn, seeded  # noqa: E402
from minivan.card import Card  # noqa: E402
from minivan.checkpoint.hub import bundled  # noqa: E402
from minivan.oracle import cases, trace  # noqa: E402
from minivan.oracle.arithmetic import ROUNDED, Arithmetic  # noqa: E402
from minivan.oracle.gradients import Loss  # noqa: E402
from minivan.segmentation import SegmentationVAN  # noqa: E402
from minivan.segmentation.card import SegmentationCard  # noqa: E402
from minivan.van import VAN  # noqa: E402
from minivan.variants import Config, variant  # noqa: E402

FOLDER = ROOT / "tests" / "digests"
LAYERS = ("norm?", "head")  # each stage's output, and the logits
MINUTE = Config((2, 3, 4, 5), (1, 1, 1, 1), (1, 1, 1, 1), classes=3)  # small enough for Python's own loops
NETWORKS = {  # name -> (shape, or a file of weights; the input's height and width)
    "minute": (MINUTE, 32, 33),
    "tiny": (cases.TINY, 40, 36),
    "bundled": (bundled()[0], 0, 0),  # at the size that they were trained for
    "b0": (variant("b0"), 64, 64),
    "b1": (variant("b1"), 64, 64),
    "b2": (variant("b2"), 64, 64),
    "b3": (variant("b3"), 64, 64),
    "b0-224": (variant("b0"), 224, 224),
}
REFERENCES = {  # in a port's own precision, input and weights rounded too: name -> (network, precision)
    f"{name}-{word}": (name, word) for name in ("minute", "tiny", "bundled") for word in ROUNDED
}
SEGMENTED = {"tiny-fpn": ("tiny", fpn.FPNConfig(cases.TINY.dims, 8, 6, 5))}  # with a Semantic FPN: name -> (network, its shape)
GRADIENTS = {"minute-gradients": "minute", "tiny-gradients": "tiny"}  # in training form, of two images' cross-entropy
BY_PARAMETERS = ("gradient.*.weight", "gradient.*.bias", "gradient.input", "*.running_mean", "*.running_var")
USUAL = [name for name in (*NETWORKS, *REFERENCES, *SEGMENTED) if not name.startswith("minute")]
REGISTERS = {
    "xmm": r"%xmm\d", "ymm": r"%ymm\d", "zmm": r"%zmm\d", "mask": r"%k[1-7]", "neon": r"\bv\d+\.2d\b",
    "fma": r"\bvfn?m(?:add|sub)|\bfn?m(?:add|sub|la|ls)\b",
}  # fmt: skip


@functools.lru_cache(maxsize=1)
def network(name: str) -> tuple[VAN, np.ndarray]:
    """Return a network and a batch of eight images, the first of which is the one that is recorded."""
    shape, height, width = NETWORKS[name]
    if isinstance(shape, Path):
        model = minivan.load(shape, engine="exact")
        height = width = model.card.preprocessing.crop
    else:
        model = VAN(shape, seeded.tensors(shape), card=Card(f"seeded {name}"))
    return model, seeded.images((8, 3, height, width))


def recorded(name: str) -> str:
    return (FOLDER / f"{name}.txt").read_text(encoding="utf-8")


def recording(name: str, place: int | None) -> tuple[trace.Trace, np.ndarray]:
    """Record a network, or a reference of one, on one image, or on eight with that one at a place; return the batch, too."""
    if name in GRADIENTS:
        model, images = network(GRADIENTS[name])
        return trace.record(model, images[:2], BY_PARAMETERS, loss=Loss((1, 2))), images[:2]
    network_name, word = REFERENCES.get(name, (SEGMENTED.get(name, (name,))[0], None))
    model, images = network(network_name)
    batch = images[:1] if place is None else np.roll(images, place, axis=0)
    if name in SEGMENTED:
        return segmented(name, model, batch), batch
    arithmetic = None if word is None else Arithmetic(word, everything=True)
    return trace.record(model, batch, LAYERS, arithmetic=arithmetic), batch


def segmented(name: str, backbone: VAN, batch: np.ndarray) -> trace.Trace:
    """Return what the neck and the head on a network make of a batch: the neck's maps, and the logits."""
    config = SEGMENTED[name][1]
    tensors = seeded.filled(fpn.parameter_shapes(config))
    layers: dict[str, np.ndarray] = {}
    SegmentationVAN(backbone, tensors, SegmentationCard(name))(batch, layers.__setitem__)
    kept = {path: array for path, array in layers.items() if "fpn_convs" in path or path == fpn.CONV_SEG}
    said = trace.record(backbone, batch, ["head"]).metadata  # of the backbone, whose weights it names
    return trace.Trace(kept, batch, said | {"model": f"{backbone.card.name} with Semantic FPN"})


def digests(name: str) -> str:
    """Return a network's digests for one image, as they are committed."""
    return trace.hashes(recording(name, None)[0])


def in_a_batch(name: str, place: int) -> str:
    """Return the digests of the same image at another place in a batch of eight."""
    whole, batch = recording(name, place)
    layers = {path: array[place : place + 1] for path, array in whole.layers.items()}
    return trace.hashes(trace.Trace(layers, batch[place : place + 1], whole.metadata))


def registers() -> dict[str, int]:
    """Count the vector registers in the machine code of the pointwise kernel: what this process really compiled for."""
    from minivan.ops import pointwise

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a kernel from the cache cannot be looked into: then all counts are zero
        code = "".join(getattr(pointwise._pointwise, "inspect_asm", dict)().values())
    return {kind: len(re.findall(pattern, code)) for kind, pattern in REGISTERS.items()}


def verify(names, batch: bool, threads) -> int:
    """Run networks in every configuration of this process; print a line each and return how many gave other bits."""
    import numba

    wrong = 0
    for name in names:
        expected = recorded(name)
        for count in threads:
            numba.set_num_threads(count)
            for label, got in [
                ("batch 1", digests(name)),
                *([("batch 8", in_a_batch(name, 5))] if batch and name not in GRADIENTS else []),
            ]:
                same = got == expected
                wrong += not same
                print(f"{'same' if same else 'OTHER'} bits: {name}, {count} threads, {label}", flush=True)
                if not same:
                    print("".join(f"  {b}\n" for a, b in zip(expected.splitlines(), got.splitlines(), strict=True) if a != b))
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description="Verify the recorded bits in this process, or record them anew.")
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"of {', '.join([*NETWORKS, *REFERENCES, *SEGMENTED, *GRADIENTS])} (default: all but minute)",
    )
    parser.add_argument("--write", action="store_true", help="record instead of verifying")
    parser.add_argument("--no-batch", action="store_true", help="leave out the batch of eight")
    parser.add_argument("--set", metavar="LIBRARY:FUNCTION", help="a function of a C library that is called first")
    args = parser.parse_args()
    if args.set:
        library, _, function = args.set.rpartition(":")
        getattr(ctypes.CDLL(library), function)()
    if unknown := set(args.names) - {*NETWORKS, *REFERENCES, *SEGMENTED, *GRADIENTS}:
        parser.error(f"unknown network {', '.join(sorted(unknown))}")
    if args.write:
        FOLDER.mkdir(exist_ok=True)
        for name in args.names or [*NETWORKS, *REFERENCES, *SEGMENTED, *GRADIENTS]:
            (FOLDER / f"{name}.txt").write_text(digests(name), encoding="utf-8")
        return 0
    import numba

    names = args.names or USUAL
    most = numba.config.NUMBA_NUM_THREADS
    wrong = verify(names, not args.no_batch, [1, 2] if most > 1 else [1])
    found = " ".join(f"{kind} {count}" for kind, count in registers().items() if count) or "not seen"
    print(f"{platform.machine()}; NUMBA_CPU_NAME {numba.config.CPU_NAME}; NUMBA_OPT {numba.config.OPT}; registers {found}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
