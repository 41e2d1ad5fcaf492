"""Turn a field into a picture: pure functions for the live widget and the static figure.

There are four views of a field on an image:

- "region": the region bright on the darkened image, as in the paper's Figure 3;
- "contour": the unchanged image with the outline of the region;
- "heat": a heat map of the square root of the field's magnitude, which also shows small values;
- "prediction": the outline of the region on the classes that are predicted (`tint`).

Outlines are not painted into the picture. They are segments between pixels, so that they stay thin
and sharp at any size of the picture.
"""

import io

import numpy as np
import torch
from matplotlib import colormaps
from PIL import Image

from gcnlab.annotations import Bool, Float, Shaped, Tensor, UInt8
from gcnlab.datasets.labels import IGNORE

VIEWS = ("region", "contour", "heat", "prediction")
SHADE = 0.3
"""Brightness of the image outside the region, 0 … 1."""

Segment = tuple[int, int, int, int]
"""From (x, y) to (x, y), in pixels from the top left corner; pixel i extends from i to i + 1."""


def paint(
    image: UInt8[Tensor, "3 height width"],
    field: Float[Tensor, "height width"] | None = None,
    region: Bool[Tensor, "height width"] | None = None,
    view: str = "region",
) -> UInt8[np.ndarray, "height width 3"]:
    """Paint one view of a field on an image; without a field, return the image.

    Args:
        image: RGB, 0 … 255.
        field: discrepancy or gradient; the heat map shows its magnitude.
        region: the mask of the region.
        view: "region", "contour", "heat" or "prediction"; for the last, `image` is the tinted one.

    Raises:
        ValueError: the view is unknown.
    """
    if view not in VIEWS:
        raise ValueError(f"unknown view {view!r}; choose {', '.join(VIEWS)}")
    picture = image.permute(1, 2, 0).cpu().numpy()
    if view == "heat" and field is not None:
        size = field.abs().cpu().numpy()
        level = np.sqrt(size / max(size.max(), np.finfo(np.float32).tiny))
        colours = (colormaps["magma"](np.linspace(0, 1, 256))[:, :3] * 255).round()
        return colours.astype(np.uint8)[(level * 255).astype(np.uint8)]
    if view == "region" and region is not None:
        shade = np.where(region.cpu().numpy(), 1.0, SHADE)[..., None]
        return (picture * shade).astype(np.uint8)
    return picture.copy()


def tint(
    image: UInt8[Tensor, "3 height width"],
    colours: UInt8[Tensor, "height width 3"],
    opacity: int | float = 0.6,
) -> UInt8[np.ndarray, "height width 3"]:
    """Blend label colours with the image in grey.

    Args:
        image: RGB, 0 … 255.
        colours: one colour per pixel (`LabelSet.colorize`).
        opacity: opacity of the colours, 0 … 1.
    """
    grey = image.float().mean(0)[..., None].cpu()
    return (grey * (1 - opacity) + colours.cpu() * opacity).round().to(torch.uint8).numpy()


def edges(mask: Shaped[Tensor, "height width"]) -> list[Segment]:
    """The outline of a mask, as the smallest number of horizontal and vertical segments.

    There is no line along the border of the image, because the mask beyond it is unknown.
    """
    inside = mask.bool().cpu().numpy()
    across = [(x, y, x2, y) for y, x, x2 in _runs(inside[1:] != inside[:-1])]
    down = [(x, y, x, y2) for x, y, y2 in _runs((inside[:, 1:] != inside[:, :-1]).T)]
    return across + down


def _runs(line: np.ndarray) -> list[tuple[int, int, int]]:
    """(line, start, stop) of every run of True; line 1 is after the first row of pixels."""
    ends = np.diff(np.pad(line, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    starts, stops = np.argwhere(ends == 1), np.argwhere(ends == -1)
    return [(int(a[0]) + 1, int(a[1]), int(b[1])) for a, b in zip(starts, stops)]


def svg_path(segments: list[Segment]) -> str:
    """Segments as the attribute `d` of an SVG path, in pixels of the image."""
    return "".join(f"M{x} {y}L{x2} {y2}" for x, y, x2, y2 in segments)


def png(picture: UInt8[np.ndarray, "height width 3"]) -> bytes:
    """Encode a picture as PNG, with fast compression, because it is only sent to the browser."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format="png", compress_level=1)
    return file.getvalue()


def object_under(
    labels: Shaped[Tensor, "height width"], pixel: tuple[int, int], background: int | None = None
) -> Bool[Tensor, "height width"] | None:
    """The connected component of pixels with the label of `pixel`; None if it is not an object.

    Args:
        labels: ids of classes or objects.
        pixel: (row, column); a pixel outside the map has no object.
        background: the id of the background, which is not an object; void (255) is not one either.
    """
    from scipy.ndimage import label

    row, column = pixel
    if not (0 <= row < labels.shape[0] and 0 <= column < labels.shape[1]):
        return None
    own = int(labels[row, column])
    if own in (IGNORE, background):
        return None
    parts, _ = label((labels == own).cpu().numpy())
    return torch.from_numpy(parts == parts[row, column])
