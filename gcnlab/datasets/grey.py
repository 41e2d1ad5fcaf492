"""Convert grey pictures with more than 8 bits to 8 bits, scaled by the format's white, never
clipped.

    16 bits (PNG, PGM, TIFF, JPEG 2000)    v >> 8, as Pillow and libpng convert 16-bit colours
    floating point                         round(255 v), if all values are in 0 … 1

Other pictures are errors: either the format does not define white (32-bit and signed integers), or
Pillow does not report it (12-bit TIFFs, TIFFs whose 0 is white).
"""

import numpy as np
from PIL import Image

SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I;16N")
_FIX = "save it with 8 or 16 bits"
_WHITE_IS_ZERO, _PHOTOMETRIC = 0, 262


class UnsupportedPicture(ValueError):
    """An intact picture cannot be used; the message says why and how to fix it. Callers add the
    file.
    """


def is_deep(picture: Image.Image) -> bool:
    """Whether a picture is grey with more than 8 bits."""
    return picture.mode in (*SIXTEEN_BITS, "I", "F")


def to_eight_bits(frame: Image.Image, picture: Image.Image, stored_as: str) -> Image.Image:
    """Convert a deep grey picture to mode "L".

    Args:
        frame: the loaded pixels, possibly rotated.
        picture: the opened file of the pixels.
        stored_as: Pillow's raw mode of the pixels in the file.

    Raises:
        UnsupportedPicture: it is not known which value is white.
    """
    tags = getattr(picture, "tag_v2", {})
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        raise UnsupportedPicture(f"a deep TIFF in which 0 is white: {_FIX}, and with 0 as black")
    values = np.array(frame)
    if picture.mode == "F":
        return Image.fromarray(_scaled_floats(values))
    if not _holds_sixteen_bits(picture, stored_as):
        raise UnsupportedPicture(
            f"grey with {_depth(stored_as)}, whose white value is unknown: {_FIX}"
        )
    return Image.fromarray((values.astype(np.uint16) >> 8).astype(np.uint8))


def _holds_sixteen_bits(picture: Image.Image, stored_as: str) -> bool:
    if picture.format == "TIFF":
        return stored_as in SIXTEEN_BITS  # not "I;12", "I;16S" or "I;32S"
    return picture.format in (
        "PNG",
        "PPM",
        "JPEG2000",
    )  # Pillow scales the values of a PGM to 16 bits


def _scaled_floats(values: np.ndarray) -> np.ndarray:
    if not np.isfinite(values).all():
        raise UnsupportedPicture("floating point with NaN or infinite values: replace them")
    low, high = values.min(), values.max()
    if low < 0 or high > 1:
        raise UnsupportedPicture(
            f"floating point with values {low:g} … {high:g}, but black … white must be 0 … 1: "
            f"scale the values, or {_FIX}"
        )
    return np.round(255 * values).astype(np.uint8)


def _depth(stored_as: str) -> str:
    signed = "signed " if stored_as.endswith("S") else ""
    bits = "".join(c for c in stored_as if c.isdigit())
    return f"{signed}{bits} bits" if bits else "more than 8 bits"
