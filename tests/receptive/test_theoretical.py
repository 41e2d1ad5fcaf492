"""Theoretical fields against the paper's figures and against the support of a numerical gradient."""

import pytest
import torch
import torchvision
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch import nn

from gcnlab.models import GlobalConvBlock, SegmentationNet
from gcnlab.receptive import theoretical_field

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("depth", "size"), [(50, 427), (101, 971), (152, 1451)])
def test_the_papers_networks_at_res_5(depth, size):
    net = SegmentationNet(f"resnet{depth}", 21, kernel_size=15)
    field = theoretical_field(net, 512, "backbone.layer4")
    assert (field.rows.size, field.columns.size) == (size, size)
    assert (field.rows.stride, field.rows.offset) == (32, 0)
    head = theoretical_field(net, 512, "heads.3")
    assert head.rows.size == size + 14 * 32 == size + 448
    assert "heads.3: " in str(head)


def seen(model, image_size, unit):
    """(top, bottom, left, right) of the pixels that move one unit: the support of its gradient.

    All weights are positive and no activation cuts, so nothing cancels.
    """
    image = torch.rand(1, 3, *image_size, requires_grad=True)
    model(image)[0, 0, unit[0], unit[1]].backward()
    rows, columns = (image.grad.abs().sum((0, 1)) > 0).nonzero(as_tuple=True)
    return rows.min().item(), rows.max().item() + 1, columns.min().item(), columns.max().item() + 1


def positive(model):
    for parameter in model.parameters():
        nn.init.uniform_(parameter, 0.1, 1)
    return model.eval()


class Branches(nn.Module):
    """Two branches of different size, added; then a ×2 deconvolution."""

    def __init__(self, k, stride):
        super().__init__()
        self.stem = nn.Conv2d(3, 2, 3, stride, 1)
        self.gcn = GlobalConvBlock(2, 2, k)
        self.wide = nn.Conv2d(2, 2, (1, 3), padding=(0, 2), dilation=(1, 2))
        self.up = nn.ConvTranspose2d(2, 2, 4, 2, 1)

    def forward(self, x):
        x = self.stem(x)
        return self.up(self.gcn(x) + self.wide(x) + x)


@settings(
    deadline=None,
    max_examples=15,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(
    st.sampled_from([1, 3, 5, 7]),
    st.integers(1, 3),
    st.tuples(st.integers(31, 45), st.integers(31, 45)),
    st.data(),
)
def test_equals_the_support_of_a_numerical_gradient(k, stride, size, data):
    model = positive(Branches(k, stride))
    with torch.no_grad():
        rows, columns = model(torch.rand(1, 3, *size)).shape[-2:]
    unit = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
    top, bottom, left, right = theoretical_field(model, size).box(unit)
    # What the last unit of the stem's map sees: pixels behind it are in nobody's field.
    ends = [min(side, stride * ((side - 1) // stride) + 2) for side in size]
    inside = max(top, 0), min(bottom, ends[0]), max(left, 0), min(right, ends[1])
    assert inside == seen(model, size, unit)


def test_a_separable_kernel_is_long_on_one_axis_only():
    net = nn.Sequential(nn.Conv2d(3, 1, (7, 1), padding=(3, 0)))
    field = theoretical_field(net, 20)
    assert (field.rows.size, field.columns.size) == (7, 1)
    assert field.box((10, 4)) == (7, 14, 4, 5)


def test_a_whole_gcn_on_the_mini_backbone():
    """Sizes of the mini network's figures: about 70 px at res-5, and k=7 adds 6 × 32."""
    net = SegmentationNet("mini", 7, kernel_size=7, refine=False)
    res5 = theoretical_field(net, 256, "backbone.layer4")
    head = theoretical_field(net, 256, "heads.3")
    assert head.rows.size == res5.rows.size + 6 * 32
    scores = theoretical_field(net, 256)
    assert scores.rows.stride == 1
    assert scores.rows.size > head.rows.size
    assert scores.unknown_beyond is None


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("deeplabv3_resnet50", "adaptive_avg_pool2d"),
        ("lraspp_mobilenet_v3_large", "adaptive_avg_pool2d"),
    ],
)
def test_a_global_layer_ends_what_is_known(name, layer):
    net = getattr(torchvision.models.segmentation, name)(weights=None, weights_backbone=None)
    field = theoretical_field(net, 128)
    assert layer in field.unknown_beyond
    assert field.rows.size is None
    assert "unknown beyond" in str(field)
    with pytest.raises(ValueError, match="unknown beyond"):
        field.box((0, 0))
    known = theoretical_field(net, 128, "backbone.0") if "lraspp" in name else None
    assert known is None or known.rows.size == 3


def test_torchvisions_fcn():
    """A head of 3×3 on 427 px at stride 8 (dilated), and interpolation between two neighbours."""
    net = torchvision.models.segmentation.fcn_resnet50(weights=None, weights_backbone=None)
    at_head = theoretical_field(net, 128, "classifier")
    assert (at_head.rows.size, at_head.rows.stride) == (427 + 2 * 8, 8)
    assert theoretical_field(net, 128).rows.size == 427 + 3 * 8


def test_bad_input_is_named():
    net = SegmentationNet("mini", 3, kernel_size=3)
    with pytest.raises(ValueError, match=r"heads\.9"):
        theoretical_field(net, 64, "heads.9")
    with pytest.raises(ValueError, match="outside"):
        theoretical_field(net, 64).box((64, 0))
