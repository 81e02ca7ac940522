"""What the lesson's sentences have in common: numbers with their nouns, and units."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def all_channels(channels: int) -> str:
    return "its one channel" if channels == 1 else f"all {channels:,} channels"


def narrow_unit(smallest: float) -> tuple[str, float]:
    """Return the name and the size of the unit that keeps a table with this smallest number narrow."""
    for name, size in (("billions", 1e15), ("millions", 1e12), ("thousands", 1e9)):
        if smallest >= 10 * size:
            return f"In {name} of millions of multiply-adds", size
    return ("In millions of multiply-adds", 1e6) if smallest >= 1e6 else ("Multiply-adds", 1)


def none_or(number: int) -> str:
    return "not one" if number == 0 else f"{number:,}"
