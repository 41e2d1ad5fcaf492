"""Backbones that are cut after one of their maps: what is frozen, and what is trained."""

import pytest
import torch
from torch import nn

from gcnlab.models import SegmentationNet, build_backbone
from gcnlab.models.cut import STRIDES, continue_from, first_maps

CUT = [
    "mini",
    "mini_gcn",
    "resnet18",
    "timm/tf_efficientnet_lite0",  # named layers, then blocks
    "timm/mobilenetv3_small_100",  # the same, with an activation of its own after the first norm
    "timm/regnety_002",  # a list of layers
    "timm/resnet50d",
]


@pytest.mark.parametrize("name", CUT)
def test_the_first_maps_and_the_others_after_them_are_those_of_the_backbone(name):
    backbone = build_backbone(name).eval()
    image = torch.randn(2, 3, 96, 64)
    with torch.no_grad():
        maps = backbone(image)
        for number in range(1, 5):
            first = first_maps(backbone, image, number)
            assert len(first) == number
            found = continue_from(backbone, first)
            assert len(found) == 4
            for a, b in zip(found, maps):
                torch.testing.assert_close(a, b, rtol=0, atol=0)


def state(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("name", ["mini", "resnet18", "timm/tf_efficientnet_lite0"])
def test_a_step_changes_only_what_follows_the_cut(name, stride):
    torch.manual_seed(0)
    model = SegmentationNet(name, 3, kernel_size=3, frozen_stride=stride).train()
    before, image = state(model), torch.randn(2, 3, 96, 96)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, 0.1)
    model(image).square().mean().backward()
    optimizer.step()
    after = model.state_dict()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    frozen_maps = STRIDES.index(stride) + 1
    model.load_state_dict(before)  # which entries the first maps depend on, found by changing each
    model.eval()
    with torch.no_grad():
        maps = model.backbone(image)[:frozen_maps]
        for key, value in model.state_dict().items():
            if not key.startswith("backbone.") or not value.is_floating_point():
                continue
            was = value.clone()
            value.add_(torch.rand_like(value) + 1)
            moved = model.backbone(image)[:frozen_maps]
            value.copy_(was)
            inside = any(not torch.equal(a, b) for a, b in zip(maps, moved))
            assert inside == (key not in changed), key
    assert {k for k in before if k.startswith("heads.")} <= changed
    assert any(key.startswith("backbone.") for key in changed)


def test_nothing_is_kept_for_a_gradient_of_the_frozen_layers():
    model = SegmentationNet("mini", 3, kernel_size=3, frozen_stride=8).train()
    maps = model.backbone(torch.randn(1, 3, 64, 64))
    assert [one.requires_grad for one in maps] == [False, False, True, True]
    assert [one.training for one in (model.backbone.bn1, model.backbone.layer2)] == [False, False]
    assert model.backbone.layer3.training
    assert model.heads.training
    image = torch.randn(1, 3, 64, 64, requires_grad=True)  # a receptive field still reaches it
    model.eval()(image)[0, 0, 32, 32].backward()
    assert image.grad.abs().max() > 0


@pytest.mark.parametrize("name", ["timm/convnext_atto", "timm/swin_tiny_patch4_window7_224"])
def test_a_backbone_with_interpolated_maps_is_refused(name):
    with pytest.raises(ValueError, match=f"{name} cannot be cut, because its maps are interpol"):
        SegmentationNet(name, 3, kernel_size=3, frozen_stride=8)


class Own(nn.Module):
    """A backbone without the method `stages`."""

    channels, strides = (4, 4, 4, 4), (4, 8, 16, 32)


def test_a_backbone_of_your_own_needs_stages():
    SegmentationNet(Own(), 3, kernel_size=3)
    with pytest.raises(ValueError, match=r"Own cannot be cut.* no method stages\(\)"):
        SegmentationNet(Own(), 3, kernel_size=3, frozen_stride=8)
    maps = [torch.zeros(1, 4, 2, 2) for _ in range(4)]  # nothing is left to compute
    assert all(a is b for a, b in zip(continue_from(Own(), maps), maps, strict=True))


def test_other_strides_and_two_kinds_of_freezing_are_refused():
    with pytest.raises(ValueError, match="frozen_stride must be one of 4, 8, 16, not 32"):
        SegmentationNet("mini", 3, kernel_size=3, frozen_stride=32)
    with pytest.raises(ValueError, match="exclude each other"):
        SegmentationNet("mini", 3, kernel_size=3, frozen_stride=8, frozen_backbone=True)
