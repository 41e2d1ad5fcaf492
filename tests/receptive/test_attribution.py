import sys

import pytest
import torch
from torch import nn

from gcnlab.receptive import (
    captum_occlusion,
    gradient_field,
    integrated_gradients,
    valid_field,
)
from gcnlab.receptive.settings import FILLS

IMAGE = torch.randn(3, 24, 32, generator=torch.Generator().manual_seed(0))


class Dict(nn.Module):
    """A small network that returns its logits as torchvision's do, at half the size of the image."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 5, padding=2), nn.ReLU(), nn.Conv2d(8, 3, 5, stride=2, padding=2)
        )

    def forward(self, images):
        return {"out": self.layers(images)}


@pytest.mark.parametrize("baseline", [0.0, 0.5, torch.full_like(IMAGE, -1.0)])
def test_of_a_linear_network_the_contribution_is_gradient_times_difference(baseline):
    torch.manual_seed(0)
    net = nn.Conv2d(3, 2, 7, padding=3)
    kernel = torch.autograd.functional.jacobian(lambda x: net(x[None])[0, 1, 2, 30], IMAGE)
    found = integrated_gradients(net, IMAGE, (2, 30), 1, baseline, steps=1)
    torch.testing.assert_close(found, (kernel * (IMAGE - baseline)).sum(0))


def test_contributions_sum_to_the_difference_of_the_logits():
    net = Dict()
    with torch.no_grad():
        clean, nothing = (net(x[None])["out"][0, :, 5, 7] for x in (IMAGE, torch.zeros_like(IMAGE)))
    target = int(clean.argmax())
    total = integrated_gradients(net, IMAGE, (5, 7), steps=200).sum()
    torch.testing.assert_close(total, (clean - nothing)[target], rtol=1e-2, atol=1e-2)
    assert net.training


@pytest.mark.parametrize("fill", [0.25, *FILLS])
@pytest.mark.parametrize("pixel", [(0, 0), (5, 7), (11, 15)])
def test_captums_occlusion_is_the_valid_field(pixel, fill):
    net = Dict()
    ours = valid_field(net, IMAGE, pixel, window=(6, 8), stride=(3, 4), fill=fill)
    theirs = captum_occlusion(net, IMAGE, pixel, window=(6, 8), stride=(3, 4), fill=fill)
    torch.testing.assert_close(theirs, ours.discrepancy, rtol=1e-4, atol=1e-5)


def test_integrated_gradients_stay_in_the_field_of_the_gradient():
    net = Dict()
    outside = gradient_field(net, IMAGE, (0, 0)) == 0
    assert outside.any()
    assert not integrated_gradients(net, IMAGE, (0, 0))[outside].any()


@pytest.mark.parametrize("method", [integrated_gradients, captum_occlusion])
def test_errors(method, monkeypatch):
    options = {} if method is integrated_gradients else {"window": 4, "stride": 4}
    with pytest.raises(ValueError, match="outside the 12×16 score map"):
        method(Dict(), IMAGE, (12, 0), **options)
    with pytest.raises(ValueError, match="target 3 is outside the classes 0 … 2"):
        method(Dict(), IMAGE, (0, 0), 3, **options)
    with pytest.raises(ValueError, match="NaN"):
        method(Dict(), IMAGE * float("nan"), (0, 0), **options)
    monkeypatch.setitem(sys.modules, "captum", None)
    with pytest.raises(ImportError, match="pip install captum, or gcnlab with the extra lab"):
        method(Dict(), IMAGE, (0, 0), **options)


def test_settings_out_of_range():
    with pytest.raises(ValueError, match="steps"):
        integrated_gradients(Dict(), IMAGE, (0, 0), steps=0)
    with pytest.raises(ValueError, match="it skips pixels"):
        captum_occlusion(Dict(), IMAGE, (0, 0), window=4, stride=5)
