"""What changes the bits: threads, batch and instruction set, for minivan's engines, PyTorch, ONNX Runtime and OpenVINO.

    python benchmarks/reproducibility.py [--size 224] [--engines exact,fast,pytorch,onnxruntime,openvino]

Every run is a process of its own: VAN-B0 with the seeded weights of minivan.seeded, the logits of one image. The base is
1 thread, batch 1 and the processor's own instructions; each column changes one of these. 'same' means the same bytes;
otherwise the table says how many of the logits have other bits and the largest difference, relative to the largest logit.

For fewer instructions, Numba compiles for x86-64-v3 (AVX2), and PyTorch is told by its environment variables. ONNX Runtime
and OpenVINO have no such switch: they run in QEMU's emulation of a processor with AVX2 and FMA but without AVX-512 (Debian:
qemu-user-static). Needs the extras `test` and `torch`, OpenVINO, and a processor with AVX-512.
"""

from __future__ import annotations

import argparse
import base64
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
QEMU = ["qemu-x86_64-static", "-cpu", "max"]
NUMBA = {"NUMBA_CPU_NAME": "x86-64-v3", "NUMBA_CPU_FEATURES": ""}
AVX2 = {  # engine -> (how it is started, its environment)
    "exact": ([], NUMBA),
    "fast": ([], NUMBA),
    "pytorch": ([], {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}),
    "onnxruntime": (QEMU, {}),
    "openvino": (QEMU, {}),
}
NAMES = {
    "exact": "minivan exact", "fast": "minivan fast",
    "pytorch": "PyTorch", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO",
}  # fmt: skip


def export(path: str, batch: int, size: int) -> None:
    """Write VAN-B0 as ONNX, for this batch."""
    import torch
    from support import torch_van

    from minivan import seeded
    from minivan.variants import variant

    warnings.simplefilter("ignore")
    net = torch_van.load(variant("b0"), seeded.tensors(variant("b0")))
    torch.onnx.export(net, (torch.zeros(batch, 3, size, size),), path, dynamo=False, opset_version=17)


def forward(engine: str, threads: int, x: np.ndarray, onnx_file: str) -> np.ndarray:
    """Return the logits of a batch, computed by one engine."""
    if engine == "onnxruntime":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(onnx_file, options, providers=["CPUExecutionProvider"])
        return session.run(None, {session.get_inputs()[0].name: x})[0]
    if engine == "openvino":
        import openvino

        core = openvino.Core()
        settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
        return core.compile_model(onnx_file, "CPU", settings)(x)[0]
    from minivan import seeded
    from minivan.van import VAN
    from minivan.variants import variant

    tensors = seeded.tensors(variant("b0"))
    if engine == "pytorch":
        import torch
        from support import torch_van

        torch.set_num_threads(threads)
        with torch.inference_mode():
            return torch_van.load(variant("b0"), tensors)(torch.from_numpy(x)).numpy()
    import numba

    numba.set_num_threads(threads)
    return VAN(variant("b0"), tensors, engine)(x)


def logits(engine: str, size: int, folder: str, threads=1, batch=1, start=(), environment=None) -> np.ndarray:
    """Return the logits of the first image, from a fresh process."""
    onnx_file = f"{folder}/b0-{batch}.onnx"
    if engine in ("onnxruntime", "openvino") and not Path(onnx_file).exists():
        export(onnx_file, batch, size)
    settings = {"NUMBA_NUM_THREADS": "2", "OMP_NUM_THREADS": str(threads), **(environment or {})}
    command = [*start, sys.executable, __file__, "--run", engine, str(threads), str(batch), str(size), onnx_file]
    done = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{engine}: {done.stderr.strip().splitlines()[-1]}")
    return np.frombuffer(base64.b64decode(done.stdout.split()[-1]), np.float32)


def run(engine: str, threads: str, batch: str, size: str, onnx_file: str) -> None:
    """The child process: compute, and print the first image's logits."""
    from minivan import seeded

    x = seeded.images((8, 3, int(size), int(size)))[: int(batch)]
    y = np.ascontiguousarray(forward(engine, int(threads), x, onnx_file)[0], np.float32)
    print(base64.b64encode(y.tobytes()).decode())


def cell(base: np.ndarray, other: np.ndarray) -> str:
    if base.tobytes() == other.tobytes():
        return "same"
    differing = np.count_nonzero(base.view(np.int32) != other.view(np.int32))
    return f"{differing / base.size:.0%} differ, {np.abs(base - other).max() / np.abs(base).max():.0e}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--engines", default=",".join(AVX2))
    parser.add_argument("--run", nargs=5, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run:
        return run(*args.run)
    print("| VAN-B0, one image's logits | run again | 2 threads | batch of 8 | AVX2 instead of AVX-512 |")
    print("|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for engine in args.engines.split(","):
            base = logits(engine, args.size, folder)
            start, environment = AVX2[engine]
            cells = [cell(base, logits(engine, args.size, folder, **change)) for change in ({}, {"threads": 2}, {"batch": 8})]
            possible = not start or shutil.which(start[0])
            lower = logits(engine, args.size, folder, start=start, environment=environment) if possible else None
            cells.append("not measured: no QEMU here" if lower is None else cell(base, lower))
            print(f"| {NAMES[engine]} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
