"""What a process does with a shard, with the seconds for which all its threads computed: what `cluster.py` measures."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1])]

from minivan.predict.shard import Answering, Outcome, Shard  # noqa: E402


class Timed:
    """`Answering` that also says how long it computed, and in which process; in a module that a cluster's processes import."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        self.work = Answering(*args, **kwargs)

    def __call__(self, shard: Shard) -> tuple[Outcome, float, int]:
        start = time.process_time()
        return self.work(shard), time.process_time() - start, os.getpid()
