"""Logit, margin and probability, by hand and against a loop that occludes pixel by pixel."""

import math

import pytest
import torch
from torch import nn

from gcnlab.models import SegmentationNet
from gcnlab.receptive import Occlusion, OcclusionSettings, ValidField, valid_field
from gcnlab.receptive.graph import Graph
from gcnlab.receptive.grid import OcclusionGrid
from gcnlab.receptive.quantity import drop_of, value_of

QUANTITIES = ("logit", "margin", "probability")


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return SegmentationNet("mini", 4, kernel_size=5).eval()


@pytest.fixture(scope="module")
def graph(net):
    """The exported network, for 33×40 pixels; the export takes seconds."""
    return Graph(net, torch.zeros(1, 3, 33, 40))


def by_hand(logits, target, quantity):
    """The quantity of one vector of logits, number by number."""
    logits = logits.double().tolist()
    if quantity == "logit":
        return logits[target]
    if quantity == "margin":
        return logits[target] - max(z for j, z in enumerate(logits) if j != target)
    return math.exp(logits[target]) / sum(map(math.exp, logits))


def test_values_by_hand():
    logits = torch.tensor([[2.0, 1.0, -1.0], [0.0, 3.0, 3.0]])
    assert value_of(logits, 0, "logit").tolist() == [2, 0]
    assert value_of(logits, 0, "margin").tolist() == [1, -3]
    assert value_of(logits, 2, "margin").tolist() == [-3, 0]  # a tie
    e = math.e
    expected = [e**2 / (e**2 + e + 1 / e), 1 / (1 + 2 * e**3)]
    assert value_of(logits, 0, "probability").tolist() == pytest.approx(expected)


def test_the_best_other_class_is_that_of_each_image():
    """Occluded, the third class overtakes the second: the margin drops from 1 to −2 although the
    logit and the difference to the second class stay."""
    clean, occluded = torch.tensor([2.0, 1.0, 0.0]), torch.tensor([2.0, 1.0, 4.0])
    assert drop_of(clean, (clean - occluded)[None], 0, "logit").tolist() == [0]
    assert drop_of(clean, (clean - occluded)[None], 0, "margin").tolist() == [3]


def test_a_window_without_effect_has_no_drop():
    clean = torch.randn(5)
    for quantity in QUANTITIES:
        assert (drop_of(clean, torch.zeros(2, 3, 5), 1, quantity) == 0).all()


def test_small_drops_of_a_large_logit_are_kept():
    drop = drop_of(torch.tensor([1e30, 0.0]), torch.tensor([[1e-3, 0.0]]), 0, "logit")
    assert drop.item() == pytest.approx(1e-3)


@pytest.mark.parametrize("quantity", ["margin", "probability"])
def test_one_class_has_nothing_to_compare_with(quantity):
    model, image = nn.Conv2d(3, 1, 1), torch.rand(3, 8, 8)
    with pytest.raises(ValueError, match='has one: use "logit"'):
        valid_field(model, image, (4, 4), window=4, stride=4, quantity=quantity, method="plain")


def test_an_unknown_quantity_is_named():
    with pytest.raises(ValueError, match="unknown quantity 'score'; choose logit, margin"):
        value_of(torch.zeros(3), 0, "score")


@pytest.mark.parametrize("method", ["plain", "exact", "drilldown"])
@pytest.mark.parametrize("pixel", [(20, 17), (0, 39), (32, 0)])  # the last two on the border
def test_equals_a_plain_loop(net, graph, method, pixel):
    image, target, window, stride = torch.randn(3, 33, 40), 2, 12, 8
    drops, total = {q: [] for q in QUANTITIES}, {q: torch.zeros(33, 40) for q in QUANTITIES}
    count = torch.zeros(33, 40)
    with torch.no_grad():
        clean = net(image[None])[0, :, *pixel]
        for top in range(0, 33 - window + stride, stride):
            for left in range(0, 40 - window + stride, stride):
                part = (slice(top, top + window), slice(left, left + window))
                hidden = image.clone()
                hidden[:, *part] = 0.5
                occluded = net(hidden[None])[0, :, *pixel]
                count[part] += 1
                for q in QUANTITIES:
                    drops[q].append(by_hand(clean, target, q) - by_hand(occluded, target, q))
                    total[q][part] += drops[q][-1]
    assert count.min() >= 1
    occlusion = Occlusion(net, image, graph=graph)
    for q in QUANTITIES:
        settings = OcclusionSettings(window, stride, 0.5, method, agreement=1, quantity=q)
        field = occlusion.field(pixel, target, settings)
        torch.testing.assert_close(field.discrepancy, total[q] / count, atol=1e-4, rtol=1e-4)
        assert field.score == pytest.approx(by_hand(clean, target, q), abs=1e-5)
        assert (field.quantity, field.evaluated) == (q, 1)
        every = occlusion.drops(pixel, settings)
        assert every.shape == (4, 5, 4)
        found = drop_of(occlusion.score_map[:, *pixel], every, target, q).flatten()
        assert found.tolist() == pytest.approx(drops[q], abs=1e-4)


def test_another_quantity_runs_no_window(net, graph, monkeypatch):
    occlusion = Occlusion(net, torch.randn(3, 33, 40), graph=graph)
    drops = occlusion.drops((20, 20), OcclusionSettings(16, 8))

    def nothing_left(grid, windows, *_):
        assert not windows
        return iter(())

    monkeypatch.setattr(occlusion, "_run", nothing_left)
    grid = OcclusionGrid((33, 40), 16, 8)
    for quantity in QUANTITIES:
        field = occlusion.field((20, 20), 3, OcclusionSettings(16, 8, quantity=quantity))
        expected = drop_of(occlusion.score_map[:, 20, 20], drops, 3, quantity)
        torch.testing.assert_close(field.discrepancy, grid.spread(expected))


class Quarter(nn.Module):
    """A score map of a quarter of the image's size: the mean red and green of 4×4 pixels."""

    def forward(self, x):
        return nn.functional.avg_pool2d(x[:, :2], 4)


def test_the_radius_is_measured_from_the_unit_on_the_image():
    """Unit (2, 1) has rows 8 … 11 and columns 4 … 7, and middle (10, 6); only its pixels matter."""
    field = valid_field(Quarter(), torch.rand(3, 20, 16) + 1, (2, 1), 0, window=4, stride=4)
    assert field.centre == (10, 6)
    squares = [
        (row - 10) ** 2 + (column - 6) ** 2 for row in range(8, 12) for column in range(4, 8)
    ]
    assert field.radius() == pytest.approx(math.sqrt(sum(squares) / 16))
    assert field.area(0.8, "mass") == pytest.approx(16 / 320)


def test_a_field_without_centre_is_measured_from_its_pixel():
    discrepancy = torch.zeros(5, 5)
    discrepancy[0, 4] = -2
    field = ValidField(discrepancy, (3, 0), 0, 1.0, (1, 1), (1, 1), 0.0)
    assert field.radius() == 5
    assert field.area() == pytest.approx(1 / 25)
