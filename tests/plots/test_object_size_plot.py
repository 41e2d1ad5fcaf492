from dataclasses import replace

import numpy as np
import pytest

from gcnlab.experiments.object_size import ObjectSizes, Settings, SizeScores
from gcnlab.plots import plot_object_sizes

SETTINGS = Settings(sizes=(16, 64, 128))


def network(k, seed, coverage, theoretical) -> ObjectSizes:
    scores = tuple(
        SizeScores(size, 50.0, {"disc": 50.0}, None if size == 16 else 90.0 + seed, c, 3.0, 10.0)
        for size, c in zip(SETTINGS.sizes, coverage)
    )
    head = "conv1x1" if k == 1 else "gcn"
    return ObjectSizes(f"{head}-{k}", head, k, seed, theoretical, SETTINGS, scores)


RESULTS = [
    network(7, 0, (100, 80, 60), 263),
    network(1, 1, (90, 40, 20), 71),
    network(1, 0, (100, 60, 30), 71),
]


def test_a_line_for_each_head_and_a_mark_at_its_theoretical_size():
    figure = plot_object_sizes(RESULTS)
    assert len(figure.axes) == 3
    coverage, internal, _ = figure.axes
    assert "≥ 20 % of the maximum" in coverage.get_ylabel()
    lines = {line.get_label(): line for line in coverage.lines if "(" in line.get_label()}
    assert list(lines) == ["1×1 (71 px)", "GCN, k = 7 (263 px)"]
    assert lines["1×1 (71 px)"].get_ydata().tolist() == [95, 50, 25]
    marks = [line.get_xdata()[0] for line in coverage.lines if line.get_linestyle() == "--"]
    assert marks == [71, 263]
    gap = internal.lines[0].get_ydata()
    assert np.isnan(gap[0])
    assert gap[1:].tolist() == [90.5, 90.5]


def test_networks_that_differ_beside_the_head_have_lines_of_their_own():
    refined, large = replace(RESULTS[0], refine=True), replace(RESULTS[0], backbone="resnet50")
    lines = plot_object_sizes([large, refined, *RESULTS]).axes[0].lines
    titles = [line.get_label().partition(" (")[0] for line in lines if "(" in line.get_label()]
    assert titles == ["1×1", "GCN, k = 7", "GCN, k = 7 + BR", "resnet50 GCN, k = 7"]


def test_any_number_of_networks_is_drawn_each_in_its_own_way():
    figure = plot_object_sizes([network(k, 0, (100, 80, 60), None) for k in range(3, 21, 2)])
    for axis in figure.axes:
        assert len({(line.get_color(), line.get_marker()) for line in axis.lines}) == 9


def test_the_band_reaches_from_the_worst_seed_to_the_best():
    band = plot_object_sizes(RESULTS).axes[0].collections[0].get_paths()[0].vertices
    for size, low, high in [(16, 90, 100), (64, 40, 60), (128, 20, 30)]:
        heights = band[band[:, 0] == size][:, 1]
        assert (heights.min(), heights.max()) == (low, high)


def test_an_unknown_field_has_no_mark():
    figure = plot_object_sizes([replace(RESULTS[0], theoretical=None)])
    assert not [line for line in figure.axes[0].lines if line.get_linestyle() == "--"]
    assert figure.axes[0].lines[0].get_label() == "GCN, k = 7 (unknown)"


def test_different_settings_do_not_share_a_figure():
    other = replace(RESULTS[0], settings=replace(SETTINGS, seed=1))
    with pytest.raises(ValueError, match="different settings"):
        plot_object_sizes([RESULTS[0], other])
    with pytest.raises(ValueError, match="no results"):
        plot_object_sizes([])
