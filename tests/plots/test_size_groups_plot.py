"""The figure of what depends on the size of an object."""

import math

import numpy as np
import pytest

from gcnlab.plots import plot_size_groups


def test_a_panel_per_measure_and_a_line_per_network():
    right = {"1×1": [[90.0, 60.0], [80.0, 50.0]], "GCN": [[95.0, 90.0]]}
    covered = {"1×1": [[math.nan, 40.0]]}
    figure = plot_size_groups({"right (%)": right, "covered (%)": covered}, ["0–60", "over 60"])
    first, second = figure.axes
    assert [axis.get_ylabel() for axis in figure.axes] == ["right (%)", "covered (%)"]
    assert [line.get_label() for line in first.lines] == ["1×1", "GCN"]
    assert first.lines[0].get_ydata() == pytest.approx([85, 55])
    np.testing.assert_equal(second.lines[0].get_ydata(), [math.nan, 40])
    assert [tick.get_text() for tick in first.get_xticklabels()] == ["0–60", "over 60"]
    assert len(first.collections) == 1  # the band of two seeds
