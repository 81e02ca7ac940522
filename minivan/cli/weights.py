"""python -m minivan weights: what is usable here; `weights show FILE`: what one file says of itself."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from .arguments import RIGHT, add_key, add_strict, status, wrong_calls
from .printing import complain, note, say, say_rows

if TYPE_CHECKING:
    from ..checkpoint.tensor import StoredTensor


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "List the weights that are here, bundled and fetched, or show what one checkpoint holds."
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions")
    listed = "list the weights that are here, as weights alone does"
    names = actions.add_parser("list", help=listed, description=listed).add_argument
    names("--names", action="store_true", help="their names alone, one a line")
    summary = "print what a checkpoint holds, and how it is understood"
    show = actions.add_parser("show", help=summary, description=summary)
    show.add_argument("file", metavar="FILE", help="a file of any kind that convert reads, or the name of weights here")
    add_key(show)
    add_strict(show)
    show.add_argument("--tensors", action="store_true", help="print every tensor, not the sums of stages")


def run(args: argparse.Namespace) -> int:
    if args.action == "show":
        return show_file(args)
    if args.action == "list" and args.names:
        return list_names()
    return list_weights()


def list_names() -> int:
    """Print by which names weights go here, without opening any."""
    from ..checkpoint.hub import bundled, cached

    for path in (*cached(), *bundled()):
        say(path.stem)
    return RIGHT


def list_weights() -> int:
    """Print a paragraph for each set of weights; an unusable file is named on standard error and makes the answer a no."""
    from ..checkpoint import SOURCES, here, passed_over
    from ..variants import title_with_shape, variant_of

    found = here()
    unusable = 0
    if said := passed_over():
        note(said)
    for entry in found:
        if entry.checkpoint is None:
            complain(f"unusable: {entry.fault}")
            unusable += 1
            continue
        card, config = entry.checkpoint.card, entry.checkpoint.config
        with wrong_calls():
            sha256 = card.sha256
        say(f"{card.name}: {entry.place}{', the default' if entry.default else ''}")
        print_rows(({"version": card.version} if card.version else {}) | {
            "variant": variant_of(config) or title_with_shape(config),
            "classes": str(config.classes),
            "source": f"{card.source} ({card.layout} layout)",
            "file": f"{entry.path}, {entry.checkpoint.size:,} bytes",
            "sha256": sha256,
        })  # fmt: skip
    if not found:
        say("no weights are here")
    say(f"to fetch: {', '.join(sorted({source.variant for source in SOURCES}))} (python -m minivan fetch NAME)")
    return status(unusable, len(found))


def show_file(args: argparse.Namespace) -> int:
    """Print what is known of one checkpoint, and a table of its tensors or of their sums."""
    from ..checkpoint import SemanticFPN, facts, find, head_facts, odd_numbers, opened_any

    with wrong_calls(), opened_any(find(args.file), args.key, strict=args.strict) as found:
        head = found if isinstance(found, SemanticFPN) else found.head
        rows, stored = ({}, {}) if isinstance(found, SemanticFPN) else (facts(found), dict(found.stored))
        format = "minivan's own, a segmentation head" if isinstance(found, SemanticFPN) else found.format
        odd = odd_numbers(found)
        if head:
            rows |= head_facts(head)
            stored |= head.stored
            odd = odd or odd_numbers(head)
        sha256 = found.card.sha256
    held = f"{len(stored)} tensors, {_count(stored.values()):,} numbers"
    say(f"{found.card.file}: {format}, {found.size:,} bytes, {held}")
    print_rows({"sha256": sha256} | rows | ({"numbers": f"{odd}: loading needs --allow-nonfinite"} if odd else {}))
    print_table(tensor_rows(stored) if args.tensors else stage_rows(stored))
    return RIGHT


def print_rows(rows: Mapping[str, str]) -> None:
    """Print what -> words, one below the other; on a terminal long ones go on below their first line."""
    indent = max(map(len, rows)) + 4
    for key, value in rows.items():
        say(f"{f'  {key}':<{indent}}{value}", hang=indent - 2)


Row = tuple[str, str, str, str]


def tensor_rows(stored: Mapping[str, StoredTensor]) -> list[Row]:
    """Return a row per tensor: name, dtype, shape, number of elements."""
    return [(name, tensor.dtype, " x ".join(map(str, tensor.shape)), f"{tensor.count:,}") for name, tensor in stored.items()]


def stage_rows(stored: Mapping[str, StoredTensor]) -> list[Row]:
    """Return a row per stage, and one for the head, or for neck and head: dtypes, tensors, elements."""
    from ..paths import stage_of

    stages: dict[str, list[StoredTensor]] = {}
    for name, tensor in stored.items():
        stage = stage_of(name)
        stages.setdefault(f"stage {stage}" if stage else name.partition(".")[0], []).append(tensor)
    return [
        (name, " ".join(sorted({tensor.dtype for tensor in tensors})), f"{len(tensors)} tensors", f"{_count(tensors):,}")
        for name, tensors in stages.items()
    ]


def _count(tensors: Iterable[StoredTensor]) -> int:
    return sum(tensor.count for tensor in tensors)


def print_table(rows: list[Row]) -> None:
    say_rows(("", "", "", ""), [(f"  {name}", *others) for name, *others in rows], left=(0, 1, 2))
