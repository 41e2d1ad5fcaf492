"""The fixed copies of an image are the image, its mirror, and random crops, each time the same."""

import pytest
import torch

from gcnlab.datasets import IGNORE, NORMALIZATIONS, Shapes
from gcnlab.datasets.copies import FixedCopies

NORMALIZATION = NORMALIZATIONS["imagenet"]


def copies(number=4, crop=(64, 64), side=48, **options):
    return FixedCopies(Shapes("train", 3, side), number, NORMALIZATION, crop, **options)


def test_the_first_copy_is_the_image_and_the_second_its_mirror():
    image, labels = Shapes("train", 3, 48)[1]
    for number, flipped in ((0, False), (1, True)):
        found, ids = copies().copy(1, number)
        expected = NORMALIZATION(image.flip(-1) if flipped else image)
        torch.testing.assert_close(found[:, :48, :48].as_subclass(torch.Tensor), expected)
        assert torch.equal(ids[:48, :48], labels.flip(-1) if flipped else labels)
        assert (found[:, 48:] == 0).all()
        assert (ids[48:] == IGNORE).all()
        assert (ids[:, 48:] == IGNORE).all()


def test_an_image_larger_than_the_crop_is_cropped_in_the_middle():
    image, labels = Shapes("train", 3, 48)[0]
    found, ids = copies(crop=(32, 16)).copy(0, 0)
    expected = NORMALIZATION(image[:, 8:40, 16:32])
    torch.testing.assert_close(found.as_subclass(torch.Tensor), expected)
    assert torch.equal(ids, labels[8:40, 16:32])


def test_the_others_are_random_but_the_same_each_time():
    data = copies(scale=(0.5, 1.5), color_jitter=0.2)
    torch.manual_seed(1)
    first = [data.copy(0, number)[0] for number in range(4)]
    torch.manual_seed(2)
    again = [data.copy(0, number)[0] for number in range(4)]
    assert all(torch.equal(a, b) for a, b in zip(first, again))
    assert not torch.equal(first[2], first[0])
    assert not torch.equal(first[3], first[2])
    assert not torch.equal(first[2], data.copy(1, 2)[0])


def test_without_flips_all_copies_but_the_first_are_random():
    data = copies(number=2, scale=(0.5, 0.6), flip=False)
    shrunk = data.copy(0, 1)[1]
    assert (shrunk[30:] == IGNORE).all()
    assert (data.copy(0, 0)[1][:48, :48] != IGNORE).all()


def test_an_item_is_a_random_copy():
    data = copies(number=3)
    possible = [data.copy(2, number)[0] for number in range(3)]
    drawn = set()
    for seed in range(20):
        torch.manual_seed(seed)
        image, _ = data[2]
        drawn |= {number for number, copy in enumerate(possible) if torch.equal(copy, image)}
    assert drawn == {0, 1, 2}


@pytest.mark.parametrize(
    "change",
    [{"number": 3}, {"crop": (32, 32)}, {"scale": (0.5, 1.0)}, {"flip": False}, {"side": 32}],
)
def test_the_description_changes_with_the_copies(change):
    assert copies().description() == copies().description()
    assert copies(**change).description() != copies().description()
