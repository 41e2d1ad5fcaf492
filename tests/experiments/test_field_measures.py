"""The comparison of measures, on fields whose answers are known."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr, ttest_1samp, wilcoxon

from gcnlab.experiments.field_measures import (
    Measure,
    steadiness,
    tell_apart,
    values,
    with_inside,
)
from gcnlab.experiments.field_results import FieldResult, ObjectField
from gcnlab.experiments.objects import LabelledObject

RADIUS = Measure("margin", "radius")


def result(network, seed, first, second=None, without=None, inside=None):
    """A result with the given radii of the margin, with windows of 32 and, where given, 16 px."""
    objects = []
    for i, value in enumerate(first):
        sides = {32: (float(value), float(value if without is None else without[i]))}
        if second is not None and i < len(second):
            sides[16] = (float(second[i]), 0.0)
        objects.append(
            ObjectField(
                LabelledObject(i, 1, (i, i), 10.0, 5.0),
                True,
                50.0 if inside is None else float(inside[i]),
                50.0,
                {side: {"margin": {"radius": pair}} for side, pair in sides.items()},
            )
        )
    return FieldResult(f"{network}-seed{seed}", seed, tuple(objects))


def test_the_head_is_the_name_without_its_seed():
    assert result("gcn7-br", 12, [1]).head == "gcn7-br"


def test_values_with_each_window():
    found = result("a", 0, [1, 2, 3], second=[4, 5], without=[7, 8, 9])
    assert values(found, RADIUS).tolist() == [1, 2, 3]
    assert values(found, RADIUS, left_out=True).tolist() == [7, 8, 9]
    np.testing.assert_equal(values(found, RADIUS, 16), [4, 5, np.nan])


def test_two_heads_are_compared_by_object_over_the_means_of_seeds():
    rng = np.random.default_rng(0)
    one, other = rng.normal(10, 3, (2, 20)), rng.normal(11, 3, (3, 20))
    found = tell_apart(
        [result("a", i, v) for i, v in enumerate(one)],
        [result("b", i, v) for i, v in enumerate(other)],
        RADIUS,
    )
    difference = other.mean(0) - one.mean(0)
    assert found.objects == 20
    assert found.means == pytest.approx((one.mean(), other.mean()))
    assert found.larger == (difference > 0).sum()
    assert found.p == pytest.approx(wilcoxon(difference).pvalue)
    # t = effect × √n
    assert found.effect * math.sqrt(20) == pytest.approx(ttest_1samp(difference, 0).statistic)


def test_objects_without_a_field_are_left_out():
    nan = float("nan")
    found = tell_apart([result("a", 0, [1, nan, 3, 4])], [result("b", 0, [2, 2, nan, 7])], RADIUS)
    assert (found.objects, found.means, found.larger) == (2, (2.5, 4.5), 2)


def test_equal_heads_have_no_effect():
    found = tell_apart([result("a", 0, [1, 2])], [result("b", 0, [1, 2])], RADIUS)
    assert found.larger == 0
    assert math.isnan(found.effect)
    assert math.isnan(found.p)


def test_different_objects_are_refused():
    one, other = result("a", 0, [1, 2]), result("b", 0, [1, 2])
    moved = replace(other.objects[1], item=LabelledObject(1, 1, (0, 1), 10.0, 5.0))
    other = replace(other, objects=(other.objects[0], moved))
    for compare in (
        lambda: tell_apart([one], [other], RADIUS),
        lambda: steadiness([one, other], RADIUS),
    ):
        with pytest.raises(ValueError, match="b-seed0 and a-seed0 were measured on different"):
            compare()


def test_seeds_are_compared_within_a_head():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(3, 9)), rng.normal(size=(2, 9))
    results = [result("a", i, v) for i, v in enumerate(a)]
    results += [result("b", i, v) for i, v in enumerate(b)]
    pairs = [*itertools.combinations(a, 2), tuple(b)]
    expected = np.mean([spearmanr(*pair).statistic for pair in pairs])
    assert steadiness(results, RADIUS).seeds == pytest.approx(expected)


def test_windows_are_compared_over_the_objects_that_have_both():
    found = steadiness([result("a", 0, [4, 2, 3, 9], second=[8, 2, 5])], RADIUS)
    assert found.windows == pytest.approx(1)
    assert found.ratio == pytest.approx(15 / 9)


def test_the_change_without_one_window_is_a_median():
    """10 %, 50 % and 0 % of the measure; an object with 0 has no change in percent."""
    found = steadiness([result("a", 0, [10, 4, 5, 0], without=[9, 6, 5, 1])], RADIUS)
    assert found.one_window == pytest.approx(0.1)
    assert math.isnan(found.seeds)
    assert math.isnan(found.windows)


def test_the_correlation_with_the_inside_is_the_mean_over_networks():
    results = [
        result("a", 0, [1, 2, 3], inside=[10, 20, 90]),
        result("a", 1, [1, 2, 3], inside=[30, 20, 10]),
        result("a", 2, [1, 1, 1], inside=[30, 20, 10]),  # constant: no correlation
    ]
    assert with_inside(results, RADIUS) == pytest.approx(0)


def test_scores_are_read_like_measures():
    found = result("a", 0, [1, 2, 3], inside=[10, 20, 90])
    assert values(found, "inside").tolist() == [10, 20, 90]
    assert values(found, "iou").tolist() == [50, 50, 50]
