import torch

from gcnlab.datasets import LabelSet
from gcnlab.plots import plot_changes, plot_confusion, plot_error_kinds


def test_bars_are_stacked_and_told_apart_without_colour():
    axis = plot_error_kinds({"base": {"edge": 2.0, "missed": 3.0}, "GCN": {"edge": 1.0, "missed": 0.5}}).axes[0]  # fmt: skip
    edge, missed = axis.containers
    assert [bar.get_width() for bar in edge] == [2.0, 1.0]
    assert [bar.get_x() for bar in missed] == [2.0, 1.0]
    assert edge[0].get_hatch() != missed[0].get_hatch()
    assert [t.get_text() for t in axis.get_legend().get_texts()] == ["edge", "missed"]


def test_a_row_of_the_matrix_is_its_true_class_in_percent():
    labels = LabelSet(("sky", "car", "tree"), ((0, 0, 0), (1, 1, 1), (2, 2, 2)))
    counts = torch.tensor([[3, 1, 0], [0, 0, 0], [0, 5, 5]])
    figure = plot_confusion({"a": counts, "b": counts}, labels)
    for axis in figure.axes:
        assert axis.images[0].get_array().tolist() == [[75, 25, 0], [0, 0, 0], [0, 50, 50]]
        shown = {text.get_position(): text.get_text() for text in axis.texts}
        assert shown == {(0, 0): "75", (1, 0): "25", (1, 2): "50", (2, 2): "50"}
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["sky", "car", "tree"]


def test_changes_show_where_one_of_two_is_right():
    labels = torch.tensor([[0, 0, 1, 1], [0, 0, 0, 0]])
    before = torch.tensor([[0, 1, 0, 1], [0, 0, 0, 0]])
    after = torch.zeros(2, 4, dtype=torch.int64)
    left, right = plot_changes(before, after, labels).axes
    assert left.images[0].get_array().tolist() == [[0, 0, 0, 1], [0, 0, 0, 0]]
    assert right.images[0].get_array().tolist() == [[0, 1, 0, 0], [0, 0, 0, 0]]
    assert left.get_title() == "correct only before: 1 px"
