"""Units on pixels: a network with mirrored kernels treats a mirrored image as the mirrored image.

If every unit i of a map of stride s is at pixel s·i, an image of 32·m + 1 pixels has its middle on
a unit of every map, and the mirror image of a map is the map of the mirror image. A shift by a
single pixel at any level breaks this. The test knows nothing of paddings. (TensorFlow's padding is
symmetric at these sizes; no layer with it is left, and its replacement is tested by itself.)
"""

import re

import numpy as np
import pytest
import timm
import torch
from timm.layers import Conv2dSame, StdConv2d, StdConv2dSame
from timm.layers.pool2d_same import AvgPool2dSame, MaxPool2dSame
from torch import nn

from gcnlab.models import build_backbone
from gcnlab.models.centring import centre, on_pixels

NAMES = {
    "timm/tf_efficientnet_lite0": (24, 40, 112, 320),
    "timm/tf_efficientnet_lite2": (24, 48, 120, 352),
    "timm/convnext_tiny": (96, 192, 384, 768),
    "timm/regnety_002": (24, 56, 152, 368),
    "timm/mobilenetv3_small_100": (16, 24, 48, 576),
    "timm/tf_mobilenetv3_large_100": (24, 40, 112, 960),
    "timm/resnet50d": (256, 512, 1024, 2048),
    "timm/swin_tiny_patch4_window7_224": (96, 192, 384, 768),
}
"""Networks of timm, and the channels of their maps, from their papers."""

PATCHES = re.compile("convnext|swin")


def without_windows(network):
    """Let the attention of a Swin, whose windows are not symmetric, return its input."""
    for module in network.modules():
        if type(module).__name__ == "WindowAttention":
            module.forward = lambda x, mask=None: x


def mirror_kernels(network):
    """Make every kernel equal to its mirror images."""
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                w = module.weight
                w.copy_((w + w.flip(2) + w.flip(3) + w.flip(2, 3)) / 4)
            if type(module).__name__ == "PatchMerging":  # a linear map of 2×2 units
                w = module.reduction.weight
                w.copy_(w.unflatten(1, (4, -1)).mean(1, keepdim=True).expand(-1, 4, -1).flatten(1))


@pytest.mark.parametrize("name", [name for name in NAMES if not PATCHES.search(name)])
def test_the_map_of_a_mirrored_image_is_the_mirrored_map(name):
    torch.manual_seed(0)
    backbone = build_backbone(name).eval().double()
    assert backbone.channels == NAMES[name]
    assert not any("Same" in type(module).__name__ for module in backbone.modules())
    mirror_kernels(backbone)
    for path, module in list(backbone.named_modules()):
        if isinstance(
            module, nn.AvgPool2d
        ):  # of ResNet-D's shortcuts, the part that is not centred
            parent, _, child = path.rpartition(".")
            setattr(backbone.get_submodule(parent), child, nn.AvgPool2d(1, 2))
    image = torch.randn(1, 3, 65, 97, dtype=torch.float64)
    with torch.no_grad():
        maps, mirrored = backbone(image), backbone(image.flip(2, 3))
    for one, other, stride in zip(maps, mirrored, backbone.strides, strict=True):
        assert one.shape[2:] == (64 // stride + 1, 96 // stride + 1)
        assert one.std() > 0
        torch.testing.assert_close(one.flip(2, 3), other, rtol=1e-6, atol=1e-9 * one.abs().max())


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("size", [8, 9, 10, 11])
def test_tensorflows_padding_becomes_symmetric(kernel, size):
    same = Conv2dSame(2, 3, kernel, 2)
    network = nn.Sequential(same)
    image = torch.randn(1, 2, size, size)
    before = network(image)
    centre(network, "x")
    symmetric = nn.functional.conv2d(image, same.weight, same.bias, 2, kernel // 2)
    assert torch.equal(network(image), symmetric)
    assert torch.equal(before, symmetric) == (size % 2 == 1)
    assert network[0].weight is same.weight


@pytest.mark.parametrize("kind", [MaxPool2dSame, AvgPool2dSame])
def test_pooling_with_tensorflows_padding_becomes_symmetric(kind):
    network = nn.Sequential(kind(3, 2))
    centre(network, "x")
    image = torch.rand(1, 2, 8, 8)
    first = image[0, :, :2, :2].flatten(1)
    first = first.amax(1) if kind is MaxPool2dSame else first.mean(1)
    torch.testing.assert_close(network(image)[0, :, 0, 0], first)
    assert network(image).shape[2:] == (4, 4)


def test_weight_standardised_convolutions_are_centred_too():
    torch.manual_seed(0)
    same, symmetric = StdConv2dSame(2, 3, 3, 2), StdConv2d(2, 3, 3, 2, padding=1)
    symmetric.load_state_dict(same.state_dict())
    network = nn.Sequential(same)
    centre(network, "x")
    image = torch.randn(1, 2, 8, 8)
    torch.testing.assert_close(network(image), symmetric(image), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("stride", [4, 8, 16, 32])
def test_a_map_of_patches_is_interpolated_at_pixels(stride):
    """Against NumPy's linear interpolation, which continues a map by its ends."""
    height, width = 5, 7
    rows, columns = (stride * np.arange(n) + (stride - 1) / 2 for n in (height, width))
    feature = torch.randn(1, 1, height, width, dtype=torch.float64)
    expected = feature[0, 0].numpy()
    at = stride * np.arange(height)
    expected = np.stack([np.interp(at, rows, column) for column in expected.T], axis=1)
    at = stride * np.arange(width)
    expected = np.stack([np.interp(at, columns, row) for row in expected])
    np.testing.assert_allclose(on_pixels(feature, stride)[0, 0].numpy(), expected)


@pytest.mark.parametrize("name", [name for name in NAMES if PATCHES.search(name)])
def test_patches_lie_in_the_middle_of_their_pixels(name):
    """Their maps, before the interpolation: they cover the image, which has a mirror image, too, but
    of an even number of pixels."""
    torch.manual_seed(0)
    backbone = build_backbone(name).eval().double()
    assert backbone.channels == NAMES[name]
    assert backbone.patches
    mirror_kernels(backbone)
    without_windows(backbone)
    image = torch.randn(1, 3, 64, 96, dtype=torch.float64)
    spatial = (1, 2) if backbone.channels_last else (2, 3)
    with torch.no_grad():
        maps, mirrored = backbone.network(image), backbone.network(image.flip(2, 3))
        whole = backbone(image)
    for one, other, final, stride in zip(maps, mirrored, whole, backbone.strides, strict=True):
        assert [one.shape[axis] for axis in spatial] == [64 // stride, 96 // stride]
        torch.testing.assert_close(one.flip(spatial), other, rtol=1e-6, atol=1e-9)
        channels_first = one.permute(0, 3, 1, 2) if backbone.channels_last else one
        assert torch.equal(final, on_pixels(channels_first, stride))


def test_the_interpolation_of_patches_leaves_a_constant_and_moves_a_ramp():
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    moved = on_pixels(ramp, 4)[0, 0, 0]
    torch.testing.assert_close(moved[1:], torch.arange(1.0, 8.0) - 1.5 / 4)
    assert moved[0] == 0


def test_the_pooling_in_the_shortcuts_of_resnet_d_stays():
    ours = build_backbone("timm/resnet50d").eval()
    theirs = timm.create_model("resnet50d", features_only=True).eval()
    theirs.load_state_dict(ours.network.state_dict())
    image = torch.randn(1, 3, 65, 98)
    for one, other in zip(ours(image), theirs(image)[1:], strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("size", [7, 8])
def test_a_pooling_without_padding_gets_one(size):
    network = nn.Sequential(nn.MaxPool2d(3, 2, ceil_mode=True))
    centre(network, "x")
    image = torch.randn(1, 2, size, size)
    assert torch.equal(network(image), nn.functional.max_pool2d(image, 3, 2, 1))


@pytest.mark.parametrize(
    "layer",
    [
        nn.MaxPool2d(2, 2),
        nn.Upsample(scale_factor=2),
        nn.ConvTranspose2d(1, 1, 2, 2),
        nn.AvgPool2d(2, 2),
        nn.Conv2d(1, 1, (2, 4), 2),
        nn.Conv2d(1, 1, 2, 2, dilation=2),
        nn.Conv2d(1, 1, 6, 2, padding=2),
        nn.Conv2d(1, 1, 2),
        nn.Conv2d(1, 1, 3, 2, padding=1, padding_mode="reflect"),
    ],
)
def test_a_layer_that_cannot_be_centred_is_named(layer):
    with pytest.raises(ValueError, match=rf"net: .*pixels.*because of 0 \({type(layer).__name__}"):
        centre(nn.Sequential(layer), "net")


def test_patches_besides_strided_windows_of_odd_size_are_refused():
    layers = [nn.Conv2d(3, 3, 3, 2, padding=1), nn.Conv2d(3, 3, 2, 2)]
    with pytest.raises(ValueError, match=r"net: .*pixels.*because of 1 \(Conv2d"):
        centre(nn.Sequential(*layers), "net")
    assert centre(nn.Sequential(nn.Conv2d(3, 3, 4, 4), nn.Conv2d(3, 3, 7, padding=3)), "net")


def test_layers_of_odd_size_that_are_centred_stay_as_they_are():
    layers = [
        nn.Conv2d(3, 3, 3, 2, padding=1),
        nn.Conv2d(3, 3, 1, 2),
        nn.Conv2d(3, 3, 5, padding="same", dilation=2),
        nn.Conv2d(3, 3, (1, 7), padding=(0, 3)),
        nn.MaxPool2d(3, 2, 1),
    ]
    network = nn.Sequential(*layers)
    image = torch.randn(1, 3, 33, 40)
    before = network(image)
    assert not centre(network, "x")
    assert list(network) == layers
    assert torch.equal(network(image), before)
