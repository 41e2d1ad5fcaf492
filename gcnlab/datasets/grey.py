"""Grey pictures of more than 8 bits, as 8 bits: scaled by what the format calls white, never clipped.

    16 bits (PNG, PGM, TIFF, JPEG 2000)    v >> 8, as Pillow and libpng take colours of 16 bits
    floating point                         round(255 v), where all values lie in 0 … 1

Other depths have no white that everyone agrees on (32-bit integers, signed ones), or one that Pillow does not
give (TIFFs of 12 bits, TIFFs whose 0 is white): they are refused.
"""

import numpy as np
from PIL import Image

SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I;16N")
_FIX = "save it with 8 or 16 bits"
_WHITE_IS_ZERO, _PHOTOMETRIC = 0, 262


class Unfit(ValueError):
    """Why a picture that is whole cannot be taken, and what to do; the file's name is to be added."""


def is_deep(picture: Image.Image) -> bool:
    """Whether the picture is grey with more than 8 bits."""
    return picture.mode in (*SIXTEEN_BITS, "I", "F")


def to_eight_bits(frame: Image.Image, picture: Image.Image, stored_as: str) -> Image.Image:
    """A deep grey picture in mode "L".

    Args:
        frame: the pixels, loaded, perhaps turned.
        picture: the file they are from, opened.
        stored_as: Pillow's raw mode of the file's pixels.

    Raises:
        Unfit: nobody can tell which value is white.
    """
    tags = getattr(picture, "tag_v2", {})
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        raise Unfit(f"a deep TIFF whose 0 is white: {_FIX}, and 0 as black")
    values = np.array(frame)
    if picture.mode == "F":
        return Image.fromarray(_scaled_floats(values))
    if not _holds_sixteen_bits(picture, stored_as):
        raise Unfit(f"grey of {_depth(stored_as)}, whose white is not known: {_FIX}")
    return Image.fromarray((values.astype(np.uint16) >> 8).astype(np.uint8))


def _holds_sixteen_bits(picture: Image.Image, stored_as: str) -> bool:
    if picture.format == "TIFF":
        return stored_as in SIXTEEN_BITS  # "I;12", "I;16S" and "I;32S" are others
    return picture.format in ("PNG", "PPM", "JPEG2000")  # Pillow scales a PGM's values to 16 bits


def _scaled_floats(values: np.ndarray) -> np.ndarray:
    if not np.isfinite(values).all():
        raise Unfit("floating point with NaN or infinite values: replace them")
    low, high = values.min(), values.max()
    if low < 0 or high > 1:
        raise Unfit(
            f"floating point with values {low:g} … {high:g}; only 0 … 1 is known as black … white: "
            f"scale the values, or {_FIX}"
        )
    return np.round(255 * values).astype(np.uint8)


def _depth(stored_as: str) -> str:
    signed = "signed " if stored_as.endswith("S") else ""
    bits = "".join(c for c in stored_as if c.isdigit())
    return f"{signed}{bits} bits" if bits else "more than 8 bits"
