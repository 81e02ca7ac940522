"""A function called for each of many items by the processes of a Ray cluster. Nothing here knows what the function does.

Ray Data (https://docs.ray.io/en/latest/data/data.html) is given the items, one block each, and `map_batches` an actor that
holds the function: it is unpickled once in each process. A process that dies is replaced, and its item is tried TRIES times.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import os
import pickle
import signal
import socket
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from . import __version__
from .errors import WrongCall, reason, sentence
from .processors import budget

Item = TypeVar("Item")
Result = TypeVar("Result")

TRIES = 3  # of an item whose process died
STORE = 128 << 20  # bytes of shared memory that a cluster started here takes, beside two copies of the function
PATIENCE = 10  # seconds in which a cluster's address has to answer
AUTO, LOCAL = "auto", "local"
RESULT, REFUSED, FAULT = "result", "refused", "fault"  # what a call gave: its result, a line for the user, a traceback


def run(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    address: str = AUTO,
    workers: int | None = None,
    done: Callable[[Result], object] = lambda result: None,
) -> list[Result]:
    """Return what `work` returns for each item, in the order in which they are done, when `done` is told of each.

    An item that ended every process that began it is left out. `work` and the items are pickled; a process has one processor.
    `address` is a cluster's, 'host:6379'; 'auto' is the one that RAY_ADDRESS names or this machine belongs to, and where there
    is none, one that is started on this machine and ended with the run, as 'local' always is. `workers` is how many processes
    there are, by default one for each processor of the cluster. Raises ValueError where Ray is not installed, where no cluster
    answers, and for a ValueError or an OSError of `work`: the run ends with the first. Ray reports no use of it unless
    RAY_USAGE_STATS_ENABLED asks for that, and what anything prints meanwhile is kept out of standard output.
    """
    wanted = [pickle.dumps(item) for item in items]
    ray, packed, results = _library(), pickle.dumps(work), list[Result]()
    if not wanted:
        return results
    with _silence(), _connected(ray, address, workers, STORE + 2 * len(packed)):
        data = importlib.import_module("ray.data")
        _quiet(data)
        number = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        pool = data.ActorPoolStrategy(size=min(number, len(wanted)), max_tasks_in_flight_per_actor=1)
        rows = data.from_items([{"item": item} for item in wanted], override_num_blocks=len(wanted)).map_batches(
            Process, batch_size=1, compute=pool, fn_constructor_args=(ray.put(packed), __version__), num_cpus=1,
            max_restarts=-1, max_task_retries=TRIES - 1,
        )  # fmt: skip
        for row in rows.iter_rows():
            kind, value = pickle.loads(row["item"])
            if kind == REFUSED:
                raise ValueError(value)
            if kind == FAULT:
                raise RuntimeError(f"a process of the cluster failed:\n{value}")
            results.append(value)
            done(value)
    return results


class Process:
    """What each process of the cluster holds: the function, made ready once."""

    def __init__(self, packed: Any, version: str) -> None:
        os.environ["NUMBA_NUM_THREADS"] = "1"  # read when Numba is imported: each process has one processor
        self.work: Callable[[Any], Any] | None = None
        self.wrong = ""
        if version != __version__:
            self.wrong = f"a machine of the cluster has minivan {__version__}, and this one {version}: install the same"
            return
        try:
            self.work = pickle.loads(importlib.import_module("ray").get(packed))
        except Exception as error:  # which Ray would try again for ever
            self.wrong = f"a process of the cluster cannot begin: {reason(error)}"

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[bytes]]:
        """Call the function for each item of a batch, pickled under 'item'; so are what it returned or raised."""
        return {"item": [pickle.dumps(self._called(item)) for item in batch["item"]]}

    def _called(self, item: bytes) -> tuple[str, Any]:
        if self.work is None:
            return REFUSED, self.wrong
        try:
            return RESULT, self.work(pickle.loads(item))
        except (ValueError, OSError, WrongCall) as error:
            return REFUSED, sentence(error)
        except Exception as error:
            return FAULT, "".join(traceback.format_exception(error))


def check() -> None:
    """Raise ValueError where Ray, or what it needs for this, is not installed."""
    _library()


def _library() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reads these when it is imported
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        importlib.import_module("ray.data")
        return importlib.import_module("ray")
    except ModuleNotFoundError as error:
        if error.name not in ("ray", "ray.data"):
            raise ValueError(f"Ray Data cannot be imported: {reason(error)}: pip install '.[ray]' brings all of it") from None
        raise ValueError("a cluster needs the package ray: pip install '.[ray]' from a clone of minivan") from None
    except Exception as error:  # as one that was built for another version of something
        raise ValueError(f"Ray cannot be imported: {reason(error)}") from None


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep what Ray's threads print out of standard output, which belongs to answers, and its warnings of later versions."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # pyproject.toml says which versions are used
        yield


@contextlib.contextmanager
def _connected(ray: Any, address: str, workers: int | None, store: int) -> Iterator[None]:
    """Be part of a cluster within the block; one that was started for it is ended with it."""
    if ray.is_initialized():  # by whoever calls this as a library
        yield
        return
    shared: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    here = max(budget().threads, workers or 1)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        _answers(os.environ.get("RAY_ADDRESS", "") if address == AUTO else address)
        with _no_errors_of_c():
            if address != LOCAL:
                try:
                    ray.init(address=address, **shared)
                except ConnectionError:
                    if address != AUTO or os.environ.get("RAY_ADDRESS"):
                        raise
            if not ray.is_initialized():
                ray.init(address=LOCAL, num_cpus=here, include_dashboard=False, object_store_memory=store, **shared)
    except Exception as error:
        with contextlib.suppress(Exception):
            ray.shutdown()
        raise ValueError(f"no Ray cluster at {address}: {reason(error).partition('. ')[0]}") from None
    finally:
        with contextlib.suppress(ValueError):  # not in the main thread, where Ray sets none either
            for number, handler in before.items():
                signal.signal(number, handler)
    try:
        yield
    finally:
        ray.shutdown()


def _answers(address: str) -> None:
    """Raise OSError where nothing listens at 'host:port': Ray itself would go on trying for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdecimal():
        with socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE):
            pass


def _quiet(data: Any) -> None:
    """Have Ray Data show no bars and log into its own files alone, and go on where an item is lost."""
    context = data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.max_errored_blocks = -1  # which items are lost is seen by what is missing
    for handler in logging.getLogger("ray.data").handlers:
        if not getattr(handler, "baseFilename", None) and "File" not in type(handler).__name__:
            handler.setLevel(logging.CRITICAL + 1)


@contextlib.contextmanager
def _no_errors_of_c() -> Iterator[None]:
    """Keep what Ray's own C++ writes to standard error as it starts away from the terminal: what fails is raised as well."""
    try:
        kept = os.dup(2)
    except OSError:  # there is no standard error
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
