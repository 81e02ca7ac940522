"""The page that `python -m minivan lka` prints."""

import contextlib
import io

from minivan.cli import main


def told(*arguments):
    """Run the command and return its standard output, line by line."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main(["lka", *map(str, arguments)]) == 0
    return out.getvalue().splitlines()


def words(text):
    """Undo the line breaks of a page."""
    return " ".join(text.split())
