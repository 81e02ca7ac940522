"""Engines for a race, each on one case in a process of its own, which runs when it is told to and sleeps in between.

Threads that spin after a run, as those of OpenMP and of ONNX Runtime do, would take the processor from the engine that is
timed next. So nobody runs before the process that ran last has come to rest, by the processor time that the system counts for
all its threads. Every engine has its own defaults, but for its number of threads and its precision.

As a script this file is such a process: `python racers.py ENGINE CASE FOLDER` reads a number of calls per line and answers with
their seconds; at the end of its input it ends, so that none outlives the race.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import platform
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np  # noqa: E402

from minivan import seeded  # noqa: E402
from minivan.variants import VARIANTS  # noqa: E402

if TYPE_CHECKING:
    import torch

Array = np.ndarray[Any, np.dtype[np.float32]]
Network = Callable[[Array], Array]  # images in, logits out
PATIENCE = 900  # seconds for which an answer is waited for: compiling a network is part of the first
REST = 0.02  # seconds of rest that are looked at, and the share of a core that may be used in them
ASLEEP, RESTLESS = 0.01, 10  # and seconds after which a process is not going to rest any more
WARM = 1  # calls of a turn that are not timed


class Unavailable(Exception):
    """An engine, or its precision, that is not to be had here, and why."""


class Case(NamedTuple):
    """One network with its input's shape and the number of threads."""

    variant: str
    size: int
    batch: int
    threads: int

    def __str__(self) -> str:
        return "-".join(map(str, self))

    @property
    def network(self) -> str:
        """What an ONNX file depends on."""
        return f"{self.variant}-{self.size}-{self.batch}"

    @property
    def images(self) -> Array:
        return seeded.images((self.batch, 3, self.size, self.size))


def case_of(text: str) -> Case:
    """Return the case of 'b0-224-1-2': variant, pixels a side, batch, threads. Raises ValueError for what is none."""
    variant, *numbers = text.split("-")
    if variant not in VARIANTS or len(numbers) != 3 or not all(number.isdecimal() and int(number) for number in numbers):
        raise ValueError(f"{text!r} is no case such as b0-224-1-2: variant, pixels a side, images at once, threads")
    return Case(variant, *map(int, numbers))


def _minivan(case: Case, folder: Path, precision: str) -> Network:
    import minivan

    model = minivan.load(folder / f"{case.variant}.safetensors", engine="fast", precision=precision)
    return lambda x: model(x)


def _pytorch(case: Case, folder: Path, precision: str, compiled: bool = False) -> Network:
    import torch

    torch.set_num_threads(case.threads)
    module = _module(case)
    model: Callable[[torch.Tensor], torch.Tensor] = torch.compile(module) if compiled else module

    def run(x: Array) -> Array:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            return model(torch.from_numpy(x)).float().numpy()

    return run


def _compiled(case: Case, folder: Path, precision: str) -> Network:
    return _pytorch(case, folder, precision, compiled=True)


def _onnx_runtime(case: Case, folder: Path, precision: str) -> Network:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = case.threads, 1
    if precision == "bfloat16":
        if platform.machine().lower() not in ("aarch64", "arm64"):
            raise Unavailable("ONNX Runtime has a bfloat16 mode of its products for ARM alone")
        options.add_session_config_entry("mlas.enable_gemm_fastmath_arm64_bfloat16", "1")
    session = onnxruntime.InferenceSession(str(folder / f"{case.network}.onnx"), options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"x": x})[0]


def _openvino(case: Case, folder: Path, precision: str) -> Network:
    import openvino

    asked = {"float32": "f32", "bfloat16": "bf16"}[precision]
    core = openvino.Core()
    if asked == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise Unavailable("OpenVINO has no bfloat16 on this processor")
    settings = {"INFERENCE_NUM_THREADS": case.threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": asked}
    model = core.compile_model(str(folder / f"{case.network}.onnx"), "CPU", settings)
    request = model.create_infer_request()
    return lambda x: request.infer({0: x})[0]


class Engine(NamedTuple):
    """How an engine is made ready for a case, and what it needs."""

    title: str
    build: Callable[[Case, Path, str], Network]
    precision: str
    packages: tuple[str, ...] = ()  # what of the extra `bench` it needs
    onnx: bool = False  # whether it reads an ONNX file


ENGINES = {
    "fast": Engine("`fast`", _minivan, "float32"),
    "openvino": Engine("OpenVINO", _openvino, "float32", ("openvino",), onnx=True),
    "onnxruntime": Engine("ONNX Runtime", _onnx_runtime, "float32", ("onnxruntime",), onnx=True),
    "torch compiled": Engine("PyTorch compiled", _compiled, "float32", ("torch",)),
    "torch": Engine("PyTorch", _pytorch, "float32", ("torch",)),
    "fast bfloat16": Engine("`fast`", _minivan, "bfloat16"),
    "openvino bfloat16": Engine("OpenVINO", _openvino, "bfloat16", ("openvino",), onnx=True),
    "onnxruntime bfloat16": Engine("ONNX Runtime", _onnx_runtime, "bfloat16", ("onnxruntime",), onnx=True),
    "torch compiled bfloat16": Engine("PyTorch compiled", _compiled, "bfloat16", ("torch",)),
    "torch bfloat16": Engine("PyTorch", _pytorch, "bfloat16", ("torch",)),
}
PRECISIONS = "float32", "bfloat16"
MADE_BY = "torch", "onnx"  # the ONNX files


def ours(engine: str) -> bool:
    """Tell whether an engine is minivan's own."""
    return ENGINES[engine].build is _minivan


def lacking(engines: Sequence[str], others: Mapping[str, str] | None = None) -> str:
    """Return what is not installed of what some engines need and what to do, one line, or nothing.

    `others` are modules that are needed besides, with their packages.
    """
    needed = {package: name for name in engines for package in ENGINES[name].packages}
    needed |= {package: "the peers' ONNX file" for package in MADE_BY if any(ENGINES[name].onnx for name in engines)}
    needed |= others or {}
    missing = [f"{module} (for {needed[module]})" for module in needed if importlib.util.find_spec(module) is None]
    advice = "pip install '.[bench]'" + ("" if others else ", or leave engines out with --engines")
    return f"not installed: {', '.join(missing)}; {advice}" if missing else ""


def _module(case: Case) -> torch.nn.Module:
    from support import torch_van

    config = VARIANTS[case.variant]
    return torch_van.load(config, seeded.tensors(config))


def prepare(case: Case, folder: Path, onnx: bool) -> None:
    """Write what engines read: the seeded network's weights and, by PyTorch, its ONNX file."""
    from minivan.card import Card
    from minivan.checkpoint import Weights, write

    weights = folder / f"{case.variant}.safetensors"
    if not weights.exists():
        config = VARIANTS[case.variant]
        write(Weights(config, seeded.tensors(config), Card(case.variant)), weights)
    if onnx and not (folder / f"{case.network}.onnx").exists():
        _ask([sys.executable, __file__, "onnx", str(case), str(folder)])


def _ask(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=_environment(1))
    if done.returncode:
        raise SystemExit(f"{' '.join(command[1:])} failed: {(done.stderr.strip().splitlines() or ['no word'])[-1]}")


def _environment(threads: int) -> dict[str, str]:
    """The environment of a process: so many threads, and none that PyTorch's compiler would leave behind."""
    return os.environ | {
        "NUMBA_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads), "TORCHINDUCTOR_COMPILE_THREADS": "1",
    }  # fmt: skip


class Racer:
    """An engine ready for a case, in a process of its own: to be closed, which `race` does.

    Raises Unavailable where this engine is not to be had; SystemExit, with its last words, where it fails.
    """

    def __init__(self, engine: str, case: Case, folder: Path) -> None:
        self.engine, self.case = engine, case
        self.said = folder / f"{engine}.txt"
        self.restless = 0.0  # seconds until it slept, at most
        with self.said.open("w") as said:
            self.process = subprocess.Popen(
                [sys.executable, __file__, engine, str(case), str(folder)], cwd=ROOT, env=_environment(case.threads),
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True, start_new_session=True,
            )  # fmt: skip
        try:
            ready = self._answer()
            if "unavailable" in ready:
                raise Unavailable(ready["unavailable"])
            self.logits: Array = np.load(folder / f"{engine}.npy")
            self.megabytes: float = ready["megabytes"]
            self.settle()
        except BaseException:
            self.close()
            raise

    def run(self, calls: int) -> list[float]:
        """Return the seconds of so many calls in a row, after WARM of them, and have it come to rest."""
        assert self.process.stdin
        self.process.stdin.write(f"{calls}\n")
        self.process.stdin.flush()
        told = self._answer()
        self.megabytes = told["megabytes"]
        self.settle()
        return list(told["seconds"])

    def settle(self) -> None:
        """Wait until all its threads sleep."""
        start = time.perf_counter()
        while self.used(REST) > ASLEEP:
            if time.perf_counter() - start > RESTLESS:
                raise SystemExit(
                    f"{self.engine} still computes {RESTLESS} seconds after its answer: nothing can be timed beside"
                )
        self.restless = max(self.restless, time.perf_counter() - start - REST)

    def used(self, seconds: float) -> float:
        """Return what share of a core all its threads use in the next seconds; 0 where the system does not say."""
        before = _processor_time(self.process.pid)
        time.sleep(seconds)
        return (_processor_time(self.process.pid) - before) / seconds

    def close(self) -> None:
        """End its process, and whatever it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                assert pipe
                pipe.close()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout
        there, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
        line = self.process.stdout.readline() if there else ""
        if not line:
            last = (self.said.read_text(errors="replace").strip().splitlines() or ["no word"])[-1]
            why = "its process ended" if there else f"no answer for {PATIENCE} seconds"
            raise SystemExit(f"{self.engine} on {self.case}: {why}: {last}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def _processor_time(process: int) -> float:
    """Return the seconds of processor time that a process's threads have used; 0 where there is no such clock.

    Its clock's number is what clock_getcpuclockid(3) makes of a process on Linux.
    """
    try:
        return time.clock_gettime((~process << 3) | 2)
    except (OSError, OverflowError):
        return 0.0


@contextlib.contextmanager
def race(engines: Sequence[str], case: Case, folder: Path) -> Iterator[tuple[dict[str, Racer], dict[str, str]]]:
    """Have engines ready for a case; yield them, and why others are not to be had. Whatever ends the race ends them all.

    Also where this process is asked to end: SIGTERM becomes SystemExit.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    prepare(case, folder, any(ENGINES[name].onnx for name in engines))
    racers: dict[str, Racer] = {}
    absent = {}
    try:
        for name in engines:
            try:
                racers[name] = Racer(name, case, folder)
            except Unavailable as reason:
                absent[name] = str(reason)
        if not racers:
            raise SystemExit(f"nobody is there to run {case}: {'; '.join(absent.values())}")
        yield racers, absent
    finally:
        for racer in racers.values():
            racer.close()


def _export(case: Case, folder: Path) -> None:
    """Write the network as ONNX for one batch and size."""
    import torch

    path = folder / f"{case.network}.onnx"
    images = (torch.from_numpy(case.images),)
    torch.onnx.export(_module(case), images, str(path), dynamo=False, input_names=["x"], opset_version=17)


def _megabytes() -> float:
    """Return the most memory that this process has held, in MiB."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def _serve(engine: str, case: Case, folder: Path) -> None:
    """Make an engine ready, then run it as often as each line of standard input says."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer

    def tell(**said: object) -> None:
        print(json.dumps(said), file=answers, flush=True)

    x = case.images
    try:
        network = ENGINES[engine].build(case, folder, ENGINES[engine].precision)
    except Unavailable as reason:
        tell(unavailable=str(reason))
        return
    np.save(folder / f"{engine}.npy", network(x))
    tell(megabytes=_megabytes())
    for line in sys.stdin:
        seconds = []
        for _ in range(WARM + int(line)):
            start = time.perf_counter()
            network(x)
            seconds.append(time.perf_counter() - start)
        tell(seconds=seconds[WARM:], megabytes=_megabytes())


if __name__ == "__main__":
    _engine, _case, _folder = sys.argv[1:]
    if _engine == "onnx":
        _export(case_of(_case), Path(_folder))
    else:
        _serve(_engine, case_of(_case), Path(_folder))
