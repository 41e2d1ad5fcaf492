"""Run some of the windows: coarsely everywhere, finely along the region's edge.

The windows of the grid are run level by level: 3 × 3 of them, then for example every 8th, every 4th
and every 2nd, then those between. Windows that are not run are interpolated from the level before.
When a window is run, the error of its interpolated value becomes known; on the next level, the
error expected nearby is three quarters of it. This gives, for each part of the image, the
probability of being on the wrong side of the region's threshold: the *doubt*. On every level the
windows with the least doubt are left out, as many as the wanted agreement with the region of all
windows allows. With an agreement of 1, all windows are run.

The factor of three quarters makes the expected agreement right on average, for regions by maximum,
over random networks and networks trained on Shapes and CamVid. A single field can fall short of it,
and regions by mass, whose threshold depends on every window, do so by some hundredths.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch

from gcnlab.receptive.grid import OcclusionGrid, Window, every_nth, interpolation
from gcnlab.receptive.regions import level_of
from gcnlab.receptive.settings import OcclusionSettings

FIRST = 9
"""Windows run before the first result; later results come after a quarter of the number run so
far."""

PER_LEVEL = 0.75
"""Factor of the interpolation error when the distance of the windows is halved."""

HIGHER = 0.3
"""Share of the region that is assumed wrong if the true maximum is elsewhere."""


def drill_down(
    grid: OcclusionGrid, run: Callable[[list[Window]], np.ndarray], settings: OcclusionSettings
) -> Iterator[tuple[np.ndarray, float]]:
    """Estimate the drops of all windows from some of them.

    Args:
        grid: the grid.
        run: computes the drops of some windows of the grid.
        settings: the region, and the agreement to reach: the intersection over
            union of the estimate's region with that of all windows.

    Yields:
        The drops, (rows, columns), run or interpolated, and the expected agreement. More windows
        have been run each time; the last one is the result.
    """
    step = 1
    while max(grid.shape) > 2 * step + 1:
        step *= 2
    estimate, error = np.zeros(grid.shape), np.full(grid.shape, np.inf)
    done = np.zeros(grid.shape, bool)
    while True:
        lattice = [every_nth(n, step) for n in grid.shape]
        doubt = doubts(grid, estimate, np.where(done, 0, error), settings)
        wanted = _most_doubtful(doubt, done, lattice, step, 1 - settings.agreement)
        more = bool(wanted)
        while wanted:
            count = max(FIRST, int(done.sum()) // 4)
            windows, wanted = wanted[:count], wanted[count:]
            index = tuple(np.array(windows).T)
            values = run(windows)
            error[index] = np.abs(values - estimate[index])
            estimate[index], done[index] = values, True
            shown = np.where(done, estimate, _between(estimate, lattice))
            doubt = doubts(grid, shown, np.where(done, 0, error), settings)
            yield shown, max(0.0, 1 - doubt.sum())
        if step == 1:
            if done.all() or not more:
                return
        else:
            estimate = np.where(done, estimate, _between(estimate, lattice))
            error = _between(_smooth(error, lattice), lattice) * PER_LEVEL
            step //= 2


def _most_doubtful(
    doubt: np.ndarray, done: np.ndarray, lattice: list[np.ndarray], step: int, allowed: int | float
) -> list[Window]:
    """The windows of the lattice to run, most doubtful first.

    The least doubtful windows, whose doubts sum to at most `allowed`, are left out. A window
    represents the `step`×`step` windows around it.
    """
    from scipy.ndimage import uniform_filter  # a bare GPU image has no SciPy

    around = uniform_filter(doubt, step, mode="constant") * step**2
    waiting = [(int(i), int(j)) for i in lattice[0] for j in lattice[1] if not done[i, j]]
    waiting.sort(key=lambda window: around[window])
    if allowed <= 0:
        return waiting[::-1]
    left = np.cumsum([around[window] for window in waiting])
    return waiting[int(np.searchsorted(left, allowed, side="right")) :][::-1]


def _between(values: np.ndarray, lattice: list[np.ndarray]) -> np.ndarray:
    """Values at the windows of the lattice, interpolated linearly to all windows."""
    down, across = (interpolation(n, at) for n, at in zip(values.shape, lattice))
    return down @ values[np.ix_(*lattice)] @ across.T


def _smooth(error: np.ndarray, lattice: list[np.ndarray]) -> np.ndarray:
    """Root mean square over the neighbours in the lattice, since a single small error can be
    chance."""
    from scipy.ndimage import uniform_filter

    smooth = error.copy()
    squares = uniform_filter(error[np.ix_(*lattice)] ** 2, 3, mode="nearest")
    smooth[np.ix_(*lattice)] = np.sqrt(np.maximum(squares, 0))
    return smooth


def doubts(
    grid: OcclusionGrid, drops: np.ndarray, error: np.ndarray, settings: OcclusionSettings
) -> np.ndarray:
    """The expected wrong area that each window causes, as a share of the region's area.

    Args:
        drops: the drops, run or interpolated.
        error: standard deviation of each drop, 0 where the window was run.
        settings: their `region`.
    """
    from scipy.special import ndtr

    (down, heights), (across, widths) = grid.cells()
    area = np.outer(heights, widths).astype(float)
    if not np.isfinite(error).all():  # nothing is known yet
        return down.T @ area @ across
    size = np.abs(down @ drops @ across.T)
    spread = np.maximum(down @ error @ across.T, 1e-12 * max(size.max(), 1e-30))
    edge = level_of(torch.from_numpy(size), torch.from_numpy(area), *settings.region)
    wrong = area * ndtr(-np.abs(size - edge) / spread)
    region = area[size >= edge].sum()
    # If the true maximum is elsewhere, the threshold and the whole edge are wrong.
    higher = HIGHER * region * ndtr((size - size.max()) / spread) * (spread > 1e-9 * size.max())
    return down.T @ (wrong + higher) @ across / region
