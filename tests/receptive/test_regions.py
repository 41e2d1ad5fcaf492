"""Regions, coverage and means, against their definitions pixel by pixel."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from gcnlab.receptive import (
    OcclusionSettings,
    area,
    area_share,
    centred,
    coverage,
    gradient_field,
    mean_field,
    mean_gradient_field,
    radius,
    region,
    square_share,
)
from gcnlab.receptive.regions import region_text

FIELD = torch.tensor([[0.0, -4.0, 1.0], [2.0, 1.0, 2.0]])


@st.composite
def fields(draw, smallest=1, largest=6):
    """Small fields with many equal values, of either sign."""
    height, width = draw(st.integers(smallest, largest)), draw(st.integers(smallest, largest))
    values = st.lists(st.integers(-5, 5), min_size=height * width, max_size=height * width)
    return torch.tensor(draw(values), dtype=torch.float32).reshape(height, width)


fractions = st.sampled_from([0.01, 0.2, 0.3, 0.5, 0.75, 0.99, 1.0])


def pixels(field):
    """Rows and columns of all pixels."""
    return itertools.product(*(range(n) for n in field.shape))


# --- Regions


@pytest.mark.parametrize(
    ("threshold", "rule", "inside"),
    [
        (0.2, "maximum", [[0, 1, 1], [1, 1, 1]]),
        (0.5, "maximum", [[0, 1, 0], [1, 0, 1]]),
        (1, "maximum", [[0, 1, 0], [0, 0, 0]]),
        (0.4, "mass", [[0, 1, 0], [0, 0, 0]]),  # 4 of 10
        (0.41, "mass", [[0, 1, 0], [1, 0, 1]]),  # one 2 would do, but there are two
        (0.8, "mass", [[0, 1, 0], [1, 0, 1]]),
        (1, "mass", [[0, 1, 1], [1, 1, 1]]),
    ],
)
def test_regions_of_a_field_by_hand(threshold, rule, inside):
    assert torch.equal(region(FIELD, threshold, rule), torch.tensor(inside, dtype=torch.bool))


@pytest.mark.parametrize(
    ("given", "meant", "text"),
    [
        ({}, (0.8, "mass"), "80 % of the mass"),
        ({"rule": "mass"}, (0.8, "mass"), "80 % of the mass"),
        ({"rule": "maximum"}, (0.2, "maximum"), "≥ 20 % of the maximum"),
        ({"threshold": 0.5}, (0.5, "maximum"), "≥ 50 % of the maximum"),
        ({"threshold": 0.125, "rule": "mass"}, (0.125, "mass"), "12.5 % of the mass"),
    ],
)
def test_what_is_left_out_of_a_region_has_a_default(given, meant, text):
    field = torch.randn(7, 9)
    assert torch.equal(region(field, **given), region(field, *meant))
    assert area(field, **given) == area(field, *meant)
    assert OcclusionSettings(**given).region == meant
    assert region_text(**given) == text


@given(fields(), fractions)
def test_the_maximum_rule_is_its_definition(field, threshold):
    top = field.abs().max()
    for pixel in pixels(field):
        expected = bool(top > 0 and field[pixel].abs() >= threshold * top)
        assert bool(region(field, threshold)[pixel]) == expected


@given(fields(), fractions)
def test_the_mass_rule_takes_the_fewest_values_that_hold_the_mass(field, mass):
    inside = region(field, mass, "mass")
    size = field.abs()
    assert size[inside].sum() >= mass * size.sum() - 1e-4
    if inside.any():
        least = size[inside].min()
        assert torch.equal(inside, (size >= least) & (size > 0))
        assert size[size > least].sum() < mass * size.sum() + 1e-4


@pytest.mark.parametrize("rule", ["maximum", "mass"])
@given(field=fields(), small=fractions, large=fractions)
def test_a_region_does_not_depend_on_scale_or_sign_and_is_nested(rule, field, small, large):
    assert torch.equal(region(-8 * field, large, rule), region(field, large, rule))
    if small <= large:
        bigger, smaller = region(field, small, rule), region(field, large, rule)
        if rule == "mass":
            bigger, smaller = smaller, bigger
        assert not (smaller & ~bigger).any()


@pytest.mark.parametrize("rule", ["maximum", "mass"])
def test_a_field_of_zero_has_an_empty_region(rule):
    assert not region(torch.zeros(4, 5), 0.2, rule).any()


def test_mass_of_one_is_all_that_is_not_zero_in_spite_of_rounding():
    field = torch.rand(50, 50) + 0.1
    assert region(field, 1, "mass").all()


@pytest.mark.parametrize("threshold", [0, -0.1, 1.1, float("nan")])
@pytest.mark.parametrize("rule", ["maximum", "mass"])
def test_a_threshold_out_of_range_is_named(threshold, rule):
    with pytest.raises(ValueError, match="threshold must be in"):
        region(FIELD, threshold, rule)


def test_an_unknown_rule_is_named():
    with pytest.raises(ValueError, match="'median'; choose maximum or mass"):
        region(FIELD, 0.2, "median")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    "use",
    [
        region,
        lambda field: area_share(field, 0.5),
        lambda field: radius(field, (0, 0)),
        lambda field: square_share(field, 0.5),
        lambda field: mean_field([(field, (0, 0))], 1),
    ],
)
def test_a_field_that_is_not_finite_is_refused(value, use):
    field = FIELD.clone()
    field[1, 1] = value
    with pytest.raises(ValueError, match="not finite"):
        use(field)


# --- Radius and area


def test_radius_by_hand():
    """4 at distance 1, 1 at √4, 2 at 1, 1 at √2, 2 at √5, of 10 in all."""
    squares = 4 * 1 + 1 * 4 + 2 * 1 + 1 * 2 + 2 * 5
    assert radius(FIELD, (0, 0)) == pytest.approx(math.sqrt(squares / 10))
    assert radius(FIELD, (0, 1)) == pytest.approx(math.sqrt((1 + 2 * 2 + 1 + 2 * 2) / 10))


@given(fields(), st.data())
def test_radius_is_its_definition(field, data):
    pixel = data.draw(st.sampled_from(list(pixels(field))))  # border pixels among them
    mass = sum(abs(field[p].item()) for p in pixels(field))
    moment = sum(abs(field[p].item()) * math.dist(p, pixel) ** 2 for p in pixels(field))
    if mass == 0:
        assert math.isnan(radius(field, pixel))
    else:
        assert radius(field, pixel) == pytest.approx(math.sqrt(moment / mass))
        assert radius(-3 * field, pixel) == pytest.approx(radius(field, pixel))


def test_the_radius_of_a_gaussian_is_its_deviation_times_root_two():
    rows, columns = torch.meshgrid(torch.arange(101.0), torch.arange(101.0), indexing="ij")
    squares = (rows - 50) ** 2 + (columns - 50) ** 2
    assert radius(torch.exp(-squares / (2 * 8**2)), (50, 50)) == pytest.approx(8 * math.sqrt(2))


def test_the_radius_of_a_very_large_field_is_finite():
    assert radius(torch.full((1, 3), 3e38), (0, 0)) == pytest.approx(math.sqrt(5 / 3))


def test_radius_outside_the_field_is_refused():
    with pytest.raises(ValueError, match="outside the 2×3 field"):
        radius(FIELD, (2, 0))


@pytest.mark.parametrize("rule", ["maximum", "mass"])
@given(fields(), fractions)
def test_area_counts_the_pixels_of_the_region(rule, field, threshold):
    inside = region(field, threshold, rule)
    assert area(field, threshold, rule) == pytest.approx(inside.sum().item() / inside.numel())


# --- Coverage


def test_coverage_by_hand():
    inside = torch.tensor([[1, 1, 0], [0, 0, 1]], dtype=torch.bool)
    mask = torch.tensor([[0, 1, 1], [0, 2, 1]], dtype=torch.uint8)  # any number counts as inside
    assert coverage(inside, mask) == 2 / 4


@given(fields(), fields())
def test_coverage_is_a_share(field, other):
    inside, mask = field > 0, torch.zeros(field.shape, dtype=torch.bool)
    mask[: other.shape[0], : other.shape[1]] = True
    share = coverage(inside, mask)
    assert share == pytest.approx(inside[mask].float().mean().item())
    assert share + coverage(~inside, mask) == pytest.approx(1)


def test_coverage_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"\(2, 3\) and mask \(3, 2\) differ"):
        coverage(torch.ones(2, 3, dtype=torch.bool), torch.ones(3, 2))


# --- Area ratios


def replknet_ratio(data, threshold):
    """RepLKNet's ratio as its paper describes it: grow a square from the middle."""
    height, width = data.shape
    for i in range(max(data.shape)):
        rows = slice(max(0, height // 2 - i), height // 2 + i + 1)
        columns = slice(max(0, width // 2 - i), width // 2 + i + 1)
        if data[rows, columns].sum() >= threshold * data.sum() - 1e-9:
            return data[rows, columns].size / data.size
    return None


@given(fields(), fractions)
def test_the_square_is_replknets(field, mass):
    expected = replknet_ratio(np.abs(field.double().numpy()), mass) if field.any() else 0
    assert square_share(field, mass) == pytest.approx(expected)


def test_squares_by_hand():
    field = torch.zeros(5, 7)
    field[2, 3], field[2, 4], field[0, 0] = 5.0, 3.0, -2.0
    assert square_share(field, 0.5) == pytest.approx(1 / 35)
    assert square_share(field, 0.51) == pytest.approx(9 / 35)
    assert square_share(field, 0.81) == pytest.approx(1)  # only a side of 7 reaches the corner
    assert square_share(field, 0.2, pixel=(0, 0)) == pytest.approx(1 / 35)
    assert square_share(field, 0.21, pixel=(0, 0)) == pytest.approx(4 * 4 / 35)  # cut by the border
    assert square_share(field, 1, pixel=(0, 0)) == pytest.approx(5 * 5 / 35)
    assert area_share(field, 0.5) == pytest.approx(1 / 35)
    assert area_share(field, 0.81) == pytest.approx(3 / 35)


def test_a_uniform_field_takes_what_it_holds():
    field = torch.ones(21, 21)
    assert square_share(field, 0.2) == pytest.approx(11**2 / 21**2)  # 9² are 18.4 %
    assert area_share(field, 0.2) == 1  # equal values go in together


@given(fields(), fractions, st.data())
def test_no_square_is_smaller_than_the_values_it_needs(field, mass, data):
    pixel = data.draw(st.sampled_from(list(pixels(field))))
    ordered = field.abs().flatten().sort(descending=True).values.double().cumsum(0)
    fewest = int((ordered < mass * ordered[-1] - 1e-6).sum()) + 1 if field.any() else 0
    assert square_share(field, mass, pixel) * field.numel() >= fewest - 1e-4


@pytest.mark.parametrize("mass", [0, 1.5])
def test_a_mass_out_of_range_is_named(mass):
    with pytest.raises(ValueError, match="mass must be in"):
        square_share(FIELD, mass)
    with pytest.raises(ValueError, match="must be in"):
        area_share(FIELD, mass)


# --- Centring and averaging


@given(fields(), st.integers(0, 8), st.data())
def test_centred_moves_the_pixel_to_the_middle(field, radius, data):
    row, column = data.draw(st.sampled_from(list(pixels(field))))
    moved = centred(field, (row, column), radius)
    assert moved.shape == (2 * radius + 1, 2 * radius + 1)
    for i, j in pixels(moved):
        y, x = row + i - radius, column + j - radius
        if 0 <= y < field.shape[0] and 0 <= x < field.shape[1]:
            assert moved[i, j] == field[y, x]
        else:
            assert moved[i, j].isnan()


@pytest.mark.parametrize(
    "use", [lambda p: centred(FIELD, p, 2), lambda p: square_share(FIELD, 1, p)]
)
@pytest.mark.parametrize("pixel", [(2, 0), (0, 3), (-1, 0)])
def test_a_pixel_outside_the_field_is_named(use, pixel):
    with pytest.raises(ValueError, match=r"outside the 2×3 field"):
        use(pixel)


def test_a_negative_radius_is_named():
    with pytest.raises(ValueError, match="radius must be 0 or positive"):
        centred(FIELD, (0, 0), -1)


def test_a_mean_by_hand():
    first = torch.tensor([[3.0, -1.0]])  # around (0, 0): to the left and above nothing is known
    second = torch.tensor([[0.0], [2.0], [2.0]])  # around (1, 0)
    nan = float("nan")
    expected = [[nan, 0, nan], [nan, (0.75 + 0.5) / 2, 0.25], [nan, 0.5, nan]]
    found = mean_field([(first, (0, 0)), (second, (1, 0))], 1)
    torch.testing.assert_close(found, torch.tensor(expected), equal_nan=True)


@given(st.lists(fields(), min_size=1, max_size=4), st.data())
def test_a_mean_is_over_the_images_that_reach_a_place(several, data):
    pairs = [(f, data.draw(st.sampled_from(list(pixels(f))))) for f in several]
    moved = [centred(f.abs() / f.abs().sum(), p, 3).numpy() for f, p in pairs if f.any()]
    if not moved:
        with pytest.raises(ValueError, match="no field to average"):
            mean_field(pairs, 3)
        return
    known = ~np.isnan(moved)
    with np.errstate(invalid="ignore"):
        expected = np.nansum(moved, 0) / known.sum(0)
    np.testing.assert_allclose(mean_field(iter(pairs), 3), expected, rtol=1e-5, atol=1e-7)


def test_a_strong_field_does_not_outweigh_the_others():
    weak, strong = torch.tensor([[1.0, 0, 0]]), torch.tensor([[0, 0, 1e6]])
    found = mean_field([(weak, (0, 1)), (strong, (0, 1))], 1)
    assert found[1].tolist() == [0.5, 0, 0.5]


def test_a_mean_of_nothing_is_refused():
    for none in ([], [(torch.zeros(3, 3), (1, 1))]):
        with pytest.raises(ValueError, match="no field to average"):
            mean_field(none, 1)


def test_the_mean_gradient_field_of_a_convolution_is_its_kernel():
    conv = nn.Conv2d(3, 2, (3, 5), padding=(1, 2), bias=False)
    examples = [(torch.randn(3, 12, 14), pixel) for pixel in [(5, 6), (6, 7), (4, 9)]]
    found = mean_gradient_field(conv, iter(examples), 2, target=1)
    kernel = conv.weight[1].detach().abs().sum(0)
    expected = torch.zeros(5, 5)
    expected[1:4] = kernel / kernel.sum()
    torch.testing.assert_close(found, expected)


def test_the_mean_gradient_field_is_the_mean_of_gradient_fields():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 3, padding=1))
    examples = [(torch.randn(3, 9, n), (2, n - 1)) for n in (5, 8, 11)]
    expected = mean_field([(gradient_field(model, i, p), p) for i, p in examples], 4)
    torch.testing.assert_close(mean_gradient_field(model, examples, 4), expected, equal_nan=True)
