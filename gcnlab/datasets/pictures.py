"""Read pictures and label maps from files.

A picture that is decoded wrongly gives a wrong prediction, and a label map that is decoded wrongly
trains a wrong network, both silently. So a file that is not clearly a picture or a map of ids is an
error that names the file.

Pictures are decoded as follows:

- **orientation**: as the EXIF tag of a photograph says, as viewers show it. Data sets use the
  pixels as stored, because their labels match those;
- **transparency**: transparent pixels have their stored colours, or, with a `background`, are
  blended with it;
- **more than 8 bits**: see `gcnlab.datasets.grey`;
- **CMYK**: converted by Pillow. Colour profiles are ignored;
- **several pictures in a file**: an error, except for the previews and layers of MPO and PSD files.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from gcnlab.annotations import Tensor, UInt8
from gcnlab.datasets.grey import SIXTEEN_BITS, UnsupportedPicture, is_deep, to_eight_bits

WHITE = (255, 255, 255)

_FIRST_IS_ALL = ("MPO", "PSD")
_ORIENTATION = 274
_LOSSLESS = ("PNG", "BMP", "GIF", "PCX", "PPM", "TGA", "TIFF")
_LOSSLESS_TIFF = ("raw", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits", "lzma", "zstd")  # fmt: skip
_COLOURS = "colours, not ids: use the original PNGs with a palette or ids, not coloured copies"
_NOT_IDS = {
    "RGB": _COLOURS,
    "RGBA": _COLOURS,
    "I;16": "16 bits: perhaps instance ids; use the 8-bit class ids",
    "I": "more than 8 bits: perhaps instance ids; use the 8-bit class ids",
    "F": "floating point: perhaps logits; use the 8-bit class ids",
    "1": "one bit: a mask, not class ids",
    "L;4": "4-bit grey, which decoders scale: save the ids with 8 bits",
    "L;2": "2-bit grey, which decoders scale: save the ids with 8 bits",
    "L;I": "grey in which 0 is white, which decoders invert: save the ids with 0 as black",
}


def read_image(
    path: str | Path, upright: bool = True, background: tuple[int, int, int] | None = None
) -> UInt8[Tensor, "3 height width"]:
    """Read a picture as RGB.

    The memory format is channels last, as decoders produce it and as resizing is fast.

    Args:
        path: the file.
        upright: rotate a photograph as its EXIF tag says. False keeps the stored pixels, which the
            labels of a data set match.
        background: (red, green, blue) in 0 … 255, blended with transparent pixels (`WHITE`: as on a
            page). None ignores transparency and uses the stored colours.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is damaged, not a picture, or holds several pictures; or it is grey
            with more than 8 bits and an unknown white. The message names the file.
    """
    with _named(path), Image.open(path) as picture:
        stored_as = _stored_as(picture)
        _load(picture, upright)
        frame = _upright(picture) if upright else picture
        pixels = np.array(_rgb(frame, picture, stored_as, background))
    return torch.from_numpy(pixels).permute(2, 0, 1)


def read_labels(
    path: str | Path, palette: tuple[tuple[int, int, int], ...] | None = None
) -> UInt8[Tensor, "height width"]:
    """Read a label map of ids: an 8-bit PNG, greyscale or palette, or another lossless 8-bit file.

    Other formats are BMP, GIF, PCX, PGM, TGA and TIFF. The pixels are used as stored. Any other
    file is an error, in particular one with lossy compression (JPEG, WebP), whatever its extension,
    because compression changes ids.

    Args:
        path: the file.
        palette: (red, green, blue) of each id. If given, a palette PNG with other colours is an
            error, because its indices are not class ids.

    Raises:
        FileNotFoundError, ValueError: the file is missing, or it is not a label map; the message
            names the file.
    """
    with _named(path), Image.open(path) as picture:
        stored_as = _stored_as(picture)
        _load(picture, upright=False)
        _require_ids(picture, stored_as)
        ids = np.array(picture)
        if palette is not None and picture.mode == "P":
            _require_palette(ids, picture.getpalette() or [], palette)
    return torch.from_numpy(ids)


def palette_picture(ids: np.ndarray, colors: Sequence[tuple[int, int, int]]) -> Image.Image:
    """Make a palette picture of ids, uint8 (height, width), with the palette `colors`."""
    picture = Image.fromarray(ids).convert("P")
    picture.putpalette([value for color in colors for value in color])
    return picture


@contextmanager
def _named(path: str | Path) -> Iterator[None]:
    """Inside the block, errors about the file name it and take one line."""
    if Path(path).is_dir():
        raise ValueError(f"{path} is a folder, not an image: specify the images in it")
    if not Path(path).is_file():
        raise FileNotFoundError(f"file {path} does not exist")
    try:
        yield
    except UnsupportedPicture as error:
        raise ValueError(f"{path}: {error}") from None
    except Exception as error:  # Pillow raises many errors for damaged files
        why = " ".join(str(error).split())
        raise ValueError(f"{path}: damaged, or not an image ({why})") from error


def _stored_as(picture: Image.Image) -> str:
    """Pillow's raw mode of the pixels in the file ("L;4" is 4-bit grey); call before loading."""
    codec, _, _, arguments = picture.tile[0] if picture.tile else ("", None, 0, picture.mode)
    first, *more = [arguments] if isinstance(arguments, str) else (arguments or [picture.mode])
    if codec in ("ppm", "ppm_plain") and picture.mode == "L" and more != [255]:
        return f"L of 0 … {more[0]}"
    return first if isinstance(first, str) and codec != "jpeg2k" else picture.mode


def _load(picture: Image.Image, upright: bool) -> None:
    if getattr(picture, "is_animated", False) and picture.format not in _FIRST_IS_ALL:
        raise UnsupportedPicture(
            f"holds {picture.n_frames} images: save the one to use in a separate file"
        )
    turned = picture.format == "TIFF" and picture.tag_v2.get(_ORIENTATION, 1) in range(2, 9)
    if turned and not upright:
        raise UnsupportedPicture(
            "a TIFF with an orientation tag, by which Pillow rotates it: save it without the tag"
        )
    picture.load()


def _upright(picture: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(picture)
    except Exception as error:  # mostly struct.error
        raise UnsupportedPicture(
            f"its EXIF data, which hold the orientation, are damaged ({error}): save it without EXIF data"
        ) from error


def _rgb(
    frame: Image.Image,
    picture: Image.Image,
    stored_as: str,
    background: tuple[int, int, int] | None,
) -> Image.Image:
    """Convert `frame`, which is `picture` or a rotated copy of it, to RGB."""
    transparent = frame.has_transparency_data
    if is_deep(picture):
        if transparent and background is not None:
            raise UnsupportedPicture("16-bit grey with a transparent value: save it with 8 bits")
        return to_eight_bits(frame, picture, stored_as).convert("RGB")
    if not transparent:
        return frame.convert("RGB")
    layer = frame.convert("RGBA")
    if background is not None:
        page = Image.new("RGBA", layer.size, (*background, 255))
        layer = Image.alpha_composite(page, layer)
    return layer.convert("RGB")


def _require_ids(picture: Image.Image, stored_as: str) -> None:
    """Raise UnsupportedPicture unless every pixel of the file is an 8-bit id."""
    found = "I;16" if picture.mode in SIXTEEN_BITS else picture.mode
    if found == "L" and stored_as.startswith("L"):
        found = stored_as
    if found not in ("L", "P"):
        scaled = "decoders scale them: save the ids with 8 bits"
        why = _NOT_IDS.get(found, scaled if found.startswith("L") else "not ids")
        raise UnsupportedPicture(f"labels must be 8-bit ids (L or P), not {found} ({why})")
    kind = picture.format
    if kind == "TIFF":
        compression = picture.info.get("compression", "raw")
        kind = kind if compression in _LOSSLESS_TIFF else f"TIFF with {compression} inside"
    if kind not in _LOSSLESS:
        raise UnsupportedPicture(
            f"labels must be saved without lossy compression, but the file is a {kind}: use the "
            "original PNGs"
        )


def _require_palette(
    ids: np.ndarray, colors: list[int], palette: tuple[tuple[int, int, int], ...]
) -> None:
    """Raise UnsupportedPicture if a used id has another colour in the file than in `palette`."""
    others = [i for i, color in enumerate(palette) if tuple(colors[3 * i : 3 * i + 3]) != color]
    for i in others:
        if (ids == i).any():
            raise UnsupportedPicture(
                f"in the palette, id {i} has another colour than in the data set: these are not class ids; "
                "use the original PNGs"
            )
