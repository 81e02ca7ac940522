"""Where weights lie on this machine, and where the published ones lie on the network."""

from __future__ import annotations

import os
from pathlib import Path

from ..variants import canonical
from .error import CheckpointError, quote


def bundled_folder() -> Path:
    """Return the folder of the weights that come with minivan: inside the package, or the repository's `weights/`."""
    package = Path(__file__).parents[1]
    inside = package / "bundled"
    return inside if inside.is_dir() else package.parent / "weights"


def cache_folder() -> Path:
    """Return the folder of the user's fetched weights: MINIVAN_HOME, or the platform's own place for caches."""
    home = os.environ.get("MINIVAN_HOME")
    if home:
        return Path(home).expanduser() / "weights"
    import platformdirs  # the library that pooch asks too; pooch itself takes 0.1 s to import

    return Path(platformdirs.user_cache_dir("minivan", appauthor=False)) / "weights"


def bundled() -> list[Path]:
    return sorted(bundled_folder().glob("*.safetensors"))


def cached() -> list[Path]:
    """Return the fetched weights, the last fetched first."""
    files = cache_folder().glob("*.safetensors")
    return sorted(files, key=lambda path: (-path.stat().st_mtime_ns, path.name))


def find(name_or_path: str | Path | None = None) -> Path:
    """Return the file that a name or a path means.

    None: the weights fetched last, or else the bundled ones. A variant ('b0', 'tiny'): its weights fetched last. The
    name of fetched or bundled weights ('van_b0_tiny_imagenet200'). Any other text is a path. Raises CheckpointError
    where there is no such file; nothing is downloaded.
    """
    if name_or_path is None:
        found = [*cached(), *bundled()]
        if not found:
            raise CheckpointError("no weights are here", "fetch some: python -m minivan fetch b0")
        return found[0]
    name = str(name_or_path)
    if not isinstance(name_or_path, Path):
        for path in (*cached(), *bundled()):
            if name == path.stem:
                return path
        try:
            variant = canonical(name)
        except ValueError:
            variant = None
        if variant:
            for path in cached():
                if path.stem.startswith(f"van_{variant}_"):
                    return path
            raise CheckpointError(f"the weights of {variant} are not here", f"fetch them: python -m minivan fetch {variant}")
    if not Path(name).exists():
        raise CheckpointError(f"no file {quote(name)}", "nor weights of that name (list: python -m minivan weights)")
    return Path(name)
