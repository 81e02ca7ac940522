"""minivan against PyTorch, ONNX Runtime and OpenVINO: the same weights, input and number of threads, interleaved in one run.

    python benchmarks/peers.py [--variants b0,b1,b2] [--batches 1,8] [--threads 1,2] [--sizes 224,384] [--json peers.json]

All outputs are compared before anything is timed. Then the engines take turns: in each round each one runs once to warm up
and a few times by the clock. Needs torch, onnx, onnxruntime and openvino; --engines leaves some out.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # threads of one engine do not spin while the next one is timed
os.environ.setdefault("KMP_BLOCKTIME", "0")

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numba  # noqa: E402
import numpy as np  # noqa: E402
from machine import machine  # noqa: E402

from minivan import seeded  # noqa: E402
from minivan.fast.peak import numpys, ours  # noqa: E402
from minivan.summary import summarise, totals  # noqa: E402
from minivan.van import VAN  # noqa: E402
from minivan.variants import VARIANTS  # noqa: E402

if TYPE_CHECKING:
    import torch

Array = np.ndarray[Any, np.dtype[np.float32]]
Network = Callable[[Array], Array]  # images in, logits out

AGREE = 1e-4  # of the largest logit
OURS = ("fast", "exact")


class Case(NamedTuple):
    """One network with its input's shape settled, as every engine takes it."""

    variant: str
    tensors: dict[str, Array]
    module: "torch.nn.Module"
    threads: int
    onnx: str  # the file that holds the network, for this batch and size


def minivans(engine: str) -> Callable[[Case], Network]:
    def build(case: Case) -> Network:
        model = VAN(VARIANTS[case.variant], case.tensors, engine=engine)
        return lambda x: model(x)

    return build


def pytorch(case: Case, compiled: bool = False) -> Network:
    import torch

    model: Callable[[torch.Tensor], torch.Tensor] = torch.compile(case.module) if compiled else case.module

    def run(x: Array) -> Array:
        with torch.inference_mode():
            return model(torch.from_numpy(x)).numpy()

    return run


def onnx_runtime(case: Case) -> Network:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = case.threads, 1
    session = onnxruntime.InferenceSession(case.onnx, options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"x": x})[0]


def openvino(case: Case) -> Network:
    import openvino

    settings = {"INFERENCE_NUM_THREADS": case.threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.Core().compile_model(case.onnx, "CPU", settings)
    request = model.create_infer_request()
    return lambda x: request.infer({0: x})[0]


ENGINES: dict[str, Callable[[Case], Network]] = {
    "fast": minivans("fast"),
    "exact": minivans("exact"),
    "torch": pytorch,
    "torch compiled": lambda case: pytorch(case, compiled=True),
    "onnxruntime": onnx_runtime,
    "openvino": openvino,
}


def export(module: "torch.nn.Module", x: Array, folder: str) -> str:
    """Write the network as ONNX for this batch and size; return the file's path."""
    import torch

    path = str(Path(folder) / "van.onnx")
    torch.onnx.export(module, (torch.from_numpy(x),), path, dynamo=False, input_names=["x"], opset_version=17)
    return path


def measure(
    variant: str, batch: int, threads: int, size: int, engines: Sequence[str], seconds: float, folder: str
) -> dict[str, Any]:
    """Time every engine on one case; milliseconds per call, after checking that all outputs agree."""
    import torch
    from support import torch_van

    config = VARIANTS[variant]
    tensors, x = seeded.tensors(config), seeded.images((batch, 3, size, size))
    module = torch_van.load(config, tensors)
    case = Case(variant, tensors, module, threads, export(module, x, folder))
    numba.set_num_threads(threads)
    torch.set_num_threads(threads)
    calls = {name: ENGINES[name](case) for name in engines}
    outputs = {name: np.array(call(x)) for name, call in calls.items()}
    expected = outputs[engines[0]]
    for name, got in outputs.items():
        difference = float(np.abs(got - expected).max() / np.abs(expected).max())
        if not difference <= AGREE:
            raise SystemExit(f"{name} and {engines[0]} differ by {difference:.1e} of the largest logit on {variant}")
    times: dict[str, list[float]] = {name: [] for name in calls}
    once = {}
    for name, call in calls.items():
        start = time.perf_counter()
        call(x)
        once[name] = time.perf_counter() - start
    peak = ours(threads)
    rounds = max(3, min(15, int(seconds / (3 * sum(once.values())))))
    for turn in range(rounds):
        for name, call in calls.items():
            if turn >= 3 and once[name] > 8 * min(once.values()):
                continue  # an engine far behind: three rounds say it as well
            time.sleep(0.01)
            call(x)
            for _ in range(3):
                start = time.perf_counter()
                call(x)
                times[name].append(1000 * (time.perf_counter() - start))
    peak = max(peak, ours(threads))
    work = 2e-9 * batch * totals(summarise(config, size, size))[1]
    peers = {name: min(taken) for name, taken in times.items() if name not in OURS}
    fastest = min(peers, key=peers.__getitem__) if peers else None
    return {
        "variant": variant, "batch": batch, "threads": threads, "size": size, "gflop": work, "peak_gflops": peak,
        "milliseconds": {name: {"min": min(t), "median": statistics.median(t), "runs": len(t)} for name, t in times.items()},
        "fastest_peer": fastest,
        "ratio": peers[fastest] / min(times["fast"]) if fastest and "fast" in times else None,
        "ratio_of_medians": statistics.median(times[fastest]) / statistics.median(times["fast"])
        if fastest and "fast" in times else None,
    }  # fmt: skip


def show(case: dict[str, Any]) -> None:
    peak = case["peak_gflops"]
    print(f"\n{case['variant']}, batch {case['batch']}, {case['threads']} thread(s), {case['size']} x {case['size']}; "
          f"a matrix product alone reaches {peak:.0f} GFLOP/s")  # fmt: skip
    for name, taken in sorted(case["milliseconds"].items(), key=lambda item: item[1]["min"]):
        speed = case["gflop"] / taken["min"] * 1000
        least, median = taken["min"], taken["median"]
        print(f"  {name:15} min {least:9.2f}  median {median:9.2f} ms  {speed:6.1f} GFLOP/s  {speed / peak:4.0%}")
    if case["ratio"]:
        medians = case["ratio_of_medians"]
        print(f"  fast is {case['ratio']:.2f} times as fast as {case['fastest_peer']} (medians: {medians:.2f})")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--variants", default="b0,b1,b2")
    parser.add_argument("--batches", default="1,8")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--sizes", default="224,384")
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--seconds", type=float, default=20, help="roughly, for each case (20)")
    parser.add_argument("--json", metavar="FILE", help="write every number there")
    args = parser.parse_args()
    variants, engines = args.variants.split(","), args.engines.split(",")
    batches, threads, sizes = ([int(v) for v in getattr(args, name).split(",")] for name in ("batches", "threads", "sizes"))
    seen = machine("numba", "torch", "onnxruntime", "openvino")
    print(seen)
    blas = numpys()
    print(f"NumPy's matrix product, all threads: {blas:.0f} GFLOP/s")
    cases = []
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            for variant in variants:
                for batch in batches:
                    for count in threads:
                        case = measure(variant, batch, count, size, engines, args.seconds, folder)
                        show(case)
                        cases.append(case)
                        if args.json:
                            result = {"machine": seen, "numpy_gflops": blas, "cases": cases}
                            Path(args.json).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
