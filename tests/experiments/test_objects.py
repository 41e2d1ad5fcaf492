"""Objects of a label map, by hand and against a loop over all pixels."""

import math

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from gcnlab.experiments.objects import LabelledObject, choose_objects, mask_of, objects_in

LABELS = torch.tensor(
    [
        [0, 1, 1, 1, 0, 2],
        [0, 1, 1, 1, 0, 2],
        [0, 1, 1, 1, 255, 0],
        [2, 0, 0, 0, 1, 0],
    ],
    dtype=torch.uint8,
)


def test_objects_by_hand():
    """Diagonal neighbours are not connected; background and void are no objects."""
    assert objects_in(LABELS, image=7) == [
        LabelledObject(7, 1, (1, 2), 3.0, 2.0),
        LabelledObject(7, 1, (3, 4), 1.0, 1.0),
        LabelledObject(7, 2, (0, 5), math.sqrt(2), 1.0),
        LabelledObject(7, 2, (3, 0), 1.0, 1.0),
    ]


def test_shallow_objects_are_left_out():
    assert [o.pixel for o in objects_in(LABELS, least_depth=2)] == [(1, 2)]


@pytest.mark.parametrize("side", [1, 2, 3, 4, 5, 6])
def test_a_square_has_the_depth_of_the_circle_inside(side):
    labels = torch.zeros(9, 9, dtype=torch.uint8)
    labels[1 : 1 + side, 2 : 2 + side] = 4
    depth = (side + 1) // 2
    assert [o.depth for o in objects_in(labels, least_depth=depth)] == [depth]
    assert objects_in(labels, least_depth=depth + 0.5) == []


def test_the_border_of_the_image_is_an_end_of_the_object():
    """A class over the whole image: the deepest pixel is its middle."""
    (item,) = objects_in(torch.full((5, 9), 3, dtype=torch.uint8))
    assert (item.pixel[0], item.depth) == (2, 3.0)


def test_the_depth_is_that_of_a_loop():
    rng = np.random.default_rng(0)
    labels = torch.from_numpy((rng.random((12, 14)) < 0.8).astype(np.uint8))
    for item in objects_in(labels):
        mask = mask_of(labels, item)
        assert item.size == pytest.approx(math.sqrt(mask.sum()))

        def depth(pixel, mask=mask):
            outside = [
                (r, c)
                for r in range(-1, 13)
                for c in range(-1, 15)
                if not (0 <= r < 12 and 0 <= c < 14 and mask[r, c])
            ]
            return min(math.dist(pixel, other) for other in outside)

        depths = {tuple(p): depth(p) for p in mask.nonzero().tolist()}
        assert item.depth == pytest.approx(max(depths.values()))
        assert depths[item.pixel] == pytest.approx(item.depth)


def test_masks_divide_the_classes():
    masks = [mask_of(LABELS, item) for item in objects_in(LABELS)]
    assert torch.equal(sum(m.int() for m in masks), ((LABELS > 0) & (LABELS < 255)).int())


def test_another_label_map_is_refused():
    item = objects_in(LABELS)[0]
    with pytest.raises(ValueError, match=r"no class 1 at \(1, 2\)"):
        mask_of(torch.zeros_like(LABELS), item)


class Maps(Dataset):
    """Four images with the same objects."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        if not 0 <= index < 4:
            raise IndexError(index)
        return torch.zeros(3, 4, 6), LABELS


def test_the_choice_is_random_sorted_and_the_same_each_time():
    every = choose_objects(Maps(), 1, 100, 0)
    assert every == [o for i in range(4) for o in objects_in(LABELS, i)]
    some = choose_objects(Maps(), 1, 5, 0)
    assert some == choose_objects(Maps(), 1, 5, 0) != choose_objects(Maps(), 1, 5, 1)
    assert some == [o for o in every if o in some]
    assert len(some) == 5


def test_no_object_is_an_error():
    with pytest.raises(ValueError, match="no object has a pixel 9 px or more"):
        choose_objects(Maps(), 9, 5, 0)
