"""What a block costs: functions called and bytes allocated, the same on every machine; processor time and resident memory."""

import sys
import time
import tracemalloc


class Cost:
    """Filled in when the block ends."""

    calls = 0  # of functions, Python's and C's, also of those in generators
    traced = 0  # bytes, at the highest
    seconds = 0.0  # of processor time
    resident = 0  # bytes, at the highest


class counting:
    """Count function calls in a block."""

    def __enter__(self):
        self.cost = Cost()

        def profile(frame, event, argument):
            self.cost.calls += event in ("call", "c_call")

        sys.setprofile(profile)
        return self.cost

    def __exit__(self, *error):
        sys.setprofile(None)


class tracing:
    """Trace the memory that a block allocates."""

    def __enter__(self):
        self.cost = Cost()
        tracemalloc.start()
        return self.cost

    def __exit__(self, *error):
        self.cost.traced = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()


class resources:
    """Measure a block's processor time and the resident memory that it adds at the highest (Linux)."""

    def __enter__(self):
        self.cost = Cost()
        self.before = _status("VmRSS")
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # the highest begins anew
        self.start = time.process_time()
        return self.cost

    def __exit__(self, *error):
        self.cost.seconds = time.process_time() - self.start
        self.cost.resident = _status("VmHWM") - self.before


def _status(name):
    """Return a figure of this process in bytes."""
    with open("/proc/self/status") as file:
        return next(1024 * int(line.split()[1]) for line in file if line.startswith(f"{name}:"))
