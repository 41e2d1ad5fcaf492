"""Pictures and label maps in files.

A picture that is read wrongly makes a network's answer wrong, and a label map that is read wrongly trains a
network wrongly; neither says anything. So whatever is not plainly a picture, or a map of ids, is an error that
names the file.

Where formats leave room, a picture is read so:

- **which side is up**: as the EXIF tag of a photograph says, as every viewer shows it. A data set's readers take
  the pixels as they are stored: its labels follow those;
- **transparent pixels**: the colours that are stored under them, or, if a `background` is given, what is seen on it;
- **more than 8 bits**: see `gcnlab.datasets.grey`;
- **CMYK**: by Pillow's formula. Colour profiles are not looked at, in any picture;
- **several pictures in a file**: refused, but for the previews and layers behind a photograph (MPO, PSD).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from gcnlab.annotations import Tensor, UInt8
from gcnlab.datasets.grey import SIXTEEN_BITS, Unfit, is_deep, to_eight_bits

WHITE = (255, 255, 255)

_FIRST_IS_ALL = ("MPO", "PSD")
_ORIENTATION = 274
_LOSSLESS = ("PNG", "BMP", "GIF", "PCX", "PPM", "TGA", "TIFF")
_LOSSLESS_TIFF = ("raw", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits", "lzma", "zstd")  # fmt: skip
_COLOURS = "colours, not ids: take the original palette or id PNGs, not pictures made of them"
_NOT_IDS = {
    "RGB": _COLOURS,
    "RGBA": _COLOURS,
    "I;16": "16 bits: instance ids, perhaps; take the 8-bit class ids",
    "I": "more than 8 bits: instance ids, perhaps; take the 8-bit class ids",
    "F": "floating point: scores, perhaps; take the 8-bit class ids",
    "1": "one bit: a mask, not class ids",
    "L;4": "4 bits of grey, which decoders scale: save the ids with 8 bits",
    "L;2": "2 bits of grey, which decoders scale: save the ids with 8 bits",
    "L;I": "grey whose 0 is white, which decoders invert: save the ids with 0 as black",
}


def read_image(
    path: str | Path, upright: bool = True, background: tuple[int, int, int] | None = None
) -> UInt8[Tensor, "3 height width"]:
    """Read a picture as RGB.

    A pixel's three values lie side by side in memory (channels last), as decoders give them and as
    resizing is quick.

    Args:
        upright: turn a photograph as its EXIF tag says. Without, the pixels stay where they are stored, as
            the labels of a data set want it.
        background: (red, green, blue) in 0 … 255, seen through transparent pixels (`WHITE`: as on a page).
            None leaves transparency out: the stored colours are taken.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: naming the file, if it is damaged or no picture, if it holds several pictures, or if it is
            grey with more than 8 bits and its white is not known.
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
    """Read a label map of ids: an 8-bit PNG, greyscale or palette, or another file that keeps every id.

    Others are BMP, GIF, PCX, PGM, TGA and TIFF of 8 bits. The pixels are taken as they are stored. Anything else
    is a ValueError, above all what was compressed with losses (JPEG, WebP), whatever its name ends in: it holds
    ids that nobody drew.

    Args:
        palette: (red, green, blue) of each id. A palette PNG whose colours are others is refused then: its
            indices are some program's numbers, not class ids.

    Raises:
        FileNotFoundError, ValueError: naming the file.
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
    """A picture whose pixels are the ids, uint8 (height, width), and whose palette is `colors`."""
    picture = Image.fromarray(ids).convert("P")
    picture.putpalette([value for color in colors for value in color])
    return picture


@contextmanager
def _named(path: str | Path) -> Iterator[None]:
    """Whatever goes wrong with the file inside the block names it, in one line."""
    if Path(path).is_dir():
        raise ValueError(f"{path} is a folder, not a picture: name the pictures in it")
    if not Path(path).is_file():
        raise FileNotFoundError(f"no file {path}")
    try:
        yield
    except Unfit as error:
        raise ValueError(f"{path}: {error}") from None
    except Exception as error:  # Pillow has many words for a damaged file
        why = " ".join(str(error).split())
        raise ValueError(f"{path}: damaged or not a picture ({why})") from error


def _stored_as(picture: Image.Image) -> str:
    """Pillow's raw mode of the pixels in the file ("L;4" is grey of 4 bits); before they are loaded."""
    codec, _, _, arguments = picture.tile[0] if picture.tile else ("", None, 0, picture.mode)
    first, *more = [arguments] if isinstance(arguments, str) else (arguments or [picture.mode])
    if codec in ("ppm", "ppm_plain") and picture.mode == "L" and more != [255]:
        return f"L of 0 … {more[0]}"
    return first if isinstance(first, str) and codec != "jpeg2k" else picture.mode


def _load(picture: Image.Image, upright: bool) -> None:
    if getattr(picture, "is_animated", False) and picture.format not in _FIRST_IS_ALL:
        raise Unfit(
            f"holds {picture.n_frames} pictures: save the one that is meant in a file of its own"
        )
    turned = picture.format == "TIFF" and picture.tag_v2.get(_ORIENTATION, 1) in range(2, 9)
    if turned and not upright:
        raise Unfit("a TIFF with an orientation, by which Pillow turns it: save it without")
    picture.load()


def _upright(picture: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(picture)
    except Exception as error:  # struct's, mostly
        raise Unfit(
            f"its EXIF data are damaged ({error}), and which side is up is in them: save it without"
        ) from error


def _rgb(
    frame: Image.Image,
    picture: Image.Image,
    stored_as: str,
    background: tuple[int, int, int] | None,
) -> Image.Image:
    """`frame`, which is `picture` or that turned, as RGB."""
    transparent = frame.has_transparency_data
    if is_deep(picture):
        if transparent and background is not None:
            raise Unfit("grey of 16 bits with a transparent value: save it with 8 bits")
        return to_eight_bits(frame, picture, stored_as).convert("RGB")
    if not transparent:
        return frame.convert("RGB")
    layer = frame.convert("RGBA")
    if background is not None:
        page = Image.new("RGBA", layer.size, (*background, 255))
        layer = Image.alpha_composite(page, layer)
    return layer.convert("RGB")


def _require_ids(picture: Image.Image, stored_as: str) -> None:
    """Raise Unfit unless every pixel of the file is an id of 8 bits."""
    found = "I;16" if picture.mode in SIXTEEN_BITS else picture.mode
    if found == "L" and stored_as.startswith("L"):
        found = stored_as
    if found not in ("L", "P"):
        scaled = "decoders scale them: save the ids with 8 bits"
        why = _NOT_IDS.get(found, scaled if found.startswith("L") else "not ids")
        raise Unfit(f"labels must be 8-bit ids (L or P), not {found} ({why})")
    kind = picture.format
    if kind == "TIFF":
        compression = picture.info.get("compression", "raw")
        kind = kind if compression in _LOSSLESS_TIFF else f"TIFF with {compression} inside"
    if kind not in _LOSSLESS:
        raise Unfit(
            f"labels must be ids that no compression changes, not a {kind}, whatever its name: take the "
            "original PNGs"
        )


def _require_palette(
    ids: np.ndarray, colors: list[int], palette: tuple[tuple[int, int, int], ...]
) -> None:
    """Raise Unfit if an id that occurs has another colour in the file than in `palette`."""
    others = [i for i, color in enumerate(palette) if tuple(colors[3 * i : 3 * i + 3]) != color]
    for i in others:
        if (ids == i).any():
            raise Unfit(
                f"the palette gives id {i} another colour than the data set's: these are not class ids; "
                "take the original PNGs"
            )
