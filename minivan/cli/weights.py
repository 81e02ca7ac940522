"""python -m minivan weights: what is usable here; `weights show FILE`: what one file says of itself."""

from __future__ import annotations

import sys

from ..errors import WrongCall


def add_arguments(parser):
    parser.description = "List the weights that are here, bundled and fetched, or show what one checkpoint holds."
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions")
    summary = "print a checkpoint's metadata and a table of its tensors"
    show = actions.add_parser("show", help=summary, description=summary)
    show.add_argument("file", metavar="FILE", help="a file of any kind that convert reads, or the name of weights here")


def run(args) -> int:
    return show_file(args.file) if args.action == "show" else list_weights()


def list_weights() -> int:
    """Print a paragraph for each set of weights; an unusable file is named on standard error, and the exit status is 1."""
    from minivan.checkpoint import SOURCES, digest, hub, opened
    from minivan.variants import variant_of

    default = next(iter([*hub.cached(), *hub.bundled()]), None)
    failed = 0
    for place, paths in (("fetched", hub.cached()), ("bundled", hub.bundled())):
        for path in paths:
            try:
                with opened(path) as checkpoint:
                    card, config = checkpoint.card, checkpoint.config
                rows = {
                    "variant": variant_of(config) or f"dims {_numbers(config.dims)}, depths {_numbers(config.depths)}",
                    "classes": config.classes,
                    "source": f"{card.source} ({card.layout} layout)",
                    "file": f"{path}, {path.stat().st_size:,} bytes",
                    "sha256": digest(path),
                }
            except (ValueError, OSError) as error:
                print(f"minivan: unusable: {error}", file=sys.stderr)
                failed = 1
                continue
            print(f"{card.name}: {place}{', the default' if path == default else ''}")
            print_rows(rows)
    if not default:
        print("no weights are here")
    print(f"to fetch: {', '.join(sorted({source.variant for source in SOURCES}))} (python -m minivan fetch NAME)")
    return failed


def show_file(name: str) -> int:
    """Print the metadata of one checkpoint and a table of its tensors."""
    from minivan.checkpoint import digest, find, opened, resolve_folder

    try:
        path = resolve_folder(find(name))
        with opened(path) as checkpoint:
            sha256 = digest(path)
    except ValueError as error:
        raise WrongCall(str(error)) from None
    except OSError as error:
        raise WrongCall(f"{error.filename}: {error.strerror}") from None
    print(f"{path}: {checkpoint.format}, {path.stat().st_size:,} bytes")
    print_rows({"sha256": sha256} | metadata(checkpoint))
    print_tensors(checkpoint.stored)
    return 0


def metadata(checkpoint) -> dict:
    """Return what is known of a checkpoint, in words, in the order in which it is printed."""
    from minivan.variants import variant_of

    config, card = checkpoint.config, checkpoint.card
    names = f"{', '.join(label.short for label in card.labels[:3])}, ..." if card.labels else "their names are not known"
    rows = {
        "variant": variant_of(config) or "a shape of its own",
        "dims": _numbers(config.dims),
        "depths": _numbers(config.depths),
        "MLP ratios": _numbers(config.mlp_ratios),
        "classes": f"{config.classes} ({names})" if config.classes else "none: a backbone without a head",
        "eps": f"LayerNorm {config.layer_norm_eps:g}, BatchNorm {config.batch_norm_eps:g}",
        "input": f"shorter side {card.preprocessing.resize}, crop {card.preprocessing.crop}, "
        f"mean {_numbers(card.preprocessing.mean)}, std {_numbers(card.preprocessing.std)}",
        "layout": card.layout,
    }
    if card.source_sha256:
        rows |= {"source": card.source, "its sha256": card.source_sha256}
    if checkpoint.notes:
        rows["note"] = "; ".join(checkpoint.notes)
    return rows


def print_rows(rows: dict) -> None:
    width = max(map(len, rows)) + 2
    for key, value in rows.items():
        print(f"  {key:<{width}}{value}")


def print_tensors(stored: dict) -> None:
    """Print a line per tensor: name, dtype, shape, number of elements; then the sum."""
    rows = [(name, tensor.dtype, " x ".join(map(str, tensor.shape)), f"{tensor.count:,}") for name, tensor in stored.items()]
    rows.append((f"{len(stored)} tensors", "", "", f"{sum(tensor.count for tensor in stored.values()):,}"))
    name, dtype, shape, count = (max(map(len, column)) for column in zip(*rows, strict=True))
    for row in rows:
        print(f"  {row[0]:<{name}}  {row[1]:<{dtype}}  {row[2]:<{shape}}  {row[3]:>{count}}")


def _numbers(values) -> str:
    return " ".join(f"{value:g}" for value in values)
