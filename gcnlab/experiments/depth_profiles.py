"""What changes from the edge of an object to its middle: statistics of the fields of all pixels
(`gcnlab.experiments.atlases`), with confidence intervals over objects or images.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gcnlab.experiments.atlas_results import MEASURES, PARTS, AtlasResult

RESAMPLED = 2000
"""Bootstrap samples of a confidence interval."""


@dataclass(frozen=True)
class Interval:
    """A mean with the confidence interval of 95 %.

    Attributes:
        mean, low, high: the mean and the ends; NaN if there is no value.
        count: number of values.
    """

    mean: float
    low: float
    high: float
    count: int

    @property
    def sign(self) -> int:
        """1 or −1 if the interval is above or below zero; 0 if it contains zero."""
        return int(self.low > 0) - int(self.high < 0)


def profile(
    results: Sequence[AtlasResult],
    measure: str,
    low: int | float = 0,
    high: int | float = float("inf"),
) -> list[Interval]:
    """The mean of a measure in each part of the depth, over objects whose size, the square root of
    their area, is above `low` and at most `high` pixels. Of each object the mean over the networks.

    Raises:
        ValueError: the networks were measured on different objects.
    """
    return [interval(column) for column in _by_object(results, measure, low, high).T]


def change(
    results: Sequence[AtlasResult],
    measure: str,
    low: int | float = 0,
    high: int | float = float("inf"),
) -> Interval:
    """The last part of the depth minus the first: the middle against the edge of the same object.

    Raises:
        ValueError: the networks were measured on different objects.
    """
    found = _by_object(results, measure, low, high)
    return interval(found[:, -1] - found[:, 0])


def gain(
    one: Sequence[AtlasResult],
    other: Sequence[AtlasResult],
    measure: str,
    low: int | float = 0,
    high: int | float = float("inf"),
) -> list[Interval]:
    """What another head adds to a measure in each part of the depth, over the same objects.

    Raises:
        ValueError: the networks were measured on different objects.
    """
    return [interval(column) for column in gains(one, other, measure, low, high).T]


def gains(
    one: Sequence[AtlasResult],
    other: Sequence[AtlasResult],
    measure: str,
    low: int | float = 0,
    high: int | float = float("inf"),
) -> np.ndarray:
    """What another head adds to a measure, (objects, parts); NaN where a part is empty.

    Raises:
        ValueError: the networks were measured on different objects.
    """
    _check_same([*one, *other])
    return _by_object(other, measure, low, high) - _by_object(one, measure, low, high)


def within_images(results: Sequence[AtlasResult], correlation: str) -> Interval:
    """The mean over images of a correlation within an image, of each image the mean over the
    networks in which it exists.

    Args:
        results: the networks, measured on the same images.
        correlation: an attribute of `ImageRanks`, also "at_equal_depth".

    Raises:
        ValueError: the networks were measured on different objects.
    """
    _check_same(results)
    columns = [[getattr(image, correlation) for image in result.images] for result in results]
    return interval(_mean_of_known(np.array(columns, float)))


def interval(values: np.ndarray) -> Interval:
    """The mean of the values that are not NaN, and its interval by the percentile bootstrap."""
    known = values[np.isfinite(values)]
    if not len(known):
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    rng = np.random.default_rng(0)
    means = known[rng.integers(0, len(known), (RESAMPLED, len(known)))].mean(1)
    return Interval(known.mean().item(), *np.percentile(means, (2.5, 97.5)).tolist(), len(known))


def _by_object(
    results: Sequence[AtlasResult], measure: str, low: int | float, high: int | float
) -> np.ndarray:
    """(objects, parts)"""
    _check_same(results)
    if measure not in MEASURES:
        raise ValueError(f"unknown measure {measure!r}; choose one of {', '.join(MEASURES)}")
    chosen = [
        [o.measures[measure] for o in result.objects if low < o.item.size <= high]
        for result in results
    ]
    return _mean_of_known(np.array(chosen, float).reshape(len(results), -1, PARTS))


def _mean_of_known(values: np.ndarray) -> np.ndarray:
    """The mean over the first axis of the values that are not NaN; NaN if there is none."""
    known = np.isfinite(values)
    count = known.sum(0)
    total = np.where(known, values, 0).sum(0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _check_same(results: Sequence[AtlasResult]) -> None:
    for result in results[1:]:
        if [o.item for o in result.objects] != [o.item for o in results[0].objects]:
            raise ValueError(
                f"{result.network} and {results[0].network} were measured on different objects: "
                "measure them with the same settings"
            )
