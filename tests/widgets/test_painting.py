import io

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from gcnlab.widgets.painting import SHADE, edges, object_under, paint, png, svg_path, tint

IMAGE = torch.randint(0, 256, (3, 5, 7), dtype=torch.uint8)
FIELD = torch.zeros(5, 7)
FIELD[2, 3], FIELD[2, 4] = -4.0, 1.0


def test_region_is_bright_on_the_darkened_image():
    region = FIELD.abs() > 2
    picture = paint(IMAGE, FIELD, region)
    assert (picture[2, 3] == IMAGE[:, 2, 3].numpy()).all()
    assert (picture[0, 0] == (IMAGE[:, 0, 0].numpy() * SHADE).astype(np.uint8)).all()


def test_contour_leaves_the_image_as_it_is():
    image = IMAGE.permute(1, 2, 0).numpy()
    assert (paint(IMAGE, FIELD, FIELD > 0, "contour") == image).all()
    assert (paint(IMAGE, None, None, "heat") == image).all()


def test_heat_grows_with_the_magnitude():
    heat = paint(IMAGE, FIELD, FIELD > 0, "heat").astype(int).sum(-1)
    assert heat[2, 3] > heat[2, 4] > heat[0, 0]


def test_heat_of_a_field_of_zeros_is_dark():
    assert paint(IMAGE, 0 * FIELD, None, "heat").max() < 10


def test_unknown_view():
    with pytest.raises(ValueError, match="unknown view 'ct'; choose region"):
        paint(IMAGE, view="ct")


def test_tint_mixes_grey_and_colour():
    colours = torch.full((5, 7, 3), 100, dtype=torch.uint8)
    picture = tint(torch.full((3, 5, 7), 200, dtype=torch.uint8), colours, 0.25)
    assert (picture == 175).all()


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=6)))
def test_edges_separate_unlike_neighbours_and_only_those(mask):
    lines = set()
    for x, y, x2, y2 in edges(torch.from_numpy(mask)):
        assert (x == x2) != (y == y2)
        lines |= {("row", y, i) for i in range(x, x2)} | {("column", x, i) for i in range(y, y2)}
    height, width = mask.shape
    assert lines == {
        ("row", y, x)
        for y in range(1, height)
        for x in range(width)
        if mask[y - 1, x] != mask[y, x]
    } | {
        ("column", x, y)
        for y in range(height)
        for x in range(1, width)
        if mask[y, x - 1] != mask[y, x]
    }


def test_edges_are_as_few_as_there_are():
    mask = torch.zeros(9, 9)
    mask[2:5, 3:8] = 1
    assert sorted(edges(mask)) == [(3, 2, 3, 5), (3, 2, 8, 2), (3, 5, 8, 5), (8, 2, 8, 5)]
    assert svg_path([(3, 2, 3, 5), (3, 2, 8, 2)]) == "M3 2L3 5M3 2L8 2"


def test_png_keeps_every_value():
    picture = IMAGE.permute(1, 2, 0).numpy().copy()
    assert (np.array(Image.open(io.BytesIO(png(picture)))) == picture).all()


@given(st.integers(0, 3), st.integers(0, 4))
def test_object_under_the_pixel_hangs_together(row, column):
    labels = torch.tensor(
        [[1, 1, 0, 1, 1], [1, 0, 0, 0, 1], [0, 0, 2, 0, 255], [2, 2, 2, 0, 255]], dtype=torch.uint8
    )
    mask = object_under(labels, (row, column), background=0)
    own = int(labels[row, column])
    if own in (0, 255):
        assert mask is None
    else:
        assert mask[row, column]
        assert mask.sum() == (3 if own == 1 else 4)
        assert (labels[mask] == own).all()


def test_outside_the_labels_there_is_no_object():
    assert object_under(torch.ones(4, 4), (4, 0)) is None
    assert object_under(torch.zeros(4, 4), (0, 0)).all()
