"""The synthetic data set: the same for the same seed, true to its labels, and without shortcuts."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision import tv_tensors

from gcnlab.datasets import SHAPES, Scene, ShapeObject, Shapes, render

KINDS = {name: number for number, name in enumerate(SHAPES.names)}

# Areas of the outlines in a circle of diameter 1, from school geometry. The star is ten triangles with
# the sides 1/2 and 0.42/2 around 36°; the cross has arms of half width 0.38/2.
_REACH = math.sqrt(1 - 0.38**2)
AREAS = {
    "disc": math.pi / 4,
    "square": 1 / 2,
    "triangle": 3 * math.sqrt(3) / 16,
    "star": 10 * (0.42 / 4) * math.sin(math.radians(36)) / 2,
    "cross": 0.38**2 + 2 * 0.38 * (_REACH - 0.38),
    "semicircle": math.pi / 8,
}


def lone(kind: str = "disc", **changes) -> Scene:
    """One object, 60 pixels wide, in the middle of 100×120 pixels."""
    item = ShapeObject(KINDS[kind], center=(50.0, 60.0), size=60.0, angle=20.0, texture=5)
    return Scene(100, 120, background=1, objects=(replace(item, **changes),))


def distance_to(item: ShapeObject, height: int, width: int) -> torch.Tensor:
    """Distance of each pixel's centre to the object's centre; the image's corner is at (0, 0)."""
    rows, columns = np.mgrid[:height, :width] + 0.5
    return torch.from_numpy(np.hypot(rows - item.center[0], columns - item.center[1]))


def same(first, second) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def small(split="train", length=6, image_size=48, seed=0, **settings) -> Shapes:
    return Shapes(split, length, image_size, seed, **settings)


# --- The same for the same seed


def test_an_image_is_the_same_whenever_it_is_drawn():
    first, second = small(), small()
    second[0]  # the order of reading does not matter
    assert all(same(first[i], second[i]) for i in (5, 0, 3))


def test_the_global_random_state_neither_matters_nor_changes():
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    first = small()[0]
    np.random.seed(2)  # noqa: NPY002
    torch.manual_seed(2)
    second = small()[0]
    after = torch.rand(())
    torch.manual_seed(2)
    assert same(first, second)
    assert after == torch.rand(())


@pytest.mark.parametrize("other", [{"seed": 1}, {"split": "val"}, {"split": "test"}])
def test_another_seed_or_split_has_other_images(other):
    first, second = small(), small(**other)
    assert not any(same(first[i], second[j]) for i in range(6) for j in range(6))


def test_images_of_one_set_differ():
    data = small()
    assert not any(same(data[i], data[j]) for i in range(6) for j in range(i))


def test_a_longer_set_begins_with_the_shorter():
    short, long = small(length=3), small(length=5)
    assert all(same(short[i], long[i]) for i in range(3))
    assert (len(short), len(long)) == (3, 5)


# --- What an item is


def test_an_item_is_a_pair_of_tv_tensors():
    image, labels = small()[0]
    assert (type(image), type(labels)) == (tv_tensors.Image, tv_tensors.Mask)
    assert image.dtype == labels.dtype == torch.uint8


@settings(max_examples=25, deadline=None)
@given(height=st.integers(32, 90), width=st.integers(32, 90), index=st.integers(0, 1000))
def test_any_size_is_drawn_with_every_object_inside(height, width, index):
    data = Shapes(length=1001, image_size=(height, width))
    image, labels = data[index]
    assert image.shape == (3, height, width)
    assert labels.shape == (height, width)
    for item in data.scene(index).objects:
        for center, side in zip(item.center, (height, width)):
            assert item.size / 2 <= center <= side - item.size / 2


def test_a_number_is_the_side_of_a_square_image():
    assert small(image_size=40)[0][0].shape == (3, 40, 40)


def test_transforms_get_the_pair_and_their_answer_is_the_item():
    data = small(transforms=lambda image, labels: (image, tv_tensors.wrap(labels + 1, like=labels)))
    image, labels = small()[0]
    assert same(data[0], (image, labels + 1))


def test_all_classes_occur_and_nothing_is_void():
    ids = torch.cat([labels.flatten() for _, labels in small(length=25)]).unique()
    assert ids.tolist() == list(range(7))


def test_names_tell_split_and_index():
    names = [small(split).name(i) for split in ("train", "val") for i in (0, 1)]
    assert len(set(names)) == 4
    assert "train" in names[0]


# --- True to the labels


def test_instances_are_the_objects_of_the_scene():
    data = small(length=20)
    for index in range(20):
        (_, labels), instances, scene = data[index], data.instances(index), data.scene(index)
        kinds = torch.tensor([0, *(item.kind for item in scene.objects)])
        assert torch.equal(kinds[instances.long()], labels.long())


def test_objects_stay_in_their_circumscribed_circle():
    data = small(length=20)
    for index in range(20):
        instances = data.instances(index)
        for number, item in enumerate(data.scene(index).objects, start=1):
            reach = distance_to(item, 48, 48)[instances == number].max()
            assert reach <= item.size / 2 + 1  # a pixel for the drawing


def test_an_object_lies_around_its_centre():
    middles = []
    for i in range(10):
        labels = render(lone("disc", center=(50 + i / 10, 60 + i / 10)))[1]
        middles.append(np.argwhere(labels.numpy()).mean(0) + 0.5 - i / 10)
    assert np.mean(middles, axis=0) == pytest.approx([50, 60], abs=0.2)


@pytest.mark.parametrize("kind", AREAS)
@pytest.mark.parametrize("angle", [0.0, 77.0])
def test_an_object_has_the_area_of_its_outline(kind, angle):
    item = ShapeObject(KINDS[kind], (110.0, 110.0), 200.0, angle, 5)
    _, labels, _ = render(Scene(220, 220, 1, (item,)))
    assert (labels == KINDS[kind]).sum() == pytest.approx(AREAS[kind] * 200**2, rel=0.05)
    assert labels.unique().tolist() == [0, KINDS[kind]]


def test_an_angle_turns_the_object():
    flat = render(lone("semicircle", angle=0.0))[1] > 0
    turned = render(lone("semicircle", angle=180.0))[1] > 0
    assert (flat & turned).sum() < 0.1 * flat.sum()


def test_later_objects_hide_earlier_ones():
    back, front = lone("square").objects[0], lone("disc", size=20.0, texture=9).objects[0]
    image, labels, instances = render(Scene(100, 120, 1, (back, front)))
    alone = render(Scene(100, 120, 1, (front,)))
    inside = alone[1] == KINDS["disc"]
    assert (labels[inside] == KINDS["disc"]).all()
    assert (instances[inside] == 2).all()
    assert torch.equal(image[:, inside], alone[0][:, inside])


# --- Without shortcuts: only the outline tells the class


@pytest.mark.parametrize("kind", AREAS)
def test_the_texture_does_not_depend_on_the_kind(kind):
    disc, other = render(lone("disc")), render(lone(kind))
    both = (disc[1] > 0) & (other[1] > 0)
    assert both.sum() > 500
    assert torch.equal(disc[0][:, both], other[0][:, both])


def test_the_background_is_that_of_the_empty_scene():
    empty = render(replace(lone(), objects=()))
    image, labels, _ = render(lone())
    assert torch.equal(image[:, labels == 0], empty[0][:, labels == 0])
    assert empty[1].max() == 0


def test_another_texture_changes_the_object_only():
    first, second = render(lone()), render(lone(texture=6))
    changed = (first[0] != second[0]).any(0)
    assert torch.equal(first[1], second[1])
    assert not changed[first[1] == 0].any()
    assert changed[first[1] > 0].float().mean() > 0.9


# --- Drawn again with an object changed


@pytest.mark.parametrize("size", [20.0, 90.0])
def test_resizing_an_object_changes_only_the_pixels_around_its_centre(size):
    data = Shapes(length=50, image_size=128)
    scene = next(s for s in map(data.scene, range(50)) if len(s.objects) == 3)
    item = scene.objects[1]
    resized = replace(scene, objects=(scene.objects[0], replace(item, size=size), scene.objects[2]))
    before, after = render(scene), render(resized)
    outside = distance_to(item, 128, 128) > max(size, item.size) / 2 + 1
    assert not same(before, after)
    assert all(
        torch.equal(a[..., outside], b[..., outside]) for a, b in zip(before, after, strict=True)
    )


def test_twice_the_size_is_four_times_the_area():
    areas = [(render(lone("square", size=s))[1] > 0).sum().item() for s in (30.0, 60.0)]
    assert areas[1] / areas[0] == pytest.approx(4, rel=0.1)


def test_an_object_may_reach_over_the_border():
    image, labels, _ = render(lone("disc", center=(0.0, 60.0)))
    assert image.shape == (3, 100, 120)
    assert (labels > 0).sum() == pytest.approx(math.pi / 8 * 60**2, rel=0.1)


# --- Bad arguments


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"split": "validation"}, "validation"),
        ({"length": 0}, "length"),
        ({"image_size": 16}, "image_size"),
        ({"image_size": (64, 31)}, "image_size"),
    ],
)
def test_a_bad_argument_is_named(arguments, named):
    with pytest.raises(ValueError, match=named):
        Shapes(**arguments)


@pytest.mark.parametrize("index", [6, 1000, -1])
def test_there_is_nothing_outside_of_the_set(index):
    with pytest.raises(IndexError, match=str(index)):
        small()[index]
