"""The unit whose receptive field is asked for: one class at one pixel of the score map."""

from typing import Any

import torch

from gcnlab.annotations import Float, Tensor
from gcnlab.arguments import Pixel, Whole, class_of, image_tensor, pixel_of


def check_image(image: Tensor | Any) -> None:
    """Raise ValueError unless `image` is one float image (channels, height, width)."""
    image = image_tensor("image", image)
    if image.ndim != 3:
        raise ValueError(f"image must be (channels, height, width), not {tuple(image.shape)}")


def check_scores(scores: Tensor) -> None:
    """Raise ValueError if scores are NaN or infinite: every map made of them would be empty."""
    if not torch.isfinite(scores).all():
        raise ValueError("the model's scores for this image are not all finite (NaN or infinite)")


def locate(
    scores: Float[Tensor, "classes rows columns"], pixel: Pixel, target: Whole | None
) -> int:
    """The class to look at: `target`, or the predicted one if it is None.

    Raises:
        ValueError: the pixel or the class is outside the score map, or not made of whole numbers.
    """
    classes, rows, columns = scores.shape
    row, column = pixel = pixel_of(pixel)
    if not (0 <= row < rows and 0 <= column < columns):
        raise ValueError(f"pixel (row, column) = {pixel} is outside the {rows}×{columns} score map")
    if target is None:
        return int(torch.argmax(scores[:, row, column]))
    return class_of(target, classes)


def place_of(
    unit: tuple[int, int], image_size: tuple[int, int], map_size: tuple[int, int]
) -> tuple[int, int]:
    """(row, column) of the image in the middle of a unit of the score map; itself, if sizes are alike."""
    return tuple((2 * u + 1) * n // (2 * m) for u, n, m in zip(unit, image_size, map_size))
