"""Objects at several sizes: each image has one object of the length asked for."""

import pytest
import torch
from torch.utils.data import Dataset

from gcnlab.experiments.objects import objects_in
from gcnlab.experiments.pasted import PastedObjects


class Pair(Dataset):
    """Two photographs: a bright block of class 2, and two bright blocks of class 1."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        image = torch.full((3, 60, 80), 30, dtype=torch.uint8)
        labels = torch.zeros(60, 80, dtype=torch.uint8)
        for part in [[(10, 20)], [(5, 15), (35, 45)]][index]:
            place = slice(*part), slice(30, 50)
            image[:, *place], labels[place] = 250, 2 - index
        return image, labels


@pytest.fixture(scope="module")
def pasted():
    objects = [item for index in (0, 1) for item in objects_in(Pair()[index][1], index)]
    return PastedObjects(Pair(), objects, (8, 20, 64))


def test_an_image_per_object_and_length(pasted):
    assert len(pasted) == 3 * 3
    for index, (image, labels) in enumerate(pasted[i] for i in range(9)):
        assert image.shape == (3, 64, 64)
        assert image.dtype == torch.uint8
        kind, length = (2, 1, 1)[index // 3], (8, 20, 64)[index % 3]
        assert set(labels.unique().tolist()) == {0, kind}
        rows, columns = ((labels == kind).any(axis).nonzero() for axis in (1, 0))
        assert [int(r[-1] - r[0]) + 1 for r in (rows, columns)] == [length // 2, length]
        assert (image[:, labels == kind].float().mean() > 230) or length == 8  # its edge is soft
    with pytest.raises(IndexError):
        pasted[9]


def test_only_the_size_differs(pasted):
    """The texture is that of the object, at every length."""
    small, large = pasted[0], pasted[1]
    outside = large[1] == 0
    assert torch.equal(small[0][:, outside], large[0][:, outside])
    assert not torch.equal(pasted[3][0], small[0])


def test_the_objects_lie_in_the_middle(pasted):
    found = pasted.objects()
    assert [item.image for item in found] == list(range(9))
    assert [item.kind for item in found] == [2, 2, 2, 1, 1, 1, 1, 1, 1]
    for item in found:
        assert abs(item.pixel[0] - 31.5) <= 2
