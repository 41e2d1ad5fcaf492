import numpy as np
import torch

from gcnlab.datasets import SHAPES
from gcnlab.plots import plot_fields, plot_label_maps, plot_mean_fields, plot_regions


def test_a_region_is_bright_on_the_darkened_image_with_a_red_dot_at_the_pixel():
    image = torch.full((3, 20, 30), 0.8)
    field = torch.zeros(20, 30)
    field[5:9, 10:20] = -2.0  # the sign does not matter
    figure = plot_regions(image, {"GCN": field}, pixel=(7, 12))
    (axis,) = figure.axes
    shown = axis.images[0].get_array()
    inside = np.zeros((20, 30), dtype=bool)
    inside[5:9, 10:20] = True
    np.testing.assert_allclose(shown[inside], 0.8, rtol=1e-6)
    np.testing.assert_allclose(shown[~inside], 0.2, rtol=1e-6)
    (dot,) = axis.lines
    assert (dot.get_xdata(), dot.get_ydata()) == ([12], [7])  # x is the column
    assert dot.get_color() == "red"
    assert axis.get_title() == "GCN"


def test_fields_stand_beside_the_image():
    figure = plot_fields(
        torch.rand(3, 8, 8), {"a": torch.rand(8, 8), "b": torch.rand(8, 8)}, (1, 2)
    )
    assert [axis.get_title() for axis in figure.axes] == ["image", "a", "b"]


def test_label_maps_have_the_colours_and_names_of_the_classes_that_occur():
    ids = torch.tensor([[0, 1], [255, 3]], dtype=torch.uint8)
    figure = plot_label_maps(torch.rand(3, 2, 2), {"labels": ids}, SHAPES)
    shown = figure.axes[1].images[0].get_array()
    assert tuple(shown[0, 1]) == SHAPES.colors[1]
    assert tuple(shown[1, 0]) == (255, 255, 255)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["background", "disc", "triangle"]


def test_mean_fields_are_centred_on_their_pixel():
    field = torch.zeros(5, 5)
    field[2, 2], field[0, 4] = 4.0, float("nan")
    figure = plot_mean_fields({"k = 1": field, "k = 7": 9 * field})
    axis, other = figure.axes
    assert axis.images[0].get_extent() == [-2.5, 2.5, 2.5, -2.5]
    shown = axis.images[0].get_array()
    assert shown[2, 2] == 2  # the square root
    assert np.ma.getmaskarray(shown)[0, 4] or np.isnan(shown[0, 4])
    assert other.get_title() == "k = 7"
