"""Which measure of a field, of which quantity, should be the default? What each does on many
objects (`gcnlab.experiments.fields`).

A measure should

- tell heads apart that see differently: be larger under one in most objects, by many standard
  deviations of the paired difference (`tell_apart`);
- agree between seeds of one head, and between sides of the window: rank the objects alike;
- not hang on one window: hardly change when the window of the largest drop is left out;
- say something about the prediction: correlate with the share of the object's inside that is right.

All numbers are computed over objects; correlations are Spearman's.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from gcnlab.experiments.field_results import FieldResult
from gcnlab.experiments.rank_correlation import rank_correlation


@dataclass(frozen=True)
class Measure:
    """What is read off a field.

    Attributes:
        quantity: "logit", "margin" or "probability".
        name: one of `gcnlab.experiments.field_results.MEASURES`.
    """

    quantity: str
    name: str


@dataclass(frozen=True)
class Comparison:
    """One measure of the same objects under two heads; of each object, the mean over the seeds.

    Attributes:
        objects: number of objects with a value under both.
        means: mean of the measure under the one and the other, in its unit.
        larger: number of objects with a larger value under the other head.
        effect: mean of other − one in standard deviations of this difference; NaN if that is zero.
        p: of Wilcoxon's signed-rank test, two-sided; NaN if all differences are zero.
    """

    objects: int
    means: tuple[float, float]
    larger: int
    effect: float
    p: float


@dataclass(frozen=True)
class Steadiness:
    """How far a measure depends on what it should not; means over networks. NaN: not measured.

    Attributes:
        seeds: rank correlation between two seeds of one head.
        windows: rank correlation between the largest and the smallest side of the window.
        ratio: mean with the smallest side, divided by that with the largest.
        one_window: median change when the window of the largest drop is left out, as a share of
            the measure.
    """

    seeds: float
    windows: float
    ratio: float
    one_window: float


def values(
    result: FieldResult, measure: Measure | str, side: int | None = None, left_out: bool = False
) -> np.ndarray:
    """The measure of every object, (objects,); NaN where it is not measured.

    Args:
        result: the objects.
        measure: what to read: a measure of the field, or "inside" or "iou" of the object.
        side: of the window; None is the first.
        left_out: without the window of the largest drop.
    """
    if isinstance(measure, str):
        return np.array([getattr(item, measure) for item in result.objects])
    if side is None and result.objects:
        side = sides(result)[0]
    return np.array(
        [
            item.measures[side][measure.quantity][measure.name][int(left_out)]
            if side in item.measures
            else np.nan
            for item in result.objects
        ]
    )


def sides(result: FieldResult) -> list[int]:
    """The sides of the windows; all objects are measured with the first."""
    return list(result.objects[0].measures)


def tell_apart(
    one: Sequence[FieldResult], other: Sequence[FieldResult], measure: Measure | str
) -> Comparison:
    """Compare two heads, of which each has networks of some seeds.

    Raises:
        ValueError: the networks were measured on different objects.
    """
    from scipy.stats import wilcoxon

    check_same_objects([*one, *other])
    first, second = (np.mean([values(r, measure) for r in head], 0) for head in (one, other))
    both = np.isfinite(first) & np.isfinite(second)
    difference = (second - first)[both]
    spread = difference.std(ddof=1) if len(difference) > 1 else 0.0
    return Comparison(
        int(both.sum()),
        (float(first[both].mean()), float(second[both].mean())),
        int((difference > 0).sum()),
        float(difference.mean() / spread) if spread > 0 else float("nan"),
        float(wilcoxon(difference).pvalue) if difference.any() else float("nan"),
    )


def steadiness(results: Sequence[FieldResult], measure: Measure) -> Steadiness:
    """How steady a measure is over some networks of any heads.

    Raises:
        ValueError: the networks were measured on different objects.
    """
    check_same_objects(results)
    pairs = [
        rank_correlation(values(a, measure), values(b, measure)).rho
        for a, b in combinations(results, 2)
        if a.head == b.head
    ]
    windows, ratios, changes = [], [], []
    for result in results:
        all_windows = values(result, measure)
        with np.errstate(divide="ignore", invalid="ignore"):  # 0/0 is left out
            change = np.abs(values(result, measure, left_out=True) - all_windows) / all_windows
        changes.append(float(np.median(change[np.isfinite(change)])))
        if len(sides(result)) > 1:
            large, small = (values(result, measure, f(sides(result))) for f in (max, min))
            windows.append(rank_correlation(large, small).rho)
            both = np.isfinite(large) & np.isfinite(small)
            ratios.append(float(small[both].mean() / large[both].mean()))
    return Steadiness(_mean(pairs), _mean(windows), _mean(ratios), _mean(changes))


def with_inside(results: Sequence[FieldResult], measure: Measure) -> float:
    """Rank correlation with the share of the inside that is right; mean over the networks."""
    return _mean(rank_correlation(values(r, measure), values(r, "inside")).rho for r in results)


def check_same_objects(results: Sequence[FieldResult]) -> None:
    """Raise ValueError unless all networks were measured on the same objects."""
    for result in results[1:]:
        if [o.item for o in result.objects] != [o.item for o in results[0].objects]:
            raise ValueError(
                f"{result.network} and {results[0].network} were measured on different objects: "
                "measure them with the same settings"
            )


def _mean(numbers: Iterable[float]) -> float:
    """Mean of those that are not NaN; NaN if there is none."""
    known = [number for number in numbers if not np.isnan(number)]
    return float(np.mean(known)) if known else float("nan")
