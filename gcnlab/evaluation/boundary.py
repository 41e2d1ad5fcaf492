"""Boundary and interior pixels, as in Table 5.

The paper calls the pixels at distance ≤ 7 from an object's boundary *boundary* and all others
*internal*, and reports the per-pixel accuracy of each. It states neither the norm of the distance
nor the treatment of void. Here both are settings. The distance of a pixel is measured between pixel
centres, to the nearest pixel with another label; it is 1 for a pixel that touches another label.
"""

import numpy as np
import torch

from gcnlab.annotations import Bool, Float, Shaped, Tensor
from gcnlab.datasets.ids import check_ids
from gcnlab.datasets.labels import IGNORE
from gcnlab.evaluation.settings import Norm, VoidRule


def boundary_distance(
    labels: Shaped[Tensor, "*batch height width"],
    ignore_index: int = IGNORE,
    norm: Norm = "euclidean",
    void: VoidRule = "edge",
) -> Float[Tensor, "*batch height width"]:
    """Distance of each pixel to the nearest pixel of another label, in pixels.

    Args:
        labels: class ids.
        ignore_index: the void id.
        norm: "euclidean" (default), "chebyshev" (squares) or "cityblock" (diamonds).
        void: "edge" (default): void is a label like any other, so an object ends where void begins
            (VOC draws its void strips on the objects' boundaries). "blank": the border of void is
            not a boundary; only two classes make one.

    Returns:
        The distances; infinity if the image has no other label, NaN on void pixels. The image's
        border is not a boundary.

    Raises:
        ValueError: the norm or rule is unknown, an id is negative and not void, or `labels` are not
            ids.
    """
    if norm not in ("euclidean", "chebyshev", "cityblock"):
        raise ValueError(f"unknown norm {norm!r}; choose euclidean, chebyshev or cityblock")
    if void not in ("edge", "blank"):
        raise ValueError(f"unknown void rule {void!r}; choose edge or blank")
    check_ids(labels, None, "labels", void=ignore_index)
    maps = labels.detach().cpu().reshape(-1, *labels.shape[-2:]).numpy()
    distances = np.empty(maps.shape, dtype=np.float32)
    for one, out in zip(maps, distances):
        out[:] = _distance(one, ignore_index, norm, void)
    return torch.from_numpy(distances).reshape(labels.shape).to(labels.device)


def boundary_mask(
    labels: Shaped[Tensor, "*batch height width"],
    distance: int | float = 7,
    ignore_index: int = IGNORE,
    norm: Norm = "euclidean",
    void: VoidRule = "edge",
) -> Bool[Tensor, "*batch height width"]:
    """Mark the pixels with `boundary_distance` ≤ `distance`, in pixels; never void.

    The interior consists of the other labelled pixels: `~mask & (labels != ignore_index)`.

    Raises:
        ValueError: `distance` is not positive, or `boundary_distance` raises an error.
    """
    if not distance > 0:
        raise ValueError(f"distance must be positive (in pixels), not {distance}")
    return boundary_distance(labels, ignore_index, norm, void) <= distance


def _distance(labels: np.ndarray, ignore_index: int, norm: str, void: str) -> np.ndarray:
    distances = np.full(labels.shape, np.inf, dtype=np.float32)
    is_void = labels == ignore_index
    for label in np.unique(labels[~is_void]):
        own = labels == label
        inside = own | is_void if void == "blank" else own
        # The nearest pixel outside lies in the bounding box of `inside` or on the ring around it.
        rows, columns = np.nonzero(inside.any(1))[0], np.nonzero(inside.any(0))[0]
        box = np.s_[
            max(0, rows[0] - 1) : rows[-1] + 2,
            max(0, columns[0] - 1) : columns[-1] + 2,
        ]
        if inside[box].all():
            continue  # no other label in the image
        distances[box][own[box]] = _transform(inside[box], norm)[own[box]]
    distances[is_void] = np.nan
    return distances


def _transform(inside: np.ndarray, norm: str) -> np.ndarray:
    """Distance of each True pixel to the nearest False pixel."""
    from scipy import ndimage  # here, so that training runs without scipy

    if norm == "euclidean":
        return ndimage.distance_transform_edt(inside)
    metric = {"chebyshev": "chessboard", "cityblock": "taxicab"}[norm]
    return ndimage.distance_transform_cdt(inside, metric)
