"""What depends on the size of an object: what is right inside it, and what its field covers.

The paper explains with Figure 3 why a large k helps: the valid receptive field of a conventional
network covers a small object and only a part of a large one, and therefore the class of the large
one is lost. These are four claims, and each can be counted on many objects
(`gcnlab.experiments.fields`; what came out is in docs/photographs.md):

1. a 1×1 head gets less right inside large objects than inside small ones;
2. its field covers less of them;
3. GCN covers more of a large object, and gets more right inside it;
4. it gets more right *because* it covers more: objects that gain more coverage gain more inside.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gcnlab.experiments.field_measures import Measure, check_same_objects, values
from gcnlab.experiments.field_results import FieldResult
from gcnlab.experiments.rank_correlation import Correlation, rank_correlation


def of_size(result: FieldResult, low: int | float, high: int | float) -> FieldResult:
    """The objects whose size, the square root of their area, is above `low` and at most `high`
    pixels."""
    chosen = tuple(item for item in result.objects if low < item.item.size <= high)
    return replace(result, objects=chosen)


def at_length(result: FieldResult, length: int) -> FieldResult:
    """The objects shown at one length.

    Raises:
        ValueError: they were not shown at this length.
    """
    if length not in result.lengths:
        raise ValueError(f"{result.network} was not measured at a length of {length} px")
    first, step = result.lengths.index(length), len(result.lengths)
    return replace(result, objects=result.objects[first::step], lengths=(length,))


def means_of_seeds(results: Sequence[FieldResult], measure: Measure | str) -> list[float]:
    """For each network, the mean over the objects that have a value; NaN if none has."""
    means = []
    for result in results:
        known = values(result, measure)
        known = known[np.isfinite(known)]
        means.append(float(known.mean()) if len(known) else float("nan"))
    return means


def by_size(
    results: Sequence[FieldResult], measure: Measure | str, groups: Sequence[tuple[int, int]]
) -> list[list[float]]:
    """For each network, the mean over the objects of each group of sizes (see `of_size`)."""
    by_group = [
        means_of_seeds([of_size(result, *group) for result in results], measure) for group in groups
    ]
    return [list(means) for means in zip(*by_group)]


def with_size(results: Sequence[FieldResult], measure: Measure | str) -> Correlation:
    """Does a measure depend on the size of the object? Of each object, the mean over the seeds."""
    check_same_objects(results)
    sizes = np.array([item.item.size for item in results[0].objects])
    return rank_correlation(sizes, np.mean([values(r, measure) for r in results], 0))


def gains(
    one: Sequence[FieldResult], other: Sequence[FieldResult], measure: Measure
) -> Correlation:
    """Do the objects that gain more of a measure under the other head gain more inside? Of each
    object and head, the mean over the seeds."""
    check_same_objects([*one, *other])
    gained, inside = (
        np.mean([values(r, m) for r in other], 0) - np.mean([values(r, m) for r in one], 0)
        for m in (measure, "inside")
    )
    return rank_correlation(gained, inside)
