from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

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
from gcnlab.widgets.painting import edges, paint
from gcnlab.widgets.sizes import Sizes, centre_pixel
from gcnlab.widgets.stage import shape_stage

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
    explorer._sliders.inputs["size"].value = 30
    explorer._sliders.inputs["angle"].value = 45
    explorer._sliders.inputs["row"].value = 25
    explorer._sliders.inputs["kind"].value = "cross"
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
    assert explorer._sliders.inputs["row"].value == 24
    assert explorer.pictures["small"].pixel == [row - 8, column + 5]


def test_an_object_outside_the_image_is_told_and_can_come_back(explorer):
    explorer.change(row=-100).wait(ahead=True)
    assert explorer.pictures["small"].error == "the object is outside the image"
    assert explorer.answers == {}
    assert not explorer.mask.any()
    assert (
        explorer.pictures["small"].raster
        == scene(center=(-100.0, 32.0))[0].permute(1, 2, 0).numpy()
    ).all()
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
    image, mask = explorer._sized.image, explorer.mask
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


# --- Sizes that are computed ahead


def shown(explorer):
    """What the pictures of an explorer show, without how long it took."""
    return [
        (
            picture.raster.tolist(),
            picture.segments,
            list(picture.pixel),
            [fact for fact in picture.facts if fact[0] != "time"],
            (picture.note, picture.error, picture.busy, picture.pending),
        )
        for picture in (explorer.pictures["small"], explorer.predicted["small"])
    ]


@contextmanager
def stuck(explorer):
    """The explorer as if its background thread answered nothing."""
    worker = explorer._worker
    explorer._worker = SimpleNamespace(generation=7, submit=lambda *jobs: 7)
    try:
        yield
    finally:
        explorer._worker = worker


def test_sizes_computed_ahead_are_shown_at_once_as_a_new_explorer_shows_them(explorer):
    explorer.wait(ahead=True)
    assert explorer._ahead.value == "13 of 13 sizes are computed ahead; these appear without delay."
    grid = [16 + 4 * number for number in range(13)]
    assert explorer._sizes.ahead_sizes == grid
    with stuck(explorer):
        for size in (grid[0], grid[5], grid[12]):
            explorer._sliders.inputs["size"].value = size
            fresh = ResizeExplorer({"small": Redness()}, "star", size=size, image_size=64).wait()
            assert shown(explorer) == shown(fresh)
            assert explorer.coverage("small") == fresh.coverage("small")
            assert explorer.iou("small") == fresh.iou("small")
            assert (explorer.mask == scene(size=float(size))[1]).all()
            fresh.close()


def test_between_two_sizes_the_nearest_is_shown_and_named_until_the_exact_answer(explorer):
    explorer.wait(ahead=True)
    explorer.change(size=48).wait()
    at_48 = shown(explorer)
    with stuck(explorer):
        explorer.change(size=49)
        field, prediction = (explorer.pictures["small"], explorer.predicted["small"])
        for picture, before in zip((field, prediction), at_48):
            assert picture.raster.tolist() == before[0]
            assert picture.segments == before[1]
            assert dict(picture.facts)["size"] == "48 px, the nearest computed; 49 px follows"
            assert [f for f in picture.facts if f[0] != "size"] == [
                f for f in before[3] if f[0] != "size"
            ]
            assert picture.busy
            assert not picture.pending
        assert explorer.coverage("small") is None
        assert (explorer.mask == scene(size=49.0)[1]).all()
    explorer.change(size=49).wait()
    fresh = ResizeExplorer({"small": Redness()}, "star", size=49, image_size=64).wait()
    assert shown(explorer) == shown(fresh)
    fresh.close()


def test_without_any_size_the_picture_is_dimmed_and_says_so(explorer):
    explorer.wait(ahead=True)
    with stuck(explorer):
        explorer.change(angle=30)
    image, mask = scene(angle=30.0)
    for picture in (explorer.pictures["small"], explorer.predicted["small"]):
        assert picture.facts == [("size", "40 px, being computed")]
        assert picture.pending
        assert picture.busy
        assert (picture.raster == image.permute(1, 2, 0).numpy()).all()
        assert picture.segments["region"] == []
        assert picture.segments["item"] == edges(mask)


@pytest.mark.parametrize("change", [{"row": 20}, {"angle": 10}, {"kind": "cross"}, {"texture": 3}])
def test_another_place_angle_or_object_drops_what_was_computed(explorer, change):
    explorer.wait(ahead=True)
    assert len(explorer._sizes.computed) == 13
    with stuck(explorer):
        explorer.change(**change)
        assert explorer._sizes.nearest("small", 40.0) is None
    explorer.change().wait(ahead=True)
    assert len(explorer._sizes.computed) == 13


def test_the_current_size_comes_first_and_then_the_coarse_steps():
    sizes = Sizes(shape_stage("star", None, 0, 64, 1, None), ["small"])
    assert sizes.ahead(30.0) == [32, 16, 48, 64, 24, 40, 56, 28, 36, 20, 44, 52, 60]
    done = replace(sizes.drawn(32.0), done={"small"})
    sizes.keep(done)
    assert sizes.ahead(30.0) == [16, 48, 64, 24, 40, 56, 28, 36, 20, 44, 52, 60]
    assert sizes.at(32.0) is done


def test_settings_of_the_other_explorer_are_refused():
    for name, value in (("layer", "conv"), ("image_index", 1)):
        with pytest.raises(ValueError, match=f"{name} is for VRFExplorer"):
            ResizeExplorer({"small": Redness()}, image_size=64, **{name: value})


def test_each_method_has_the_view_that_suits_it():
    options = {"size": 40, "image_size": 64, "method": "gradient"}
    explorer = ResizeExplorer({"small": Redness()}, "star", **options).wait()
    field = explorer.answers["small"].field
    picture = explorer.pictures["small"]
    assert (picture.raster == paint(explorer._sized.image, field, None, "heat")).all()
    assert picture.segments["region"] == []
    explorer.close()


def test_memory_of_a_size_is_as_stated(explorer):
    sized = explorer._sized
    answer, prediction = sized.answers["small"], sized.predictions["small"]
    assert sized.image.nbytes + sized.mask.nbytes == 4 * 64 * 64
    assert answer.field.nbytes + answer.region.nbytes + prediction.nbytes == 6 * 64 * 64


def test_the_nearest_size_is_that_of_the_same_network():
    sizes = Sizes(shape_stage("star", None, 0, 64, 1, None), ["one", "other"])
    for size, done in ((20.0, {"one"}), (30.0, {"one", "other"}), (40.0, {"other"})):
        sizes.keep(replace(sizes.drawn(size), done=done))
    assert [sizes.nearest("one", size).size for size in (1.0, 25.0, 26.0, 90.0)] == [20, 20, 30, 30]
    assert sizes.nearest("other", 21.0).size == 30
    assert sizes.nearest("third", 21.0) is None


def test_only_the_grid_and_the_last_three_others_are_kept():
    sizes = Sizes(shape_stage("star", None, 0, 64, 1, None), ["small"])
    for size in (16.0, 17.0, 18.0, 32.0, 19.0, 21.0, 64.0):
        sizes.keep(replace(sizes.drawn(size), done={"small"}))
    kept = [size for size in np.arange(16.0, 65.0) if sizes.nearest("small", size).size == size]
    assert kept == [16, 18, 19, 21, 32, 64]


def test_the_mouse_wheel_goes_through_the_sizes_and_with_shift_it_rotates(explorer):
    picture = explorer.predicted["small"]
    for grown, size in ((1, 44), (-1, 36), (5, 60), (9, 64), (7, 56), (-90, 16)):
        picture.set_state({"grown": grown})
        assert explorer.item.size == explorer._sliders.inputs["size"].value == size
    picture.set_state({"turned": -2})
    assert explorer.item.angle == 330
    explorer.change(size=41)  # between two sizes of the grid
    picture.set_state({"grown": -91})
    assert explorer.item.size == 40
    explorer.change(size=41)
    picture.set_state({"grown": -90})
    assert explorer.item.size == 44
    explorer.wait()
    assert explorer.item.center == (32, 32)


def test_a_network_that_fails_leaves_the_others_their_answers():
    explorer = ResizeExplorer(
        {"broken": Broken(), "small": Redness()}, "star", size=40, image_size=64
    ).wait(ahead=True)
    assert "must return logits" in explorer.pictures["broken"].error
    assert explorer.pictures["broken"].facts == [("size", "40 px")]
    assert explorer.coverage("broken") is None
    assert explorer.pictures["small"].error == ""
    assert explorer.coverage("small") > 0
    assert len(explorer._sizes.computed) == 13
    explorer.change(size=16).wait()
    assert "must return logits" in explorer.pictures["broken"].error
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
    assert (explorer._sized.image == image).all()
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
    assert sorted(explorer._sliders.inputs) == ["column", "kind", "row", "size"]
    assert explorer._sliders.inputs["size"].max == 160  # larger than the image
    assert explorer._sliders.inputs["kind"].options == ("cat",)
    explorer._sliders.inputs["size"].value = 30
    explorer._sliders.inputs["row"].value = 20
    explorer.wait()
    image, _ = paste(cat, ground, (20, 39.5), 30 / 402)
    assert (explorer._sized.image == image).all()
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
