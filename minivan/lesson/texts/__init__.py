"""All that the lesson says, by key: each text in every language, side by side. `minivan.lesson.language` fills them in."""

from . import frame, gate, kernel, photo, price, surroundings, which

LANGUAGES = ("en", "zh")  # in the order in which a text's languages stand

TEXTS: dict[str, tuple[str, str]] = {
    **frame.TEXTS,
    **price.TEXTS,
    **kernel.TEXTS,
    **gate.TEXTS,
    **photo.TEXTS,
    **surroundings.TEXTS,
    **which.TEXTS,
}
