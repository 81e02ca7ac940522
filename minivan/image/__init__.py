"""From a photo to the network's input: examine, decode, orient, resize, crop, normalise.

What a file may cost is settled before a decoder starts: `bounds` has the limits, `headers` the walks over what files say of
themselves, `kinds` what is read at all. `decoding` makes a picture of a file, `preparing` the network's input of it. `bands`
has the pictures that are no RGB photos: grey ones, and those of cameras that see more than three colours. `given` has what
a program hands over in a file's place.
"""

from .bands import Bands
from .bounds import LARGEST_FILE, LARGEST_HELD, LARGEST_PIXELS, LONGEST, ImageError, walked
from .colour import to_rgb
from .decoding import Examined, Reading, Source, check_source, decode, examine, is_source, read_source
from .indices import read_indices
from .kinds import SUFFIXES
from .preparing import centre_crop, normalise, prepare, resize, view, viewed

__all__ = [
    "LARGEST_FILE",
    "LARGEST_HELD",
    "LARGEST_PIXELS",
    "LONGEST",
    "SUFFIXES",
    "Bands",
    "Examined",
    "ImageError",
    "Reading",
    "Source",
    "centre_crop",
    "check_source",
    "decode",
    "examine",
    "is_source",
    "normalise",
    "prepare",
    "read_indices",
    "read_source",
    "resize",
    "to_rgb",
    "view",
    "viewed",
    "walked",
]
