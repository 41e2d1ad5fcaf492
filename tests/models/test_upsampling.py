import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from gcnlab.models.upsampling import BilinearDeconv, make_upsampler


@settings(max_examples=20, deadline=None)
@given(channels=st.integers(1, 5), height=st.integers(1, 9), width=st.integers(1, 9))
def test_an_untrained_deconvolution_is_bilinear_interpolation_borders_included(
    channels, height, width
):
    scores = torch.randn(2, channels, height, width, dtype=torch.float64)
    bilinear = F.interpolate(scores, scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(BilinearDeconv(channels).double()(scores), bilinear)
    torch.testing.assert_close(make_upsampler("bilinear", channels)(scores), bilinear)


def test_the_deconvolution_learns_and_the_bilinear_one_does_not():
    assert sum(p.numel() for p in make_upsampler("deconv", 3).parameters()) == 16 * 3 * 3
    assert not list(make_upsampler("bilinear", 3).parameters())


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="deconv or bilinear"):
        make_upsampler("nearest", 3)
