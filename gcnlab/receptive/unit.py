"""The unit whose receptive field is computed: one class at one position of the score map.

A network may return a map of another size than the image (SegFormer: a quarter). A position on the
map, a unit, is then not a pixel of the image; the functions here convert one into the other. The
argument `pixel` of `valid_field`, `Occlusion`, `gradient_field` and `locate` is a position on the
score map, that is, a unit.
"""

from typing import Any

import torch

from gcnlab.annotations import Float, Int, Tensor
from gcnlab.arguments import Pixel, Whole, class_of, pixel_of
from gcnlab.images import image_tensor

BEST = 3
"""Number of classes whose probabilities are told."""


def likeliest_classes(
    logits: Float[Tensor, "classes *places"],
) -> tuple[Int[Tensor, "best *places"], Float[Tensor, "best *places"]]:
    """The ids of the likeliest classes, likeliest first, and their probabilities, on the CPU."""
    shares, ids = logits.float().softmax(0).cpu().topk(min(BEST, len(logits)), dim=0)
    return ids, shares


def check_image(image: Tensor | Any) -> None:
    """Raise ValueError unless `image` is one float image (channels, height, width)."""
    image = image_tensor("image", image)
    if image.ndim == 4:
        raise ValueError(f"image must be one image, not a batch {tuple(image.shape)}: use image[0]")
    if image.ndim != 3 or 0 in image.shape:
        raise ValueError(f"image must be (channels, height, width), not {tuple(image.shape)}")


def unit_at(
    pixel: tuple[int, int], image_size: tuple[int, int], map_size: tuple[int, int]
) -> tuple[int, int]:
    """The unit (row, column) of a score map whose area contains a pixel of the image.

    The units divide the image evenly: with 16 rows for 64 pixels, each has 4. If the map is as
    large as the image, the unit is the pixel itself.

    Args:
        pixel: (row, column) on the image.
        image_size, map_size: (height, width).

    Raises:
        ValueError: the pixel is outside the image.
    """
    if not all(0 <= p < n for p, n in zip(pixel, image_size)):
        size = "×".join(map(str, image_size))
        raise ValueError(f"pixel (row, column) = {tuple(pixel)} is outside the {size} image")
    row, column = (p * units // n for p, n, units in zip(pixel, image_size, map_size))
    return row, column


def pixels_of(
    unit: tuple[int, int], image_size: tuple[int, int], map_size: tuple[int, int]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """The rows and columns, each [start, stop), of the pixels for which `unit_at` returns this
    unit.

    Some units of a map that is larger than the image have no pixels.

    Raises:
        ValueError: the unit is outside the map.
    """
    if not all(0 <= u < n for u, n in zip(unit, map_size)):
        size = "×".join(map(str, map_size))
        raise ValueError(f"unit (row, column) = {tuple(unit)} is outside the {size} score map")
    rows, columns = (
        (-(-u * n // units), -(-(u + 1) * n // units))  # rounded up
        for u, n, units in zip(unit, image_size, map_size)
    )
    return rows, columns


def middle_pixel(
    unit: tuple[int, int], image_size: tuple[int, int], map_size: tuple[int, int]
) -> tuple[int, int]:
    """The pixel (row, column) in the middle of a unit's pixels, or the pixel that contains a unit
    smaller than a pixel.

    Raises:
        ValueError: the unit is outside the map.
    """
    intervals = pixels_of(unit, image_size, map_size)
    row, column = (
        (start + stop) // 2 if start < stop else u * n // units
        for (start, stop), u, n, units in zip(intervals, unit, image_size, map_size)
    )
    return row, column


def check_finite(logits: Tensor) -> None:
    """Raise ValueError if a logit is NaN or infinite: every map computed from it would be empty."""
    if not torch.isfinite(logits).all():
        raise ValueError("the model's logits for this image are not all finite (NaN or infinite)")


def locate(
    score_map: Float[Tensor, "classes rows columns"], pixel: Pixel, target: Whole | None
) -> int:
    """The class of interest: `target`, or the predicted class if it is None.

    Raises:
        ValueError: the pixel or the class is outside the score map, or not made of integers.
    """
    classes, rows, columns = score_map.shape
    row, column = pixel = pixel_of(pixel)
    if not (0 <= row < rows and 0 <= column < columns):
        raise ValueError(f"pixel (row, column) = {pixel} is outside the {rows}×{columns} score map")
    if target is None:
        return int(torch.argmax(score_map[:, row, column]))
    return class_of(target, classes)
