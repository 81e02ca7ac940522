"""The oracle: record what every layer gives, compare it with a port's, and name the first layer that differs."""

from .compare import Tolerance, compare
from .trace import Trace, digest, record, write

__all__ = ["Tolerance", "Trace", "compare", "digest", "record", "write"]
