"""The oracle: record what every layer gives, compare it with a port's, and name the first layer that differs.

trace = record(model, read_input("cat.jpg", model.card.preprocessing))    # or read_trace("trace.safetensors")
report = compare(trace, read("port.npz"), names=read_names("names.txt"))  # or without names, where they are the trace's
"""

from .baseline import Baseline, Judged, open_baseline
from .compare import Asked, Report, compare
from .digests import digest
from .naming import read_names
from .recorded import Port, Recorded, is_tensor, read, read_input, read_trace
from .stored import Spool
from .tolerance import Tolerance
from .trace import Trace, record, record_to, write

__all__ = [
    "Asked", "Baseline", "Judged", "Port", "Recorded", "Report", "Spool", "Tolerance", "Trace", "compare", "digest",
    "is_tensor", "open_baseline", "read", "read_input", "read_names", "read_trace", "record", "record_to",
    "write",
]  # fmt: skip
