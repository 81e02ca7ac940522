"""The page that takes a network apart in a browser: one HTML file, without a server, without a network connection.

`van.js` is VAN in plain JavaScript; it gives the bits of the engine `exact`. `write` makes the file.
"""

from .contents import Photo, check, look
from .write import write

__all__ = ["Photo", "check", "look", "write"]
