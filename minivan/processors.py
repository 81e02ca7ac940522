"""How many threads this process may compute with at once: its processor budget, not the processors of the machine.

A container is often given two processors' time on a machine of sixty-four. Sixty-four threads then use up in a moment what was
meant for a tenth of a second, and all of them stand still for the rest of it. So the number of threads is the least of: the
processors that the process may run on (its affinity), and the processor time per second that its control groups leave it,
rounded up. Linux alone has control groups; their files are described in its Documentation/admin-guide/cgroup-v2.rst and
Documentation/scheduler/sched-bwc.rst.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import threading
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from .input import read

MOST_THREADS = 1024  # that anybody may ask for: more is a mistake, or an attack on the machine
MOST_BYTES = 4 << 20  # of a file in which the system describes itself


class Budget(NamedTuple):
    """How many threads may compute at once, and what says so."""

    threads: int
    limited_by: str  # 'the machine', 'the affinity of this process' or 'the quota of its control group'


def budget() -> Budget:
    """Return this process's budget. The affinity is looked at anew each time, the quota once in a process."""
    allowed, whole = affinity(), _rounded_up()
    if whole is not None and whole < allowed:
        return Budget(whole, "the quota of its control group")
    return Budget(allowed, "the affinity of this process" if allowed < (os.cpu_count() or 1) else "the machine")


def threads() -> int:
    """Return the budget's threads alone. Every call of a model asks, and to count the machine's processors takes its time."""
    allowed, whole = affinity(), _rounded_up()
    return allowed if whole is None else min(allowed, whole)


def name() -> str:
    """Return the processor's name, as well as the system knows it."""
    with contextlib.suppress(OSError):
        for line in _lines(Path("/proc/cpuinfo")):
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    import platform

    return platform.processor() or platform.machine()


def startable(most: int) -> int:
    """Return how many threads this process can compute on, its own among them, up to `most`.

    Tried out before libraries do that end the process, or wait without an end, where fewer can start.
    """
    started: list[threading.Thread] = []
    done = threading.Event()
    try:
        while len(started) < most - 1:
            thread = threading.Thread(target=done.wait, name="trial", daemon=True)
            thread.start()
            started.append(thread)
    except RuntimeError:
        pass
    finally:
        done.set()
        for thread in started:
            thread.join()
    return 1 + len(started)


def affinity() -> int:
    """Return on how many processors the process may run."""
    if hasattr(os, "sched_getaffinity"):  # Linux alone has it
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@functools.lru_cache(maxsize=1)
def _rounded_up() -> int | None:
    seconds = quota()
    return None if math.isinf(seconds) else max(1, math.ceil(seconds))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_rounded_up.cache_clear)  # a child may have been put into another group


def quota(root: Path = Path("/")) -> float:
    """Return the seconds of processor time that control groups leave this process in a second; infinity if they do not say.

    `root` is where /proc and the mounted hierarchies are looked for. The group of the process and every group above it that
    can be seen from here counts: the tightest decides. Versions 1 and 2 are both read, wherever they are mounted.
    """
    try:
        return min((_limit(folder) for folder in _groups(root)), default=math.inf)
    except (OSError, ValueError):  # no Linux, or a /proc that is hidden
        return math.inf


def _groups(root: Path) -> Iterator[Path]:
    """Yield the folder of every control group that limits this process's processor time."""
    paths = {}  # what a hierarchy is called in mountinfo -> the process's group in it
    for line in _lines(root / "proc/self/cgroup"):
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0":
            paths["cgroup2"] = path
        elif "cpu" in controllers.split(","):
            paths["cgroup"] = path
    for line in _lines(root / "proc/self/mountinfo"):
        before, _, after = (part.split(" ") for part in line.partition(" - "))  # a field may be empty
        if len(before) < 5 or len(after) < 3:
            continue
        (mounted, place), (kind, _, options) = (_unescaped(text) for text in before[3:5]), after[:3]
        if kind in paths and (kind == "cgroup2" or "cpu" in options.split(",")):
            yield from _upwards(root / place.lstrip("/"), mounted, paths[kind])


def _upwards(place: Path, mounted: str, group: str) -> Iterator[Path]:
    """Yield the folder of a group and those above it, up to the place where the hierarchy is mounted.

    `mounted` is the group that is seen at that place. A group outside of it (a container that sees the names of its host)
    cannot be looked at: then the one at the place is the process's own.
    """
    inside = PurePosixPath(group)
    if not inside.is_relative_to(mounted) or ".." in inside.parts:
        inside = PurePosixPath(mounted)
    folder = place / inside.relative_to(mounted)
    yield from (above for above in (folder, *folder.parents) if above.is_relative_to(place))


def _limit(group: Path) -> float:
    """Return the seconds in a second that one group may use, of version 2 or of version 1; infinity if it has no limit."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            words = [word for name in names for word in _lines(group / name)[0].split()]
            used, period = words  # microseconds
            if used != "max" and int(used) > 0 and int(period) > 0:
                return int(used) / int(period)
        except (OSError, ValueError, IndexError):
            continue
    return math.inf


def _lines(path: Path) -> list[str]:
    text = read(path, MOST_BYTES).decode(errors="surrogateescape")
    return text.removesuffix("\n").split("\n")  # a name may hold any other character that ends lines


def _unescaped(text: str) -> str:
    """Turn mountinfo's octal codes back into the characters that would part its fields."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\043", "#"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text
