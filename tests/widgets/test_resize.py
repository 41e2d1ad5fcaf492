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
from gcnlab.datasets.labels import LabelSet, voc_palette
from gcnlab.receptive import valid_field
from gcnlab.widgets import ResizeExplorer
from gcnlab.widgets.painting import edges, paint
from gcnlab.widgets.sizes import Sizes, centre_pixel
from gcnlab.widgets.stage import PhotoObject, ShapeStage, shape_stage

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
        ({"kind": "cat", "size": 1e5}, "size must be at most 512 pixels, not 100000"),
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


# --- Numbers out of their ranges


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": float("nan")}, "size must be a finite number, not nan"),
        ({"size": float("inf")}, "size must be a finite number, not inf"),
        ({"size": 0}, "size must be at least 1 pixel, not 0"),
        ({"size": -1}, "size must be at least 1 pixel, not -1"),
        ({"size": 0.5}, "size must be at least 1 pixel, not 0.5"),
        ({"size": "a"}, "size must be a number, not 'a'"),
        ({"size": None}, "size must be a number, not None"),
        ({"angle": float("inf")}, "angle must be a finite number, not inf"),
        ({"row": float("nan")}, "row must be a finite number, not nan"),
        ({"column": -float("inf")}, "column must be a finite number, not -inf"),
        ({"texture": -1}, "texture must be at least 0, not -1"),
        ({"texture": None}, "texture must be a whole number, not None"),
        ({"kind": "cat"}, "unknown kind 'cat'"),
        (
            {"colour": 1},
            "a shape has no colour to change; choose kind, size, angle, row, column, te",
        ),
    ],
)
def test_a_change_that_fails_changes_nothing(explorer, change, message):
    item, before = explorer.item, shown(explorer)
    with pytest.raises(ValueError, match=message):
        explorer.change(**{"size": 30} | change)
    assert explorer.item == item
    assert explorer.wait(ahead=True).item == item
    assert shown(explorer) == before
    assert explorer._sliders.inputs["size"].value == 40
    explorer.change(size=1).wait()
    assert explorer.item.size == 1
    explorer.change(size=44, row=1e9).wait()
    assert explorer.pictures["small"].error == "the object is outside the image"


def test_an_object_that_cannot_be_drawn_leaves_the_last_one(explorer, monkeypatch):
    item, before = explorer.item, shown(explorer)

    def fail(stage):
        raise RuntimeError("cannot draw")

    with monkeypatch.context() as broken:
        broken.setattr(ShapeStage, "draw", fail)
        for change in ({"size": 33}, {"row": 20}):
            with pytest.raises(RuntimeError, match="cannot draw"):
                explorer.change(**change)
    assert explorer.item == item
    assert explorer._sliders.inputs["row"].value == 32
    assert shown(explorer) == before
    explorer.change(size=33).wait()
    assert explorer.item == replace(item, size=33.0)


@pytest.mark.parametrize("change", [{"size": 0}, {"size": float("nan")}, {"row": float("inf")}])
def test_the_object_of_a_photograph_takes_finite_numbers(cat, change):
    explorer = ResizeExplorer({"small": Redness()}, "cat", cutout=cat, image_size=64).wait()
    item = explorer.item
    with pytest.raises(ValueError, match=r"must be (at least 1 pixel|a finite number), not"):
        explorer.change(**change)
    assert explorer.item == item
    explorer.change(size=30).wait()
    assert explorer.item == replace(item, size=30.0)
    explorer.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size must be at least 1 pixel, not 0"),
        ({"size": float("nan")}, "size must be a finite number, not nan"),
        ({"angle": float("nan")}, "angle must be a finite number, not nan"),
        ({"image_size": 8}, "image_size must be at least 16, not 8"),
        ({"image_size": 0}, "image_size must be at least 16, not 0"),
        ({"background": -1}, "background must be at least 0, not -1"),
        ({"texture": -1}, "texture must be at least 0, not -1"),
        ({"method": ("exact", "gradient")}, "method must be one method, not .'exact', 'gradient'."),
        ({"pixel": (1, 1)}, "pixel is for VRFExplorer: leave it out"),
    ],
)
def test_arguments_out_of_their_ranges(cat, options, message):
    for more in ({}, {"kind": "cat", "cutout": cat}):
        if more and set(options) & {"angle", "texture"}:
            continue  # refused for a photograph, whatever they are
        with pytest.raises(ValueError, match=message):
            ResizeExplorer({"small": Redness()}, **({"image_size": 64} | more | options))


def test_a_ground_smaller_than_the_smallest_size_of_the_slider(cat):
    options = {"cutout": cat, "ground": plain_ground(2, 6)}
    explorer = ResizeExplorer({"small": Redness()}, "cat", **options).wait()
    assert explorer.item.size == 1
    assert explorer._sliders.inputs["size"].max == 16
    assert explorer._sizes.ahead_sizes == [16]
    assert explorer.change(size=4).wait().answers["small"].field.shape == (2, 6)
    explorer.close()


def test_the_smallest_image_and_one_method_in_a_list():
    explorer = ResizeExplorer(
        {"small": Redness()}, image_size=16, size=None, method=["gradient"]
    ).wait(ahead=True)
    assert explorer.item.size == 16 / 3
    assert explorer._sizes.ahead_sizes == [16]
    assert explorer.answers["small"].field.shape == (16, 16)
    explorer.close()


@pytest.mark.parametrize(
    "make",
    [
        lambda: PhotoObject(1, (3.0, 3.0), float("nan")),
        lambda: PhotoObject(1, (float("nan"), 3.0), 4.0),
        lambda: ShapeStage(ShapeObject(1, (3.0, float("inf")), 4.0, 0.0, 1), 64, 1),
        lambda: ShapeStage(ShapeObject(1, (3.0, 3.0), 4.0, float("nan"), 1), 64, 1),
        lambda: ShapeStage(ShapeObject(1, (3.0, 3.0), 0.0, 0.0, 1), 64, 1),
        lambda: ShapeStage(ShapeObject(1, (3.0, 3.0), 4.0, 0.0, 1), 15, 1),
    ],
)
def test_a_stage_is_checked_when_it_is_made(make):
    with pytest.raises(ValueError, match=r"(size|row|column|angle|image_size) must be"):
        make()


def test_class_ids_of_the_largest_label_set_stay_exact(cat):
    names = ("background", *(f"class {number}" for number in range(1, 255)))
    labels = LabelSet(names, voc_palette(255))
    last = nn.Conv2d(3, 255, 1)
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(torch.arange(255.0))
    options = {"cutout": cat, "image_size": 64, "labels": labels, "size": 30}
    explorer = ResizeExplorer({"last": last}, "class 254", **options).wait()
    assert explorer.predictions["last"].unique().tolist() == [254]
    assert dict(explorer.predicted["last"].facts)["centre"] == "class 254"
    explorer.close()
    explorer = ResizeExplorer({"more": nn.Conv2d(3, 300, 1)}, "class 254", **options).wait()
    assert "has 300 classes, but the label set has 255" in explorer.pictures["more"].error
    explorer.close()
