"""How long a full-size authors' checkpoint with its optimizer's state takes to load, and how much memory.

    python benchmarks/loading.py [VARIANT ...]        (b0 and b3)

PyTorch saves the checkpoint as the authors' training script does: state_dict, AdamW's two moments per parameter, an
argparse.Namespace. Each format is then read in a process of its own: once to fill the caches, then five times; the
median is shown. Memory is the process's peak while reading less its peak before, against the size of the model's tensors.
Needs the extras `test` and `torch` (PyTorch writes the files) and a system with /proc (Linux).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

READER = """
import json, statistics, sys, time
from minivan.checkpoint import read

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))

before = peak()
weights = read(sys.argv[1])
after = peak()
model = sum(tensor.nbytes for tensor in weights.tensors.values())
del weights
times = []
for _ in range(5):
    start = time.perf_counter()
    weights = read(sys.argv[1])
    times.append(time.perf_counter() - start)
    del weights
print(json.dumps({"seconds": statistics.median(times), "peak": after - before, "model": model}))
"""


def save(path: Path, name: str, zip_format: bool) -> None:
    """Have PyTorch write a checkpoint of a variant's shape with seeded weights, AdamW's state and the training's arguments."""
    import torch

    from minivan.seeded import tensors
    from minivan.variants import is_learned, variant

    state = {key: torch.from_numpy(tensor) for key, tensor in tensors(variant(name)).items()}
    parameters = [key for key in state if is_learned(key)]
    moments = {
        i: {"step": torch.tensor(3.0), "exp_avg": torch.randn_like(state[key]), "exp_avg_sq": torch.randn_like(state[key])}
        for i, key in enumerate(parameters)
    }
    optimizer = {"state": moments, "param_groups": [{"lr": 1e-3, "params": list(moments)}]}
    args = argparse.Namespace(model=f"van_{name}", lr=1e-3)
    checkpoint = {"epoch": 309, "arch": f"van_{name}", "state_dict": state, "args": args, "optimizer": optimizer}
    torch.save(checkpoint, path, _use_new_zipfile_serialization=zip_format)


def main() -> None:
    parser = argparse.ArgumentParser(description="Time and peak memory of loading full-size checkpoints.")
    parser.add_argument("variants", nargs="*", default=["b0", "b3"])
    variants = parser.parse_args().variants
    print("| checkpoint | file | time | memory | the model's tensors | ratio |")
    print("|---|---|---|---|---|---|")
    for name in variants:
        for kind, zip_format in (("zip", True), ("legacy", False)):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / f"{name}.pth.tar"
                save(path, name, zip_format)
                size = path.stat().st_size
                result = subprocess.run([sys.executable, "-c", READER, path], capture_output=True, text=True, check=True)
            seen = json.loads(result.stdout)
            print(
                f"| {name}, {kind} | {size / 1e6:.0f} MB | {seen['seconds']:.3f} s | {seen['peak'] / 1e6:.0f} MB "
                f"| {seen['model'] / 1e6:.0f} MB | {seen['peak'] / seen['model']:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
