"""What --cluster does: the images of a command are answered by the processes of a Ray cluster, shard by shard."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import WrongCall
from .arguments import WRONG, advised, load_model, positive, reading, status, wrong_calls
from .printing import complain, note, say_written

if TYPE_CHECKING:
    from ..evaluate import Evaluation
    from ..learn import Featured
    from ..predict.run import Run
    from ..predict.shard import Outcome, Shard
    from ..predict.storage import Folder
    from ..van import VAN

FILES = (".csv", ".tsv", ".json", ".jsonl", ".parquet", ".npy")  # endings of files, which no folder has by mistake
LOST = "it ended each process that began it, for want of memory perhaps; --workers with fewer leaves more"
ROWS = "rows"  # the folder of an evaluation's rows, in that of its results


def add_cluster(parser: argparse.ArgumentParser, output: str = "-o a folder or s3://...") -> None:
    """Add --cluster, --workers and --images-per-shard; `output` is what -o is then."""
    group = parser.add_argument_group("on a cluster (pip install '.[ray]')")
    where = "a Ray cluster's address, or auto: the one that is here, else one that is started on this machine"
    group.add_argument("--cluster", metavar="ADDRESS", help=f"{where}; each .tar is a shard, {output}")
    group.add_argument("--workers", type=positive, metavar="N", help="processes (default: one for each of its processors)")
    cut = "images that make up a shard where they lie in folders (default: 1000)"
    group.add_argument("--images-per-shard", type=positive, default=1000, metavar="N", help=cut)


def names_file(output: str) -> bool:
    """Tell whether what was to be a folder has the ending of a file."""
    return output.lower().partition("?")[0].endswith(FILES)


def features(args: argparse.Namespace, model: VAN) -> tuple[list[Featured], Sequence[str]]:
    """Return the features of a labelled dataset's photos, made on a cluster: `finetune --cluster`; and what to note of it."""
    from .. import cluster
    from ..evaluate import sharded
    from ..learn import Featured, Featuring
    from .classify import progress

    with wrong_calls():
        cluster.check()
        shards, notes = sharded.find_labelled(args.dataset, args.images_per_shard)
        alone = len(shards) == 1 and bool(shards[0].tar)
        with progress(len(shards), "shards") as advance:
            done = dict(
                cluster.run(
                    Featuring(model, how=reading(args), threads=1, alone=alone), shards, args.cluster, args.workers,
                    lambda result: advance(1),
                )
            )  # fmt: skip
    found = [photo for shard in shards for photo in done.get(shard.name, ())]
    return found + [Featured(shard.name, "", None, fault=LOST) for shard in shards if shard.name not in done], notes


def check(args: argparse.Namespace) -> None:
    """Raise WrongCall where a command cannot run on a cluster as it was called, or there is no Ray here."""
    from .. import cluster
    from ..engines import FAST, find
    from ..predict import table
    from ..predict.storage import bare

    if not args.output:
        raise WrongCall("--cluster writes a file of rows for each shard: say into which folder with -o FOLDER")
    if names_file(args.output):
        raise WrongCall(f"{bare(args.output)}: --cluster writes a Parquet file for each shard into a folder: -o FOLDER")
    if find(args.engine).choose is not None:
        args.engine = FAST.name  # one choice for all machines, whatever each has compiled
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
    say_written(f"{work.folder}: {images}, {done.failed:,} without an answer")
    return WRONG if not done.images else status(done.failed, done.images + len(done.lost))


def evaluate(args: argparse.Namespace) -> tuple[Evaluation, list[str]]:
    """Evaluate on a cluster, `evaluate --cluster`; return what was found out, and what to know of the files that say so."""
    from ..evaluate import sharded
    from ..predict.storage import bare, within

    check(args)
    if args.against:
        raise WrongCall("--against compares on one machine: leave out --cluster, or evaluate the other weights there as well")
    model = load_model(args)
    with wrong_calls():
        shards, notes = sharded.find_labelled(args.dataset, args.images_per_shard)
        for remark in notes:
            note(remark)
        alone = len(shards) == 1 and bool(shards[0].tar)
        folder, how = within(args.output, ROWS), reading(args)
        work = sharded.Judging(model, folder, skip_unknown=args.skip_unknown, how=how, threads=1, alone=alone)
        start = time.perf_counter()
        done = carried_out(work, work.folder, work.about, shards, args, resume=True)
        now = sum(each.images for each in done.outcomes if not each.kept)
        seconds = (time.perf_counter() - start) * done.images / now if now else 0.0  # as if all had been done in this run
        name = bare(args.dataset[0]) + (f" and {len(args.dataset) - 1} more" if len(args.dataset) > 1 else "")
        found = sharded.gathered(model, name, work.folder, done, notes, seconds)
        return found, reported(found, args.output)


def reported(found: Evaluation, output: str) -> list[str]:
    """Write an evaluation's files into a folder, or below an address, and return what to know of them."""
    from ..evaluate import write
    from ..predict.storage import Folder, is_address

    if not is_address(output):
        return write(found, output)
    import tempfile

    with tempfile.TemporaryDirectory(prefix="minivan-") as made:
        remarks = write(found, made)
        for name in sorted(os.listdir(made)):
            with Folder(output).replacing(name) as file:
                file.write(Path(made, name).read_bytes())
    return remarks


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
        complain(f"{shard}: {LOST}")
