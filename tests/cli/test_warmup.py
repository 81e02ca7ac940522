"""warmup: after it nothing is compiled, whatever is asked for; where that cannot be, its exit status says so."""

import json
import os
import subprocess
import sys

import pytest
from support import CHECKPOINTS, EXAMPLES

from minivan import bench, kernel_cache
from minivan.explain.choices import METHODS

COUNTED = """
import json, sys
from minivan import compiling
from minivan.cli import main
from minivan.oracle import measure, own

measure.COMPILED = own.COMPILED = 1  # a small network's layers are measured as large ones are
with compiling.told(lambda kernel, kept: compiled.append(kernel)):
    for argv in json.loads(sys.argv[1]):
        compiled = []
        status = main(argv)
        print("ran", status, argv, compiled, file=sys.stderr)
"""


def commands(tmp_path, cat, engine):
    """Yield calls of everything that computes with an engine."""
    weights = str(CHECKPOINTS / "official.pth.tar")
    chosen = ["--weights", weights, "--engine", engine]
    yield ["classify", cat, *chosen]
    for method in METHODS:
        yield ["explain", cat, "--json", "--method", method, *chosen]
    for layer in ("norm1", "block2.0"):
        yield ["explain", cat, "--json", "--layer", layer, *chosen]
    yield ["explain", cat, "--json", "--attention", *chosen]
    trace = str(tmp_path / "trace.safetensors")
    yield ["oracle", "record", cat, "-o", trace, "--model", weights, "--engine", engine]
    yield ["oracle", "compare", trace, trace, "--model", weights]
    yield ["bench", "--size", "32", "--runs", "1", "--engine", engine]
    if engine == "exact":
        yield ["receptive-field", "--json", "--weights", weights, "--size", "193"]
        yield [
            "oracle",
            "record",
            cat,
            "--model",
            weights,
            "--gradients",
            "training",
            "-o",
            str(tmp_path / "trained.safetensors"),
        ]
        yield ["oracle", "vectors", "-o", str(tmp_path / "vectors")]
        yield ["lka"]
        yield ["doctor"]


@pytest.mark.slow
def test_after_it_no_command_and_no_method_compiles_anything(tmp_path):
    """After `--engine fast` none that computes with it; after all, none at all."""
    environment = os.environ | {"MINIVAN_CACHE": str(tmp_path / "kernels")}
    for warmed, engine in (("fast", "fast"), ("all", "exact")):
        subprocess.run(
            [sys.executable, "-m", "minivan", "warmup", "--engine", warmed], check=True, env=environment, timeout=900
        )
        asked = list(commands(tmp_path, str(EXAMPLES / "cat.jpg"), engine))
        command = [sys.executable, "-c", COUNTED, json.dumps(asked)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, check=False)
        ran = [line for line in done.stderr.splitlines() if line.startswith("ran ")]
        assert len(ran) == len(asked), done.stderr
        assert not [line for line in ran if not (line.startswith("ran 0 ") and line.endswith(" []"))], done.stderr


@pytest.mark.parametrize("problem", [None, "others may write /x"])
def test_where_nothing_could_be_kept_the_answer_is_no(run, monkeypatch, problem):
    monkeypatch.setattr(bench, "warm_up", lambda chosen: iter([("fast", 28.0)]))
    monkeypatch.setattr(kernel_cache, "state", lambda: kernel_cache.State(None, "a test", problem))
    assert run("warmup") == (1 if problem else 0, "fast: 28.0 s\n", "")
