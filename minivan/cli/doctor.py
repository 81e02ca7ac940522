"""python -m minivan doctor: what a report of a fault needs to say, and what is wrong with this machine's set-up."""

from __future__ import annotations

import argparse

from .arguments import NO, RIGHT, add_threads, wrong_calls
from .printing import say, say_json

WIDTH = 14  # columns of the subjects


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Say what a report of a fault needs, and check the kernel cache, the weights and every engine."
    add_threads(parser)
    parser.add_argument("--clear", action="store_true", help="remove all compiled kernels of all versions first")
    parser.add_argument("--json", action="store_true", help="as one JSON object")


def run(args: argparse.Namespace) -> int:
    from ..doctor import examine
    from ..kernel_survey import clear

    if args.clear:
        with wrong_calls():
            removed = clear()
        if not args.json:
            say(f"removed {removed} files of compiled kernels")
    findings = []
    for finding in examine():
        findings.append(finding)
        if not args.json:
            say(f"{finding.subject:<{WIDTH}}{finding.text}", flush=True, hang=WIDTH)
            if finding.wrong:
                say(f"{'':<{WIDTH}}WRONG: {finding.wrong}", flush=True, hang=0)
    wrong = sum(bool(finding.wrong) for finding in findings)
    if args.json:
        say_json({"findings": [finding._asdict() for finding in findings], "wrong": wrong})
    else:
        say("nothing is wrong" if not wrong else f"{wrong} of these are wrong")
    return NO if wrong else RIGHT
