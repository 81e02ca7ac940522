"""The parser of the command line: errors of one line, which name what a mistyped word is near to."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterable
from typing import Any, NoReturn

from ..errors import printable, quote, suggestion

NEAR = 3  # names that an error lists
ELSEWHERE = {  # what an option is called in other programs -> what it is here, where the letters do not tell
    "checkpoint": "weights",
    "ckpt": "weights",
    "backend": "engine",
    "imgsz": "size",
    "img": "size",
    "image": "size",
    "input": "size",
    "resolution": "size",
    "jobs": "threads",
    "workers": "threads",
    "target": "class",
    "category": "class",
    "silent": "quiet",
    "out": "output",
    "save": "output",
}


class Parser(argparse.ArgumentParser):
    """A parser that takes no abbreviations, has --quiet, and whose errors may repeat whatever the command line said."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False} | kwargs)
        self.add_argument(
            "-q", "--quiet", action="store_true", default=argparse.SUPPRESS,
            help="no notes, no progress, no word of what was written: answers and faults alone",
        )  # fmt: skip

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Refuse what is not known here, where the options that it may be near to are, and not in the parser above."""
        if self._subparsers is None:  # before argparse misses the argument that it took for an unknown option's value
            for word in args[: args.index("--")] if "--" in args else args:
                if word.startswith("--") and " " not in word:
                    self.check_option(word)
        found, left = super().parse_known_args(args, namespace)
        if left and left[0].startswith("-"):
            self.check_option(left[0])
        if left:
            self.end(f"{quote(left[0])} is one word too many; --help tells more")
        return found, left

    def check_option(self, word: str) -> None:
        """End with an error where there is no such option."""
        option, known = word.partition("=")[0], self._option_string_actions
        if option not in known:
            self.end(f"no option is called {option}; {suggestion(near_options(option, known), '--help tells all')}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if isinstance(action, argparse._SubParsersAction) and value not in action.choices:
            otherwise = f"there are {', '.join(action.choices)}"
            near = suggestion(near_words(value, action.choices), otherwise)
            self.end(f"no {str(action.metavar).lower()} is called {quote(value)}; {near}")
        super()._check_value(action, value)

    def error(self, message: str) -> NoReturn:
        self.end(f"{message}; --help tells more")

    def end(self, message: str) -> NoReturn:
        """Say in one line what is wrong with a call, and end as wrong calls do."""
        self.exit(2, f"{self.prog}: {printable(message)}\n")


def near_options(option: str, known: Iterable[str]) -> list[str]:
    """Return the long options that `option` is near to: what it is called elsewhere, what it begins, what is spelled alike."""
    long = {_letters(name): name for name in known if name.startswith("--")}
    words = option.strip("-").replace("_", "-").split("-")
    meant = [ELSEWHERE[word] for word in words if word in ELSEWHERE]
    near = [_letters(f"--{name}") for name in meant if f"--{name}" in long.values()]
    near += near_words(_letters(option), long)
    return [long[name] for name in dict.fromkeys(near)][:NEAR]


def near_words(word: str, known: Collection[str]) -> list[str]:
    """Return the words that begin as `word` does, or are spelled much like it, the nearest first."""
    import difflib

    begun = [name for name in known if len(word) > 1 and (name.startswith(word) or word.startswith(name))]
    return [*dict.fromkeys(begun + difflib.get_close_matches(word, list(known), n=NEAR, cutoff=0.7))][:NEAR]


def _letters(option: str) -> str:
    """An option without its hyphens: --topk and --top_k are --top-k to whoever types them."""
    return option.replace("-", "").replace("_", "").lower()
