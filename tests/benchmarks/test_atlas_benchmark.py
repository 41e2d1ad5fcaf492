"""The benchmark of the atlas: it counts right, and its numbers fit together."""

from dataclasses import replace

import pytest
import torch

from benchmarks import atlas
from benchmarks.atlas import AtlasBenchmark, random_units
from gcnlab.receptive import FieldAtlas
from tests.receptive.test_atlas import small

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def row():
    return atlas.measure(replace(atlas.CASES[0], build=small, size=96), rounds=1)


def test_a_row_describes_its_case(row):
    assert (row["windows"], row["units"], row["every"]) == (25, 24 * 24, 4)
    assert row["bound"] > 1
    assert row["difference"]["units"] == 50
    assert row["difference"]["largest"] <= 1e-4
    assert row["note"] == ""


def test_the_ratios_are_those_of_the_seconds(row):
    spent = row["seconds"]
    assert row["plain_by_atlas"] == pytest.approx(spent["plain"] / spent["atlas"])
    assert spent["atlas"] > spent["atlas_with_graph"] > 0
    assert row["all_seconds"]["graph"] == [spent["graph"]]
    per_window = min(row["all_seconds"]["plain_1"][0] / 16, row["all_seconds"]["plain_8"][0] / 21)
    assert spent["plain"] == pytest.approx(25 * per_window)


def test_less_precision_is_smaller_and_has_its_error(row):
    exact, half, byte = (row["precisions"][name] for name in ("float32", "float16", "int8"))
    assert exact["largest_error"] == 0
    assert exact["file_bytes"] > half["file_bytes"] > byte["file_bytes"] > 25 * 24 * 24
    assert half["largest_error"] < byte["largest_error"] < 0.02
    assert byte["smallest_region_iou"] <= byte["mean_region_iou"] <= 1


def test_random_units_are_kept_and_include_the_corners():
    built = FieldAtlas(small(), torch.zeros(3, 32, 40), 16, 16)
    units = random_units(built, 9)
    assert {(0, 0), (0, 36), (28, 0), (28, 36)} <= set(units)
    assert all(built.nearest(unit) == unit for unit in units)
    assert len(units) == 9


def test_rounds_out_of_range_are_named():
    with pytest.raises(ValueError, match="--rounds must be at least 1, not 0"):
        AtlasBenchmark(rounds=0)
