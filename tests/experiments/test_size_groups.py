"""Objects by size, on numbers whose answers are known."""

import math
from dataclasses import replace

import pytest

from gcnlab.experiments.field_measures import Measure
from gcnlab.experiments.field_results import FieldResult, ObjectField
from gcnlab.experiments.objects import LabelledObject
from gcnlab.experiments.size_groups import (
    at_length,
    by_size,
    gains,
    means_of_seeds,
    of_size,
    with_size,
)

COVERAGE = Measure("logit", "coverage_mass")


def result(seed, sizes, coverages, insides, lengths=()):
    objects = tuple(
        ObjectField(
            LabelledObject(i, 1, (i, i), float(size), 5.0),
            True,
            float(inside),
            50.0,
            {48: {"logit": {"coverage_mass": (float(coverage), 0.0)}}},
        )
        for i, (size, coverage, inside) in enumerate(zip(sizes, coverages, insides, strict=True))
    )
    return FieldResult(f"gcn-seed{seed}", seed, objects, lengths)


def test_the_upper_limit_belongs_to_the_group():
    found = of_size(result(0, [50, 60, 60.5, 90, 91], range(5), range(5)), 60, 90)
    assert [item.item.size for item in found.objects] == [60.5, 90]


def test_objects_at_one_length():
    """Two objects, each at three lengths."""
    whole = result(0, [1, 2, 3, 4, 5, 6], range(6), range(6), lengths=(10, 20, 30))
    assert [item.item.size for item in at_length(whole, 20).objects] == [2, 5]
    assert at_length(at_length(whole, 20), 20) == at_length(whole, 20)
    with pytest.raises(ValueError, match="gcn-seed0 was not measured at a length of 40 px"):
        at_length(whole, 40)


def test_the_mean_is_over_the_objects_that_have_a_value():
    one = result(0, [1, 2], [10, 30], [math.nan, 60])  # an object without an inside
    other = result(1, [1, 2], [20, 40], [50, 70])
    assert means_of_seeds([one, other], COVERAGE) == [20, 30]
    assert means_of_seeds([one, other], "inside") == [60, 60]
    for measure in ("inside", COVERAGE):
        assert math.isnan(means_of_seeds([replace(one, objects=())], measure)[0])


def test_means_of_each_group_and_seed():
    results = [result(seed, [5, 10, 11, 30], [1, 3, 7, 9], [seed] * 4) for seed in (0, 1)]
    assert by_size(results, COVERAGE, [(0, 10), (10, 40)]) == [[2, 8], [2, 8]]
    assert by_size(results, "inside", [(0, 10), (10, 40)]) == [[0, 0], [1, 1]]


def test_a_measure_that_grows_with_size():
    results = [result(seed, [3, 1, 2, 9], [30, 10, 25, 70], [1, 1, 1, 1]) for seed in (0, 1)]
    assert with_size(results, COVERAGE).rho == pytest.approx(1)
    assert math.isnan(with_size(results, "inside").rho)


def test_gains_are_those_of_the_means_of_seeds():
    """Gains of coverage 1, 2, 3, 4 and of the inside 10, 20, 40, 30: one pair is exchanged."""
    one = [result(0, [1] * 4, [5, 5, 5, 5], [50, 50, 50, 50])]
    other = [
        result(0, [1] * 4, [6, 7, 8, 8], [55, 70, 90, 80]),
        result(1, [1] * 4, [6, 7, 8, 10], [65, 70, 90, 80]),
    ]
    found = gains(one, other, COVERAGE)
    assert found.rho == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert found.objects == 4
    with pytest.raises(ValueError, match="different objects"):
        gains(one, [result(0, [2] * 4, [1] * 4, [1] * 4)], COVERAGE)
