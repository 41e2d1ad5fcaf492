import sys

import numpy as np
import pytest
import torch
from torch import nn

from gcnlab.receptive import (
    captum_occlusion,
    fill_image,
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


@pytest.mark.parametrize("name", ["mean", "noise"])
def test_a_baseline_by_name_is_the_image_of_the_fill(name):
    wanted = fill_image(IMAGE, name, (7, 3))
    found = integrated_gradients(Dict(), IMAGE, (5, 7), baseline=name, steps=4)
    assert torch.equal(found, integrated_gradients(Dict(), IMAGE, (5, 7), None, wanted, 4))


def call(method, value):
    """The attribution with a fill, or a baseline."""
    if method is integrated_gradients:
        return method(Dict(), IMAGE, (5, 7), baseline=value, steps=2)
    return method(Dict(), IMAGE, (5, 7), window=4, stride=4, fill=value)


@pytest.mark.parametrize("value", [np.float32(0.5), torch.tensor(0.5), torch.full_like(IMAGE, 0.5)])
@pytest.mark.parametrize("method", [integrated_gradients, captum_occlusion])
def test_a_number_and_an_image_of_it_are_the_same(method, value):
    assert torch.equal(call(method, value), call(method, 0.5))
    assert torch.equal(call(method, torch.full_like(IMAGE, 0.5).double()), call(method, 0.5))


NOT_A_NUMBER = torch.where(torch.arange(32) == 31, torch.nan, IMAGE)  # in the last column


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), "must be a finite number, not nan"),
        (float("-inf"), "must be a finite number, not -inf"),
        (1e300, "must be a number that an image can hold, up to 1e38"),
        (NOT_A_NUMBER, "is not finite"),
        (torch.zeros(3, 4, 5), r"the size of the image, \(3, 24, 32\), not \(3, 4, 5\)"),
        (torch.zeros(24, 32), r"the size of the image, \(3, 24, 32\), not \(24, 32\)"),
        (torch.zeros(1, 1, 1), r"the size of the image, \(3, 24, 32\), not \(1, 1, 1\)"),
        (torch.zeros(1, 3, 24, 32), r"not \(1, 3, 24, 32\)"),
        (np.zeros((3, 24, 32), np.float32), "must be a tensor, not a NumPy array"),
        (torch.zeros(3, 24, 32, dtype=torch.uint8), "must be normalised floating-point values"),
        ([0.0, 0.0, 0.0], "must be one tensor, not a list"),
        (True, "must be a number, not True"),
        (None, "must be a number, not None"),
        ("grey", "unknown .* 'grey'; choose mean, blur, noise"),
    ],
)
@pytest.mark.parametrize("method", [integrated_gradients, captum_occlusion])
def test_a_baseline_or_fill_that_is_none_is_named(method, value, message):
    name = "baseline" if method is integrated_gradients else "fill"
    with pytest.raises(ValueError, match=message) as caught:
        call(method, value)
    assert name in str(caught.value)


def test_a_baseline_by_blur_says_what_to_pass():
    with pytest.raises(ValueError, match=r'fill_image\(image, "blur", \(height, width\)\)'):
        call(integrated_gradients, "blur")
    call(integrated_gradients, fill_image(IMAGE, "blur", (4, 4)))


class Constant(nn.Conv2d):
    """Logits with a gradient, but not with respect to the image."""

    def forward(self, images):
        return super().forward(torch.zeros_like(images))


def test_without_a_gradient_the_error_is_that_of_the_gradient_field():
    cases = [(Constant(3, 2, 1), "do not depend on the image"), (Dict(), "have no gradient")]
    for net, message in cases:
        with torch.inference_mode(net.__class__ is Dict):
            for method in (gradient_field, integrated_gradients):
                with pytest.raises(ValueError, match=message):
                    method(net, IMAGE, (5, 7))
    with torch.inference_mode():
        found = call(captum_occlusion, 0.5)
    assert torch.equal(found, call(captum_occlusion, 0.5))
    with torch.no_grad():
        found = call(integrated_gradients, 0.5)
    assert torch.equal(found, call(integrated_gradients, 0.5))
