import numpy as np

from gcnlab.plots import (
    plot_cost_and_score,
    plot_distance_curves,
    plot_paper_and_ours,
    plot_score_against_learning_rate,
)


def test_every_seed_is_a_mark_and_the_mean_a_line():
    figure = plot_paper_and_ours({"base": 69.0, "GCN": 74.5, "BR": 74.7}, {"base": [50.0, 60.0], "GCN": [70.0], "BR": []})  # fmt: skip
    left, right = figure.axes
    assert right.get_title() == "ours (Shapes)"
    assert left.lines[0].get_ydata().tolist() == [69.0, 74.5, 74.7]
    marks, mean, one, _ = right.lines
    assert marks.get_ydata().tolist() == [50.0, 60.0]
    assert list(mean.get_ydata()) == [55.0, 55.0]
    assert one.get_xdata().tolist() == [1.0]
    assert [text.get_text() for text in right.texts] == ["not run"]
    assert [t.get_text() for t in right.get_xticklabels()] == ["base", "GCN", "BR"]


def test_score_against_cost_has_mean_and_deviation_a_panel_for_each_cost():
    scores = {"a": [1.0, 3.0], "b": [7.0], "c": []}
    weights, seconds = {"a": 10.0, "b": 100.0, "c": 5.0}, {"a": 0.5, "b": 0.2, "c": 0.1}
    axes = plot_cost_and_score({"weights": weights, "seconds": seconds}, scores).axes
    for axis, (label, cost) in zip(axes, (("weights", weights), ("seconds", seconds)), strict=True):
        assert axis.get_xscale() == "log"
        assert axis.get_xlabel() == label
        containers = dict(zip(("a", "b"), axis.containers, strict=True))
        assert containers["a"].get_label() == "a"
        (x,), (y,) = containers["a"].lines[0].get_data()
        assert (x, y) == (cost["a"], 2.0)
        low, high = containers["a"].lines[2][0].get_segments()[0][:, 1]
        np.testing.assert_allclose((low, high), (2 - 2**0.5, 2 + 2**0.5))
    assert [axis.get_legend() is None for axis in axes] == [True, False]


def test_no_two_networks_have_the_same_mark_in_the_same_colour():
    names = [str(number) for number in range(30)]
    cost, scores = dict.fromkeys(names, 1.0), {name: [1.0] for name in names}
    axis = plot_cost_and_score({"x": cost}, scores).axes[0]
    marks = {(c.lines[0].get_marker(), c.lines[0].get_color()) for c in axis.containers}
    assert len(marks) == 30


def test_several_seeds_of_a_curve_are_a_mean_in_a_band():
    axis = plot_distance_curves({"GCN": [[10.0, 20.0], [30.0, 60.0]], "base": [1.0, 2.0]}).axes[0]
    assert axis.lines[0].get_ydata().tolist() == [20.0, 40.0]
    band = axis.collections[0].get_paths()[0].vertices
    assert {tuple(v) for v in band} >= {(1.0, 10.0), (1.0, 30.0), (2.0, 20.0), (2.0, 60.0)}
    assert len(axis.collections) == 1
    assert axis.lines[0].get_linestyle() != axis.lines[1].get_linestyle()


def test_score_against_rate_has_means_in_bands_and_one_colour_for_a_network_everywhere():
    gcn = {0.01: [70.0, 72.0, 77.0], 0.001: [20.0]}
    first, second = plot_score_against_learning_rate(
        [{"GCN": gcn, "base": {0.01: [50.0]}}, {"conv": {0.01: [60.0]}, "GCN": gcn}]
    ).axes
    line = first.lines[0]
    assert line.get_xdata().tolist() == [0.001, 0.01]
    assert line.get_ydata().tolist() == [20.0, 73.0]
    band = first.collections[0].get_paths()[0].vertices
    assert {tuple(v) for v in band} >= {(0.01, 70.0), (0.01, 77.0)}
    assert [t.get_text() for t in first.get_xticklabels()] == ["0.001", "0.01"]
    again = second.lines[1]
    assert again.get_label() == "GCN"
    assert (again.get_color(), again.get_marker()) == (line.get_color(), line.get_marker())
    looks = {(li.get_color(), li.get_marker()) for li in (*first.lines, *second.lines)}
    assert len(looks) == 3


def test_the_panels_of_rates_leave_room_for_the_highest_of_them():
    low, high = plot_score_against_learning_rate(
        [{"a": {0.01: [10.0]}}, {"b": {0.01: [90.0, 95.0]}}]
    ).axes
    assert low.get_ylim() == high.get_ylim()
    assert low.get_ylim()[0] == 0
    assert low.get_ylim()[1] > 95
