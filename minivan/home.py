"""The user's own folder for caches, where the user has one: in a container, and for a service, there may be no home at all."""

from __future__ import annotations

import os
from pathlib import Path


def user_cache() -> Path | None:
    """Return minivan's folder among the user's caches, as the platform has it; None where there is no home folder."""
    import platformdirs

    try:
        folder = platformdirs.user_cache_dir("minivan", appauthor=False)
    except (RuntimeError, KeyError, OSError):  # neither HOME nor an entry in the list of users
        return None
    return Path(folder) if os.path.isabs(folder) else None
