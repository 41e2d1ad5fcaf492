"""An object of a photograph at any size: cut out by its mask, laid on another ground.

This is the paper's Figure 3, (A) → (B) → (C), with a real object: the same object is shown small,
larger and large, and only its size changes.

    cat = cut_out(*cat_photograph())
    image, mask = paste(cat, textured_ground(256, 384), scale=0.5)

The edge of the object is softened: its outermost pixels, and only these, are mixed with the new
ground, so that no pixel shows the ground it was cut from. An object that is resized is resized with
its transparency (premultiplied), for the same reason.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from gcnlab.annotations import Bool, Float, Tensor, UInt8
from gcnlab.datasets.shapes import texture

_MARGIN = 2
"""Transparent pixels around the object: bicubic interpolation reads two pixels to each side."""


@dataclass(frozen=True, eq=False)
class Cutout:
    """An object cut out of a photograph, in a box with a transparent margin.

    Attributes:
        colors: the colours inside the box, 0 … 255; 0 outside the object.
        alpha: the opacity, 0 … 1.
        mask: the pixels of the object.
        center: (row, column) of the box's centre in the photograph, in pixels; the centre of pixel i
            has the coordinate i.
    """

    colors: Float[Tensor, "3 rows columns"]
    alpha: Float[Tensor, "rows columns"]
    mask: Bool[Tensor, "rows columns"]
    center: tuple[float, float]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the object's box without the margin, in pixels."""
        rows, columns = self.mask.shape
        return rows - 2 * _MARGIN, columns - 2 * _MARGIN

    def __repr__(self) -> str:
        return f"Cutout({self.size[0]}×{self.size[1]}, center={self.center})"


def cut_out(image: UInt8[Tensor, "3 height width"], mask: Bool[Tensor, "height width"]) -> Cutout:
    """Cut an object out of a photograph.

    Args:
        image: the photograph.
        mask: the pixels of the object. Where the border of the photograph cuts the object off, its
            edge stays sharp.

    Raises:
        ValueError: the mask is empty.
    """
    if not mask.any():
        raise ValueError("the mask is empty: there is no object to cut out")
    rows, columns = (mask.any(axis).nonzero().flatten() for axis in (1, 0))
    box = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
    inside = mask.float()
    alpha = inside * F.avg_pool2d(_framed(inside, 1, "replicate"), 3, stride=1)[0]
    whole = _framed(mask[box].float(), _MARGIN)[0]
    return Cutout(
        colors=_framed(image[(slice(None), *box)].float() * inside[box], _MARGIN),
        alpha=_framed(alpha[box], _MARGIN)[0],
        mask=whole > 0,
        center=tuple((float(part.start) + part.stop - 1) / 2 for part in box),
    )


def paste(
    item: Cutout,
    ground: UInt8[Tensor, "3 height width"],
    center: tuple[int | float, int | float] | None = None,
    scale: int | float = 1.0,
    allow_outside: bool = False,
) -> tuple[UInt8[Tensor, "3 height width"], Bool[Tensor, "height width"]]:
    """Lay an object on a ground.

    Args:
        item: the object.
        ground: the image to lay it on; it is not changed.
        center: (row, column) for the centre of the object's box, in pixels, rounded so that the box
            lies on whole pixels. None means the centre of the ground. With `item.center`, the object
            lies where it was cut out.
        scale: the factor of the object's height and width, above 0.
        allow_outside: if no pixel of the object is on the ground, return the ground and an empty
            mask instead of raising an error.

    Returns:
        The image, and the mask of the object in it. What lies beyond the ground is cut off.

    Raises:
        ValueError: the scale is not positive or makes the object smaller than a pixel, or no pixel
            of the object is on the ground.
    """
    colors, alpha, inside = _resized(item, scale)
    height, width = ground.shape[-2:]
    if center is None:
        center = (height - 1) / 2, (width - 1) / 2
    rows, columns = inside.shape
    # The centre of the box, of `side` pixels at scale 1, is (side · scale − 1) / 2 at this scale.
    top, left = (
        round(middle - (side * scale - 1) / 2) for middle, side in zip(center, item.mask.shape)
    )
    there = slice(max(0, top), max(0, top + rows)), slice(max(0, left), max(0, left + columns))
    mask = torch.zeros(height, width, dtype=torch.bool)
    part = mask[there].shape
    here = (
        slice(max(0, -top), max(0, -top) + part[0]),
        slice(max(0, -left), max(0, -left) + part[1]),
    )
    mask[there] = inside[here]
    if not (allow_outside or mask.any()):
        raise ValueError(
            f"no pixel of the object is on the ground of {height}×{width} pixels: "
            f"its scale is {scale:g}, and its centre is {tuple(center)}"
        )
    result = ground.clone()
    below = ground[(slice(None), *there)].float()
    mixed = colors[(slice(None), *here)] + (1 - alpha[here]) * below
    result[(slice(None), *there)] = mixed.round().clamp(0, 255).to(torch.uint8)
    return result, mask


@dataclass(frozen=True, eq=False)
class Placed:
    """An object at one scale.

    Attributes:
        scale: the factor of its size.
        image: the object on the ground.
        mask: the pixels of the object.
        pixel: (row, column) of the pixel deepest inside the object.
    """

    scale: float
    image: UInt8[Tensor, "3 height width"]
    mask: Bool[Tensor, "height width"]
    pixel: tuple[int, int]


def at_scales(
    item: Cutout,
    ground: UInt8[Tensor, "3 height width"],
    scales: Iterable[int | float],
    center: tuple[int | float, int | float] | None = None,
) -> Iterator[Placed]:
    """Yield the same object at several scales on the same ground (the paper's Figure 3).

    Args:
        scales: the factors of its size, each above 0.
        item, ground, center: see `paste`.

    Raises:
        ValueError: see `paste`.
    """
    for scale in scales:
        image, mask = paste(item, ground, center, scale)
        yield Placed(float(scale), image, mask, deepest_pixel(mask))


def deepest_pixel(mask: Bool[Tensor, "height width"]) -> tuple[int, int]:
    """The pixel (row, column) of a mask that is farthest from all pixels outside of it.

    What is beyond the border of the image is outside. Of several such pixels, the first in reading
    order is returned.

    Raises:
        ValueError: the mask is empty.
    """
    if not mask.any():
        raise ValueError("the mask is empty: it has no deepest pixel")
    distances = depths(mask.detach().cpu())
    row, column = np.unravel_index(distances.argmax(), distances.shape)
    return int(row), int(column)


def depths(mask: Bool[Tensor, "height width"]) -> Float[np.ndarray, "height width"]:
    """The distance of every pixel of a mask to the nearest pixel outside of it, in pixels.

    What is beyond the border of the image is outside.
    """
    from scipy.ndimage import distance_transform_edt  # a bare GPU image has no scipy

    return distance_transform_edt(np.pad(mask.numpy(), 1))[1:-1, 1:-1]


def plain_ground(
    height: int, width: int, color: tuple[int, int, int] = (124, 116, 104)
) -> UInt8[Tensor, "3 height width"]:
    """A ground of one colour, (red, green, blue) in 0 … 255; by default ImageNet's mean."""
    return torch.tensor(color, dtype=torch.uint8)[:, None, None].repeat(1, height, width)


def textured_ground(height: int, width: int, seed: int = 1) -> UInt8[Tensor, "3 height width"]:
    """A ground with a random texture of the data set Shapes."""
    return torch.from_numpy(texture(seed, height, width))


def blurred_ground(
    image: UInt8[Tensor, "3 height width"], radius: int | float = 12
) -> UInt8[Tensor, "3 height width"]:
    """A photograph as a ground, blurred by a Gaussian of standard deviation `radius`, in pixels.

    Raises:
        ValueError: the radius is not positive.
    """
    from PIL import Image, ImageFilter

    if not radius > 0:
        raise ValueError(f"radius must be above 0, not {radius}")
    picture = Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
    soft = np.array(picture.filter(ImageFilter.GaussianBlur(radius)))
    return torch.from_numpy(soft).permute(2, 0, 1).contiguous()


def _resized(
    item: Cutout, scale: int | float
) -> tuple[
    Float[Tensor, "3 rows columns"], Float[Tensor, "rows columns"], Bool[Tensor, "rows columns"]
]:
    """Premultiplied colours, opacity and mask at another scale."""
    if not (math.isfinite(scale) and scale > 0):
        raise ValueError(f"scale must be above 0, not {scale}")
    if scale * max(item.size) < 1:
        raise ValueError(f"at scale {scale:g} the object of {item.size} is smaller than a pixel")
    premultiplied = item.colors * item.alpha
    if scale == 1:
        return premultiplied, item.alpha, item.mask
    layers = torch.cat([premultiplied, item.alpha[None], item.mask[None].float()])[None]
    more = math.ceil(1 / scale)  # `interpolate` drops the last part of a pixel: this is transparent
    layers = F.pad(layers, (0, more, 0, more))
    # With `scale_factor`, the scale is exact; with `size` it would be that of rounded sides.
    smooth = {"scale_factor": scale, "align_corners": False, "antialias": True}
    alpha, *colors = F.interpolate(layers[:, [3, 0, 1, 2]], mode="bicubic", **smooth)[0]
    alpha = alpha.clamp(0, 1)  # bicubic weights overshoot
    colors = torch.minimum(torch.stack(colors).clamp(min=0), 255 * alpha)
    inside = F.interpolate(layers[:, 4:], mode="bilinear", **smooth)[0, 0]
    return colors, alpha, inside >= 0.5


def _framed(
    layer: Float[Tensor, "*channels rows columns"], margin: int, mode: str = "constant"
) -> Float[Tensor, "channels_ rows_ columns_"]:
    """A layer with a margin on all sides, as a batch of channels."""
    layer = layer if layer.ndim == 3 else layer[None]
    return F.pad(layer, (margin,) * 4, mode=mode)
