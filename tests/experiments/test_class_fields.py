"""Mean re-centred fields of classes, against the fields one by one."""

import pytest
import torch

from gcnlab.evaluation import boundary_mask
from gcnlab.experiments.class_fields import mean_class_fields
from gcnlab.receptive import FieldAtlas, mean_field
from tests.receptive.test_atlas import small


def test_inside_and_boundary_of_each_class_over_two_images():
    torch.manual_seed(0)
    net, pairs = small(), []
    for size in [(40, 48), (32, 56)]:
        labels = torch.zeros(size, dtype=torch.uint8)
        labels[6:30, 10:40] = 2
        pairs.append((FieldAtlas(net, torch.randn(3, *size), 16, 8, every=4).build(), labels))
    found = mean_class_fields(pairs, {0: "ground", 1: "cat", 2: "dog"}, radius=20, band=5)
    assert list(found) == ["ground, inside", "ground, boundary", "dog, inside", "dog, boundary"]
    fields = []
    for atlas, labels in pairs:
        near = boundary_mask(labels, 5)
        for row in atlas.units[0].tolist():
            for column in atlas.units[1].tolist():
                if labels[row, column] == 2 and near[row, column]:
                    fields.append((atlas.field((row, column)).discrepancy, (row, column)))
    assert len(fields) > 20
    torch.testing.assert_close(found["dog, boundary"], mean_field(fields, 20), equal_nan=True)


def test_another_size_is_named():
    atlas = FieldAtlas(small(), torch.randn(3, 40, 48), 16, 8).build()
    with pytest.raises(ValueError, match="40×40, but the image is 40×48"):
        mean_class_fields([(atlas, torch.zeros(40, 40, dtype=torch.uint8))], {0: "ground"}, 9)
