"""Few windows instead of all: coarsely everywhere, finely where the region's edge runs.

The grid's windows are run level by level: 3 × 3 of them, then every 8th, say, every 4th, every 2nd, and those
between. What is not run is interpolated from the level before. Where a window is run, its interpolated value
is seen to have been wrong by so much; on the next level the values nearby are expected to be wrong by three quarters
of that. It gives, for each part of the image, the probability of lying on the wrong side of the
region's threshold: the *doubt*. On every level the least doubtful windows are left out, as many as the
wanted agreement with the region of all windows allows. An agreement of 1 runs them all.

The three quarters make the expected agreement come out right on average, for regions by maximum, over
networks trained on Shapes and CamVid and random ones. A single field may well fall short of it, and
regions by mass, whose threshold hangs on every window, do so by some hundredths.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch

from gcnlab.receptive.region import level_of
from gcnlab.receptive.windows import Windows

AT_ONCE = 9
"""Windows to the first picture; later as many as a quarter of those that have been run."""

PER_LEVEL = 0.75
"""What becomes of the interpolation's error when the windows come twice as close."""

HIGHER = 0.3
"""Share of the region that is taken to be wrong if the true maximum is elsewhere."""

Members = list[tuple[int, int]]
"""Windows, by row and column of the grid."""


def drill_down(
    windows: Windows,
    run: Callable[[Members], np.ndarray],
    threshold: int | float,
    rule: str,
    agreement: int | float,
) -> Iterator[tuple[np.ndarray, float]]:
    """Estimate the drops of all windows from a part of them.

    Args:
        windows: the grid.
        run: the drops of some windows of the grid.
        threshold, rule: of the region (see `gcnlab.receptive.region`).
        agreement: intersection over union wanted between the region of the estimate and that of all
            windows, in (0, 1].

    Yields:
        The drops, (rows, columns), run or interpolated, and the agreement expected of them. Each time
        more of them have been run; the last one is the result.
    """
    if not 0 < agreement <= 1:
        raise ValueError(f"agreement must be in (0, 1], not {agreement}")
    step = 1
    while max(windows.shape) > 2 * step + 1:
        step *= 2
    estimate, error = np.zeros(windows.shape), np.full(windows.shape, np.inf)
    done = np.zeros(windows.shape, bool)
    while True:
        lattice = [np.unique([*range(0, n, step), n - 1]) for n in windows.shape]
        doubt = doubts(windows, estimate, np.where(done, 0, error), threshold, rule)
        wanted = _most_doubtful(doubt, done, lattice, step, 1 - agreement)
        more = bool(wanted)
        while wanted:
            count = max(AT_ONCE, int(done.sum()) // 4)
            members, wanted = wanted[:count], wanted[count:]
            index = tuple(np.array(members).T)
            values = run(members)
            error[index] = np.abs(values - estimate[index])
            estimate[index], done[index] = values, True
            shown = np.where(done, estimate, _between(estimate, lattice))
            doubt = doubts(windows, shown, np.where(done, 0, error), threshold, rule)
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
) -> Members:
    """The lattice's windows that have not been run, most doubtful first, without those at the end whose doubts
    add up to no more than `allowed`. A window answers for the `step`×`step` windows around it."""
    from scipy.ndimage import uniform_filter  # not on a bare GPU image

    around = uniform_filter(doubt, step, mode="constant") * step**2
    waiting = [(int(i), int(j)) for i in lattice[0] for j in lattice[1] if not done[i, j]]
    waiting.sort(key=lambda member: around[member])
    if allowed <= 0:
        return waiting[::-1]
    left = np.cumsum([around[member] for member in waiting])
    return waiting[int(np.searchsorted(left, allowed, side="right")) :][::-1]


def _between(values: np.ndarray, lattice: list[np.ndarray]) -> np.ndarray:
    """Values at the lattice's windows, interpolated linearly to all windows."""
    down, across = (
        np.array([np.interp(range(n), at, unit) for unit in np.eye(len(at))]).T
        for n, at in zip(values.shape, lattice)
    )
    return down @ values[np.ix_(*lattice)] @ across.T


def _smooth(error: np.ndarray, lattice: list[np.ndarray]) -> np.ndarray:
    """Root mean square over the neighbours in the lattice: one good guess is luck, several are not."""
    from scipy.ndimage import uniform_filter

    smooth = error.copy()
    squares = uniform_filter(error[np.ix_(*lattice)] ** 2, 3, mode="nearest")
    smooth[np.ix_(*lattice)] = np.sqrt(np.maximum(squares, 0))
    return smooth


def doubts(
    windows: Windows, drops: np.ndarray, error: np.ndarray, threshold: int | float, rule: str
) -> np.ndarray:
    """The expected wrong area for which each window is to blame, as a share of the region's area.

    Args:
        error: standard deviation of each drop, 0 where it was run.
    """
    from scipy.special import ndtr

    (down, heights), (across, widths) = windows.cells()
    area = np.outer(heights, widths).astype(float)
    if not np.isfinite(error).all():  # nothing is known yet
        return down.T @ area @ across
    size = np.abs(down @ drops @ across.T)
    spread = np.maximum(down @ error @ across.T, 1e-12 * max(size.max(), 1e-30))
    edge = level_of(torch.from_numpy(size), torch.from_numpy(area), threshold, rule)
    wrong = area * ndtr(-np.abs(size - edge) / spread)
    region = area[size >= edge].sum()
    # If the true maximum is elsewhere, the threshold is wrong, and with it the whole edge.
    higher = HIGHER * region * ndtr((size - size.max()) / spread) * (spread > 1e-9 * size.max())
    return down.T @ (wrong + higher) @ across / region
