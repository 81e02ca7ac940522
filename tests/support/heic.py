"""HEIC files, written by pillow-heif, the extra `heif`."""

import io
import struct

import pillow_heif


def heic(picture, **more):
    """A HEIC file of a picture of Pillow's, whose profile is taken from it, all but without loss."""
    file = io.BytesIO()
    pillow_heif.from_pillow(picture).save(file, quality=-1, chroma=444, matrix_coefficients=1, **more)
    return file.getvalue()


def heic_of_samples(mode, samples):
    """A HEIC file of samples (H, W, C) of 16 bits, of which it keeps ten, of a mode such as RGB;16."""
    file = io.BytesIO()
    made = pillow_heif.from_bytes(mode, samples.shape[1::-1], samples.astype("<u2").tobytes())
    made.save(file, quality=-1, chroma=444, matrix_coefficients=1)
    return file.getvalue()


def heic_coded(data, primaries, transfer):
    """The same HEIC file with other codes of its colours."""
    place = data.index(b"colrnclx") + 8
    return data[:place] + struct.pack(">HH", primaries, transfer) + data[place + 4 :]
