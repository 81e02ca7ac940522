"""How fast this machine runs a network, how much of its arithmetic that uses, and how long compiling takes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, cast

import numpy as np

from . import fpn, seeded
from .checks import Float32
from .engines import EXACT, Engine, find
from .errors import CannotCompute
from .operators import Derivatives, SegmentationOperators
from .summary import summarise, totals
from .van import VAN
from .variants import Config

SMALL = Config((8, 8, 8, 8), (1, 1, 1, 1), (2, 2, 2, 2), classes=2)  # it needs every kernel, and computes in no time


class Measurement(NamedTuple):
    """What `measure` saw; times are of a whole batch, in milliseconds."""

    engine: str
    height: int  # of an image, in pixels
    width: int
    batch: int  # images at once
    threads: int
    first_ms: float  # the first call: compiling, or loading what was compiled
    min_ms: float
    median_ms: float
    images_per_second: float  # at the median
    gflops: float  # GFLOP/s at the minimum: two for each multiply-add of the convolutions and the head, zero padding included
    peak_gflops: float  # GFLOP/s that the engine `fast` reaches in a matrix product that stays in the cache, on these threads
    share: float  # of the peak


def measure(
    config: Config,
    engine: str | Engine = "fast",
    size: tuple[int, int] = (224, 224),
    batch: int = 1,
    runs: int = 30,
    threads: int | None = None,
) -> Measurement:
    """Time an engine on the seeded weights and images (minivan.seeded) of a shape.

    `size` is (H, W), `threads` the number of Numba's threads, as many as it has been told to use by default. Raises ValueError
    for a backbone without classes, images that are too small, and for fewer than one image, run or thread.
    """
    if min(batch, runs) < 1:
        raise ValueError(f"a batch has at least one image, and one run is timed at least; got batch {batch}, runs {runs}")
    from .jit import compiles

    if not compiles():
        raise CannotCompute("NUMBA_DISABLE_JIT is set: what an engine is measured against is compiled")
    model, x = VAN(config, seeded.tensors(config), engine).settled(batch, *size), seeded.images((batch, config.channels, *size))
    with _threads(threads) as count:
        first = _milliseconds(lambda: model(x))
        times = [_milliseconds(lambda: model(x)) for _ in range(runs)]
        from .fast.peak import ours

        peak = ours(count)
    least, median = min(times), statistics.median(times)
    gflops = 2e-9 * batch * totals(summarise(config, *size))[1] / least * 1000
    speed = 1000 * batch / median
    return Measurement(model.engine.name, *size, batch, count, first, least, median, speed, gflops, peak, gflops / peak)


def warm_up(engines: Iterable[str | Engine]) -> Iterator[tuple[str, float]]:
    """Have each engine compile its kernels, or load them, those of its gradients too; yield its name and the seconds that took.

    Compiled kernels are kept: later processes load them.
    """
    x = np.zeros((1, 3, 64, 64), np.float32)
    for engine in map(find, engines):
        start = time.perf_counter()
        model = VAN(SMALL, seeded.tensors(SMALL), engine)
        logits = model(x)
        if engine.gradients:
            model.gradients(x)
            engine.ops.softmax(logits)  # the one operator that no network has; the oracle's test vectors do
        if engine.gradients and engine.segments:
            compute_masks(cast(SegmentationOperators, engine.ops), model.derivatives(), x)
        if engine.compile_fpn is not None:
            shape = fpn.FPNConfig(SMALL.dims, channels=8, head_channels=8, classes=2)
            zeros = {name: np.zeros(size, np.float32) for name, size in fpn.parameter_shapes(shape)}
            engine.compile_fpn(SMALL, model.tensors, shape, zeros)(x)
        if engine is EXACT:  # what training needs besides, and the oracle of a port that trains
            step = model.training_pass(np.zeros((2, *x.shape[1:]), np.float32))
            step.gradients(model.derivatives().cross_entropy_input(step.logits, np.zeros(2, np.int64)))
            step.running_statistics(model.tensors)
            model.gradients(x, wrt="parameters")
        if engine.grad is EXACT.grad:  # with it comes all that the oracle does, which measures large layers by kernels too
            from . import differences

            layer = np.zeros(1, np.float32)
            differences.distances(layer, layer, np.zeros(1, np.uint32))
            differences.errors(layer, layer, layer, np.zeros(256))
        yield engine.name, time.perf_counter() - start


def compute_masks(ops: SegmentationOperators, grad: Derivatives, x: Float32) -> None:
    """Call what segmentation needs besides the operators of a classifier, and their derivatives."""
    grad.relu_input(ops.relu(x), x)
    small, large = x.shape[2:], (x.shape[2] + 1, x.shape[3] + 1)
    grad.upsample_nearest_input(ops.upsample_nearest(x, large), small)
    grad.upsample_bilinear_input(ops.upsample_bilinear(x, large), small)


def _milliseconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - start)


@contextmanager
def _threads(count: int | None) -> Iterator[int]:
    """Give the number of threads, Numba's being `count` where it is not None, and put it back at the end.

    Numba's own threads, which `fast` does without, are started only where their number is asked for.
    """
    from .jit import launch, thread_count

    if count is None:
        yield thread_count()
        return
    import numba  # after the model was made: an engine that compiles nothing does without, but for the peak's sake

    with launch.lock, launch:  # says in one line why they cannot be started
        pass
    before = numba.get_num_threads()
    numba.set_num_threads(count)
    try:
        yield thread_count()
    finally:
        numba.set_num_threads(before)
