import pytest

from gcnlab.experiments.coverage import ObjectCoverage
from gcnlab.plots import plot_coverage


def test_a_panel_per_network_and_a_mark_per_object():
    small, large = (ObjectCoverage(0, 0, 1, s, 10.0 + s, 5.0) for s in (40.0, 150.0))
    figure = plot_coverage({"a": [small, large], "b": [large]}, "80 % of the mass")
    assert all("80 % of the mass" in axis.get_xlabel() for axis in figure.axes)
    first, second = figure.axes
    assert [line.get_xdata().tolist() for line in first.lines] == [[50.0], [], [160.0]]
    assert [line.get_xdata().tolist() for line in second.lines] == [[], [], [160.0]]
    assert len({line.get_marker() for line in first.lines}) == 3
    assert (first.get_title(), second.get_title()) == ("a", "b")


def test_without_results_there_is_no_figure():
    with pytest.raises(ValueError, match="no results"):
        plot_coverage({})
