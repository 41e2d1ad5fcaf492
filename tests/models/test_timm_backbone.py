"""Networks of timm as backbones, with random weights; nothing is downloaded."""

import builtins

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from gcnlab.distributed import synchronize_batch_norm
from gcnlab.models import SegmentationNet, build_backbone, count_weights
from gcnlab.models.backbones import build_classifier
from gcnlab.models.recompute import recomputed
from gcnlab.receptive import gradient_field, theoretical_field, valid_field
from gcnlab.receptive.graph import Graph
from gcnlab.receptive.theoretical import field_of
from tests.models.test_centring import NAMES, PATCHES, without_windows

LITE0 = "timm/tf_efficientnet_lite0"
SIZES = [(64, 64), (65, 97), (33, 70)]


@pytest.fixture(autouse=True)
def _nothing_is_downloaded(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a download was tried")

    for function in ("load_state_dict_from_hf", "load_state_dict_from_url", "download_cached_file"):
        monkeypatch.setattr(f"timm.models._builder.{function}", refuse)


@pytest.mark.parametrize("name", NAMES)
def test_taps_have_the_channels_and_sizes_that_are_promised(name):
    backbone = build_backbone(name).eval()
    assert backbone.channels == NAMES[name]
    assert backbone.strides == (4, 8, 16, 32)
    for size in SIZES:
        maps = backbone(torch.randn(1, 3, *size))
        for one, channels, stride in zip(maps, NAMES[name], backbone.strides, strict=True):
            assert one.shape == (1, channels, *(-(-n // stride) for n in size))


@pytest.mark.parametrize("name", NAMES)
def test_the_weights_of_the_heads_are_those_of_the_formulas(name):
    c, n, k = NAMES[name], 7, 5
    with torch.device("meta"):
        for head, expected in {
            "conv1x1": [ci * n for ci in c],
            "gcn": [2 * k * (ci + n) * n for ci in c],
            "conv": [k * k * ci * n for ci in c],
            "stack": [9 * (ci * ci + ci * n) for ci in c],
        }.items():
            net = SegmentationNet(name, n, head=head, kernel_size=k)
            assert [count_weights(module) for module in net.heads] == expected


GLOBAL = ("SEModule", "SqueezeExcite", "LayerNorm2d")
"""Layers that read a whole map, or that the theoretical field takes for such."""


class _WithoutGlobal(nn.Module):
    """A backbone without the layers that read a whole map, so that its field can be computed."""

    def __init__(self, name, level=-1):
        super().__init__()
        self.backbone, self.level = build_backbone(name), level
        without_windows(self.backbone)
        for parent in list(self.backbone.modules()):
            for child, module in parent.named_children():
                if isinstance(module, nn.AvgPool2d):
                    module.ceil_mode = False  # makes no difference at even sizes
                if type(module).__name__ in GLOBAL:
                    setattr(parent, child, nn.Identity())
                if type(module).__name__ == "ConvNeXtBlock":  # its other layers permute the axes
                    setattr(parent, child, module.conv_dw)

    def forward(self, image):
        return self.backbone(image)[self.level]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if not PATCHES.search(name)])
def test_units_lie_on_pixels_by_the_theoretical_field(name):
    network = _WithoutGlobal(name)
    graph = Graph(network, torch.zeros(1, 3, 96, 64))
    for tap, stride in zip(network.backbone.taps, network.backbone.strides, strict=True):
        field = field_of(graph, f"backbone.network.{tap}")
        for axis in (field.rows, field.columns):
            assert (axis.stride, axis.offset) == (stride, 0)


@pytest.mark.slow
def test_units_of_a_convnext_lie_on_pixels_to_half_a_pixel_by_the_theoretical_field():
    """A field of even size has no pixel in its middle; its weights have (see test_centring)."""
    for level, stride in enumerate((4, 8, 16, 32)):
        network = _WithoutGlobal("timm/convnext_tiny", level)
        graph = Graph(network, torch.zeros(1, 3, 96, 64))
        between = field_of(graph, f"backbone.network.{network.backbone.taps[level]}").rows
        assert (between.stride, between.offset) == (stride, (stride - 1) / 2)
        field = field_of(graph)
        for axis in (field.rows, field.columns):
            assert axis.stop[1] - axis.start[1] == between.size + stride
            assert (axis.start[1] + axis.stop[1] - 1) / 2 - stride == -0.5


@pytest.mark.slow
def test_patches_of_swin_lie_between_pixels_by_the_theoretical_field():
    """Layers behind them rearrange values, which hides the field; test_centring looks there."""
    network = _WithoutGlobal("timm/swin_tiny_patch4_window7_224")
    field = theoretical_field(network, (96, 64), "backbone.network.patch_embed.proj")
    assert (field.rows.size, field.rows.stride, field.rows.offset) == (4, 4, 1.5)


def test_a_unit_of_lite0_sees_pixels_around_its_own():
    """The support of its gradient, which does not know of layers, at an even size."""
    torch.manual_seed(0)
    backbone = build_backbone(LITE0).eval().double()
    image = torch.randn(1, 3, 160, 192, dtype=torch.float64, requires_grad=True)
    for index, stride in ((0, 4), (1, 8)):
        unit = (80 // stride, 96 // stride)
        (gradient,) = torch.autograd.grad(backbone(image)[index][0, :, *unit].sum(), image)
        seen = gradient.abs().amax((0, 1)) > 0
        for axis, middle in enumerate((80, 96)):
            places = seen.any(1 - axis).nonzero().flatten()
            assert places[0] + places[-1] == 2 * middle


def test_a_resnet_of_timm_is_torchvisions(tmp_path):
    state = build_classifier("resnet18").state_dict()
    save_file(state, tmp_path / "w.safetensors")
    theirs = build_backbone("timm/resnet18", tmp_path / "w.safetensors").eval()
    ours = build_backbone("resnet18", tmp_path / "w.safetensors").eval()
    image = torch.randn(1, 3, 65, 90)
    for one, other in zip(theirs(image), ours(image), strict=True):
        torch.testing.assert_close(one, other)


def test_activations_are_not_in_place():
    for name in (LITE0, "timm/regnety_002"):
        assert not any(getattr(m, "inplace", False) for m in build_backbone(name).modules())


@pytest.mark.parametrize("name", [LITE0, "timm/regnety_002"])
def test_frozen_norm_has_nothing_to_train_and_keeps_its_statistics(name):
    backbone = build_backbone(name, frozen_norm=True).train()
    assert not any(isinstance(m, nn.BatchNorm2d) for m in backbone.modules())
    before = {key: value.clone() for key, value in backbone.named_buffers()}
    backbone(torch.randn(2, 3, 64, 64))
    assert all(torch.equal(value, before[key]) for key, value in backbone.named_buffers())
    assert any("running_mean" in key for key in before)
    plain = build_backbone(name).eval()
    backbone.load_state_dict(plain.state_dict(), strict=False)
    image = torch.randn(1, 3, 64, 64)
    for one, other in zip(backbone.eval()(image), plain(image), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [LITE0, "timm/regnety_002", "timm/resnet18"])
def test_synchronised_batch_norm_keeps_the_activations(name, monkeypatch):
    monkeypatch.setattr("gcnlab.distributed.world_size", lambda: 2)
    torch.manual_seed(0)
    backbone, image = build_backbone(name).eval(), torch.randn(1, 3, 64, 64)
    before = backbone(image)
    synchronised = synchronize_batch_norm(backbone, torch.device("cuda"))
    norms = [m for m in synchronised.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert norms
    assert all(isinstance(norm, nn.SyncBatchNorm) for norm in norms)
    for one, other in zip(synchronised(image), before, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("name", ["timm/vit_tiny_patch16_224", "timm/efficientvit_m0"])
def test_other_strides_are_refused_with_those_it_has(name):
    with pytest.raises(
        ValueError, match=rf"{name} has feature maps at strides 16.*needs strides 4"
    ):
        build_backbone(name)


@pytest.mark.parametrize("name", ["timm/vgg11", "timm/tresnet_l", "timm/hrnet_w18_small"])
def test_units_between_pixels_are_refused(name):
    with pytest.raises(ValueError, match=rf"{name}: .*do not lie on pixels"):
        build_backbone(name)


def test_an_unknown_network_is_refused_with_the_nearest_name():
    with pytest.raises(
        ValueError, match=r"no network 'convnext_tinny'; did you mean convnext_tiny"
    ):
        build_backbone("timm/convnext_tinny")
    with pytest.raises(ValueError, match="give the tag as weights"):
        build_backbone("timm/resnet18.a1_in1k")
    with pytest.raises(ValueError, match="unknown 'timm/'"):
        build_backbone("timm/")


def test_without_timm_the_error_names_the_extra(monkeypatch):
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.split(".")[0] == "timm":
            raise ModuleNotFoundError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'gcnlab\[timm\]'"):
        build_backbone(LITE0)


def test_a_classifier_of_timm_is_refused():
    with pytest.raises(ValueError, match="timm/resnet18 cannot be used here"):
        build_classifier("timm/resnet18")


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return SegmentationNet(build_backbone(LITE0), 7, kernel_size=3).eval()


@pytest.mark.slow
@pytest.mark.parametrize("size", [(96, 96), (97, 65)])
def test_the_exact_field_is_the_plain_one(net, size):
    image = torch.randn(3, *size)
    options = {"pixel": (40, 50), "target": 2, "window": 32, "stride": 16}
    exact = valid_field(net, image, method="exact", **options)
    plain = valid_field(net, image, method="plain", **options)
    assert (
        exact.discrepancy - plain.discrepancy
    ).abs().max() <= 1e-4 * plain.discrepancy.abs().max()
    assert plain.discrepancy.abs().max() > 0
    assert gradient_field(net, image, (40, 50), 2).shape == size


@pytest.mark.parametrize("name", [LITE0, "timm/convnext_atto", "timm/regnety_002", "timm/resnet18"])
def test_recomputation_leaves_the_gradients_as_they_are(name):
    torch.manual_seed(0)
    net = SegmentationNet(build_backbone(name), 3, kernel_size=3).train()
    image, gradients = torch.randn(2, 3, 64, 64), []
    state = {key: value.clone() for key, value in net.state_dict().items()}
    for recompute in (False, True):
        net.load_state_dict(state)
        net.zero_grad()
        torch.manual_seed(1)
        if recompute:
            with recomputed(net):
                net(image).square().mean().backward()
        else:
            net(image).square().mean().backward()
        gradients.append([p.grad.clone() for p in net.parameters() if p.grad is not None])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)
    assert len(gradients[0]) > 20


def test_weights_survive_saving_and_loading(net, tmp_path):
    save_file(net.state_dict(), tmp_path / "w.safetensors")
    again = SegmentationNet(build_backbone(LITE0), 7, kernel_size=3).eval()
    again.load_state_dict(load_file(tmp_path / "w.safetensors"))
    image = torch.randn(1, 3, 64, 64)
    assert torch.equal(net(image), again(image))


def test_timms_own_extractor_gives_the_same_maps():
    """Where nothing has to be centred."""
    torch.manual_seed(0)
    ours = build_backbone("timm/regnety_002").eval()
    theirs = timm.create_model("regnety_002", features_only=True).eval()
    theirs.load_state_dict(ours.network.state_dict())
    image = torch.randn(1, 3, 65, 97)
    for one, other in zip(ours(image), theirs(image)[1:], strict=True):
        assert torch.equal(one, other)
