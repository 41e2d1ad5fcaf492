import numpy as np

from gcnlab.plots import plot_class_iou, plot_losses


def test_losses_are_running_means_at_their_last_step():
    figure = plot_losses({"a": [4.0, 2.0, 0.0, 2.0]}, smooth=2)
    (line,) = figure.axes[0].lines
    np.testing.assert_array_equal(line.get_xdata(), [2, 3, 4])
    np.testing.assert_allclose(line.get_ydata(), [3.0, 1.0, 1.0])


def test_class_iou_has_a_bar_per_class_and_network():
    figure = plot_class_iou({"a": {"x": 10.0, "y": 20.0}, "b": {"x": 30.0, "y": float("nan")}})
    heights = [bar.get_height() for bars in figure.axes[0].containers for bar in bars]
    assert heights[:3] == [10.0, 20.0, 30.0]
    assert np.isnan(heights[3])
