import numpy as np
import pytest
import torch
from models import Broken, Quarter
from torch import nn

from gcnlab.datasets import (
    NORMALIZATIONS,
    SHAPES,
    VOC_ANIMALS,
    Scene,
    ShapeObject,
    cat_photograph,
    cut_out,
    paste,
    plain_ground,
    render,
    textured_ground,
)
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
    facts = dict(explorer.pictures["small"].facts)
    assert facts["region"] == "80 % of the mass"
    assert facts["radius"] == f"{field.radius():.0f} px"
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


# --- An object of a photograph


@pytest.fixture(scope="module")
def cat():
    return cut_out(*cat_photograph())


def test_an_object_of_a_photograph_in_place_of_a_shape(cat):
    explorer = ResizeExplorer(
        {"small": Redness()}, "cat", size=40, image_size=64, cutout=cat, background=5
    ).wait()
    image, mask = paste(cat, textured_ground(64, 64, 5), scale=40 / 402)  # its box: 300×402
    assert (explorer._image == image).all()
    assert (explorer.mask == mask).all()
    field = valid_field(
        Redness(), NORMALIZATIONS["imagenet"](image), centre_pixel(mask), window=8, stride=4
    )
    assert (explorer.answers["small"].region == field.region()).all()
    assert explorer.coverage("small") == field.coverage(mask)
    facts = dict(explorer.pictures["small"].facts)
    assert facts["region"] == "80 % of the mass"
    assert facts["radius"] == f"{field.radius():.0f} px"
    classes = Redness()(NORMALIZATIONS["imagenet"](image)[None])[0].argmax(0)
    found = classes == VOC_ANIMALS.names.index("cat")
    assert explorer.iou("small") == ((found & mask).sum() / (found | mask).sum()).item()
    name = VOC_ANIMALS.names[int(classes[centre_pixel(mask)])]
    wrong = "" if name == "cat" else ", wrong"
    assert dict(explorer.predicted["small"].facts)["centre"] == f"{name}{wrong}"
    explorer.close()


def test_the_object_of_a_photograph_follows_its_sliders_and_its_dot(cat):
    ground = plain_ground(48, 80)
    explorer = ResizeExplorer({"small": Redness()}, "cat", cutout=cat, ground=ground).wait()
    assert explorer.item.size == 16
    assert explorer.item.center == (23.5, 39.5)
    assert sorted(explorer._sliders) == ["column", "kind", "row", "size"]
    assert explorer._sliders["size"].max == 160  # larger than the image
    assert explorer._sliders["kind"].options == ("cat",)
    explorer._sliders["size"].value = 30
    explorer._sliders["row"].value = 20
    explorer.wait()
    image, _ = paste(cat, ground, (20, 39.5), 30 / 402)
    assert (explorer._image == image).all()
    row, column = explorer.question.pixel
    explorer.predicted["small"].set_state({"pixel": [row + 6, column - 9], "moment": 1.0})
    explorer.wait()
    assert explorer.item.center == (26, 30.5)
    assert (explorer.mask == paste(cat, ground, (26, 30.5), 30 / 402)[1]).all()
    explorer.change(size=150).wait()
    assert explorer.mask.float().mean() > 0.9
    assert explorer.answers["small"].region is not None
    explorer.change(row=-100).wait()
    assert explorer.pictures["small"].error == "the object is outside the image"
    explorer.change(row=20).wait()
    assert explorer.pictures["small"].error == ""
    assert "PhotoObject(kind=1" in repr(explorer)
    explorer.close()


def test_other_labels_and_their_classes(cat):
    explorer = ResizeExplorer(
        {"voc": nn.Conv2d(3, 21, 1)}, "cat", cutout=cat, image_size=64, target="dog"
    ).wait()
    assert explorer.question.target == VOC_ANIMALS.names.index("dog")
    assert "has 21 classes, but the label set has 7" in explorer.pictures["voc"].error
    explorer.close()
    shapes = ResizeExplorer(
        {"small": Redness()}, "star", cutout=cat, image_size=64, labels=SHAPES, size=30
    ).wait()
    assert shapes.item.kind == SHAPES.names.index("star")
    assert shapes.pictures["small"].error == ""
    shapes.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "kind must name the object's class, one of background, cat"),
        ({"kind": "cats"}, r"unknown kind 'cats'; did you mean cat\?"),
        ({"kind": "background"}, "unknown kind 'background'"),
        ({"kind": "cat", "angle": 30}, "angle and texture are for shapes"),
        ({"kind": "cat", "texture": 3}, "angle and texture are for shapes"),
        ({"kind": "cat", "size": -3}, "size must be at least 1 pixel, not -3"),
    ],
)
def test_arguments_that_do_not_fit_a_photograph(cat, options, message):
    with pytest.raises(ValueError, match=message):
        ResizeExplorer({"small": Redness()}, cutout=cat, image_size=64, **options)


def test_what_is_only_for_photographs_and_what_only_for_shapes(cat):
    with pytest.raises(ValueError, match="ground and labels are for an object of a photograph"):
        ResizeExplorer({"small": Redness()}, ground=plain_ground(64, 64))
    explorer = ResizeExplorer({"small": Redness()}, "cat", cutout=cat, image_size=64)
    with pytest.raises(ValueError, match="has no angle to change; choose size, row, column"):
        explorer.change(angle=3)
    explorer.wait().close()
