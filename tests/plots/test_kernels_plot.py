import numpy as np
import torch

from gcnlab.plots import plot_against_k, plot_kernels


def test_kernels_share_one_scale_that_is_white_at_zero():
    figure = plot_kernels({"a": torch.tensor([[1.0, 0.0]]), "b": torch.tensor([[-4.0], [2.0]])})
    pictures = [axis.images[0] for axis in figure.axes if axis.images]
    assert [picture.get_clim() for picture in pictures] == [(-4.0, 4.0)] * 2
    np.testing.assert_allclose(pictures[0].cmap(pictures[0].norm(0.0))[:3], 1.0, atol=0.05)


def test_numbers_stand_in_the_cells():
    figure = plot_kernels({"a": torch.tensor([[1.5, -0.2]])}, numbers=True)
    assert [text.get_text() for text in figure.axes[0].texts] == ["1.5", "-0.2"]


def test_lines_differ_by_marker_as_well_as_by_colour():
    figure = plot_against_k({"GCN": {3: 1.0, 7: 2.0}, "k×k": {3: 1.0, 5: 9.0}}, "time (ms)")
    gcn, dense = figure.axes[0].lines
    np.testing.assert_array_equal(gcn.get_xdata(), [3, 7])
    np.testing.assert_array_equal(dense.get_ydata(), [1.0, 9.0])
    assert gcn.get_marker() != dense.get_marker()
    assert figure.axes[0].get_xticks().tolist() == [3, 5, 7]


def test_no_line_is_left_out_when_there_are_more_than_markers():
    figure = plot_against_k({str(number): {3: 1.0 + number} for number in range(9)}, "time (ms)")
    assert len(figure.axes[0].lines) == 9
