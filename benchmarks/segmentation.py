"""minivan's Semantic FPN against ONNX Runtime and OpenVINO: the same weights and input, each engine in a process of its own.

    python benchmarks/segmentation.py [--threads 2] [--rounds 15] [--write]

One scene of 480 x 360 pixels, its sides filled up to multiples of 32, on the seeded weights of b0 with neck and head. The peers
are given the network as ONNX, with its sizes settled. Logits are compared before anything is timed; then the engines take
turns: in each round each one runs once to warm up and a few times by the clock, and the others wait. Needs onnx, onnxruntime
and openvino; --engines leaves some out.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- segmentation: benchmarks/segmentation.py --write -->", "<!-- end of segmentation -->"
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np  # noqa: E402
from machine import machine  # noqa: E402

from minivan import fpn, seeded  # noqa: E402
from minivan.engines import FAST  # noqa: E402
from minivan.geometry import stage_sizes  # noqa: E402
from minivan.van import VAN  # noqa: E402
from minivan.variants import VARIANTS  # noqa: E402

Array = np.ndarray[Any, np.dtype[np.float32]]
Network = Callable[[Array], Array]  # images in, logits out

BACKBONE = VARIANTS["b0"]
HEIGHT, WIDTH = 384, 480  # 360 x 480, filled up
HEADS = {  # name -> shape
    "256 and 128 channels, 150 classes": fpn.FPNConfig(BACKBONE.dims, 256, 128, 150),
    "64 and 64 channels, 11 classes": fpn.FPNConfig(BACKBONE.dims, 64, 64, 11),  # those of the bundled head
}
ALONE = "backbone alone"  # of fast
AGREE = 1e-4  # of the largest logit
CALLS = 3  # of a turn, timed


def tensors(head: str) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return the seeded weights of the backbone, and those of a neck and head."""
    return seeded.tensors(BACKBONE), seeded.filled(fpn.parameter_shapes(HEADS[head]))


def write_onnx(head: str, path: Path) -> None:
    """Write the network as ONNX, for one image of HEIGHT x WIDTH."""
    from onnx import TensorProto, helper, numpy_helper
    from support.onnx_van import Graph

    backbone, rest = tensors(head)
    config, graph = HEADS[head], Graph(BACKBONE, {**backbone, **rest})

    def conv(x: str, name: str, bias: bool = True) -> str:
        weight = graph.tensors[f"{name}.weight"]
        side = weight.shape[-1]
        of = [graph.of(name, leaf) for leaf in ("weight", *(["bias"] if bias else []))]
        return str(graph.add("Conv", x, *of, kernel_shape=[side] * 2, pads=[side // 2] * 4))

    def resize(x: str, channels: int, size: tuple[int, int], mode: str) -> str:
        how = {"coordinate_transformation_mode": "half_pixel"} if mode == "linear" else {
            "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor",
        }  # fmt: skip
        return str(graph.add("Resize", x, "", "", graph.integers(1, channels, *size), mode=mode, **how))

    maps, sizes = graph.stages("pixels"), stage_sizes(BACKBONE.stages, HEIGHT, WIDTH)
    maps = [conv(x, f"{fpn.NECK}.lateral_convs.{i}.conv") for i, x in enumerate(maps)]
    for i in reversed(range(len(maps) - 1)):
        maps[i] = graph.add("Add", maps[i], resize(maps[i + 1], config.channels, sizes[i], "nearest"))
    maps = [conv(x, f"{fpn.NECK}.fpn_convs.{i}.conv") for i, x in enumerate(maps)]
    total = ""
    for i, x in enumerate(maps):
        for k in range(fpn.step_count(i)):
            x = conv(x, f"{fpn.step_of(i, k)}.conv", bias=False)
            x = graph.add("Relu", graph.batch_norm(x, f"{fpn.step_of(i, k)}.bn"))
            if i:
                sides = sizes[i][0] << (k + 1), sizes[i][1] << (k + 1)
                x = resize(x, config.head_channels, sides, "linear")
        total = graph.add("Add", total, x) if total else x
    logits = conv(total, fpn.CONV_SEG)
    made = helper.make_graph(
        graph.nodes, "segmentation",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, 3, HEIGHT, WIDTH])],
        [helper.make_tensor_value_info(logits, TensorProto.FLOAT, [1, config.classes, *sizes[0]])],
        [numpy_helper.from_array(array, name) for name, array in graph.initializers.items()],
    )  # fmt: skip
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())


def fast(head: str, onnx: Path, threads: int) -> Network:
    import numba

    numba.set_num_threads(threads)
    assert FAST.compile_fpn
    backbone, rest = tensors(head)
    return FAST.compile_fpn(BACKBONE, backbone, HEADS[head], rest)


def backbone_alone(head: str, onnx: Path, threads: int) -> Network:
    import numba

    numba.set_num_threads(threads)
    model = VAN(BACKBONE, tensors(head)[0], "fast")
    return lambda x: model.features(x)[-1]


def onnx_runtime(head: str, onnx: Path, threads: int) -> Network:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(str(onnx), options, providers=["CPUExecutionProvider"])
    return lambda x: np.asarray(session.run(None, {"pixels": x})[0])


def openvino(head: str, onnx: Path, threads: int) -> Network:
    import openvino

    settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    request = openvino.Core().compile_model(str(onnx), "CPU", settings).create_infer_request()
    return lambda x: np.asarray(request.infer({0: x})[0])


ENGINES: Mapping[str, Callable[[str, Path, int], Network]] = {
    "fast": fast, "ONNX Runtime": onnx_runtime, "OpenVINO": openvino, ALONE: backbone_alone,
}  # fmt: skip


def serve(engine: str, head: str, onnx: Path, threads: int) -> None:
    """A worker's life: for each line that asks for logits or times, run the network, and answer with a line."""
    network, x = ENGINES[engine](head, onnx, threads), seeded.images((1, 3, HEIGHT, WIDTH))
    for line in sys.stdin:
        logits = network(x)
        if line.strip():
            np.save(line.strip(), logits)
        times = []
        for _ in range(0 if line.strip() else CALLS):
            start = time.perf_counter()
            network(x)
            times.append(1000 * (time.perf_counter() - start))
        print(json.dumps(times), flush=True)


class Worker:
    """An engine in a process of its own, which computes when it is asked to."""

    def __init__(self, engine: str, head: str, onnx: Path, threads: int) -> None:
        self.engine = engine
        command = [sys.executable, __file__, "--serve", engine, head, str(onnx), "--threads", str(threads)]
        environment = {"OMP_WAIT_POLICY": "passive", "KMP_BLOCKTIME": "0", **os.environ}  # its threads do not spin meanwhile
        self.process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, logits: Path | None = None) -> list[float]:
        """Return the milliseconds of some calls, or have the logits written."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(f"{logits or ''}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"{self.engine}: its process ended with status {self.process.wait()}")
        times: list[float] = json.loads(answer)
        return times

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def race(head: str, names: list[str], threads: int, rounds: int, folder: Path) -> dict[str, list[float]]:
    """Return each engine's milliseconds on one network, after having compared what they compute."""
    onnx = folder / "network.onnx"
    write_onnx(head, onnx)
    workers = [Worker(name, head, onnx, threads) for name in names]
    try:
        outputs = {}
        for worker in workers:
            worker.ask(folder / "logits.npy")
            outputs[worker.engine] = np.load(folder / "logits.npy")
        for name in names:
            if name not in (ALONE, names[0]):
                difference = np.abs(outputs[name] - outputs[names[0]]).max() / np.abs(outputs[names[0]]).max()
                if not difference <= AGREE:
                    raise SystemExit(f"{name} and {names[0]} differ by {difference:.1e} of the largest logit")
        times: dict[str, list[float]] = {name: [] for name in names}
        for turn in range(rounds):
            for worker in workers if turn % 2 else workers[::-1]:
                times[worker.engine] += worker.ask()
    finally:
        for worker in workers:
            worker.close()
    return times


def table(found: Mapping[str, Mapping[str, list[float]]]) -> list[str]:
    """Return the table: each engine's least and median milliseconds, and how far `fast` is ahead of it by either."""
    rows = ["| neck and head | engine | least ms | median ms | times `fast`, by least and by median |", "|---|---|--:|--:|--:|"]
    for head, times in found.items():
        for name, taken in times.items():
            ours = times.get("fast", taken)
            ratios = f"{min(taken) / min(ours):.2f}, {statistics.median(taken) / statistics.median(ours):.2f}"
            shown = {"fast": "`fast`", ALONE: f"`fast`, {ALONE}"}.get(name, name)
            cells = head, shown, f"{min(taken):.1f}", f"{statistics.median(taken):.1f}", "" if name == "fast" else ratios
            rows.append(f"| {' | '.join(cells)} |")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--heads", default=",".join(str(i) for i in range(len(HEADS))), help="numbers of networks (0,1)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)  # an engine's own process
    args = parser.parse_args()
    if args.serve:
        engine, head, onnx = args.serve
        serve(engine, head, Path(onnx), args.threads)
        return
    names, numbers = args.engines.split(","), args.heads.split(",")
    if unknown := [name for name in names if name not in ENGINES]:
        parser.error(f"--engines: {', '.join(unknown)} is none of {', '.join(ENGINES)}")
    if not {*numbers} <= {str(i) for i in range(len(HEADS))}:
        parser.error(f"--heads: numbers from 0 to {len(HEADS) - 1}, got {args.heads}")
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for head in [list(HEADS)[int(number)] for number in numbers]:
            found[head] = race(head, names, args.threads, args.rounds, Path(folder))
    seen = machine("numba", "onnxruntime", "openvino")
    versions = f"ONNX Runtime {seen.get('onnxruntime')}, OpenVINO {seen.get('openvino')}, Numba {seen['numba']}"
    where = f"{args.threads} threads, {args.rounds} rounds of {CALLS} calls, {seen['processor']}; {versions}."
    text = "\n".join([where, "", *table(found)])
    print(text)
    if args.write:
        page = PAGE.read_text(encoding="utf-8")
        made, count = re.subn(
            f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: f"{BEGIN}\n{text}\n{END}", page, flags=re.DOTALL
        )
        if count != 1:
            raise SystemExit(f"{PAGE}: no {BEGIN} ... {END}")
        PAGE.write_text(made, encoding="utf-8")


if __name__ == "__main__":
    main()
