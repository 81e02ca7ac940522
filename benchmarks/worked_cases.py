"""The worked cases of the porter's handbook: every port is made, judged by commands as one types them, and what these print
goes into docs/oracle.md.

    python benchmarks/worked_cases.py [--write] [NAME ...]

It needs the extras `test` and `torch`, a C compiler and node. The network is that of the test vectors, so that a case takes a
second or two; tests/examples/test_worked_cases.py runs them all and compares what they print with the page.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import runpy
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from minivan import seeded  # noqa: E402
from minivan.card import Card  # noqa: E402
from minivan.checkpoint import Weights, write  # noqa: E402
from minivan.cli import main as minivan  # noqa: E402
from minivan.oracle.cases import TINY  # noqa: E402

PAGE = ROOT / "docs" / "oracle.md"
SECTION = re.compile(r"(?<=<!-- worked cases -->\n).*?(?=<!-- end of the worked cases -->)", re.DOTALL)
WIDEST, LAST = 128, 8  # characters of a line, and lines of what `compare` says below its table
ROW = re.compile(r"(>>>|   ) +(\d+|#) ")  # of that table
RECORD = "python -m minivan oracle record x.npy --model van.safetensors -o trace.safetensors"
COMPARE = "python -m minivan oracle compare trace.safetensors port.npz"
PYTORCH = "python examples/trace_adapters/record_pytorch.py trace.safetensors my_van.py -o port.npz"
ONNX = "python examples/trace_adapters/record_onnx.py trace.safetensors {} -o port.npz"

# What my_van.py holds, as a porter's own file does: a network, and here a fault in it.
MY_VAN = """
import torch
from support import huggingface_van, torch_van
import minivan

def build():
    weights = minivan.checkpoint.read("van.safetensors")
    {}
    return net
"""


@dataclass(frozen=True)
class Case:
    """A port: how it is made in the working folder, the commands that judge it, and what they say means."""

    name: str
    title: str
    make: Callable[[], None]
    commands: tuple[str, ...]
    meaning: str


def my_van(*lines: str) -> Callable[[], None]:
    """Return what writes my_van.py with these lines in its build()."""
    return lambda: void(Path("my_van.py").write_text(MY_VAN.format("\n    ".join(lines)), encoding="utf-8"))


def void(_: object) -> None:
    """Return nothing."""


AUTHORS = "net = torch_van.load(weights.config, weights.tensors)"


def half_dump() -> None:
    """PyTorch in float16, what it gives written as float32."""
    my_van(AUTHORS + ".half()")()
    typed(PYTORCH)
    with np.load("port.npz") as port:
        np.savez("port.npz", **{name: array.astype(np.float32) for name, array in port.items()})


def sparse() -> None:
    """PyTorch with a fault inside a block, of which only what the blocks and the head give is kept."""
    my_van(AUTHORS, "net.block2[1].mlp.dwconv.dwconv.bias = None")()
    typed(PYTORCH)
    with np.load("port.npz") as port:
        np.savez("port.npz", **{name: array for name, array in port.items() if re.fullmatch(r"block\d\.\d|head", name)})


def wrong_layer_norm() -> None:
    """An exported graph whose LayerNorms have PyTorch's own eps, not VAN's."""
    from support import dynamo

    dynamo.save(dynamo.with_layer_norm_eps(dynamo.load(), 1e-5), "van.onnx")


def quantised() -> None:
    """The same graph with eight bits after every layer, one scale eight times too coarse."""
    from support import dynamo

    dynamo.save(dynamo.quantised(dynamo.load(), np.load("x.npy"), coarse="patch_embed3.proj"), "van_int8.onnx")


CASES = (
    Case(
        "pytorch", "PyTorch, the authors' class: GELU by tanh in the MLPs",
        my_van(
            AUTHORS, "for name, module in net.named_modules():", "    if name.endswith('mlp.act'):",
            "        module.approximate = 'tanh'",
        ),
        (PYTORCH, COMPARE),
        "Many runtimes take the one GELU for the other. Those that are wrong are named, all with one hint, and no layer "
        "between them.",
    ),
    Case(
        "huggingface", "Hugging Face's names: BatchNorm's eps wrong everywhere",
        my_van("net = huggingface_van.load(weights.config, weights.tensors, batch_norm_eps=1e-3)"),
        (PYTORCH, COMPARE),
        "The names need no map. One hint stands for all of BatchNorm's layers: the fault is in one place of the port, its "
        "configuration.",
    ),
    Case(
        "onnx", "onnxruntime: LayerNorm's eps 1e-5",
        wrong_layer_norm, (ONNX.format("van.onnx"), COMPARE),
        "PyTorch's own eps is ten times VAN's. Only the four LayerNorms add an error; the blocks between them pass it on, and "
        "are not blamed.",
    ),
    Case(
        "bfloat16", "PyTorch in bfloat16: a bias is missing",
        my_van(AUTHORS + ".bfloat16()", "net.block3[0].mlp.fc1.bias = None"),
        (PYTORCH, COMPARE),
        "What bfloat16 rounds away is allowed; a bias that was not loaded adds some tens of such roundings.",
    ),
    Case(
        "float16", "float16 inside, float32 in the files: sound",
        half_dump, (COMPARE,),
        "All numbers are float16's, which is said, and the port is judged as one of float16. Status 1 is for the layers that "
        "no module makes: with `--layers` for the others it is 0.",
    ),
    Case(
        "qdq", "Eight bits, a QDQ model: one scale far too coarse",
        quantised, (ONNX.format("van_int8.onnx") + " --optimise 0", COMPARE + " --precision int8"),
        "The budget is an estimate of what the last layer's ratio would be, were one layer's output not rounded. The coarse "
        "one stands first; none of the others would give anything back.",
    ),
    Case(
        "c", "C, channels last, against a test vector: sound",
        lambda: None,
        (
            "python -m minivan oracle vectors -o vectors --op lka",
            "cc -std=c99 -O2 -DNHWC -o lka examples/check_a_port/lka.c && mkdir -p out",
            "./lka vectors/lka/real out",
            "python -m minivan oracle compare vectors/lka/real out",
        ),
        "The layout is told by the numbers. A test vector asks for all of its layers, and here even the bits are right.",
    ),
    Case(
        "sparse", "A recording of the blocks alone: a fault between two of them",
        sparse, (COMPARE + " --layers 'block?.?' --layers head",),
        "A convolution inside lacks its bias. Only what the blocks give was recorded: the block is found, the known faults are "
        "tried on the layers inside, and what comes after it is cleared, though its numbers differ, too.",
    ),
    Case(
        "javascript", "JavaScript, the engine of minivan's page: sound",
        lambda: None,
        (
            "python -m minivan oracle vectors -o vectors --op network",
            "node tests/page/port.mjs vectors vectors port",
            "python -m minivan oracle compare vectors/network/tiny port/network/tiny.safetensors",
        ),
        "A port in another language, by another hand, that keeps the order of sums has the bits of `exact`.",
    ),
)  # fmt: skip


@contextlib.contextmanager
def working_folder() -> Iterator[None]:
    """Be in a new folder with the weights, the input and the trace, where the commands' paths lead to the checkout."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            for name in ("examples", "tests"):
                Path(name).symlink_to(ROOT / name, target_is_directory=True)
            write(Weights(TINY, seeded.tensors(TINY), Card("tiny")), Path("van.safetensors"))
            np.save("x.npy", seeded.images((1, 3, 40, 36)))
            typed(RECORD)
            yield
        finally:
            os.chdir(before)


def typed(command: str) -> list[str]:
    """Run a command as it is typed, those in Python in this process; return the lines that it prints.

    Raises RuntimeError for a command that went wrong: the status 1 of `compare` is a verdict.
    """
    words = shlex.split(command)
    if words[0] != "python":
        done = subprocess.run(command, shell=True, check=True, capture_output=True, text=True)
        return done.stdout.splitlines()
    said, complained = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(complained):
        status = minivan(words[3:]) if words[1] == "-m" else script(words[1], words[1:])
    if status > 1:
        raise RuntimeError(f"{command}: status {status}: {complained.getvalue()}")
    return said.getvalue().splitlines()


def script(path: str, words: list[str]) -> int:
    """Run a script in this process."""
    before, sys.argv = sys.argv, words
    try:
        runpy.run_path(path, run_name="__main__")
    finally:
        sys.argv = before
    return 0


def worked(case: Case) -> str:
    """Make a port, judge it, and return its part of the page."""
    case.make()
    said: list[str] = []
    for command in case.commands:
        said = typed(command)
    lines = [f"$ {command}" for command in case.commands] + [line for line in said if not ROW.match(line)][-LAST:]
    if long := next((line for line in lines if len(line) > WIDEST), None):
        raise ValueError(f"{case.name}: a line of {len(long)} characters: {long}")
    return "\n".join([f"**{case.title}.**", "", "```", *lines, "```", "", *wrapped(case.meaning), "", ""])


def wrapped(text: str) -> list[str]:
    """Return a paragraph in lines that are no longer than the page's."""
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + 1 + len(word) > WIDEST - 4:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the worked cases of the porter's handbook.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(case.name for case in CASES)} (default: all)")
    parser.add_argument("--write", action="store_true", help="write them into docs/oracle.md")
    args = parser.parse_args()
    if args.write and args.names:
        parser.error("--write writes all of them")
    with working_folder():
        parts = [worked(case) for case in CASES if case.name in (args.names or case.name)]
    said = "".join(parts)
    print(said)
    if args.write:
        text, found = SECTION.subn(lambda _: said, PAGE.read_text(encoding="utf-8"))
        if found != 1:
            sys.exit(f"{PAGE}: the place of the worked cases was found {found} times, not once")
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
