"""The grid of windows on an image, one per position of the occluder, and the map of their effects.

Windows are placed as by `captum.attr.Occlusion`: from the top left, one every `stride` pixels,
until the border is covered; the last ones are cut off at the border.
"""

import math

import numpy as np
import torch

from gcnlab.annotations import Float, Tensor
from gcnlab.arguments import Pair, pair

Interval = tuple[int, int]
"""[start, stop) on one axis."""

Window = tuple[int, int]
"""(row, column) of a window in the grid."""

GOLDEN = (5**0.5 - 1) / 2


class OcclusionGrid:
    """A grid of rows × columns of windows.

    Args:
        size: height and width of the image.
        window: side of the occluder, or (height, width), in pixels; at most the image's.
        stride: distance between neighbouring windows, in pixels; at most the window's side, so that
            no pixel is skipped.

    Attributes:
        rows, columns: the interval of pixels that each row, or column, of windows covers.
        shape: number of rows and columns.

    Raises:
        ValueError: window or stride is out of range, or not an integer.
    """

    def __init__(
        self,
        size: tuple[int, int],
        window: Pair,
        stride: Pair,
    ):
        self.size = size
        self.window, self.stride = pair("window", window, 1), pair("stride", stride, 1)
        (height, width), (h, w), (dy, dx) = self.size, self.window, self.stride
        if h > height or w > width:
            raise ValueError(f"window {h}×{w} is larger than the image, {height}×{width}")
        if dy > h or dx > w:
            raise ValueError(f"stride {dy}×{dx} is larger than window {h}×{w}: it skips pixels")
        self.rows = _place(height, h, dy)
        self.columns = _place(width, w, dx)
        self.shape = len(self.rows), len(self.columns)

    def windows(self) -> list[Window]:
        """Every window, row by row."""
        return [(i, j) for i in range(self.shape[0]) for j in range(self.shape[1])]

    def sample(self, count: int, pixel: tuple[int, int]) -> list[Window]:
        """`count` windows, or all if there are fewer: one on the pixel, the others spread over the
        image."""
        rows, columns = self.shape
        found = [
            tuple(
                min(range(len(intervals)), key=lambda k: abs(sum(intervals[k]) - 2 * p))
                for intervals, p in zip((self.rows, self.columns), pixel)
            )
        ]
        # A lattice with the golden ratio covers all parts of the image.
        lattice = [
            (int(rows * (k + 0.5) / count), int(columns * (k * GOLDEN % 1))) for k in range(count)
        ]
        others = [
            window for window in dict.fromkeys(lattice + self.windows()) if window not in found
        ]
        return (found + others)[:count]

    def cells(self) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
        """Cut the image into cells at the borders of the windows, along rows and along columns.

        Returns:
            For each axis, the weight of each window in each cell's mean, (cells, windows), and the
            cells' lengths in pixels. The mean drop of all cells is down @ drops @ across.T.
        """
        return _cells(self.rows), _cells(self.columns)

    def spread(self, drops: Float[Tensor, "rows columns"]) -> Float[Tensor, "height width"]:
        """Map of the mean drop, for each pixel, of the windows that cover it."""
        (down, heights), (across, widths) = self.cells()
        means = torch.from_numpy(down @ drops.double().numpy() @ across.T)
        largest = means.abs().max()
        if largest == 0 or 1e-30 < largest < 1e38:  # representable in single precision
            means = means.float()
        tall = means.repeat_interleave(torch.from_numpy(heights), 0)
        return tall.repeat_interleave(torch.from_numpy(widths), 1)


def every_nth(count: int, step: int) -> np.ndarray:
    """Every `step`-th of `count` windows along one axis, and the last."""
    return np.unique([*range(0, count, step), count - 1])


def interpolation(count: int, at: np.ndarray) -> np.ndarray:
    """The weights of linear interpolation from the windows `at` of one axis to all of them,
    (count, windows in `at`)."""
    return np.array([np.interp(range(count), at, unit) for unit in np.eye(len(at))]).T


def _place(length: int, window: int, stride: int) -> list[Interval]:
    count = math.ceil((length - window) / stride) + 1
    return [(i * stride, min(i * stride + window, length)) for i in range(count)]


def _cells(intervals: list[Interval]) -> tuple[np.ndarray, np.ndarray]:
    edges = np.unique(intervals)
    start, stop = np.array(intervals).T
    inside = (start <= edges[:-1, None]) & (edges[1:, None] <= stop)
    return inside / inside.sum(1, keepdims=True), np.diff(edges)
