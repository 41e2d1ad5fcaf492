"""The occluders on an image: a grid of windows, and the map that their effects make.

Windows are laid as `captum.attr.Occlusion` lays them: from the top left, one every `stride` pixels, until
the border is covered; the last ones are cut by the border.
"""

import math

import numpy as np
import torch

from gcnlab.annotations import Float, Tensor
from gcnlab.arguments import Pair, pair

Interval = tuple[int, int]
"""[start, stop) on one axis."""

GOLDEN = (5**0.5 - 1) / 2


class Windows:
    """A grid of rows × columns of windows.

    Args:
        size: height and width of the image.
        window: side of the occluder, or (height, width), in pixels; at most the image.
        stride: steps between windows, in pixels; at most the window, or pixels would be skipped.

    Attributes:
        rows, columns: the intervals that the grid's rows and columns of windows cover.
        shape: how many there are.

    Raises:
        ValueError: for a window or stride that is out of range, or no whole number of pixels.
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
        self.rows = _lay(height, h, dy)
        self.columns = _lay(width, w, dx)
        self.shape = len(self.rows), len(self.columns)

    def members(self) -> list[tuple[int, int]]:
        """(row, column) in the grid of every window."""
        return [(i, j) for i in range(self.shape[0]) for j in range(self.shape[1])]

    def some(self, count: int, pixel: tuple[int, int]) -> list[tuple[int, int]]:
        """`count` windows, or all: one on the pixel, the others spread over the image."""
        rows, columns = self.shape
        found = [
            tuple(
                min(range(len(intervals)), key=lambda k: abs(sum(intervals[k]) - 2 * p))
                for intervals, p in zip((self.rows, self.columns), pixel)
            )
        ]
        # A lattice by the golden ratio leaves no part of the image out.
        lattice = [
            (int(rows * (k + 0.5) / count), int(columns * (k * GOLDEN % 1))) for k in range(count)
        ]
        others = [
            member for member in dict.fromkeys(lattice + self.members()) if member not in found
        ]
        return (found + others)[:count]

    def cells(self) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
        """The image cut where windows begin and end, along rows and along columns.

        Returns:
            Per axis the share that each window has in each cell's mean, (cells, windows), and the
            cells' lengths in pixels. A cell's mean drop is down @ drops @ across.T.
        """
        return _cells(self.rows), _cells(self.columns)

    def spread(self, drops: Float[Tensor, "rows columns"]) -> Float[Tensor, "height width"]:
        """Give each pixel the mean of the drops of the windows on it."""
        (down, heights), (across, widths) = self.cells()
        means = torch.from_numpy(down @ drops.double().numpy() @ across.T)
        largest = means.abs().max()
        if largest == 0 or 1e-30 < largest < 1e38:  # what single precision can hold
            means = means.float()
        tall = means.repeat_interleave(torch.from_numpy(heights), 0)
        return tall.repeat_interleave(torch.from_numpy(widths), 1)


def _lay(length: int, window: int, stride: int) -> list[Interval]:
    count = math.ceil((length - window) / stride) + 1
    return [(i * stride, min(i * stride + window, length)) for i in range(count)]


def _cells(intervals: list[Interval]) -> tuple[np.ndarray, np.ndarray]:
    edges = np.unique(intervals)
    start, stop = np.array(intervals).T
    inside = (start <= edges[:-1, None]) & (edges[1:, None] <= stop)
    return inside / inside.sum(1, keepdims=True), np.diff(edges)
