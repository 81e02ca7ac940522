"""Weights on this machine, and the names they go by: bundled, and fetched into the user's cache. Nothing is downloaded here."""

from __future__ import annotations

import fnmatch
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .. import shipped
from ..errors import printable, quote, sentence
from ..home import user_cache
from ..variants import VARIANTS, canonical
from .error import CheckpointError

if TYPE_CHECKING:
    from .open_checkpoint import Checkpoint

HEAD = "_fpn"  # how the names of heads end that lie beside the bundled weights: 'van_b0_camvid_fpn'


def bundled_folder() -> Path:
    """Return the folder of the weights that come with minivan: inside the package, or the repository's `weights/`."""
    inside = shipped.PACKAGE / "bundled"
    return inside if shipped.holds_files(inside) else shipped.PACKAGE.parent / "weights"


def home_folder() -> Path | None:
    """Return the folder for what minivan fetches: MINIVAN_HOME, or the user's own among caches; None where there is no home."""
    home = os.environ.get("MINIVAN_HOME")
    if home:
        try:
            return Path(os.path.abspath(os.path.expanduser(home)))  # pathlib's raises where a `~name` is nobody's
        except OSError:  # a relative path, and the working folder is gone
            return None
    return user_cache()


def bundled() -> list[Path]:
    """Return the files of the weights that come with minivan: networks, without heads that need one."""
    return [path for path in shipped.files(bundled_folder(), ".safetensors") if not path.stem.endswith(HEAD)]


def bundled_heads() -> list[Path]:
    """Return the files of segmentation heads that come with minivan."""
    return [path for path in shipped.files(bundled_folder(), ".safetensors") if path.stem.endswith(HEAD)]


def find_head(name_or_path: str | Path | None = None) -> Path:
    """Return the file of a segmentation head, or of a network with one, that a name or a path means; None: the bundled head.

    Raises CheckpointError where there is no such file; nothing is downloaded.
    """
    here = bundled_heads()
    if name_or_path is None:
        if not here:
            raise CheckpointError(
                "no segmentation head is here", "name a file with one: docs/checkpoints.md says which are read"
            )
        return here[0]
    named = next((path for path in here if path.stem == name_or_path), None)
    if named is None and not Path(name_or_path).exists() and shipped.content(name_or_path) is None:
        raise CheckpointError(
            f"no file {quote(str(name_or_path))}", "nor a segmentation head of that name that comes with minivan"
        )
    return named or Path(name_or_path)


def cached() -> list[Path]:
    """Return the fetched weights, the last fetched first; none where the place cannot be looked at: nobody has to have one."""
    return _looked_at()[0]


def passed_over() -> str:
    """Return a sentence on fetched weights that cannot be looked at, if there are any; '' where all were."""
    if (fault := _looked_at()[1]) is None:
        return ""
    return f"fetched weights, if there are any, were passed over ({printable(sentence(fault))})"


def _looked_at() -> tuple[list[Path], OSError | None]:
    """Return the fetched weights, the last fetched first, and what kept the others, if any, from being looked at."""
    home = home_folder()
    if home is None:
        return [], None
    times: dict[Path, int] = {}
    fault = None
    try:
        there = [home / "weights" / name for name in os.listdir(home / "weights") if name.endswith(".safetensors")]
    except (FileNotFoundError, NotADirectoryError):  # nothing was ever fetched
        return [], None
    except OSError as error:  # another user's, as HOME is after a change of user
        return [], error
    for path in there:
        try:
            times[path] = path.stat().st_mtime_ns
        except FileNotFoundError:  # removed by another process
            continue
        except OSError as error:
            fault = error
    return sorted(times, key=lambda path: (-times[path], path.name)), fault


def find(name_or_path: str | Path | None = None) -> Path:
    """Return the file that a name or a path means.

    None: the weights fetched last, or else the bundled ones. A variant ('b0', 'tiny'): its weights fetched last. The
    name of fetched or bundled weights ('van_b0_tiny_imagenet200'). Any other text is a path. Raises CheckpointError
    where there is no such file; nothing is downloaded.
    """
    here = [*cached(), *bundled()]
    if name_or_path is None:
        if not here:
            raise CheckpointError("no weights are here", "fetch some: python -m minivan fetch b0")
        return here[0]
    name = str(name_or_path)
    if not name:
        raise CheckpointError("an empty name", "name weights, or leave the name out for the default")
    if isinstance(name_or_path, str):
        for path in (*here, *bundled_heads()):
            if path.stem == name:
                return path
        variant = variant_named(name)
        if variant:
            for path in cached():
                if path.stem.startswith(f"van_{variant}_"):
                    return path
            why = [passed_over(), f"fetch them: python -m minivan fetch {variant}"]
            raise CheckpointError(f"the weights of {variant} are not here", "; ".join(filter(None, why)))
    if not Path(name).exists() and shipped.content(name) is None:
        raise CheckpointError(f"no file {quote(name)}", "nor weights of that name (list: python -m minivan weights)")
    return Path(name)


def list_models(pattern: str = "*", *, here: bool = False) -> list[str]:
    """Return the names that `minivan.load` takes and that a pattern matches as a shell's would ('b*', 'van_*'), sorted.

    They are the variants whose weights are published, 'b0' and so on, and the weights on this machine by the names of their
    files, fetched and bundled. `here` leaves out variants that were not fetched yet.

    >>> list_models("b[0-2]"), list_models("*imagenet200", here=True)
    (['b0', 'b1', 'b2'], ['van_b0_tiny_imagenet200'])
    """
    from .sources import SOURCES

    fetched = [path.stem for path in cached()]
    usable = {variant for variant in VARIANTS if any(name.startswith(f"van_{variant}_") for name in fetched)}
    offered = set() if here else {source.variant for source in SOURCES}
    names = {*fetched, *(path.stem for path in bundled()), *usable, *offered}
    return sorted(name for name in names if fnmatch.fnmatchcase(name, pattern))


def variant_named(name: str) -> str | None:
    """Return 'b0'..'b6' for a variant's name or alias, None for any other text."""
    try:
        return canonical(name)
    except ValueError:
        return None


@dataclass(frozen=True)
class Here:
    """One file of weights on this machine: where from, and what it says of itself or why it cannot be used."""

    path: Path
    place: str  # 'fetched' or 'bundled'
    default: bool  # whether it is what `find()` returns
    checkpoint: Checkpoint | None  # closed: its tensors have shapes and no numbers any more
    fault: str = ""  # a sentence, where there is no checkpoint


def here() -> list[Here]:
    """Open every file of weights on this machine, the default first, and return what each says. Nothing is raised."""
    from .weights import opened

    places = [("fetched", path) for path in cached()] + [("bundled", path) for path in bundled()]
    found = []
    for number, (place, path) in enumerate(places):
        try:
            with opened(path) as checkpoint:
                found.append(Here(path, place, number == 0, checkpoint))
        except (ValueError, OSError) as error:
            found.append(Here(path, place, number == 0, None, printable(sentence(error))))
    return found
