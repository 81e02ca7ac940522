"""What 16 and 64 cores would make of `fast`, on paper: how evenly work is shared, how many barriers, how much memory moves.

    python benchmarks/scaling.py [--cases b0-224-1 ...] [--threads 1 2 4 8 16 32 64] [--write]

Nothing of the schedule is written twice: `minivan.fast.network.run` itself, and the functions that share work, run in Python,
once for each thread of a team, with counters in the place of what computes. Between two barriers everybody waits for the thread
with most to do. So from the counts follows:

- by shares alone: the work of one thread, over the sum of the largest works between barriers: the most that so many cores give;
- times as fast: the same, each barrier taking BARRIER seconds for each thread of its team, and each round WAKE to wake them;
- traffic: the bytes of weights and maps that all threads read and write, in the time that this takes: what caches and memory
  would have to deliver. Taps that lie side by side are read once, weights once for each call of a product;
- in one team: times as fast if all threads took together what is left when no thread can have images of its own, a single small
  image too. `fast` divides it among teams (`minivan/fast/rounds.py`), by two numbers that this model gave.

How long work takes is fitted to the measured times of `fast` on one thread of this machine: seconds for a multiply-add of a
matrix product, for one of a depthwise convolution, and for a byte that is read. The times on two threads take no part in that:
they are the check. Other cores' clocks, memory and caches are taken for this one's: a machine whose clock falls with the number
of cores, or whose threads lie on two chips, gives less. No machine with so many cores was at hand: nothing here is measured on
more than two.

`--write` puts the tables into docs/performance.md.
"""

from __future__ import annotations

import argparse
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import astuple, dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import sections
from machine import measured, processor

from minivan import processors, seeded
from minivan.fast import network
from minivan.fast.depthwise import kernel_of
from minivan.fast.lanes import PAIR
from minivan.fast.plan import Plan
from minivan.fast.rounds import Portion, at_once, rounds
from minivan.fast.simd import tile_rows, vector_width
from minivan.variants import VARIANTS

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- scaling: benchmarks/scaling.py --write -->", "<!-- end of scaling -->"
BARRIER = (
    0.1e-6  # seconds for each thread of a team: two take 0.2 microseconds (team.py), and a cache line goes from core to core
)
WAKE = 50e-6  # seconds to wake a team up
FLOAT = 4  # bytes
FITTED = [(v, side, 1) for v, side in (("b0", 96), ("b0", 160), ("b0", 224), ("b0", 384), ("b1", 224), ("b2", 224))]
CASES = "b0-96-1", "b0-96-8", "b0-224-1", "b0-224-8", "b0-224-64", "b0-1024-1", "b2-224-1", "b2-224-8"
THREADS = 1, 2, 4, 8, 16, 32, 64


@dataclass
class Counts:
    """What one thread does between two barriers."""

    products: float = 0  # multiply-adds of matrix products, in whole tiles
    taps: float = 0  # and of depthwise convolutions, those within the map
    read: float = 0  # bytes
    written: float = 0


RATED = 3  # the first so many fields are what time is fitted to; writing costs nothing of its own


@dataclass
class Trail:
    """The counts of one thread of a team, from barrier to barrier."""

    steps: list[Counts] = field(default_factory=lambda: [Counts()])
    seen: set[tuple[int, int, int]] = field(default_factory=set)  # what products read since the last convolution or barrier

    def matmul(self, lanes: Any, x: Any, parameters: Any, out: Any, ending: Any, part: Any, spare: Any) -> None:
        v, rows, positions = vector_width(lanes), tile_rows(lanes), part.last - part.first
        inputs, outputs = x.blocks * v, (part.end - part.pair) * PAIR * v
        now = self.steps[-1]
        now.products += -(-positions // rows) * rows * inputs * outputs
        now.read += FLOAT * inputs * outputs
        if (operands := (x.address, part.first, part.last)) not in self.seen:  # a pair of outputs after the other reads them
            now.read += FLOAT * positions * inputs
            self.seen.add(operands)
        now.written += FLOAT * positions * outputs

    def depthwise(self, lanes: Any, convolution: Any, x: Any, grid: Any, parameters: Any, out: Any, band: Any) -> None:
        self.seen.clear()
        kernel, v = kernel_of(convolution), vector_width(lanes)
        rows = inside(kernel, grid.height, int(band.first), int(band.last))
        now, positions = self.steps[-1], (band.last - band.first) * grid.width
        now.taps += rows * inside(kernel, grid.width, 0, grid.width) * v
        now.read += FLOAT * positions * v
        now.written += FLOAT * positions * v

    def gather_image(self, lanes: Any, image: Any, pixels: Any, colours: Any, columns: Any, *rest: Any) -> None:
        self._moved(columns.blocks * vector_width(lanes) * (rest[2] - rest[1]))  # rest: the grid, and from which place to which

    def gather_row(self, lanes: Any, x: Any, pixels: Any, row: Any, columns: Any, grid: Any, first: Any, last: Any) -> None:
        self._moved(network.EMBED.side * x.blocks * vector_width(lanes) * (last - first))

    def layer_norm(self, lanes: Any, x: Any, channels: Any, eps: Any, norm: Any, out: Any, first: Any, last: Any) -> None:
        self._moved(channels * (last - first))

    def pool(self, lanes: Any, x: Any, channels: Any, positions: Any, pooled: Any) -> None:
        self._moved(channels * positions)

    def head(
        self, pooled: Any, channels: Any, parameters: Any, classes: Any, sums: Any, to: Any, first: Any, last: Any
    ) -> None:
        self._moved(channels * (last - first))

    def meet(self, me: Any) -> None:
        self.seen.clear()
        self.steps.append(Counts())

    def _moved(self, floats: float) -> None:
        now = self.steps[-1]
        now.read += FLOAT * floats
        now.written += FLOAT * floats


COUNTED = "matmul", "depthwise", "gather_image", "gather_row", "layer_norm", "pool", "head", "meet"
UNCOUNTED = "standard", "restore", "begin_tiles", "end_tiles"  # which do nothing in Python


@cache
def inside(kernel: Any, size: int, first: int, last: int) -> int:
    """Return how many taps of a kernel's one axis lie within a map, of the places first..last together."""
    offsets = [(tap - kernel.side // 2) * kernel.dilation for tap in range(kernel.side)]
    return sum(0 <= place + offset < size for place in range(first, last) for offset in offsets)


def in_python(module: ModuleType, counters: dict[str, Any], made: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return a module's names with its compiled functions as the Python that they were made of, which calls the like; some
    others stand for those of `counters`."""
    if module.__name__ not in made:
        names = made[module.__name__] = dict(vars(module))
        for name, value in vars(module).items():
            if name in counters:
                names[name] = counters[name]
            elif hasattr(value, "py_func"):
                home = in_python(import_module(value.py_func.__module__), counters, made)
                names[name] = FunctionType(value.py_func.__code__, home, name, value.py_func.__defaults__)
    return made[module.__name__]


def plain(values: Any) -> Any:
    """Return an array of records, or one of them, as objects with the like attributes."""
    if isinstance(values, np.ndarray):
        return [plain(each) for each in values]
    if values.dtype.names is None:
        return values.item()
    return SimpleNamespace(**{name: plain(values[name]) for name in values.dtype.names})


class Work(NamedTuple):
    """What a team does: for each stretch between barriers the counts of every thread, [steps][threads][fields of Counts]."""

    threads: int
    counts: np.ndarray

    def seconds(self, rates: np.ndarray) -> float:
        """The sum of the largest times between barriers, without those of the barriers themselves."""
        return float((self.counts[:, :, :RATED] @ rates).max(axis=1).sum())


Division = Callable[[int, int, int, int], Iterator[list[Portion]]]


def in_one_team(images: int, height: int, width: int, threads: int) -> Iterator[list[Portion]]:
    """Yield what `rounds` does while each thread has images of its own, then what is left over for all threads together."""
    first = 0
    for portions in rounds(images, height, width, threads):
        if len(portions) < threads or images - first < threads:
            break
        yield portions
        first += sum(portion.images for portion in portions)
    while first < images:
        yield [Portion(first, count := min(max(at_once(height, width), 1), images - first), threads)]
        first += count


class Schedule:
    """How `fast` shares out a network of one variant for inputs of one size."""

    def __init__(self, variant: str, size: int) -> None:
        self.config, self.size = VARIANTS[variant], size
        plan = Plan(self.config, seeded.tensors(self.config))
        self.lanes, self.workspace = plan.lanes, plan._workspace
        self.teams: dict[Portion, Work] = {}

    def rounds(self, images: int, threads: int, divide: Division = rounds) -> list[list[Work]]:
        """Return what happens at once, one after the other, as `fast` divides a batch, or as `divide` does."""
        divided = divide(images, self.size, self.size, threads)
        return [[self.team(portion._replace(first=0)) for portion in portions] for portions in divided]

    def team(self, portion: Portion) -> Work:
        """Count what each thread of a team does."""
        if portion not in self.teams:
            x = np.zeros((portion.images, self.config.channels, self.size, self.size), np.float32)
            logits = np.zeros((portion.images, self.config.classes), np.float32)
            (place,) = self.workspace.places([portion], x, logits)
            trails = [self._trail(job) for job in place.jobs(self.lanes)]
            counts = np.array([[astuple(step) for step in trail.steps] for trail in trails]).transpose(1, 0, 2)
            self.teams[portion] = Work(portion.threads, counts)
        return self.teams[portion]

    def _trail(self, job: tuple[Any, ...]) -> Trail:
        trail = Trail()
        counters = {name: getattr(trail, name) for name in COUNTED} | dict.fromkeys(UNCOUNTED, lambda *_: None)
        lanes, packed, tilings, member, *rest = job
        tables = packed._replace(**{name: plain(getattr(packed, name)) for name in ("network", "stages", "blocks")})
        in_python(network, counters, {})["run"](lanes, tables, plain(tilings), plain(member), *rest)
        return trail


def seconds(divided: Iterable[list[Work]], rates: np.ndarray, threads: int, barriers: bool = True) -> float:
    """Return how long rounds take: each as long as its slowest team."""
    total = 0.0
    for teams in divided:
        waits = [BARRIER * work.threads * (len(work.counts) - 1) * (work.threads > 1) * barriers for work in teams]
        total += max(work.seconds(rates) + wait for work, wait in zip(teams, waits, strict=True))
        total += WAKE * (threads > 1) * barriers
    return total


def least_seconds(variant: str, size: int, images: int, threads: int, tries: int = 15) -> float:
    """Return the least time of `fast` here; on one thread its processor time, which others on the machine do not add to."""
    import numba

    from minivan.van import VAN

    numba.set_num_threads(threads)
    model, x = VAN(VARIANTS[variant], seeded.tensors(VARIANTS[variant]), "fast"), seeded.images((images, 3, size, size))
    model(x)
    clock, times = time.thread_time if threads == 1 else time.perf_counter, []
    for _ in range(tries):
        start = clock()
        model(x)
        times.append(clock() - start)
    return min(times)


def fitted(schedules: Callable[[str, int], Schedule]) -> tuple[np.ndarray, dict[tuple[str, int, int], float]]:
    """Return the seconds of a product, a tap and a byte that is read, and the measured times that they were fitted to.

    Of all rates that are not negative those whose relative errors have the least squares.
    """
    times = {case: least_seconds(*case, 1) for case in FITTED}
    counts = np.array([sum(w.counts.sum((0, 1)) for ws in schedules(v, s).rounds(n, 1) for w in ws) for v, s, n in FITTED])
    rows = counts[:, :RATED] / np.array([*times.values()])[:, None]
    used = [True] * rows.shape[1]
    while True:
        rates = np.zeros(rows.shape[1])
        rates[used] = np.linalg.lstsq(rows[:, used], np.ones(len(rows)), rcond=None)[0]
        if (rates >= 0).all():
            return rates, times
        used = [one and rate >= 0 for one, rate in zip(used, rates, strict=True)]


def table(cases: Iterable[tuple[str, int, int]], threads: Iterable[int], schedules: Callable[[str, int], Schedule],
          rates: np.ndarray) -> list[str]:  # fmt: skip
    """Return a row for each case and number of threads."""
    heads = "case", "threads", "milliseconds", "times as fast", "by shares alone", "barriers", "traffic", "in one team"
    rows = [f"| {' | '.join(heads)} |", f"|---|{'--:|' * (len(heads) - 1)}"]
    for variant, size, images in cases:
        schedule = schedules(variant, size)
        alone = seconds(schedule.rounds(images, 1), rates, 1)
        for count in threads:
            divided = schedule.rounds(images, count)
            whole, even = (seconds(divided, rates, count, barriers) for barriers in (True, False))
            waits = sum(max(len(work.counts) - 1 if work.threads > 1 else 0 for work in teams) for teams in divided)
            moved = sum(float(work.counts[:, :, 2:].sum()) for teams in divided for work in teams)
            together = seconds(schedule.rounds(images, count, in_one_team), rates, count)
            cells = [f"{variant}-{size}-{images}", f"{count}", f"{1000 * whole:.2f}", f"{alone / whole:.1f}",
                     f"{alone / even:.1f}", f"{waits}", f"{moved / whole / 1e9:.0f} GB/s",
                     f"{alone / together:.1f}"]  # fmt: skip
            rows.append(f"| {' | '.join(cells)} |")
    return rows


def check(schedules: Callable[[str, int], Schedule], rates: np.ndarray, times: dict[tuple[str, int, int], float]) -> list[str]:
    """Return a table: what the model says of one thread and of two, and what was measured."""
    most = processors.threads()
    heads = ["case", "1 thread: model", "measured"] + (["2 threads: model", "measured"] if most > 1 else [])
    rows = [f"| {' | '.join(heads)} |", f"|---|{'--:|' * (len(heads) - 1)}"]
    for case in FITTED:
        variant, size, images = case
        cells = [f"{variant}-{size}-{images}"]
        for count in (1, 2)[:most]:
            model = seconds(schedules(variant, size).rounds(images, count), rates, count)
            cells += [f"{1000 * model:.2f}", f"{1000 * (times[case] if count == 1 else least_seconds(*case, count)):.2f}"]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def case_of(text: str) -> tuple[str, int, int]:
    """Read 'b0-224-1': variant, pixels a side, images at once."""
    variant, size, images = text.split("-")
    if variant not in VARIANTS:
        raise ValueError
    return variant, int(size), int(images)


def main() -> None:
    parser = argparse.ArgumentParser(description="what 16 and 64 cores would make of fast, on paper")
    parser.add_argument("--cases", nargs="+", type=case_of, default=[case_of(case) for case in CASES], metavar="CASE")
    parser.add_argument("--threads", nargs="+", type=int, default=THREADS, metavar="N")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/performance.md")
    args = parser.parse_args()
    schedules = cache(Schedule)
    rates, times = fitted(schedules)
    product, tap, byte = 1e12 * rates
    said = (
        f"{measured('numpy', 'numba')} Fitted: {product:.1f} picoseconds for a multiply-add of a matrix product "
        f"({2e-9 / rates[0]:.0f} GFLOP/s), {tap:.1f} for one of a depthwise convolution, {byte:.1f} for a byte that is read. "
        f"Assumed: {1e6 * BARRIER:g} microseconds for each thread at a barrier, {1e6 * WAKE:g} to wake a team."
    )
    parts = [textwrap.fill(said, 128), "\n".join(check(schedules, rates, times))]
    parts.append("\n".join(table(args.cases, args.threads, schedules, rates)))
    print("\n\n".join(parts))
    if args.write:
        sections.write(PAGE, BEGIN, END, processor(), "\n\n".join(parts))


if __name__ == "__main__":
    main()
