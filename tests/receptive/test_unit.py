"""Units of a score map and pixels of the image, against counting."""

import pytest
import torch
from torch import nn

from gcnlab.receptive import gradient_field, mean_field, mean_gradient_field
from gcnlab.receptive.unit import middle_pixel, pixels_of, unit_at

SIZES = [
    ((64, 64), (16, 16)),
    ((9, 13), (9, 13)),
    ((7, 10), (2, 3)),
    ((5, 6), (4, 5)),
    ((3, 4), (6, 9)),
]


@pytest.mark.parametrize(("image", "units"), SIZES)
def test_every_pixel_belongs_to_one_unit(image, units):
    for axis in (0, 1):
        for p in range(image[axis]):
            pixel = tuple(p if a == axis else 0 for a in (0, 1))
            unit = unit_at(pixel, image, units)
            assert unit[axis] == int(p * units[axis] / image[axis])
            start, stop = pixels_of(unit, image, units)[axis]
            assert start <= p < stop
    counted = sum(b - a for u in range(units[0]) for a, b in [pixels_of((u, 0), image, units)[0]])
    assert counted == image[0]


@pytest.mark.parametrize(("image", "units"), SIZES)
def test_the_middle_pixel_is_one_of_the_units(image, units):
    for unit in [(r, c) for r in range(units[0]) for c in range(units[1])]:
        pixel = middle_pixel(unit, image, units)
        assert all(0 <= p < n for p, n in zip(pixel, image))
        if units[0] <= image[0]:
            assert unit_at(pixel, image, units) == unit


def test_by_hand():
    assert unit_at((10, 10), (64, 64), (16, 16)) == (2, 2)
    assert pixels_of((2, 3), (64, 64), (16, 16)) == ((8, 12), (12, 16))
    assert middle_pixel((2, 3), (64, 64), (16, 16)) == (10, 14)
    with pytest.raises(ValueError, match="outside the 64×64 image"):
        unit_at((64, 0), (64, 64), (16, 16))
    with pytest.raises(ValueError, match="outside the 16×16 score map"):
        pixels_of((0, 16), (64, 64), (16, 16))


def test_the_mean_gradient_field_is_centred_on_the_units_pixels():
    """A 4×4 convolution of stride 4 sees the unit's own pixels, around the middle."""
    net = nn.Conv2d(3, 2, 4, 4)
    examples = [(torch.randn(3, 32, 40), unit) for unit in ((2, 3), (7, 9), (0, 0))]
    mean = mean_gradient_field(net, examples, 5, target=0)
    seen = mean.nan_to_num().nonzero()
    assert seen.min(0).values.tolist() == [3, 3]
    assert seen.max(0).values.tolist() == [6, 6]
    fields = [
        (gradient_field(net, image, unit, 0), tuple(4 * u + 2 for u in unit))
        for image, unit in examples
    ]
    torch.testing.assert_close(mean, mean_field(fields, 5), equal_nan=True)
