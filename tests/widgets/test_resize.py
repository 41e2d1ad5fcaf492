import numpy as np
import pytest
import torch
from models import Broken, Quarter
from torch import nn

from gcnlab.datasets import NORMALIZATIONS, SHAPES, Scene, ShapeObject, render
from gcnlab.receptive import valid_field
from gcnlab.widgets import ResizeExplorer
from gcnlab.widgets.painting import paint
from gcnlab.widgets.resize import centre_pixel

pytestmark = pytest.mark.slow


class Redness(nn.Module):
    """Seven classes by the mean colour around a pixel."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 7, 9, padding=4)

    def forward(self, images):
        return self.conv(images)


@pytest.fixture
def explorer():
    explorer = ResizeExplorer({"small": Redness()}, "star", size=40, image_size=64)
    yield explorer.wait()
    explorer.close()


def scene(kind="star", center=(32.0, 32.0), size=40.0, angle=0.0):
    item = ShapeObject(SHAPES.names.index(kind), center, size, angle, 2)
    image, _, instances = render(Scene(64, 64, 1, (item,)))
    return image, instances == 1


def test_shows_prediction_and_field_of_the_drawn_object(explorer):
    image, mask = scene()
    normalized = NORMALIZATIONS["imagenet"](image)
    field = valid_field(Redness(), normalized, centre_pixel(mask), window=8, stride=4)
    assert (explorer.mask == mask).all()
    area = explorer.answers["small"].region
    assert (area == field.region()).all()
    assert explorer.coverage("small") == field.coverage(mask)
    assert (explorer.pictures["small"].raster == paint(image, field.discrepancy, area)).all()
    with torch.no_grad():
        classes = Redness()(normalized[None])[0].argmax(0)
    assert (explorer.predictions["small"] == classes).all()
    found = classes == SHAPES.names.index("star")
    wanted = (found & mask).sum() / (found | mask).sum()
    assert explorer.iou("small") == pytest.approx(wanted.item())


def test_everything_follows_the_sliders(explorer):
    explorer._sliders["size"].value = 30
    explorer._sliders["angle"].value = 45
    explorer._sliders["row"].value = 25
    explorer._sliders["kind"].value = "cross"
    explorer.wait()
    image, mask = scene("cross", (25.0, 32.0), 30.0, 45.0)
    assert (explorer.mask == mask).all()
    assert tuple(explorer.pictures["small"].pixel) == centre_pixel(mask)
    field = valid_field(
        Redness(), NORMALIZATIONS["imagenet"](image), centre_pixel(mask), window=8, stride=4
    )
    assert (explorer.answers["small"].region == field.region()).all()


def test_dragging_the_dot_moves_the_object(explorer):
    picture = explorer.predicted["small"]
    row, column = picture.pixel
    picture.set_state({"pixel": [row - 8, column + 5], "moment": 1.0})
    explorer.wait()
    assert explorer.item.center == (24, 37)
    assert explorer._sliders["row"].value == 24
    assert explorer.pictures["small"].pixel == [row - 8, column + 5]


def test_an_object_outside_the_image_is_told_and_can_come_back(explorer):
    explorer.change(row=-100).wait()
    assert explorer.pictures["small"].error == "the object is outside the image"
    explorer.change(row=32).wait()
    assert explorer.pictures["small"].error == ""
    assert explorer.answers["small"].region is not None


def test_errors_are_shown():
    explorer = ResizeExplorer({"broken": Broken()}, image_size=64).wait()
    assert "must return logits" in explorer.pictures["broken"].error
    explorer.close()
    with pytest.raises(ValueError, match="unknown kind 'cat'; choose disc"):
        ResizeExplorer({"broken": Broken()}, "cat")
    with pytest.raises(ValueError, match="models is empty"):
        ResizeExplorer({})


@pytest.mark.parametrize("kind", SHAPES.names[1:])
def test_the_middle_lies_on_the_object(kind):
    for angle in (0.0, 50.0, 200.0):
        _, mask = scene(kind, angle=angle)
        row, column = centre_pixel(mask)
        assert mask[row, column]
        assert np.hypot(row - 32, column - 32) < 12


def test_an_empty_mask_has_no_middle():
    with pytest.raises(ValueError, match="it has no centre"):
        centre_pixel(torch.zeros(3, 3, dtype=torch.bool))


def test_coarse_scores_are_resized_for_the_prediction_and_asked_by_unit():
    explorer = ResizeExplorer(
        {"quarter": Quarter(7)}, size=40, image_size=64, target=0, window=4, stride=4
    ).wait()
    image, mask = explorer._image, explorer.mask
    scores = Quarter(7)(NORMALIZATIONS["imagenet"](image)[None])
    whole = nn.functional.interpolate(scores, (64, 64), mode="bilinear", align_corners=False)
    assert torch.equal(explorer.predictions["quarter"], whole[0].argmax(0))
    row, column = (p // 4 for p in centre_pixel(mask))
    assert dict(explorer.pictures["quarter"].facts)["unit"] == f"({row}, {column}) of 16×16"
    assert explorer.answers["quarter"].region.nonzero().min(0).values.tolist() == [
        4 * row,
        4 * column,
    ]
    explorer.close()


def test_other_classes_than_shapes_are_refused():
    explorer = ResizeExplorer({"voc": nn.Conv2d(3, 21, 1)}, size=40, image_size=64).wait()
    assert "has 21 classes, but Shapes has 7" in explorer.pictures["voc"].error
    explorer.close()
