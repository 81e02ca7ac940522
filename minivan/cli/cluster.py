"""What --cluster does: the images of a command are answered by the processes of a Ray cluster, shard by shard."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import WrongCall
from .arguments import WRONG, advised, load_model, positive, reading, status, wrong_calls
from .printing import complain, note, say

if TYPE_CHECKING:
    from ..predict.run import Run
    from ..predict.shard import Outcome, Shard
    from ..predict.storage import Folder

ROWS = (".csv", ".tsv", ".jsonl", ".parquet", ".npy")  # endings of files, which no folder has by mistake


def add_cluster(parser: argparse.ArgumentParser) -> None:
    """Add --cluster, --workers and --images-per-shard."""
    group = parser.add_argument_group("on a cluster (pip install '.[ray]')")
    where = "a Ray cluster's address, or auto: the one that is here, else one that is started on this machine"
    group.add_argument("--cluster", metavar="ADDRESS", help=f"{where}; each .tar is a shard, -o a folder or s3://...")
    group.add_argument("--workers", type=positive, metavar="N", help="processes (default: one for each of its processors)")
    cut = "images that make up a shard where they lie in folders (default: 1000)"
    group.add_argument("--images-per-shard", type=positive, default=1000, metavar="N", help=cut)


def check(args: argparse.Namespace) -> None:
    """Raise WrongCall where a command cannot run on a cluster as it was called, or there is no Ray here."""
    from .. import cluster
    from ..predict import table

    if not args.output:
        raise WrongCall("--cluster writes a file of rows for each shard: say into which folder with -o FOLDER")
    if args.output.lower().endswith(ROWS):
        raise WrongCall(f"{args.output}: --cluster writes a Parquet file for each shard into a folder: -o FOLDER")
    with wrong_calls():
        cluster.check()
        table.pyarrow()


def classify(args: argparse.Namespace) -> int:
    """Answer images on a cluster: `classify --cluster`."""
    from ..predict.shard import Answering, find_shards

    check(args)
    if args.json:
        raise WrongCall("--json prints answers, and those of --cluster are in files: leave it out")
    model = load_model(args)
    with wrong_calls():
        shards = find_shards(args.paths, model.config.channels, args.images_per_shard)
        work = Answering(model, args.output, args.top_k, how=reading(args), batch_size=args.batch_size, threads=1)
        done = carried_out(work, work.folder, work.about, shards, args, args.resume)
    tell(done, work.folder)
    before = f", {done.kept:,} of them from the run before" if done.kept else ""
    images = f"{done.images:,} images in {len(done.outcomes):,} shards{before}"
    say(f"{work.folder}: {images}, {done.failed:,} without an answer")
    return WRONG if not done.images else status(done.failed, done.images + len(done.lost))


def carried_out(
    work: Callable[[Shard], Outcome],
    folder: Folder,
    about: Mapping[str, Any],
    shards: Sequence[Shard],
    args: argparse.Namespace,
    resume: bool,
) -> Run:
    """Have a cluster do the work for all shards, and show how far it is. Raises ValueError and OSError."""
    from .. import cluster
    from ..predict import run
    from .classify import progress

    run.begin(folder, about, shards, resume)
    finished = 0
    try:
        with progress(len(shards), "shards") as advance:

            def done(outcome: Outcome) -> None:
                nonlocal finished
                finished += 1
                advance(1)

            outcomes = cluster.run(work, shards, args.cluster, args.workers, done)
    except BaseException:
        if finished:
            again = "--resume" if hasattr(args, "resume") else "the same command"
            note(f"{folder} keeps the rows of {finished:,} of {len(shards):,} shards: {again} goes on with them")
        raise
    return run.finish(folder, about, shards, outcomes)


def tell(done: Run, folder: Folder) -> None:
    """Say which images have no answer, the first of each shard by name, and which shards were lost."""
    for each in done.outcomes:
        for image, fault in each.faults:
            complain(f"{image}: {advised(fault)}")
        if each.failed > len(each.faults):
            complain(f"{each.shard}: and {each.failed - len(each.faults):,} more images, see {each.file} in {folder}")
    for shard in done.lost:
        complain(f"{shard}: it ended each process that began it, for want of memory perhaps; --workers with fewer leaves more")
