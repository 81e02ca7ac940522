"""What the lesson's sentences have in common: channels, and units."""

from __future__ import annotations

from .language import Language


def all_channels(channels: int, say: Language) -> str:
    return say("channels.one") if channels == 1 else say("channels.all", C=channels)


def narrow_unit(smallest: float, say: Language) -> tuple[str, float]:
    """Return the name and the size of the unit that keeps a table with this smallest number narrow."""
    for size, name in ((1e15, "unit.billions"), (1e12, "unit.millions"), (1e9, "unit.thousands")):
        if smallest >= 10 * size:
            return say(name), size
    return (say("unit.million"), 1e6) if smallest >= 1e6 else (say("unit.one"), 1)
