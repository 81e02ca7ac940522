"""The one exception for a file that is not what it claims to be."""

from __future__ import annotations

from ..errors import printable, shortened

LONGEST = 500  # characters of what was found, and of why that will not do: a file can put anything in either


class CheckpointError(ValueError):
    """A checkpoint that cannot be used. Its text is one line: where, what was found, why that will not do.

    `what`, `why` and `where` (the file, then the place in it) are also attributes; `where` is filled in from the inside
    out as the error passes through `within`. What and why are cut where they are long.
    """

    def __init__(self, what: str, why: str = "", where: str = "") -> None:
        what, why = shortened(what, LONGEST), shortened(why, LONGEST)
        super().__init__(what, why, where)
        self.what, self.why, self.where = what, why, where

    def __str__(self) -> str:
        text = ": ".join(part for part in (self.where, self.what, self.why) if part)
        return printable(text)

    def within(self, place: object) -> CheckpointError:
        """Return the same error with `place` put before what `where` says already."""
        return type(self)(self.what, self.why, f"{place}, {self.where}" if self.where else str(place))
