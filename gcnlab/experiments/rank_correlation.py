"""Spearman's rank correlation of two values over objects."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation of two values over a set of objects.

    Attributes:
        objects: number of objects that have both values.
        rho: the correlation, −1 … 1; NaN if one of the two is constant.
        p: p-value of the hypothesis that there is no correlation; NaN if `rho` is.
    """

    objects: int
    rho: float
    p: float


def rank_correlation(
    one: np.ndarray | Sequence[int | float], other: np.ndarray | Sequence[int | float]
) -> Correlation:
    """The correlation of two columns over the rows in which both are finite."""
    from scipy.stats import spearmanr  # a bare GPU image has no scipy

    first, second = np.asarray(one, float), np.asarray(other, float)
    both = np.isfinite(first) & np.isfinite(second)
    first, second = first[both], second[both]
    if len(set(first)) < 2 or len(set(second)) < 2:
        return Correlation(len(first), float("nan"), float("nan"))
    found = spearmanr(first, second)
    return Correlation(len(first), float(found.statistic), float(found.pvalue))
