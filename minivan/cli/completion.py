"""python -m minivan completion: a script that lets a shell complete commands, options, files and the names of weights."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from ..errors import WrongCall
from .arguments import RIGHT
from .printing import say_as_it_is

SHELLS = {  # shell -> where its script goes
    "bash": "minivan completion bash > ~/.local/share/bash-completion/completions/minivan",
    "zsh": "minivan completion zsh > ~/.zfunc/_minivan   # any folder of $fpath",
    "tcsh": "minivan completion tcsh > ~/.minivan.tcsh   # and in ~/.cshrc: source ~/.minivan.tcsh",
}
NAMES = [
    "b0",
    "b1",
    "b2",
    "b3",
    "b4",
    "b5",
    "b6",
    "tiny",
    "small",
    "base",
    "large",
]  # minivan.variants' own, which cost NumPy
LISTED = "minivan weights list --names 2>/dev/null"  # asked when it is completed: what is fetched later is there, too

FILES = {"bash": "_shtab_compgen_files", "zsh": "_files", "tcsh": "f"}  # kinds of words, as each shell completes them
FOLDERS = {"bash": "_shtab_compgen_dirs", "zsh": "_files -/", "tcsh": "d"}
WEIGHTS = {"bash": "_minivan_weights", "zsh": "_minivan_weights", "tcsh": "`minivan weights list --names`"}
WEIGHT_FILES = {"bash": "_minivan_weight_files", "zsh": "_minivan_weight_files", "tcsh": "f"}
NETWORKS = {"bash": "_minivan_networks", "zsh": "_minivan_networks", "tcsh": f"({' '.join(NAMES)})"}

NAMED_FILES = ("PATH", "IMAGE", "FILE", "PHOTO", "IN", "OUT", "INDEX", "QUERY", "DATASET", "INPUT", "TRACE", "OTHER", "OUT.png")
KINDS = dict.fromkeys(NAMED_FILES, FILES) | dict.fromkeys(("DIR", "FOLDER"), FOLDERS)  # what help calls an argument -> kind
SPECIAL = {  # a command, or any, and one of its arguments whose name does not tell
    ("summary", "name"): NETWORKS,
    ("bench", "name"): NETWORKS,
    ("fetch", "name"): NETWORKS,
    ("show", "file"): WEIGHT_FILES,
    ("explain", "layer"): None,  # paths of the network, not of files
    ("explain", "block"): None,
    ("", "weights"): WEIGHT_FILES,
    ("", "model"): WEIGHTS,
}

BREAK = "\\n"  # between the words of bash's compgen: older versions of shtab call it where a blank is part of a word
PREAMBLE = {
    "bash": f"""
_minivan_weights() {{ compgen -W "$({LISTED})" -- "$1"; }}
_minivan_weight_files() {{ _minivan_weights "$1"; compgen -f -- "$1"; }}
_minivan_networks() {{ compgen -W $'{BREAK.join(NAMES)}' -- "$1"; }}
""",
    "zsh": f"""
_minivan_weights() {{ compadd -- $({LISTED}) }}
_minivan_weight_files() {{ _minivan_weights; _files }}
_minivan_networks() {{ compadd -- {" ".join(NAMES)} }}
""",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter  # a name that is broken cannot be copied
    parser.epilog = "\n  ".join(["where the script goes, whose folder has to be there:", *SHELLS.values()])
    parser.add_argument("shell", choices=tuple(SHELLS), metavar="SHELL", help="bash, zsh or tcsh")


def run(args: argparse.Namespace) -> int:
    try:
        import shtab
    except ImportError:
        raise WrongCall("completion needs the package shtab: pip install '.[completion]' from a clone of minivan") from None

    from . import COMMANDS, parser

    whole = parser(*COMMANDS)
    for command, action in actions(whole):
        if kind := kind_of(command, action):
            vars(action)["complete"] = kind  # where shtab looks
    say_as_it_is(shtab.complete(whole, args.shell, root_prefix="minivan", preamble=PREAMBLE.get(args.shell, "")))
    return RIGHT


def actions(whole: argparse.ArgumentParser, command: str = "") -> Iterator[tuple[str, argparse.Action]]:
    """Yield every argument of a parser, and of those below it, that takes a value of no fixed choice, with its command."""
    for action in whole._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield from actions(below, name)
        elif action.nargs != 0 and not action.choices:
            yield command, action


def kind_of(command: str, action: argparse.Action) -> dict[str, str] | None:
    """Return what completes an argument, by shell; None where nothing does, as for a number."""
    for where in ((command, action.dest), ("", action.dest)):
        if where in SPECIAL:
            return SPECIAL[where]
    return KINDS.get(str(action.metavar))
