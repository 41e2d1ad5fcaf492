"""From a field to a picture: pure functions, the same for the live widget and for the static one.

Three views of one field on one image:

- "region": the region bright on the darkened image, as in the paper's Figure 3;
- "contour": the image as it is, with the region's outline;
- "heat": the square root of the field's magnitude in colours, or little more than its maximum were seen.

Outlines are not painted into the picture but given as segments between pixels, so that they stay thin
and sharp however large the picture is shown.
"""

import io

import numpy as np
import torch
from matplotlib import colormaps
from PIL import Image

from gcnlab.annotations import Bool, Float, Shaped, Tensor, UInt8
from gcnlab.datasets.labels import IGNORE

VIEWS = ("region", "contour", "heat")
SHADE = 0.3
"""How bright the image stays outside the region."""

Segment = tuple[int, int, int, int]
"""(x, y) to (x, y), in pixels from the top left corner; pixel i reaches from i to i + 1."""


def paint(
    image: UInt8[Tensor, "3 height width"],
    field: Float[Tensor, "height width"] | None = None,
    region: Bool[Tensor, "height width"] | None = None,
    view: str = "region",
) -> UInt8[np.ndarray, "height width 3"]:
    """One view of a field on an image; the image itself as long as there is none.

    Args:
        image: RGB, 0 … 255.
        field: discrepancy or gradient; its magnitude is the heat.
        region: where it is large.
        view: "region", "contour" or "heat".

    Raises:
        ValueError: unknown view.
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
    """Label colours laid over the image in grey, which stays visible beneath.

    Args:
        colours: one per pixel (`LabelSet.colorize`).
        opacity: of the colours, 0 … 1.
    """
    grey = image.float().mean(0)[..., None].cpu()
    return (grey * (1 - opacity) + colours.cpu() * opacity).round().to(torch.uint8).numpy()


def edges(mask: Shaped[Tensor, "height width"]) -> list[Segment]:
    """The line between a mask and the rest, in as few horizontal and vertical segments as there are.

    Where the mask reaches the border of the image there is no line: what is beyond is not known.
    """
    inside = mask.bool().cpu().numpy()
    across = [(x, y, x2, y) for y, x, x2 in _runs(inside[1:] != inside[:-1])]
    down = [(x, y, x, y2) for x, y, y2 in _runs((inside[:, 1:] != inside[:, :-1]).T)]
    return across + down


def _runs(line: np.ndarray) -> list[tuple[int, int, int]]:
    """(line, start, stop) of every run of True; line 1 is the one behind the first row of pixels."""
    ends = np.diff(np.pad(line, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    starts, stops = np.argwhere(ends == 1), np.argwhere(ends == -1)
    return [(int(a[0]) + 1, int(a[1]), int(b[1])) for a, b in zip(starts, stops)]


def svg_path(segments: list[Segment]) -> str:
    """Segments as the `d` of an SVG path whose unit is the image's pixel."""
    return "".join(f"M{x} {y}L{x2} {y2}" for x, y, x2, y2 in segments)


def png(picture: UInt8[np.ndarray, "height width 3"]) -> bytes:
    """A picture as a PNG file. It is compressed fast rather than well: it only travels to the browser."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format="png", compress_level=1)
    return file.getvalue()


def object_under(
    labels: Shaped[Tensor, "height width"], pixel: tuple[int, int], background: int | None = None
) -> Bool[Tensor, "height width"] | None:
    """The pixels that hang together with `pixel` and have its label; None if that is no object.

    Args:
        labels: ids of classes or of objects.
        pixel: (row, column); outside the map there is no object.
        background: the id that is no object. Void (255) never is one.
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
