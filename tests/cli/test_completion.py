"""Completion, asked of a real shell: the script is sourced there, and its function called as a Tab calls it."""

import os
import shlex
import shutil
import subprocess
import sys

import pytest
from support import ROOT

from minivan.cli import COMMANDS, parser
from minivan.cli.completion import NAMES, actions, kind_of
from minivan.variants import ALIASES, VARIANTS

TYPED = {  # a line before Tab -> words that must be among what is offered, and words that must not
    "minivan cla": (["classify"], ["summary"]),
    "minivan weights ": (["list", "show"], []),
    "minivan classify --top": (["--top-k"], ["--json"]),
    "minivan classify --engine ": (["fast", "exact", "numpy"], ["photo.jpg"]),
    "minivan classify ph": (["photo.jpg"], ["other.txt"]),
    "minivan classify photo.jpg ph": (["photo.jpg"], ["other.txt"]),
    "minivan classify --weights van": (["van_b0_tiny_imagenet200"], []),
    "minivan classify --weights o": (["other.txt"], ["photo.jpg"]),
    "minivan classify --model van": (["van_b0_tiny_imagenet200"], []),
    "minivan weights show p": (["photo.jpg"], []),
    "minivan summary b": (["b0", "b6", "base"], ["tiny"]),
    "minivan oracle record photo.jpg --prec": (["--precision"], []),
    "minivan explain photo.jpg -o sub": (["sub"], []),
    "minivan completion z": (["zsh"], []),
}
NOT_COMPLETED = {  # numbers, names of layers and classes, addresses
    "key", "top_k", "batch_size", "threads", "size", "channels", "K", "d", "C", "classes", "layer", "block", "eps", "resize",
    "crop", "interpolation", "mean", "std", "weights_version", "not_sure", "url", "sha256", "runs", "batch", "layers", "rtol",
    "atol", "max_ulp", "op", "input_size", "revision", "cluster", "workers", "images_per_shard", "chapter",
    "new_class", "target", "side", "ignore",
}  # fmt: skip


def test_every_argument_is_completed_or_known_to_be_none():
    left = {action.dest for command, action in actions(parser(*COMMANDS)) if kind_of(command, action) is None}
    assert left <= NOT_COMPLETED, left - NOT_COMPLETED
    assert [*VARIANTS, *ALIASES] == NAMES


def test_bash_completes_commands_options_files_and_weights(run, tmp_path):
    status, script, _ = run("completion", "bash")
    assert status == 0
    for name in ("photo.jpg", "other.txt"):
        (tmp_path / name).touch()
    (tmp_path / "sub").mkdir()
    (tmp_path / "minivan.bash").write_text(script, encoding="utf-8")
    lines = ["source ./minivan.bash", f'minivan() {{ {shlex.quote(sys.executable)} -m minivan "$@"; }}']
    for line in TYPED:
        words = [*line.split(), *([""] if line.endswith(" ") else [])]
        lines += [f"COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}; _shtab_minivan", 'echo "${COMPREPLY[*]}"']
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    bash = [shutil.which("bash"), "--norc", "-c", "\n".join(lines)]
    done = subprocess.run(bash, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    for (line, (wanted, unwanted)), offered in zip(TYPED.items(), done.stdout.splitlines(), strict=True):
        assert set(wanted) <= set(offered.split()) and not set(unwanted) & set(offered.split()), (line, offered)


@pytest.mark.parametrize("shell, known", [("zsh", "#compdef minivan"), ("tcsh", "complete minivan")])
def test_the_scripts_of_other_shells_know_every_command(shell, known, run):
    status, script, _ = run("completion", shell)
    assert status == 0 and known in script and all(command in script for command in COMMANDS)


def test_a_shell_that_is_not_known_is_a_wrong_call(run):
    status, out, err = run("completion", "fish")
    assert (status, out, err.count("\n")) == (2, "", 1) and "choose from" in err


def test_without_its_package_completion_says_how_to_get_it(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert run("completion", "bash") == (
        2, "", "minivan: completion needs the package shtab: pip install '.[completion]' from a clone of minivan\n",
    )  # fmt: skip
