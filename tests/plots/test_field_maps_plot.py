"""The figures of an atlas: maps over the image, and means against the depth in the object."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from gcnlab.experiments.depth_profiles import Interval
from gcnlab.plots import plot_depth_profiles, plot_field_maps
from gcnlab.receptive import FieldMaps

SIZE = 8, 12


def maps(coverage=0.5, radius=3.0):
    """Units every 4 pixels."""
    rows, columns = torch.meshgrid(torch.arange(0, 8, 4), torch.arange(0, 12, 4), indexing="ij")
    full = lambda value: torch.full((2, 3), value)  # noqa: E731
    covered = full(coverage)
    covered[0, 0] = math.nan
    return FieldMaps(
        torch.stack([rows, columns], -1), full(0.25), full(radius), full(2.0), covered, full(0.75)
    )


def test_a_row_per_network_and_a_column_per_map():
    image = torch.rand(3, *SIZE)
    figure = plot_field_maps(image, {"1×1": maps(), "GCN": maps(0.75, 6.0)}, ["radius", "coverage"])
    drawn = [axis for axis in figure.axes if axis.images]
    titles = [axis.get_title() for axis in drawn if axis.get_title()]
    assert titles == ["1×1", "GCN"]
    shown = [axis.images[-1] for axis in drawn if len(axis.images) == 2]
    assert len(shown) == 4
    radius, covered = shown[0], shown[1]
    assert radius.get_clim() == shown[2].get_clim() == (0, 6)  # one scale per column
    assert covered.get_clim() == (0, 100)
    values = covered.get_array()
    assert values.mask.tolist() == [[True, False, False], [False] * 3]
    assert values[1].tolist() == [50, 50, 50]
    # A unit's pixel, at whole numbers, is in the middle of its cell.
    assert covered.get_extent() == [-2, 10, 6, -2]
    labels = {axis.get_xlabel() for axis in figure.axes} - {""}
    assert labels == {"radius of the field (px)", "covered of the object (%)"}


def test_all_maps_that_are_there_are_shown():
    image, one = torch.rand(3, *SIZE), maps()
    count = lambda figure: sum(len(axis.images) == 2 for axis in figure.axes)  # noqa: E731
    assert count(plot_field_maps(image, {"a": one})) == 5
    assert count(plot_field_maps(image, {"a": replace(one, coverage=None, context=None)})) == 3


@pytest.mark.parametrize(
    ("given", "names", "words"),
    [
        ({}, None, "no maps"),
        ({"a": maps()}, ["size"], "unknown map 'size'"),
        ({"a": replace(maps(), coverage=None)}, ["coverage"], "a has no coverage"),
    ],
)
def test_what_cannot_be_shown_is_named(given, names, words):
    with pytest.raises(ValueError, match=words):
        plot_field_maps(torch.rand(3, *SIZE), given, names)


def test_profiles_have_a_line_and_a_band_per_network():
    profile = [Interval(m, m - 2, m + 1, 9) for m in (50.0, 40.0, 30.0, 20.0, 10.0)]
    figure = plot_depth_profiles({"covered (%)": {"1×1": profile, "GCN": profile[::-1]}})
    (axis,) = figure.axes
    one, other = axis.lines
    assert [line.get_label() for line in axis.lines] == ["1×1", "GCN"]
    np.testing.assert_allclose(one.get_xdata(), [0.1, 0.3, 0.5, 0.7, 0.9])
    assert list(other.get_ydata()) == [10, 20, 30, 40, 50]
    ends = axis.collections[0].get_paths()[0].vertices[:, 1]
    assert (ends.min(), ends.max()) == (8, 51)
    with pytest.raises(ValueError, match="no profiles"):
        plot_depth_profiles({})
